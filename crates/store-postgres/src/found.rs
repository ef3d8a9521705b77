//! Documents that are found by terms. They are written with the rest of their batch, in `batch.rs`.

use tenure_journal::ProjectId;
use tenure_store::recall::COUNTED_MAX;
use tenure_store::{DocumentKind, FoundDocuments, StoreError, pick_ids};
use tokio_postgres::types::ToSql;

use crate::columns::column;
use crate::connect::Param;
use crate::pool::Pool;
use crate::read::{self, limit_of, required_text, rows, value};
use crate::text::stored;
use crate::write::DocumentRow;

pub(crate) async fn find(
    pool: &Pool,
    (project, kind, name): (ProjectId, DocumentKind, &str),
    terms: &[String],
    limit: usize,
) -> Result<FoundDocuments, StoreError> {
    let context = "finding documents";
    let connection = &pool.take(context).await?;
    let (text, word, name, counted) =
        (project.to_string(), kind.as_str(), stored(name), limit_of(COUNTED_MAX));
    let params: [&(dyn ToSql + Sync); 4] = [&text, &word, &name, &counted];
    let found = rows(connection, context, include_str!("../sql/count_documents.sql"), &params).await?;
    let documents = found.first().map_or(Ok(0), |row| value::<i64>(row, 0))?.unsigned_abs();
    let mut lists = Vec::new();
    for term in terms {
        let params: [&(dyn ToSql + Sync); 5] = [&text, &word, &name, &stored(term), &counted];
        let sql = include_str!("../sql/documents_with_term.sql");
        let rows = rows(connection, context, sql, &params).await?;
        lists.push(rows.iter().map(|row| required_text(row, 0)).collect::<Result<Vec<String>, _>>()?);
    }
    let mut found = Vec::new();
    for id in pick_ids(documents, &lists, limit) {
        found.extend(read::document(connection, project, kind, &id, None).await?);
    }
    Ok(FoundDocuments { documents, frequencies: lists.iter().map(|list| list.len() as u64).collect(), found })
}

/// Every term of `rows` with the document that it finds, as columns; none if there are none. A document without a name
/// is found by nothing.
pub(crate) fn term_columns<'a>(rows: impl Iterator<Item = &'a DocumentRow>) -> Vec<Param<'a>> {
    let named = rows.filter_map(|row| Some((row, row.name.as_deref()?, row.terms.as_ref()?)));
    let terms = named.flat_map(|(row, name, terms)| terms.iter().map(move |term| (row, name, term.as_str())));
    let terms: Vec<(&DocumentRow, &str, &str)> = terms.collect();
    if terms.is_empty() {
        return Vec::new();
    }
    vec![
        column(terms.iter().map(|(row, ..)| row.document.project.to_string())),
        column(terms.iter().map(|(row, ..)| row.document.kind.as_str())),
        column(terms.iter().map(|(_, name, _)| *name)),
        column(terms.iter().map(|(.., term)| *term)),
        column(terms.iter().map(|(row, ..)| &*row.id)),
    ]
}
