//! Ways to run a command.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::command::{Command, Network, Stdin};
use crate::error::{Error, ErrorKind};
use crate::report::{Isolation, Tier};
use crate::running::{Running, Supervised};
use crate::spec::{Bait, Bubblewrap, CgroupPlan, Gvisor, Message, Spec};
use crate::survey::LauncherPath;
use crate::wire::{self, Reader};

/// How long building a sandbox may take. A large workspace that has to change hands takes the longest.
const START: Duration = Duration::from_secs(30);

/// Which of a command's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Receives output in the order in which each stream was written; called from within [`Running::wait`].
pub type Output = Box<dyn FnMut(Stream, &[u8]) + Send>;

/// One way to run commands, of a known strength.
///
/// Whoever implements this must confine before the first instruction of the command runs, must keep every
/// limit of it or refuse to start, and must leave nothing running when [`Running::wait`] returns. A claim in
/// [`Self::isolation`] that does not hold lets a stranger's program into the host; a refusal that was not
/// necessary costs a user an error with a remedy in it.
pub trait Backend: Send + Sync {
    /// What it puts in force.
    fn isolation(&self) -> &Isolation;

    /// Starts `command`, which is confined when this returns. Blocks for some milliseconds.
    ///
    /// # Errors
    /// Nothing ran. [`ErrorKind::Command`]: it cannot mean anything. [`ErrorKind::Unsupported`]: this tier
    /// cannot do that. [`ErrorKind::Start`]: the machine refused.
    fn start(&self, command: &Command, output: Output) -> Result<Running, Error>;
}

/// A supervisor of this crate in one of its tiers.
pub(crate) struct Local {
    pub(crate) isolation: Isolation,
    pub(crate) launcher: LauncherPath,
    pub(crate) plan: Plan,
}

/// What the survey found to be possible.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) tier: Tier,
    pub(crate) landlock: Option<u32>,
    pub(crate) proc: bool,
    pub(crate) cgroup: Option<CgroupPlan>,
    pub(crate) bubblewrap: Option<Bubblewrap>,
    pub(crate) gvisor: Option<Gvisor>,
}

impl Backend for Local {
    fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn start(&self, command: &Command, output: Output) -> Result<Running, Error> {
        command.check()?;
        self.plan.supports(command)?;
        launch(&self.launcher, &self.plan, command, None, output)
    }
}

impl Plan {
    fn supports(&self, command: &Command) -> Result<(), Error> {
        let unsupported = |what: &str, remedy: &str| {
            Err(Error::new(ErrorKind::Unsupported, format!("tier `{}` {what}", self.tier)).hint(remedy))
        };
        match (self.tier, &command.network) {
            (Tier::Gvisor | Tier::Namespaces, _) | (Tier::Landlock, Network::Disabled) => {}
            (Tier::Landlock, Network::Restricted { .. } | Network::Enabled) => {
                return unsupported(
                    "has no network at all",
                    "declare no network, or run where user namespaces are allowed",
                );
            }
        }
        let moved = command.files.read_only.iter().find(|(host, inside)| host != inside);
        match (self.tier, moved) {
            (Tier::Landlock, Some((host, _))) => unsupported(
                &format!("cannot show `{}` at another path", host.display()),
                "declare the same path inside, or run where user namespaces are allowed",
            ),
            (Tier::Landlock | Tier::Namespaces | Tier::Gvisor, _) => Ok(()),
        }
    }
}

/// Starts a supervisor and waits until the command is confined.
pub(crate) fn launch(
    launcher: &LauncherPath,
    plan: &Plan,
    command: &Command,
    canary: Option<Bait>,
    output: Output,
) -> Result<Running, Error> {
    let began = Instant::now();
    let spec = Spec {
        tier: plan.tier,
        argv: command.argv.clone(),
        cwd: command.cwd.clone(),
        env: command.env.clone(),
        workspace: command.files.workspace.clone(),
        read_only: command.files.read_only.clone(),
        network: command.network.clone(),
        limits: command.limits,
        landlock: plan.landlock,
        proc: plan.proc,
        cgroup: plan.cgroup.clone(),
        bubblewrap: plan.bubblewrap.clone(),
        gvisor: plan.gvisor.clone(),
        is_inside: false,
        user: None,
        tmp: None,
        canary,
    };
    let cannot = |what: &'static str| move |error: io::Error| Error::start(what, error);
    let (control, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| cannot("making a socket pair")(error.into()))?;
    let stdin = stdin(&command.stdin).map_err(cannot("preparing standard input"))?;
    let mut supervisor = Process::new(&launcher.program)
        .args(&launcher.args)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::start(format!("starting `{}`", launcher.program.display()), error))?;
    let (stdout, stderr) = (supervisor.stdout.take(), supervisor.stderr.take());
    let mut running =
        Supervised::new(supervisor, control, [stdout.map(OwnedFd::from), stderr.map(OwnedFd::from)]);
    let said = converse(running.control(), &spec, stdin);
    let (said, reader) = said.map_err(|error| {
        let is_gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind());
        if is_gone { no_supervisor(launcher) } else { Error::start("waiting for the supervisor", error) }
    })?;
    match said {
        Some(Message::Started { isolation, limits }) => {
            running.started(reader, isolation, limits, command.limits, output, began);
            Ok(Running::new(running))
        }
        Some(Message::Failed { what, errno }) => Err(failed(&what, errno, running.first_words())),
        Some(Message::Ended { .. }) | None => Err(no_supervisor(launcher)),
    }
}

fn converse(control: &OwnedFd, spec: &Spec, stdin: OwnedFd) -> io::Result<(Option<Message>, Reader)> {
    let mut reader = Reader::default();
    wire::tell(control, spec, &[stdin])?;
    await_message(control)?;
    Ok((reader.next(control)?, reader))
}

fn no_supervisor(launcher: &LauncherPath) -> Error {
    let what = format!("`{}` is not a supervisor", launcher.program.display());
    Error::new(ErrorKind::Start, what)
        .hint("its `main` has to call `launcher::main` for the arguments that are given to it")
}

fn failed(what: &str, errno: i32, words: Option<String>) -> Error {
    match (errno, words) {
        (0, None) => Error::new(ErrorKind::Start, format!("{what} failed")),
        (0, Some(words)) => Error::new(ErrorKind::Start, format!("{what} failed: {words}")),
        (errno, _) => Error::start(format!("{what} failed"), io::Error::from_raw_os_error(errno)),
    }
}

fn await_message(control: &OwnedFd) -> io::Result<()> {
    let limit = Timespec { tv_sec: START.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut polled = [PollFd::new(control, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut polled, Some(&limit)))?;
    if ready == 0 { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(()) }
}

/// Standard input as a file: whoever reads it slowly, or never, holds nobody up.
fn stdin(stdin: &Stdin) -> io::Result<OwnedFd> {
    match stdin {
        Stdin::Closed => Ok(std::fs::File::open(Path::new("/dev/null"))?.into()),
        Stdin::Bytes(bytes) => {
            let mut file = std::fs::File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
            io::Write::write_all(&mut file, bytes)?;
            io::Seek::rewind(&mut file)?;
            Ok(file.into())
        }
        Stdin::Pipe(end) => end.try_clone(),
    }
}
