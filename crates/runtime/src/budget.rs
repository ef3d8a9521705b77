//! Budgets: from what a batch says to what the store keeps, and back to what clients see.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure_journal::limit;
use tenure_session::{Batch, BudgetStep, Price, SessionView, StreamEvent};
use tenure_store::{BudgetChange, BudgetEntry};

use crate::handle::Shared;
use crate::{ModelTable, Route};

const NANO_USD_PER_CENT: u64 = 10_000_000;
const NANO_USD_PER_USD: f64 = 1e9;

/// What models cost by the dearest of their ways, as the session machine is told.
pub(crate) fn prices(models: &ModelTable) -> BTreeMap<String, Price> {
    let dearest = |routes: &[Route]| {
        let prices = routes.iter().filter_map(price);
        prices.reduce(|a, b| Price {
            input_nano_usd: a.input_nano_usd.max(b.input_nano_usd),
            output_nano_usd: a.output_nano_usd.max(b.output_nano_usd),
            output_tokens_max: a.output_tokens_max.max(b.output_tokens_max),
        })
    };
    models.named.iter().filter_map(|(name, routes)| Some((name.clone(), dearest(routes)?))).collect()
}

/// What a model costs by one way, where that is known.
pub(crate) fn price(route: &Route) -> Option<Price> {
    let nano_usd = |dollars: f64| (dollars * NANO_USD_PER_USD).ceil() as u64;
    let prices = route.prices?;
    Some(Price {
        input_nano_usd: nano_usd(prices.input.max(prices.cached_input)),
        output_nano_usd: nano_usd(prices.output),
        output_tokens_max: route.output_tokens_max.unwrap_or(limit::OUTPUT_TOKENS_RESERVED),
    })
}

/// What a batch changes in the budget of its tree.
#[must_use]
pub fn entries(batch: &Batch) -> Vec<BudgetEntry> {
    let root = batch.after.budget_root();
    let change = |step: &BudgetStep| match step.clone() {
        BudgetStep::Limit(limit) => BudgetChange::Limit(limit),
        BudgetStep::Reserve { key, nano_usd } => BudgetChange::Reserve { key, nano_usd },
        BudgetStep::Settle { key, nano_usd } => BudgetChange::Settle { key, nano_usd },
    };
    batch.budget.iter().map(|step| BudgetEntry { root, change: change(step) }).collect()
}

/// The view with what the whole tree spent. A budget that cannot be read leaves what the session itself did.
pub(crate) async fn counted(shared: &Shared, mut view: SessionView) -> SessionView {
    let Some(spend) = &mut view.spend else { return view };
    match shared.store.budget(view.key.project, view.key.session).await {
        Ok(budget) if budget.spent_nano_usd > 0 || spend.consumed.is_some() => {
            spend.consumed = Some(budget.spent_nano_usd / NANO_USD_PER_CENT);
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(session = %view.key.session, %error, "a budget cannot be read"),
    }
    view
}

/// Makes the sessions in a committed batch's notices show what the whole tree spent.
pub(crate) async fn tell(shared: &Shared, batch: &mut Batch) {
    for notice in &mut batch.notices {
        if let StreamEvent::Session { session, .. } = notice
            && session.spend.is_some()
        {
            *session = Arc::new(counted(shared, session.as_ref().clone()).await);
        }
    }
}
