//! The first process inside: makes the namespaces into a sandbox, starts the command, buries the dead. When
//! it ends, the kernel ends everything inside with it.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Or as _};
use super::gvisor;
use super::identity::{Identity, ROOT};
use super::landlock::{self, Reach, Tcp};
use super::mounts::{self, Tree, USER};
use super::program;
use super::seccomp::Filters;
use crate::command::{Network, PROXY_PORT, WORKSPACE};
use crate::spec::Spec;
use crate::sys::{self, Block};
use crate::wire;

/// What is said from inside to the supervisor. With `Ready` come descriptors: the directory of `/proc` if
/// there is one, then the proxy's listener if there is one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Status {
    Ready,
    Failed {
        what: String,
        errno: i32,
    },
    NotExecuted {
        why: String,
    },
    /// The command's own end, as `wait` encodes it.
    Ended {
        status: i32,
    },
}

/// What init is given by its clone.
pub(crate) struct Init<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) identity: Identity,
    /// Trees that only the supervisor could take.
    pub(crate) trees: Option<Vec<Tree>>,
    pub(crate) filters: &'a Filters,
    pub(crate) status: OwnedFd,
}

impl Init<'_> {
    /// Everything init does, up to its end.
    pub(crate) fn run(mut self) -> ! {
        let code = match self.prepare() {
            Ok(handles) => match &self.spec.gvisor {
                None => live(self.spec, self.filters, &self.status, &handles),
                Some(gvisor) => gvisor::live(self.spec, gvisor, &self.status, &handles),
            },
            Err(failure) => {
                let told = Status::Failed { what: failure.what, errno: failure.errno };
                let _ = wire::tell(&self.status, &told, NONE);
                1
            }
        };
        std::process::exit(code)
    }

    fn prepare(&mut self) -> Result<Vec<OwnedFd>, Failure> {
        die_with_parent()?;
        await_go(&self.status)?;
        let user = if self.spec.gvisor.is_some() { ROOT } else { USER };
        sys::become_user(user, user, self.identity.groups()).failed("becoming the user inside")?;
        // The change of user took it away.
        die_with_parent()?;
        rustix::system::sethostname(b"sandbox").failed("setting the host name")?;
        let listener = self.network()?;
        let trees = match self.trees.take() {
            Some(trees) => trees,
            None => mounts::declared(self.spec, &|_| Ok(None))?,
        };
        let proc = mounts::enter(self.spec, &trees)?;
        drop(trees);
        match self.spec.gvisor {
            None => confine(self.spec.landlock)?,
            // gVisor mounts, traces and gives up what it has by itself.
            Some(_) => close_memory()?,
        }
        // Changing capabilities took it away again. A supervisor that died in between leaves a socket that
        // cannot be written to, and init ends when it says that it is ready.
        die_with_parent()?;
        Ok(proc.into_iter().chain(listener).collect())
    }

    fn network(&self) -> Result<Option<OwnedFd>, Failure> {
        match &self.spec.network {
            Network::Enabled => return Ok(None),
            Network::Disabled | Network::Restricted { .. } => {}
        }
        let any = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .failed("opening a socket")?;
        sys::loopback_up(any.as_fd()).failed("switching loopback on")?;
        listener(&self.spec.network)
    }
}

/// Everything that is done as the first process of namespaces that bubblewrap made, or of a kernel that
/// gVisor is.
pub(crate) fn inside(spec: &Spec, status: &OwnedFd) -> ! {
    let code = match prepare_inside(spec) {
        Ok((filters, handles)) => live(spec, &filters, status, &handles),
        Err(failure) => {
            let told = Status::Failed { what: failure.what, errno: failure.errno };
            let _ = wire::tell(status, &told, NONE);
            1
        }
    };
    std::process::exit(code)
}

fn prepare_inside(spec: &Spec) -> Result<(Filters, Vec<OwnedFd>), Failure> {
    die_with_parent()?;
    let filters = Filters::of(spec)?;
    // With gVisor it is outside, where its connections come from.
    let listener = if spec.gvisor.is_some() { None } else { listener(&spec.network)? };
    match spec.user {
        None => confine(spec.landlock)?,
        // The command gives up what init keeps to become it.
        Some(_) => close_memory()?,
    }
    die_with_parent()?;
    Ok((filters, listener.into_iter().collect()))
}

/// What the mounts leave open.
fn confine(landlock: Option<u32>) -> Result<(), Failure> {
    close_memory()?;
    sys::drop_capabilities().failed("dropping capabilities")?;
    let Some(version) = landlock else { return Ok(()) };
    let reach = Reach {
        readable: vec!["/".into()],
        writable: landlock::paths(&[WORKSPACE, "/tmp"]),
        devices: landlock::paths(landlock::DEVICES),
        tcp: Tcp::Elsewhere,
    };
    landlock::restrict(version, &reach)
        .map_err(|error| Failure::plain(format!("confining by Landlock ({error})")))
}

fn close_memory() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).failed("closing the memory of init")?;
    rustix::thread::set_no_new_privs(true).failed("setting no_new_privs")
}

/// Where the command finds its proxy.
fn listener(network: &Network) -> Result<Option<OwnedFd>, Failure> {
    match network {
        Network::Restricted { .. } => {
            let listener = std::net::TcpListener::bind(("127.0.0.1", PROXY_PORT));
            Ok(Some(listener.failed("listening for the proxy")?.into()))
        }
        Network::Disabled | Network::Enabled => Ok(None),
    }
}

/// Starts the command when that is allowed, buries the dead, and ends with it.
fn live(spec: &Spec, filters: &Filters, status: &OwnedFd, handles: &[OwnedFd]) -> i32 {
    if wire::tell(status, &Status::Ready, handles).is_err() || await_go(status).is_err() {
        return 1;
    }
    let command = match sys::fork() {
        Ok(None) => program::become_it(spec, filters, status),
        Ok(Some(command)) => command,
        Err(error) => {
            let failed = Status::Failed {
                what: "starting the command".to_owned(),
                errno: error.raw_os_error().unwrap_or(0),
            };
            let _ = wire::tell(status, &failed, NONE);
            return 1;
        }
    };
    // Output ends when the command's own descriptors do.
    program::release_output();
    while let Some(ended) = sys::reap(None, Block::Yes) {
        if ended.pid == command {
            let _ = wire::tell(status, &Status::Ended { status: ended.status }, NONE);
            return 0;
        }
    }
    1
}

/// What the supervisor writes for each step it allows.
pub(crate) const GO: u8 = b'g';

/// Waits until the supervisor allows the next step: first confining, which needs an identity, then the
/// command, which needs a control group. Ends with a supervisor that is gone.
pub(crate) fn await_go(status: &OwnedFd) -> Result<(), Failure> {
    match rustix::io::read(status, &mut [0; 1]) {
        Ok(1) => Ok(()),
        Ok(_) => std::process::exit(1),
        Err(error) => Err(error).failed("waiting for the supervisor"),
    }
}

/// No descriptors.
pub(crate) const NONE: &[OwnedFd] = &[];

fn die_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).failed("tying init to the supervisor")
}
