//! gVisor: another kernel, in user space, between the command and the host's. For whoever asks for it.
//!
//! ```text
//!   supervisor ──clone──▶ init (pid 1) ──▶ runsc ──▶ sentry, the kernel ┄┄▶ this program again ──fork──▶ command
//!        │                                   └─────▶ gofer, its files         (pid 1 of the sentry)
//!        └────────────── status socket, as the standard input of pid 1 ───────────┘
//! ```
//!
//! All of it runs in the namespaces and mounts of [`Tier::Namespaces`](crate::Tier::Namespaces). Whoever breaks
//! out of the sentry finds no more files, processes and networks there than a command of that tier; and what
//! `runsc` starts dies with init, so that no `kill` and no `delete` has to succeed. The process inside is the
//! one that bubblewrap starts too: it confines itself by the same system call filter and limits, runs the
//! command, and says how that ended.
//!
//! A network comes to it through the namespace it is in: with a proxy, that is one in which nothing listens but
//! the proxy's port.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::bundle;
use super::failure::{Failure, Or as _, random_name};
use super::identity::Identity;
use super::init::{GO, NONE, Status, await_go};
use super::mounts::RUNSC;
use super::program;
use crate::command::{Limits, Network};
use crate::spec::{Gvisor, Spec};
use crate::wire::{self, Reader};

/// Where packages and administrators put `runsc`.
pub(crate) const PROGRAMS: &[&str] = &["/usr/bin/runsc", "/usr/local/bin/runsc"];

/// What gVisor itself may take of memory beside the command. Its three processes have about 17 MiB, and there is
/// half of one more for each process inside.
const MEMORY_BYTES: u64 = 96 * 1024 * 1024;
/// Threads of gVisor's own processes.
const PROCESSES: u32 = 256;

/// How long it may take until its first process speaks: less than a server waits for its supervisor.
const START: Duration = Duration::from_secs(25);

/// Its own files, in a directory that the command's `/tmp` covers.
const STATE: &str = "/tmp/.gvisor-state";
const BUNDLE: &str = "/tmp/.gvisor-bundle";

/// What the host has to hold so that the command gets what it is given. Each process inside is one outside.
pub(crate) fn with_itself(limits: Limits) -> Limits {
    Limits {
        memory_bytes: limits.memory_bytes.saturating_add(MEMORY_BYTES),
        processes: limits.processes.saturating_mul(2).saturating_add(PROCESSES),
        ..limits
    }
}

/// The supervisor's part once `runsc` may start: tells the first process inside what to do, and lets it.
/// Gives up with the server that is at the other end of `control`: then everything dies with this process.
pub(crate) fn greet(
    spec: &Spec,
    identity: Identity,
    status: &OwnedFd,
    stdin: OwnedFd,
    control: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let user = identity.keeper.map(|_| identity.inside(spec.tier));
    let inside = Spec { is_inside: true, user, ..spec.clone() };
    // Nobody reads before it has started, and a specification may be larger than what a socket holds.
    set_socket_timeout(status, Timeout::Send, Some(START)).failed("preparing the status socket")?;
    wire::tell(status, &inside, &[stdin]).failed("telling gVisor what to run")?;
    await_word(status, control)?;
    match Reader::default().next(status).failed("waiting for gVisor")? {
        Some(Status::Ready) => {
            rustix::io::write(status, &[GO]).failed("starting the command")?;
            Ok(())
        }
        Some(Status::Failed { what, errno }) => Err(Failure { what, errno }),
        Some(Status::NotExecuted { why }) => Err(Failure::plain(why)),
        Some(Status::Ended { .. }) | None => Err(Failure::plain("waiting for gVisor, which ended,")),
    }
}

