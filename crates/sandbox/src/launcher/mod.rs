//! The supervisor: the server's own program, executed again, which builds one sandbox, waits for the first
//! of its many ends, makes sure that nothing is left, and says what happened.
//!
//! It is a program of its own because a server with threads cannot clone itself, and because somebody has to
//! be left when the server is killed.

pub(crate) mod bubblewrap;
mod bundle;
pub(crate) mod canary;
pub(crate) mod cgroup;
mod failure;
mod forward;
pub(crate) mod gvisor;
pub(crate) mod held;
mod identity;
mod init;
pub(crate) mod landlock;
mod mounts;
mod program;
mod scratch;
mod seccomp;
mod start;
mod tree;
mod watch;

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use self::cgroup::Cgroup;
use self::failure::{Failure, Or as _};
use self::init::{NONE, Status};
use self::start::{Sandbox, held};
use self::tree::{Seen, Tree};
use crate::report::{End, Group, Launcher, Tier};
use crate::spec::{CANCEL, Message, Spec};
use crate::sys::{self, Block};
use crate::wire::{self, Reader};

/// Between two looks at processes where control groups hold memory.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks where nothing but the look does.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(10);

/// Time not looking for each time looking.
const LOOK_RATIO: u32 = 4;

/// Supervises one command, told on standard input by the library of this crate in another process. The
/// `main` function of a program whose path is given to [`crate::survey`] calls this first of all when its
/// arguments are those that were given there, before it starts a thread or opens anything.
pub fn main() -> ! {
    let code = match supervise() {
        Ok(()) => 0,
        // The server reads the failure; this is for whoever started it by hand.
        Err(failure) => {
            eprintln!("{}", failure.into_error());
            1
        }
    };
    std::process::exit(code)
}

fn supervise() -> Result<(), Failure> {
    sys::close_from(3).failed("closing inherited descriptors")?;
    let control = rustix::stdio::stdin().try_clone_to_owned().failed("taking the control socket")?;
    sys::begin_session();
    raise_descriptors();
    let mut reader = Reader::default();
    let spec: Option<Spec> = reader.next(&control).failed("reading the specification")?;
    let spec = spec.ok_or_else(|| Failure::plain("reading the specification"))?;
    match reader.handles.pop() {
        Some(stdin) => rustix::stdio::dup2_stdin(&stdin).failed("setting standard input")?,
        None => return Err(Failure::plain("receiving standard input")),
    }
    if spec.is_inside {
        init::inside(&spec, &control);
    }
    let began = Instant::now();
    let sandbox = match Sandbox::start(spec, control.as_fd()) {
        Ok(sandbox) => sandbox,
        Err(Failure { what, errno }) => {
            let failed = Message::Failed { what, errno };
            return wire::tell(&control, &failed, NONE).failed("telling the server");
        }
    };
    let started =
        Message::Started { isolation: sandbox.isolation.clone(), limits: sandbox.limits_in_force() };
    // A server that is gone is noticed by the first poll.
    let _ = wire::tell(&control, &started, NONE);
    let mut supervision = Supervision {
        sandbox,
        control: control.as_fd(),
        began,
        cause: None,
        peak: 0,
        cpu: Duration::ZERO,
        looked: Duration::ZERO,
    };
    let ended = supervision.run();
    // Gone before anyone hears of the end; the control group may go a moment later.
    drop(supervision.sandbox.tmp.take());
    let _ = wire::tell(&control, &ended, NONE);
    Ok(())
}

/// Deep directories need a descriptor for each level.
fn raise_descriptors() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

/// A command that runs.
struct Supervision<'a> {
    sandbox: Sandbox,
    control: std::os::fd::BorrowedFd<'a>,
    began: Instant,
    /// The first reason to end it.
    cause: Option<End>,
    /// The most memory that was seen.
    peak: u64,
    /// The most processor time that was seen. A later look may see less: whoever dies between two reads is
    /// missing from both, and what the kernel counts is rounded for each process.
    cpu: Duration,
    /// How long the last look took.
    looked: Duration,
}

/// What a wait came to.
struct Woken {
    cancelled: bool,
    told: bool,
    ended: bool,
    files: bool,
}

