//! Rows as columns: how many are written by one statement.

use tenure_journal::{ProjectId, SessionId, SessionKey};

use crate::connect::Param;
use crate::write::DocumentRow;

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
