//! The executors of self-hosted environments: who may connect, who is connected to this node, and what follows
//! for their sessions.
//!
//! Nothing here is durable. Registrations travel with executors, sealed; pairs for signatures follow from the
//! installation's key and the id of an API key; that an executor is connected is recorded in its session's
//! journal by the session's actor, which compares the two whenever it is told to look.
//!
//! Commands of a session are attempted by the node that holds it, so its executor has to be connected there.
//! While an executor is connected its session is held by that node; one that reaches a node while a living one
//! elsewhere holds its session is turned away and dials again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tenure_executor::harness::{Remote, State};
use tenure_executor::noise::{Identity, IdentitySeed};
use tenure_executor::registry::{self, Authority, Registration, Transport};
use tenure_executor::sigv4::KeyPair;
use tenure_executor::socket::Socket;
use tenure_journal::{EnvironmentId, KeyId, SessionId, SessionKey};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::remote_servers::RemoteServers;
use crate::actor::Mail;
use crate::handle::Shared;
use crate::registry::Admission;
use crate::{Runtime, RuntimeError, RuntimeErrorKind, Sealer};

/// How long an executor that went away is remembered. Longer than anything waits for it.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// What an access key id of ours begins with; the rest names the API key it belongs to.
const ACCESS_KEY_PREFIX: &str = "TENURE";

/// The executors that this node knows.
pub struct Executors {
    authority: Authority,
    /// What this server's keys in handshakes follow from.
    identities: [u8; 32],
    /// What the secrets of pairs follow from.
    pairs: [u8; 32],
    known: Mutex<HashMap<EnvironmentId, Known>>,
    /// The tool servers that run there.
    pub(super) servers: RemoteServers,
}

struct Known {
    remote: Remote,
    /// Closes every connection of it.
    close: CancellationToken,
    /// Since when nobody has been connected, as far as anyone looked.
    gone_since: Option<Instant>,
}

impl Executors {
    pub(crate) fn new(sealer: &Sealer) -> Self {
        Self {
            authority: Authority::new(&sealer.derived("tickets of executors")),
            identities: sealer.derived("identities towards executors"),
            pairs: sealer.derived("pairs of executors"),
            known: Mutex::default(),
            servers: RemoteServers::default(),
        }
    }

    /// Answers registrations and knows its own tickets again; the same on every node.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The pair that belongs to an API key. It is not stored: whoever may use the key is asked of the key.
    #[must_use]
    pub fn pair(&self, key: KeyId) -> (String, String) {
        let name = key.to_string();
        let secret = blake3::keyed_hash(&self.pairs, name.as_bytes()).to_hex().to_string();
        let id = name.rsplit('_').next().unwrap_or(&name).to_ascii_uppercase();
        (format!("{ACCESS_KEY_PREFIX}{id}"), secret)
    }

    /// The API key that an access key id names, and its pair; nothing for one that is none of ours.
    #[must_use]
    pub fn signer(&self, access_key_id: &str) -> Option<(KeyId, KeyPair)> {
        let digits = access_key_id.strip_prefix(ACCESS_KEY_PREFIX)?.to_ascii_lowercase();
        let key: KeyId = format!("key_{digits}").parse().ok()?;
        let (id, secret) = self.pair(key);
        (id == access_key_id).then(|| (key, KeyPair::new(id, secret)))
    }

    /// The executor of an environment, connected or not.
    pub(super) fn remote(&self, id: EnvironmentId) -> Remote {
        self.known(id).0
    }

    /// Whether the executor is connected to this node.
    pub(crate) fn is_connected(&self, id: EnvironmentId) -> bool {
        let known = self.lock();
        known.get(&id).is_some_and(|known| *known.remote.state().borrow() == State::Connected)
    }

    /// Closes the connection of an environment that is over.
    pub(crate) fn close(&self, id: EnvironmentId) {
        if let Some(known) = self.lock().remove(&id) {
            known.close.cancel();
        }
    }

    /// Ends the tool servers of a session that is over, or another node's.
    pub(crate) fn end_servers(&self, session: SessionId) {
        self.servers.end(session);
    }

    /// Forgets executors that went away long ago, and ends tool servers that nothing was asked of for so long.
    pub(crate) fn sweep(&self, idle_max: Duration) {
        self.servers.sweep(idle_max);
        self.lock().retain(|_, known| {
            if *known.remote.state().borrow() == State::Connected {
                known.gone_since = None;
                return true;
            }
            known.gone_since.get_or_insert_with(Instant::now).elapsed() < REMEMBERED
        });
    }

    fn known(&self, id: EnvironmentId) -> (Remote, CancellationToken) {
        let mut known = self.lock();
        let known = known.entry(id).or_insert_with(|| {
            let name = registry::EnvironmentId::new(id.to_string())
                .expect("an environment's id is a prefix, an underscore and hexadecimal digits");
            let remote = Remote::new(name, self.identity(id));
            Known { remote, close: CancellationToken::new(), gone_since: None }
        });
        (known.remote.clone(), known.close.clone())
    }