impl Supervision<'_> {
    fn run(&mut self) -> Message {
        let mut own = None;
        loop {
            let woken = self.wait();
            if woken.told {
                own = self.sandbox.told().or(own);
            }
            self.cause = self.cause.take().or_else(|| self.judge(&woken));
            if self.cause.is_some() || woken.ended || own.is_some() {
                break;
            }
        }
        // What is killed together with init is not accounted for by the kernel, and gVisor always is.
        let is_killed = self.cause.is_some() || self.sandbox.isolation.tier == Tier::Gvisor;
        let seen = if is_killed { self.sandbox.cpu() } else { Duration::ZERO };
        let cpu = self.sandbox.kill().max(seen).max(self.cpu);
        // What init said before it died may still lie in the socket.
        let own = own.or_else(|| self.sandbox.told()).or_else(|| self.sandbox.status_of_itself());
        let end = self.end(own, cpu);
        Message::Ended { end, wall: self.began.elapsed(), cpu, memory_peak_bytes: self.memory_peak() }
    }

    fn wait(&self) -> Woken {
        let look = match self.sandbox.isolation.group {
            Group::CgroupV1 | Group::CgroupV2 => LOOK,
            Group::Watchdog => LOOK_AT_MEMORY,
        };
        // On a host with many processes a look takes long.
        let look = look.max(self.looked * LOOK_RATIO);
        let left = self.sandbox.spec.limits.wall.saturating_sub(self.began.elapsed());
        let pause = look.min(left);
        let pause = Timespec { tv_sec: 0, tv_nsec: pause.as_nanos().try_into().unwrap_or(i64::MAX) };
        // An end that is closed would wake this up for ever.
        let status = if self.sandbox.hears { &self.sandbox.status } else { &self.sandbox.child.handle };
        let mut polled = [
            PollFd::from_borrowed_fd(self.control, PollFlags::IN),
            PollFd::new(status, PollFlags::IN),
            PollFd::new(&self.sandbox.child.handle, PollFlags::IN),
            PollFd::new(&self.sandbox.files, PollFlags::IN),
        ];
        // Interrupted is as good as too early.
        let _ = poll(&mut polled, Some(&pause));
        let [control, status, child, files] = polled.map(|polled| !polled.revents().is_empty());
        Woken { cancelled: control && self.is_cancelled(), told: status, ended: child, files }
    }

    /// The server asked, or is gone.
    fn is_cancelled(&self) -> bool {
        let mut byte = [0; 1];
        match rustix::io::read(self.control, &mut byte) {
            Ok(1) => byte[0] == CANCEL,
            Ok(_) | Err(_) => true,
        }
    }

    /// Why it has to end now, if it has to.
    fn judge(&mut self, woken: &Woken) -> Option<End> {
        let limits = held(&self.sandbox.spec);
        if woken.cancelled {
            return Some(End::Cancelled);
        }
        if self.began.elapsed() >= limits.wall {
            return Some(End::WallLimit);
        }
        if woken.files {
            return Some(End::DiskLimit);
        }
        if woken.ended || woken.told {
            return None;
        }
        let began = Instant::now();
        self.sandbox.bury();
        let seen = self.sandbox.tree.see();
        self.cpu = self.cpu.max(seen.cpu() + self.sandbox.buried);
        let is_over = match &self.sandbox.cgroup {
            Some(cgroup) => cgroup.ran_out(),
            None => {
                let bytes =
                    memory(&seen, self.sandbox.isolation.tier, limits.memory_bytes, self.sandbox.device);
                self.peak = self.peak.max(bytes);
                bytes > limits.memory_bytes
            }
        };
        self.looked = began.elapsed();
        match (self.cpu >= limits.cpu, is_over) {
            (true, _) => Some(End::CpuLimit),
            (false, true) => Some(End::MemoryLimit),
            (false, false) => None,
        }
    }

    fn memory_peak(&self) -> u64 {
        self.sandbox.cgroup.as_ref().map_or(self.peak, Cgroup::memory_peak_bytes)
    }

    /// Why it ended, everything considered.
    fn end(&mut self, own: Option<Status>, cpu: Duration) -> End {
        if let Some(cause) = self.cause.take() {
            return cause;
        }
        if self.sandbox.cgroup.as_ref().is_some_and(Cgroup::ran_out) {
            return End::MemoryLimit;
        }
        match own {
            Some(Status::Ended { status }) if libc::WIFEXITED(status) => {
                End::Exited(libc::WEXITSTATUS(status))
            }
            Some(Status::Ended { status }) => match libc::WTERMSIG(status) {
                libc::SIGKILL | libc::SIGXCPU if cpu >= self.sandbox.spec.limits.cpu => End::CpuLimit,
                signal => End::Signalled(signal),
            },
            Some(Status::NotExecuted { why }) => End::NotExecuted(why),
            Some(Status::Failed { what, errno }) => {
                End::Lost(Failure { what, errno }.into_error().to_string())
            }
            Some(Status::Ready) | None => End::Lost("init was killed from outside".to_owned()),
        }
    }
}

