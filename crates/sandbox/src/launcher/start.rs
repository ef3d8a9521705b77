//! Building a sandbox, from outside.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, set_child_subreaper, set_parent_process_death_signal};

use super::bubblewrap;
use super::cgroup::Cgroup;
use super::failure::{Failure, Or as _};
use super::forward;
use super::gvisor;
use super::identity::{Identity, Source};
use super::init::{GO, Init, NONE, Status, await_go};
use super::landlock::{self, Reach, Tcp};
use super::mounts;
use super::program;
use super::scratch::Scratch;
use super::seccomp::Filters;
use super::tree::Tree;
use super::watch::{Files, Place};
use super::{below_this, socket_pair};
use crate::command::{Limits, Network};
use crate::report::{Group, InForce, Isolation, Launcher, Limit, Mechanism, Tier};
use crate::spec::Spec;
use crate::sys::{self, Child, Ended, Side};
use crate::wire::{self, Reader};

/// A command that runs, and everything that holds it.
pub(crate) struct Sandbox {
    pub(crate) spec: Spec,
    pub(crate) isolation: Isolation,
    /// Init, or where there is none the command.
    pub(crate) child: Child,
    pub(crate) status: OwnedFd,
    /// Whether someone may still say something there.
    pub(crate) hears: bool,
    pub(crate) reader: Reader,
    pub(crate) tree: Tree,
    pub(crate) cgroup: Option<Cgroup>,
    /// Closed when files are too large.
    pub(crate) files: OwnedFd,
    /// The file system of the workspace.
    pub(crate) device: u64,
    /// How the command ended, where its end comes to this process.
    pub(crate) own_end: Option<Ended>,
    /// Processor time of what this process inherited and buried.
    pub(crate) buried: Duration,
    pub(crate) tmp: Option<Scratch>,
}

impl Sandbox {
    /// Starts the command of `spec`; when this returns it is confined and about to be executed.
    pub(crate) fn start(mut spec: Spec, control: BorrowedFd<'_>) -> Result<Self, Failure> {
        let filters = Filters::of(&spec)?;
        let held = held(&spec);
        let cgroup = spec.cgroup.as_ref().map(|plan| Cgroup::make(plan, &held)).transpose();
        let cgroup = cgroup.failed("making a control group")?;
        let device = rustix::fs::stat(&spec.workspace).failed("looking at the workspace")?.st_dev;
        let identity = Identity::of(&spec.workspace, spec.tier)?;
        let identity = match spec.tier {
            Tier::Gvisor | Tier::Namespaces => identity,
            Tier::Landlock => identity.take_over(&spec.workspace)?,
        };
        let tmp = match (spec.tier, &spec.bubblewrap) {
            (Tier::Gvisor, _) | (Tier::Namespaces, None) => None,
            (Tier::Namespaces, Some(_)) | (Tier::Landlock, _) => Some(Scratch::make(identity)?),
        };
        spec.tmp = tmp.as_ref().map(|tmp| tmp.path().to_owned());
        let watched = Files::new(places(&spec)).failed("measuring the workspace")?;
        let parts = Parts { cgroup: cgroup.as_ref(), filters: &filters, control };
        let built = match (spec.tier, &spec.bubblewrap) {
            (Tier::Gvisor, _) | (Tier::Namespaces, None) => namespaces(&spec, identity, &parts)?,
            (Tier::Namespaces, Some(bubblewrap)) => {
                let (child, status, reader) = bubblewrap::start(&spec, bubblewrap, identity, parts.cgroup)?;
                finish(&spec, identity, child, status, reader)?
            }
            (Tier::Landlock, _) => alone(&spec, identity, &parts)?,
        };
        let (files, tell) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).failed("making a pipe")?;
        watched.watch(built.tree.try_clone().failed("opening /proc")?, tell);
        let isolation = Isolation {
            tier: spec.tier,
            launcher: if spec.bubblewrap.is_some() { Launcher::Bubblewrap } else { Launcher::Own },
            gvisor: spec.gvisor.as_ref().map(|gvisor| gvisor.platform),
            landlock: spec.landlock,
            seccomp: true,
            proc: spec.proc && spec.tier != Tier::Landlock,
            group: cgroup.as_ref().map_or(Group::Watchdog, Cgroup::group),
            host_uid: built.identity.uid,
        };
        Ok(Self {
            spec,
            isolation,
            child: built.child,
            status: built.status,
            hears: true,
            reader: built.reader,
            tree: built.tree,
            cgroup,
            files,
            device,
            own_end: None,
            buried: Duration::ZERO,
            tmp,
        })
    }

    /// Every limit and what enforces it.
    pub(crate) fn limits_in_force(&self) -> Vec<InForce> {
        let Limits {
            wall,
            cpu,
            memory_bytes,
            processes,
            file_bytes,
            disk_bytes,
            tmp_bytes,
            open_files,
            output_bytes,
        } = self.spec.limits;
        let held = held(&self.spec);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let group = |otherwise| if self.cgroup.is_some() { Mechanism::Cgroup } else { otherwise };
        let tmp = match &self.tmp {
            None => Mechanism::Tmpfs,
            Some(_) => Mechanism::Watchdog,
        };
        let mut limits = vec![
            (Limit::Wall, millis(wall), Mechanism::Watchdog),
            (Limit::Cpu, millis(cpu), Mechanism::Watchdog),
            (Limit::Memory, held.memory_bytes, group(Mechanism::Watchdog)),
            (Limit::Processes, processes.into(), Mechanism::Rlimit),
            (Limit::FileLength, file_bytes, Mechanism::Rlimit),
            (Limit::Disk, disk_bytes, Mechanism::Watchdog),
            (Limit::Tmp, tmp_bytes, tmp),
            (Limit::OpenFiles, open_files.into(), Mechanism::Rlimit),
            (Limit::Output, output_bytes, Mechanism::Reader),
        ];
        match self.isolation.group {
            Group::CgroupV1 => {}
            Group::CgroupV2 => limits.push((Limit::Processes, held.processes.into(), Mechanism::Cgroup)),
            Group::Watchdog => limits.push((Limit::Memory, memory_bytes, Mechanism::Rlimit)),
        }
        limits.into_iter().map(|(limit, value, by)| InForce { limit, value, by }).collect()
    }
}