fn await_word(status: &OwnedFd, control: BorrowedFd<'_>) -> Result<(), Failure> {
    let limit = Timespec { tv_sec: START.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut polled = [PollFd::new(status, PollFlags::IN), PollFd::from_borrowed_fd(control, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut polled, Some(&limit))).failed("waiting for gVisor")?;
    match (ready, polled[0].revents().is_empty()) {
        (0, _) => Err(Failure::plain(format!("starting gVisor within {} s", START.as_secs()))),
        // Before anything runs the server has nothing to say; it is gone.
        (_, true) => Err(Failure::plain("starting gVisor for a server that is gone")),
        (_, false) => Ok(()),
    }
}

/// Init's part: runs `runsc`, and says why if that ends before the supervisor has heard of the command's end
/// and killed it.
pub(crate) fn live(spec: &Spec, gvisor: &Gvisor, status: &OwnedFd, handles: &[OwnedFd]) -> i32 {
    if wire::tell(status, &Status::Ready, handles).is_err() || await_go(status).is_err() {
        return 1;
    }
    let (code, told) = match run(spec, gvisor, status) {
        Ok(Some(signal)) => (signal, Status::Ended { status: signal }),
        Ok(None) => (FAILED, Status::Failed { what: FAILURE.to_owned(), errno: 0 }),
        Err(Failure { what, errno }) => (FAILED, Status::Failed { what, errno }),
    };
    // The sentry shuts the socket when it ends, so what is said may not be heard; the code is.
    let _ = wire::tell(status, &told, NONE);
    code
}

/// What init's own end says of the command, where the command's end was not told.
pub(crate) fn meaning(init: i32) -> Option<Status> {
    match libc::WIFEXITED(init).then(|| libc::WEXITSTATUS(init))? {
        FAILED => Some(Status::Failed { what: FAILURE.to_owned(), errno: 0 }),
        signal => Some(Status::Ended { status: signal }),
    }
}

/// Init's code where no signal ended the first process of the container; beyond every signal's number.
const FAILED: i32 = 100;
const FAILURE: &str = "running gVisor";

/// Runs it to its end, and gives the signal that ended the first process inside, if it was one: where a command
/// is the same user, it may.
fn run(spec: &Spec, gvisor: &Gvisor, status: &OwnedFd) -> Result<Option<i32>, Failure> {
    /// What it adds to a signal's number for its own exit code, and ends with if it fails itself.
    const SIGNAL: i32 = 128;
    // Releases of 2022 listen at a name of the network that they are in, which may be the host's.
    let name = random_name()?;
    for directory in [STATE, BUNDLE] {
        std::fs::create_dir(directory).failed("making a bundle")?;
    }
    std::fs::write(Path::new(BUNDLE).join("config.json"), bundle::text(spec, gvisor))
        .failed("writing a bundle")?;
    let status = status.try_clone().failed("handing the status socket on")?;
    let mut runsc = Process::new(RUNSC)
        .args(arguments(spec, gvisor, &name))
        .env_clear()
        .stdin(Stdio::from(status))
        .spawn()
        .or_else_failed(|| format!("starting `{}`", gvisor.program.display()))?;
    program::release_output();
    let ended = runsc.wait().failed("waiting for gVisor")?;
    Ok(ended.code().map(|code| code - SIGNAL).filter(|signal| *signal > 0))
}

fn arguments(spec: &Spec, gvisor: &Gvisor, name: &str) -> Vec<String> {
    let network = match spec.network {
        Network::Disabled => "none",
        // What is "the host" to it is the namespace it runs in.
        Network::Restricted { .. } | Network::Enabled => "host",
    };
    [
        &format!("--root={STATE}"),
        "--rootless",
        &format!("--platform={}", gvisor.platform),
        &format!("--network={network}"),
        // The supervisor's group holds it.
        "--ignore-cgroups",
        "--overlay2=none",
        "run",
        "--bundle",
        BUNDLE,
        name,
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_room_for_itself() {
        let limits = Limits::default();
        let held = with_itself(limits);
        assert_eq!(held.memory_bytes, limits.memory_bytes + MEMORY_BYTES);
        assert_eq!(with_itself(Limits { memory_bytes: u64::MAX, ..limits }).memory_bytes, u64::MAX);
    }
}
