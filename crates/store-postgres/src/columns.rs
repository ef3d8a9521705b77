//! Rows as columns: how many are written by one statement.

use std::collections::HashMap;

use tenure_journal::{Amounts, BudgetId, BudgetUse, ProjectId, SessionId, SessionKey};

use crate::connect::Param;
use crate::write::{DocumentRow, int};

/// A shared budget: its name is what its rows are ordered by, and locked in the order of.
pub(crate) type UseKey = (ProjectId, String);

/// What an attempt set aside in the budget of a tree: whose, under which name, how much.
pub(crate) type Reservation = ((ProjectId, SessionId), String, u64);

/// Reservations, a column each.
pub(crate) fn reservation_columns<'a>(rows: &[Reservation], with_amounts: bool) -> Vec<Param<'a>> {
    let mut params: Vec<Param<'a>> = vec![
        column(rows.iter().map(|((project, _), ..)| project.to_string())),
        column(rows.iter().map(|((_, root), ..)| root.to_string())),
        column(rows.iter().map(|(_, name, _)| name.clone())),
    ];
    if with_amounts {
        params.push(column(rows.iter().map(|(.., amount)| amount.cast_signed())));
    }
    params
}

pub(crate) fn use_key(project: ProjectId, budget: BudgetId) -> UseKey {
    (project, budget.to_string())
}

/// How shared budgets stand, a column each.
pub(crate) fn use_columns<'a>(keys: &[&UseKey], now: &HashMap<UseKey, BudgetUse>) -> Vec<Param<'a>> {
    let amounts = |of: fn(&BudgetUse) -> Amounts, amount: fn(&Amounts) -> u64| {
        let standing = keys.iter().filter_map(|key| now.get(*key));
        column(standing.map(|standing| int(amount(&of(standing)))))
    };
    let mut params: Vec<Param<'a>> = vec![
        column(keys.iter().map(|(project, _)| project.to_string())),
        column(keys.iter().map(|(_, budget)| budget.clone())),
    ];
    for of in [|standing: &BudgetUse| standing.spent, |standing: &BudgetUse| standing.reserved] {
        params.extend([
            amounts(of, |amounts| amounts.nano_usd),
            amounts(of, |amounts| amounts.tokens),
            amounts(of, |amounts| amounts.calls),
            amounts(of, |amounts| amounts.millis),
        ]);
    }
    params
}

/// The keys of documents, a column each.
pub(crate) fn document_key_columns<'a>(
    rows: impl Iterator<Item = &'a DocumentRow> + Clone,
) -> Vec<Param<'a>> {
    vec![
        column(rows.clone().map(|row| row.document.project.to_string())),
        column(rows.clone().map(|row| row.document.kind.as_str())),
        column(rows.map(|row| &*row.id)),
    ]
}

/// The keys of sessions, a column each.
pub(crate) fn key_columns<'a, 'k>(keys: impl Iterator<Item = &'k SessionKey> + Clone) -> Vec<Param<'a>> {
    vec![
        column(keys.clone().map(|key| key.project.to_string())),
        column(keys.map(|key| key.session.to_string())),
    ]
}

/// One column of many rows, as the array that `unnest` takes apart.
pub(crate) fn column<'a, T>(values: impl Iterator<Item = T>) -> Param<'a>
where
    T: tokio_postgres::types::ToSql + Sync + Send + 'a,
{
    Box::new(values.collect::<Vec<T>>())
}
