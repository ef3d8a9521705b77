//! The proxy of one environment: its socket, its rules, its end.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::{Authority, AuthorityError};
use crate::connection;
use crate::meter::Used;
use crate::record::Record;
use crate::resolve::Resolver;
use crate::rules::{ByteCaps, Rules};
use crate::target::Target;
use crate::trust::Trust;

/// Connections from the inside at once. More wait until one ends.
pub const CONNECTIONS_MAX: usize = 128;

/// How long accepting rests after it failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the record of each connection once, when it has ended. It is called on the proxy's tasks and must not
/// block or panic.
pub type Sink = Arc<dyn Fn(Record) + Send + Sync>;

/// Begins proxies.
#[derive(Debug)]
pub struct Proxy;

/// A proxy that runs. It ends when this is dropped, and has ended when [`Handle::close`] returns.
pub struct Handle {
    shared: Arc<Shared>,
    socket: PathBuf,
}

/// A proxy cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket cannot be made; its path may be too long (107 bytes), or its directory missing.
    #[error("the socket `{}` cannot be made", path.display())]
    Socket {
        /// Where it was to be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another proxy answers at the socket.
    #[error("another proxy answers at `{}`", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// The environment's authority cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// What all tasks of one proxy use.
pub(crate) struct Shared {
    pub(crate) rules: watch::Sender<Arc<Rules>>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) trust: Trust,
    pub(crate) authority: Authority,
    pub(crate) sink: Sink,
    pub(crate) used_in: Used,
    pub(crate) used_out: Used,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// Returns once the rules do not allow a target any more.
    pub(crate) async fn revoked(&self, target: &Target) {
        let mut rules = self.rules.subscribe();
        while rules.borrow_and_update().judge(target).is_ok() {
            if rules.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Proxy {
    /// Listens on a Unix socket at `socket` and lets out what `rules` allow. Who may connect is up to the
    /// directory that the socket is in.
    ///
    /// A socket that a dead process left there is replaced. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// Each of [`BindError`].
    pub fn bind(
        socket: &Path,
        rules: Rules,
        resolver: Arc<dyn Resolver>,
        trust: Trust,
        sink: Sink,
    ) -> Result<Handle, BindError> {
        let authority = Authority::generate()?;
        let listener = listen(socket)?;
        let (rules, _) = watch::channel(Arc::new(rules));
        let shared = Arc::new(Shared {
            rules,
            resolver,
            trust,
            authority,
            sink,
            used_in: Used::default(),
            used_out: Used::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(accept(Arc::clone(&shared), listener));
        Ok(Handle { shared, socket: socket.to_owned() })
    }
}

impl Handle {
    /// The certificate that the inside must trust for hosts that have secrets, as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.shared.authority.certificate_pem()
    }

    /// Replaces the rules: at once for each new connection and request, and connections to what is not allowed
    /// any more are ended. Bytes that were moved stay counted.
    pub fn replace_rules(&self, rules: Rules) {
        self.shared.rules.send_replace(Arc::new(rules));
    }

    /// Bytes moved so far, TLS included.
    #[must_use]
    pub fn used(&self) -> ByteCaps {
        ByteCaps { out: self.shared.used_out.bytes(), into: self.shared.used_in.bytes() }
    }

    /// Ends every connection, tells the last records and removes the socket. Cancelling it leaves the rest to
    /// the runtime.
    pub async fn close(self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        // It may have been removed with its directory.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handle").field("socket", &self.socket).finish_non_exhaustive()
    }
}

fn listen(socket: &Path) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Socket { path: socket.to_owned(), source };
    match UnixListener::bind(socket) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        bound => return bound.map_err(failed),
    }
    match StdUnixStream::connect(socket) {
        // Nobody listens there any more.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(socket).map_err(failed)?;
            UnixListener::bind(socket).map_err(failed)
        }
        Ok(_) => Err(BindError::Occupied { path: socket.to_owned() }),
        Err(error) => Err(failed(error)),
    }
}

async fn accept(shared: Arc<Shared>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = shared.closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = connection::serve(Arc::clone(&shared), stream);
                shared.tasks.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            // The process has no descriptor left, or the like: it passes when others end.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
