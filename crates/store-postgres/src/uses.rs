//! Shared budgets that come from another store.

use tenure_journal::{BudgetId, BudgetUse, ProjectId};
use tenure_store::StoreError;
use tokio_postgres::types::ToSql;

use crate::pool::Pool;
use crate::read::rows;
use crate::write::int;

/// Has a budget stand as it does elsewhere, whatever is here.
pub(crate) async fn adopt(
    pool: &Pool,
    project: ProjectId,
    budget: BudgetId,
    used: &BudgetUse,
) -> Result<(), StoreError> {
    let context = "moving a budget";
    let connection = pool.take(context).await?;
    let (project, budget) = (project.to_string(), budget.to_string());
    let amounts = [used.spent, used.reserved]
        .map(|amounts| [amounts.nano_usd, amounts.tokens, amounts.calls, amounts.millis].map(int));
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&project, &budget];
    params.extend(amounts.iter().flatten().map(|amount| amount as &(dyn ToSql + Sync)));
    rows(&connection, context, include_str!("../sql/adopt_budget_use.sql"), &params).await.map(|_| ())
}