    /// This server's identity towards one environment's executor, the same on every node.
    fn identity(&self, id: EnvironmentId) -> Identity {
        let mut seed = [0; 96];
        let mut hasher = blake3::Hasher::new_keyed(&self.identities);
        hasher.update(id.to_string().as_bytes()).finalize_xof().fill(&mut seed);
        Identity::new(&IdentitySeed::from_bytes(seed))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EnvironmentId, Known>> {
        // A map is whole between its methods, so one poisoned by a panic elsewhere is usable.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime {
    /// The registry of executors.
    #[must_use]
    pub fn executors(&self) -> &Executors {
        &self.shared().executors
    }

    /// Whether the session's executor may connect to this node: no living node elsewhere holds the session.
    ///
    /// # Errors
    /// `NotFound`: there is no such session, or it has no self-hosted environment. `Storage`, `Damaged`.
    pub async fn takes_executor(&self, key: SessionKey) -> Result<bool, RuntimeError> {
        let state = self.session_state(key).await?;
        if state.and_then(|state| state.connects()).is_none() {
            return Err(RuntimeErrorKind::NotFound.into());
        }
        let shared = self.shared();
        if !shared.store.is_shared() {
            return Ok(true);
        }
        let holder = shared.store.claim(shared.node, key).await?;
        Ok(holder.is_none_or(|holder| holder == shared.node))
    }

    /// Serves a socket that the session's executor dialled, until it ends, the session is over or the runtime
    /// ends. The caller has redeemed its ticket and, on the direct transport, verified its signature.
    pub async fn serve_executor(&self, key: SessionKey, registration: Registration, socket: impl Socket) {
        let shared = self.shared();
        let id = EnvironmentId::of_session(key.session);
        let (remote, close) = shared.executors.known(id);
        let now = u64::try_from(self.now().as_secs()).unwrap_or(0);
        let attached = match &registration.transport {
            Transport::Noise(_) => {
                remote.attach_relay(socket, &registration, shared.executors.authority(), now).await
            }
            Transport::Direct => remote.attach_direct(socket, &registration).await,
        };
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                tracing::warn!(environment = %id, %error, "an executor could not connect");
                return;
            }
        };
        tracing::info!(environment = %id, session = ?attached.session, "an executor connected");
        let ended = async {
            let mut ended = std::pin::pin!(attached.ended());
            let held = tokio::select! {
                error = &mut ended => return Some(error),
                held = shared.executor_changed(key) => held,
            };
            if !held {
                tracing::info!(environment = %id, "another node holds the session; its executor has to dial again");
                return None;
            }
            tokio::select! {
                error = ended => Some(error),
                () = close.cancelled() => None,
                () = shared.stop.cancelled() => None,
            }
        };
        let why = ended.await;
        let why = why.map_or_else(|| "it was closed here".to_owned(), |error| error.to_string());
        tracing::info!(environment = %id, why, "an executor's connection ended");
        if !shared.stop.is_cancelled() {
            shared.executor_changed(key).await;
        }
    }
}

impl Shared {
    /// Has the session's actor compare what its journal says with who is connected. Returns whether this node
    /// holds the session with its executor; otherwise the executor has no business here.
    async fn executor_changed(self: &Arc<Self>, key: SessionKey) -> bool {
        let Ok(mailbox) = self.mailbox(key, Admission::Always) else { return false };
        let (reply, answer) = oneshot::channel();
        if mailbox.send(Mail::Executor { reply }).await.is_err() {
            return false;
        }
        drop(mailbox);
        answer.await.unwrap_or(false)
    }
}

impl std::fmt::Debug for Executors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executors").field("known", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{Fresh, Timestamp};

    use super::*;

    fn executors() -> Executors {
        let mut sealer = Sealer::ephemeral();
        sealer.unlock_anew();
        Executors::new(&sealer)
    }

    #[test]
    fn a_pair_names_its_key_and_no_other() {
        let executors = executors();
        let key = KeyId::fresh(&Fresh::new(Timestamp::from_millis(5), 1));
        let (id, secret) = executors.pair(key);
        let (named, pair) = executors.signer(&id).expect("ours");
        assert_eq!((named, pair.access_key_id), (key, id.clone()));
        assert_ne!(secret, executors.pair(KeyId::fresh(&Fresh::new(Timestamp::from_millis(5), 2))).1);
        for wrong in ["", "AKIDEXAMPLE", "TENURE", "TENUREZZ", &id.to_lowercase(), &format!("{id}0")] {
            assert!(executors.signer(wrong).is_none(), "{wrong}");
        }
        let elsewhere = self::executors();
        assert_ne!(elsewhere.pair(key).1, secret, "another installation has other pairs");
    }

    #[test]
    fn nobody_is_connected_at_first() {
        let executors = executors();
        let id = EnvironmentId::of_session(SessionId::fresh(&Fresh::new(Timestamp::from_millis(5), 1)));
        assert!(!executors.is_connected(id));
        let remote = executors.remote(id);
        assert_eq!(remote.environment_id().as_str(), id.to_string());
        executors.sweep(Duration::ZERO);
        assert!(!executors.is_connected(id));
        executors.close(id);
    }
}