/// What is held from outside: with gVisor that is more than the command is given, because gVisor itself runs
/// there too.
pub(crate) fn held(spec: &Spec) -> Limits {
    match spec.gvisor {
        None => spec.limits,
        Some(_) => gvisor::with_itself(spec.limits),
    }
}

/// What every tier is built with.
struct Parts<'a> {
    cgroup: Option<&'a Cgroup>,
    filters: &'a Filters,
    /// Where the server is heard.
    control: BorrowedFd<'a>,
}

/// What every tier comes to.
struct Built {
    identity: Identity,
    child: Child,
    status: OwnedFd,
    reader: Reader,
    tree: Tree,
}

fn namespaces(spec: &Spec, identity: Identity, parts: &Parts<'_>) -> Result<Built, Failure> {
    let (identity, trees) = match identity.source {
        Source::Server => (identity, None),
        Source::Passing | Source::Lasting => {
            match mounts::declared(spec, &|path| identity.owner_map(path)) {
                Ok(trees) => (identity, Some(trees)),
                // The file system cannot map owners, or this is a root without that right.
                Err(_) => {
                    let lasting = identity.take_over(&spec.workspace)?;
                    (lasting, Some(mounts::declared(spec, &|_| Ok(None))?))
                }
            }
        }
    };
    identity.own_streams(spec.tier);
    let (status, inner) = socket_pair().failed("making a socket pair")?;
    let network = match spec.network {
        Network::Disabled | Network::Restricted { .. } => libc::CLONE_NEWNET,
        Network::Enabled => 0,
    };
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | network;
    let child = match sys::clone(flags).failed("making namespaces")? {
        Side::Child => {
            drop(status);
            Init { spec, identity, trees, filters: parts.filters, status: inner }.run()
        }
        Side::Parent(child) => child,
    };
    drop((inner, trees));
    identity.map_user(child.pid, spec.tier)?;
    // It is this process's until its streams are released.
    let stdin = match spec.gvisor {
        None => None,
        Some(_) => Some(rustix::stdio::stdin().try_clone_to_owned().failed("keeping standard input")?),
    };
    let reader = go(&child, &status, parts)?;
    if let Some(stdin) = stdin {
        gvisor::greet(spec, identity, &status, stdin, parts.control)?;
    }
    finish(spec, identity, child, status, reader)
}

