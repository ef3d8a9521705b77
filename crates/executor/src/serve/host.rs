//! What outlives connections: sessions and the processes in them, and what both need.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ServeError;
use super::files::Files;
use super::http::Client;
use super::launch::Launcher;
use super::session::Session;
use crate::message::{ALREADY_ATTACHED, Failure, INTERNAL, INVALID_REQUEST};
use crate::noise::Random;

/// How long a session without a connection is kept.
const DETACHED: Duration = Duration::from_secs(30);
/// Sessions at once, those without a connection included.
const SESSIONS_MAX: usize = 256;

pub(super) struct Host {
    pub(super) files: Arc<Files>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) launcher: Arc<dyn Launcher>,
    pub(super) client: Client,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

/// A conversation's hold on its session.
pub(super) struct Attachment {
    host: Arc<Host>,
    session: Arc<Session>,
    told: mpsc::Sender<Vec<u8>>,
}

impl Host {
    pub(super) fn new(
        files: Files,
        variables: BTreeMap<String, String>,
        launcher: Arc<dyn Launcher>,
    ) -> Result<Self, ServeError> {
        let client = Client::new()?;
        Ok(Self { files: Arc::new(files), variables, launcher, client, sessions: Mutex::default() })
    }

    /// Opens a session, or takes up the one with this id. What it tells from now on goes to `told`.
    pub(super) fn attach(
        self: &Arc<Self>,
        resume: Option<&str>,
        told: mpsc::Sender<Vec<u8>>,
    ) -> Result<Attachment, Failure> {
        self.forget_expired();
        let mut sessions = self.sessions();
        let session = match resume {
            Some(id) => {
                let unknown = || Failure::new(INVALID_REQUEST, format!("unknown session id {id}"));
                let session = sessions.get(id).cloned().ok_or_else(unknown)?;
                if !session.attach(told.clone()) {
                    let message = format!("session {id} is already attached to another connection");
                    return Err(Failure::new(ALREADY_ATTACHED, message));
                }
                session
            }
            None => {
                if sessions.len() >= SESSIONS_MAX {
                    return Err(Failure::new(INVALID_REQUEST, "there are too many sessions"));
                }
                let id = Random::<16>::fresh().map_err(|error| Failure::new(INTERNAL, error.to_string()))?;
                let id: String = id.piece::<16>(0).iter().map(|byte| format!("{byte:02x}")).collect();
                let session = Arc::new(Session::new(id.clone()));
                session.attach(told.clone());
                sessions.insert(id, Arc::clone(&session));
                session
            }
        };
        Ok(Attachment { host: Arc::clone(self), session, told })
    }

    /// Drops sessions that were without a connection for too long, and their processes with them.
    pub(super) fn forget_expired(&self) {
        self.sessions()
            .retain(|_, session| session.detached_at().is_none_or(|since| since.elapsed() < DETACHED));
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attachment {
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.session.detach(&self.told, Instant::now());
        // Someone must look again when the time is over. Without a runtime there is nobody to serve.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let host = Arc::downgrade(&self.host);
            runtime.spawn(async move {
                tokio::time::sleep(DETACHED + Duration::from_millis(100)).await;
                if let Some(host) = host.upgrade() {
                    host.forget_expired();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Reach, Unconfined};
    use super::*;

    fn host(directory: &std::path::Path) -> Arc<Host> {
        let files = Files::new(directory, Reach::WorkingDirectory).expect("a directory");
        Arc::new(Host::new(files, BTreeMap::new(), Arc::new(Unconfined)).expect("a client"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_waits_half_a_minute_for_its_connection() {
        let directory = tempfile::tempdir().expect("a directory");
        let host = host(directory.path());
        let connection = || mpsc::channel(1);
        let (told, _one) = connection();
        let first = host.attach(None, told).map_err(|failure| failure.code).expect("a session");
        let id = first.session().id().to_owned();
        let resume = |told| host.attach(Some(&id), told).map_err(|failure| failure.code);

        let (told, _two) = connection();
        assert_eq!(resume(told).err(), Some(ALREADY_ATTACHED));
        drop(first);
        tokio::time::advance(DETACHED - Duration::from_secs(1)).await;
        let (told, two) = connection();
        let second = resume(told).expect("it is kept");

        // A connection whose other end is gone does not hold its session, even before it is dropped.
        drop(two);
        let (told, _three) = connection();
        let third = resume(told).expect("nobody is there");
        drop(second);
        assert_eq!(third.session().detached_at(), None, "the new connection stays");
        drop(third);
        tokio::time::advance(DETACHED + Duration::from_secs(1)).await;
        let (told, _four) = connection();
        assert_eq!(resume(told).err(), Some(INVALID_REQUEST));
    }
}