/// Memory of the tree. What several processes share is divided only where that decides.
fn memory(seen: &Seen<'_>, tier: Tier, limit_bytes: u64, device: u64) -> u64 {
    let files = seen.deleted(device).memory_bytes;
    match tier {
        // All that the command has lies in one file without a name, which its processes map.
        Tier::Gvisor => return seen.memory_private_bytes() + files,
        Tier::Namespaces | Tier::Landlock => {}
    }
    let processes = seen.memory_bytes();
    if processes + files > limit_bytes { seen.memory_shared_bytes() + files } else { processes + files }
}

impl Sandbox {
    /// The next thing that was said from inside, if it says how the command ended.
    fn told(&mut self) -> Option<Status> {
        let said = self.reader.next(&self.status).unwrap_or_default();
        self.hears = said.is_some();
        said
    }

    /// Ends everything inside, and gives the processor time of it all.
    fn kill(&mut self) -> Duration {
        match self.isolation.tier {
            Tier::Gvisor | Tier::Namespaces => {
                let _ = pidfd_send_signal(&self.child.handle, Signal::KILL);
                let ended = sys::reap(Some(self.child.pid), Block::Yes);
                let cpu = ended.map_or(Duration::ZERO, |ended| ended.cpu);
                self.own_end = ended;
                match self.isolation.launcher {
                    Launcher::Own => cpu,
                    // The first process inside was bubblewrap's child and is this one's now.
                    Launcher::Bubblewrap => cpu + self.tree.kill(),
                }
            }
            Tier::Landlock => {
                self.bury();
                let _ = pidfd_send_signal(&self.child.handle, Signal::KILL);
                if self.own_end.is_none() {
                    self.own_end = sys::reap(Some(self.child.pid), Block::Yes);
                }
                let own = self.own_end.map_or(Duration::ZERO, |ended| ended.cpu);
                self.buried + own + self.tree.kill()
            }
        }
    }

    /// Waits for whatever has ended, where this process is the one that inherits.
    fn bury(&mut self) {
        match self.isolation.tier {
            // Init does, and its own end is left for its handle to tell.
            Tier::Gvisor | Tier::Namespaces => return,
            Tier::Landlock => {}
        }
        while let Some(ended) = sys::reap(None, Block::No) {
            if ended.pid == self.child.pid {
                self.own_end = Some(ended);
            } else {
                self.buried += ended.cpu;
            }
        }
    }

    /// Processor time so far.
    fn cpu(&mut self) -> Duration {
        self.bury();
        self.tree.see().cpu() + self.buried
    }

    fn status_of_itself(&self) -> Option<Status> {
        let status = self.own_end?.status;
        match self.isolation.tier {
            Tier::Gvisor => gvisor::meaning(status),
            // What ends is init, not the command.
            Tier::Namespaces => None,
            Tier::Landlock => Some(Status::Ended { status }),
        }
    }
}

/// Ends of a socket pair that no program inherits.
fn socket_pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// Looks at the tree below this very process.
fn below_this() -> Result<Tree, Failure> {
    Tree::below(i32::try_from(std::process::id()).unwrap_or(0)).failed("opening /proc")
}
