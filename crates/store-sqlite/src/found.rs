//! Documents that are found by terms.

use rusqlite::{Connection, Transaction};
use tenure_journal::ProjectId;
use tenure_store::recall::COUNTED_MAX;
use tenure_store::{Document, DocumentKind, FoundDocuments, pick_ids};

use crate::read::{self, Read, limit_of};

/// Puts `terms` in place of what the document was found by.
pub(crate) fn index(connection: &Connection, document: &Document, terms: &[String]) -> rusqlite::Result<()> {
    let (project, kind, id) = (document.project.to_string(), document.kind.as_str(), &document.id);
    let mut forget = connection.prepare_cached(include_str!("../sql/forget_document_terms.sql"))?;
    forget.execute((&project, kind, id))?;
    let Some(name) = &document.name else { return Ok(()) };
    let mut put = connection.prepare_cached(include_str!("../sql/put_document_term.sql"))?;
    for term in terms {
        put.execute((&project, kind, name, term, id))?;
    }
    Ok(())
}

pub(crate) fn find(
    connection: &Transaction<'_>,
    (project, kind, name): (ProjectId, DocumentKind, &str),
    terms: &[String],
    limit: usize,
) -> Read<FoundDocuments> {
    let (text, word) = (project.to_string(), kind.as_str());
    let mut counted = connection.prepare_cached(include_str!("../sql/count_documents.sql"))?;
    let row = (&text, word, name, limit_of(COUNTED_MAX));
    let documents = counted.query_row(row, |row| row.get::<_, i64>(0))?.unsigned_abs();
    let mut having = connection.prepare_cached(include_str!("../sql/documents_with_term.sql"))?;
    let mut lists = Vec::new();
    for term in terms {
        let rows = having.query_map((&text, word, name, term, limit_of(COUNTED_MAX)), |row| row.get(0))?;
        lists.push(rows.collect::<Result<Vec<String>, _>>()?);
    }
    let mut found = Vec::new();
    for id in pick_ids(documents, &lists, limit) {
        found.extend(read::document(connection, project, kind, &id, None)?);
    }
    Ok(FoundDocuments { documents, frequencies: lists.iter().map(|list| list.len() as u64).collect(), found })
}
