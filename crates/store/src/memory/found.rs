//! What documents are found by, in the plainest form that answers every question.

use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::ProjectId;

use super::state::State;
use crate::recall::COUNTED_MAX;
use crate::{Document, DocumentKind, FoundDocuments, Indexed, pick_ids};

/// The name and the terms of each document that is found by some.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    rows: BTreeMap<(ProjectId, DocumentKind, String), (String, BTreeSet<String>)>,
}

impl Index {
    pub(super) fn put(&mut self, indexed: &Indexed) {
        let document = &indexed.document;
        let key = (document.project, document.kind, document.id.clone());
        let terms: BTreeSet<String> = indexed.terms.iter().cloned().collect();
        match &document.name {
            Some(name) if !terms.is_empty() => drop(self.rows.insert(key, (name.clone(), terms))),
            Some(_) | None => drop(self.rows.remove(&key)),
        }
    }

    pub(super) fn forget(&mut self, project: ProjectId, kind: DocumentKind, id: &str) {
        self.rows.remove(&(project, kind, id.to_owned()));
    }
}

impl State {
    pub(super) fn find_documents(
        &self,
        (project, kind, name): (ProjectId, DocumentKind, &str),
        terms: &[String],
        limit: usize,
    ) -> FoundDocuments {
        let is_there = |document: &&Document| {
            (document.project, document.kind) == (project, kind)
                && document.name.as_deref() == Some(name)
                && !document.deleted
        };
        let latest = || self.documents.values().filter_map(|versions| versions.last()).filter(is_there);
        let has = |document: &Document, term: &String| {
            let row = self.index.rows.get(&(project, kind, document.id.clone()));
            row.is_some_and(|(under, terms)| under == name && terms.contains(term))
        };
        let list = |term: &String| -> Vec<String> {
            let mut ids: Vec<String> =
                latest().filter(|document| has(document, term)).map(|document| document.id.clone()).collect();
            ids.reverse();
            ids.truncate(COUNTED_MAX);
            ids
        };
        let lists: Vec<Vec<String>> = terms.iter().map(list).collect();
        let documents = latest().take(COUNTED_MAX).count() as u64;
        let picked = pick_ids(documents, &lists, limit);
        let found = picked.iter().filter_map(|id| self.document(project, kind, id, None)).collect();
        FoundDocuments { documents, frequencies: lists.iter().map(|list| list.len() as u64).collect(), found }
    }
}
