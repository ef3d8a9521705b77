//! Erasing, in the plainest form that answers every question.

use tenure_journal::{EnvironmentId, MEMORY_USER_KEY, ProjectId, SessionId, SessionKey};

use super::state::State;
use crate::erase::{family, is_of_session};
use crate::{Document, DocumentKind, Gone, Place, Search, Whose};

impl State {
    pub(super) fn sessions_of(&self, project: ProjectId, whose: &Whose) -> Vec<SessionId> {
        let heads =
            || self.sessions.values().map(|session| &session.head).filter(|head| head.key.project == project);
        let roots: Vec<SessionId> = match whose {
            Whose::Session(id) => {
                heads().filter(|head| head.key.session == *id).map(|head| head.key.session).collect()
            }
            Whose::User(user) => {
                let named = heads().filter(|head| head.metadata.get(MEMORY_USER_KEY) == Some(user));
                let named = named.map(|head| head.key.session);
                named.chain(self.episodes.sessions_of(project, user)).collect()
            }
        };
        let subagents = heads().filter_map(|head| Some((head.key.session, head.parent?)));
        let forks = self.documents.values().flatten().filter_map(|document| {
            let is_ours = document.project == project && document.kind == DocumentKind::Fork;
            let from = document.name.as_deref().filter(|_| is_ours)?;
            Some((document.id.parse().ok()?, from.parse().ok()?))
        });
        family(roots, subagents.chain(forks))
    }

    /// Removes a place, and says what was there.
    pub(super) fn erase(&mut self, project: ProjectId, place: &Place) -> Gone {
        let mut gone = Gone::default();
        match place {
            Place::Session(session) => {
                self.erase_session(SessionKey { project, session: *session }, &mut gone);
            }
            Place::Document(kind, id) => {
                if let Some(versions) = self.documents.remove(&(project, *kind, id.clone())) {
                    gone.add(&documents(*kind), versions.len() as u64);
                }
                if *kind == DocumentKind::Automation {
                    self.erase_undelivered(project, id, &mut gone);
                }
                self.index.forget(project, *kind, id);
                self.erase_receipts(project, id, &mut gone);
            }
        }
        gone
    }

    fn erase_session(&mut self, key: SessionKey, gone: &mut Gone) {
        gone.add("episodes", self.episodes.count(key) as u64);
        self.episodes.forget(key, 0);
        if let Some(session) = self.sessions.remove(&key) {
            gone.add("sessions", 1);
            gone.add("events", session.journal.len() as u64);
            gone.add("snapshots", u64::from(session.snapshot.is_some()));
            gone.add("items", session.items.len() as u64);
            gone.add("turns", session.turns.len() as u64);
            if let Some(wake_at) = session.head.wake_at {
                self.wakes.remove(&(wake_at, key));
            }
        }
        gone.add("budgets", u64::from(self.budgets.remove(&(key.project, key.session)).is_some()));
        gone.add("budget_uses", self.erase_uses(key));
        let id = key.session.to_string();
        let environment = EnvironmentId::of_session(key.session).to_string();
        let tells = |document: &Document| {
            document.id == id
                || document.id == environment
                || document.name.as_deref().is_some_and(|name| name.contains(&id))
                || document.body.to_string().contains(&id)
        };
        let mut automations = Vec::new();
        self.documents.retain(|(project, kind, document), versions| {
            let is_gone = *project == key.project && is_of_session(*kind) && versions.iter().any(tells);
            if is_gone {
                gone.add(&documents(*kind), versions.len() as u64);
                if *kind == DocumentKind::Automation {
                    automations.push(document.clone());
                }
            }
            !is_gone
        });
        self.documents.retain(|(project, kind, _), versions| {
            let of =
                |document: &Document| document.name.as_ref().is_some_and(|name| automations.contains(name));
            let is_gone =
                *project == key.project && *kind == DocumentKind::Invocation && versions.iter().any(of);
            if is_gone {
                gone.add(&documents(*kind), versions.len() as u64);
            }
            !is_gone
        });
        self.erase_receipts(key.project, &id, gone);
    }

    fn erase_undelivered(&mut self, project: ProjectId, automation: &str, gone: &mut Gone) {
        self.documents.retain(|(of, kind, _), versions| {
            let is_of = (*of, *kind) == (project, DocumentKind::Invocation)
                && versions.last().is_some_and(|latest| {
                    latest.name.as_deref() == Some(automation) && latest.body["session_id"].is_null()
                });
            if is_of {
                gone.add(&documents(DocumentKind::Invocation), versions.len() as u64);
            }
            !is_of
        });
    }

    fn erase_receipts(&mut self, project: ProjectId, id: &str, gone: &mut Gone) {
        let before = self.receipts.len();
        self.receipts
            .retain(|(of, key), receipt| *of != project || !(key.contains(id) || receipt.body.contains(id)));
        gone.add("receipts", (before - self.receipts.len()) as u64);
    }

    /// Looks through everything, as it prints.
    pub(super) fn search(&self, search: &mut Search<'_>) {
        for ((_, blob), (payload, _)) in &self.blobs {
            search.bytes("blobs", payload);
            search.bytes("blobs", blob.to_string().as_bytes());
        }
        let mut rest = self.clone();
        rest.blobs.clear();
        search.bytes("memory", format!("{rest:?}").as_bytes());
        let snapshots = self.sessions.values().filter_map(|session| session.snapshot.as_ref());
        snapshots.for_each(|snapshot| search.bytes("snapshots", &snapshot.bytes));
    }
}

/// What documents of a kind are counted as.
fn documents(kind: DocumentKind) -> String {
    format!("documents.{}", kind.as_str())
}