/// Takes what init opened: a view of its processes, and the place where its proxy is asked for.
fn finish(
    spec: &Spec,
    identity: Identity,
    child: Child,
    status: OwnedFd,
    mut reader: Reader,
) -> Result<Built, Failure> {
    let mut handles = std::mem::take(&mut reader.handles).into_iter();
    let tree = match (spec.proc, handles.next()) {
        (true, Some(proc)) => Tree::Inside(proc),
        (true, None) => return Err(Failure::plain("receiving what init opened")),
        // Init is not its own descendant; the supervisor has no other.
        (false, listener) => {
            handles = listener.into_iter().chain(handles).collect::<Vec<_>>().into_iter();
            below_this()?
        }
    };
    match (&spec.network, handles.next()) {
        (Network::Restricted { proxy_socket }, Some(listener)) => {
            forward::serve(listener, proxy_socket.clone());
        }
        (Network::Restricted { .. }, None) => return Err(Failure::plain("receiving the proxy's listener")),
        (Network::Disabled | Network::Enabled, _) => {}
    }
    Ok(Built { identity, child, status, reader, tree })
}

/// Lets the child confine itself, and go on once that is done and it is in its control group. Moving takes
/// the kernel some milliseconds, in which the child does its part.
fn go(child: &Child, status: &OwnedFd, parts: &Parts<'_>) -> Result<Reader, Failure> {
    rustix::io::write(status, &[GO]).failed("starting init")?;
    if let Some(cgroup) = parts.cgroup {
        cgroup.take(child.pid).failed("entering the control group")?;
    }
    program::release_output();
    let mut reader = Reader::default();
    match reader.next(status).failed("waiting for init")? {
        Some(Status::Ready) => {
            rustix::io::write(status, &[GO]).failed("starting the command")?;
            Ok(reader)
        }
        Some(Status::Failed { what, errno }) => Err(Failure { what, errno }),
        Some(Status::NotExecuted { why }) => Err(Failure::plain(why)),
        Some(Status::Ended { .. }) | None => Err(Failure::plain("waiting for init, which died,")),
    }
}

/// The command as a child of this process, confined by itself.
fn alone(spec: &Spec, identity: Identity, parts: &Parts<'_>) -> Result<Built, Failure> {
    set_child_subreaper(Pid::from_raw(1)).failed("inheriting orphans")?;
    identity.own_streams(spec.tier);
    let (status, inner) = socket_pair().failed("making a socket pair")?;
    let child = match sys::clone(0).failed("starting the command")? {
        Side::Child => {
            drop(status);
            let failure = match confine(spec, identity, &inner) {
                Ok(()) => match wire::tell(&inner, &Status::Ready, NONE).failed("telling the supervisor") {
                    Ok(()) => match await_go(&inner) {
                        Ok(()) => program::become_it(spec, parts.filters, &inner),
                        Err(failure) => failure,
                    },
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            let told = Status::Failed { what: failure.what, errno: failure.errno };
            let _ = wire::tell(&inner, &told, NONE);
            std::process::exit(1)
        }
        Side::Parent(child) => child,
    };
    drop(inner);
    let reader = go(&child, &status, parts)?;
    Ok(Built { identity, child, status, reader, tree: below_this()? })
}

fn confine(spec: &Spec, identity: Identity, status: &OwnedFd) -> Result<(), Failure> {
    await_go(status)?;
    match identity.source {
        Source::Server => {}
        Source::Passing | Source::Lasting => {
            sys::become_user(identity.uid, identity.gid, identity.groups())
                .failed("becoming the command's user")?;
        }
    }
    set_parent_process_death_signal(Some(Signal::KILL)).failed("tying the command to the supervisor")?;
    rustix::thread::set_no_new_privs(true).failed("setting no_new_privs")?;
    sys::drop_capabilities().failed("dropping capabilities")?;
    let mut readable = landlock::paths(landlock::SYSTEM);
    readable.extend(landlock::paths(landlock::ETC));
    readable.extend(spec.read_only.iter().map(|(host, _)| host.clone()));
    let writable = std::iter::once(&spec.workspace).chain(&spec.tmp).cloned().collect();
    let reach = Reach { readable, writable, devices: landlock::paths(landlock::DEVICES), tcp: Tcp::Refused };
    let version = spec.landlock.ok_or_else(|| Failure::plain("finding Landlock"))?;
    landlock::restrict(version, &reach)
        .map_err(|error| Failure::plain(format!("confining by Landlock ({error})")))
}

/// What is watched.
fn places(spec: &Spec) -> Vec<Place> {
    let place = |path: &Path, growth_bytes_max| Place { path: path.to_owned(), growth_bytes_max };
    let tmp = spec.tmp.as_ref().map(|tmp| place(tmp, spec.limits.tmp_bytes));
    std::iter::once(place(&spec.workspace, spec.limits.disk_bytes)).chain(tmp).collect()
}
