//! The project's budgets in a world that has some: their limits, what a process believes of them, and what the oracle
//! makes of the events that use them.

use std::collections::BTreeMap;

use tenure_journal::{
    Amounts, BudgetId, BudgetScope, BudgetUse, Caps, Done, EffectId, Event, Outcome, Period, ProjectId,
    SessionKey, Timestamp,
};
use tenure_session::{Batch, Budgets, SharedBudget, UseStep};
use tenure_store::{MemoryStore, UseChange, UseEntry};

use crate::{Property, Violation};

/// One world of so many has budgets.
const BUDGETED_EVERY: u64 = 3;

/// The limits of a world, by period; none in most. They come from the seed alone, so that what else is drawn from it
/// stays as it was.
pub(crate) fn drawn(seed: u64) -> BTreeMap<Period, Caps> {
    if seed % BUDGETED_EVERY != 1 {
        return BTreeMap::new();
    }
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xb0d6_e750);
    let total = Caps { calls: Some(rng.u64(5..120)), ..Caps::NONE };
    let day = Caps { nano_usd: Some(rng.u64(10_000_000..2_000_000_000)), ..Caps::NONE };
    [(Period::Total, total), (Period::Day, day)].into()
}

/// What a process believes of the budgets. An old belief is what it read before anybody used them.
pub(crate) fn believed(
    store: &MemoryStore,
    project: ProjectId,
    caps: &BTreeMap<Period, Caps>,
    now: Timestamp,
    is_old: bool,
) -> Budgets {
    let of = |(period, caps): (&Period, &Caps)| {
        let id = BudgetId::at(BudgetScope::Project, *period, now);
        let found = store.budget_uses_now(project, &[id]).expect("the model of the store always answers");
        let used = if is_old { BudgetUse::default() } else { found[0] };
        SharedBudget { id, caps: *caps, used }
    };
    Budgets { tree: None, shared: caps.iter().map(of).collect() }
}

/// What a batch changes in them.
pub(crate) fn entries(batch: &Batch, caps: &BTreeMap<Period, Caps>) -> Vec<UseEntry> {
    let entry = |step: &UseStep| match *step {
        UseStep::Reserve { budget, amounts } => {
            let caps = caps.get(&budget.period()).copied().unwrap_or(Caps::NONE);
            UseEntry { budget, change: UseChange::Reserve { amounts, caps } }
        }
        UseStep::Settle { budget, reserved, spent } => {
            UseEntry { budget, change: UseChange::Settle { reserved, spent } }
        }
    };
    batch.uses.iter().map(entry).collect()
}

/// What the oracle knows of them.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    caps: BTreeMap<Period, Caps>,
    /// What running attempts set aside, and where.
    held: BTreeMap<(SessionKey, EffectId), (Vec<BudgetId>, Amounts)>,
    spent: BTreeMap<BudgetId, Amounts>,
}

impl Uses {
    pub(crate) fn of(caps: BTreeMap<Period, Caps>) -> Self {
        Self { caps, ..Self::default() }
    }

    /// Reads an event that has become durable: real costs, whatever the journal says of them.
    pub(crate) fn read(&mut self, key: SessionKey, event: &Event, costs: &BTreeMap<String, u64>) {
        if let Event::AttemptStarted { effect_id, held: Some(held), .. } = event {
            self.held.insert((key, *effect_id), (held.budgets.clone(), held.amounts));
        }
        if let Event::AttemptEnded { effect_id, outcome, .. } = event {
            let Some((budgets, reserved)) = self.held.remove(&(key, *effect_id)) else { return };
            let spent = match outcome {
                Outcome::Done { done: Done::Model { response_id: Some(response), .. } } => {
                    let nano_usd = costs.get(response).copied().unwrap_or(reserved.nano_usd);
                    Amounts { nano_usd, ..reserved }
                }
                Outcome::Failed { failure } if !failure.kind.is_ambiguous() => Amounts::default(),
                Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::Unknown => reserved,
            };
            self.spend(&budgets, &spent);
        }
        if let Event::EffectAbandoned { effect_id } = event
            && let Some((budgets, reserved)) = self.held.remove(&(key, *effect_id))
        {
            self.spend(&budgets, &reserved);
        }
    }

    fn spend(&mut self, budgets: &[BudgetId], spent: &Amounts) {
        for budget in budgets {
            let sum = self.spent.entry(*budget).or_default();
            *sum = sum.plus(spent);
        }
    }

    /// Looks at all of them, once everything that is durable was read.
    pub(crate) fn look(&self) -> Result<(), Violation> {
        let mut totals = self.spent.clone();
        for (budgets, amounts) in self.held.values() {
            for budget in budgets {
                let sum = totals.entry(*budget).or_default();
                *sum = sum.plus(amounts);
            }
        }
        for (budget, total) in totals {
            let caps = self.caps.get(&budget.period()).copied().unwrap_or(Caps::NONE);
            if let Some(measure) = caps.exceeded_by(&total) {
                let detail =
                    format!("{} of `{budget}`: {total:?} where {caps:?} is allowed", measure.as_str());
                return Err(Violation::new(Property::BudgetKept, detail));
            }
        }
        Ok(())
    }

    /// Looks, once nothing runs any more, whether the store says that nothing is set aside.
    pub(crate) fn look_at_rest(&self, store: &MemoryStore, project: ProjectId) -> Result<(), Violation> {
        for budget in self.spent.keys() {
            let found = store.budget_uses_now(project, &[*budget]).expect("the model always answers")[0];
            if self.held.is_empty() && found.reserved != Amounts::default() {
                let detail = format!("`{budget}` keeps {:?} aside, and nothing runs", found.reserved);
                return Err(Violation::new(Property::BudgetKept, detail));
            }
        }
        Ok(())
    }
}
