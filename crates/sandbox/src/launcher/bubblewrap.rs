//! Namespaces built by bubblewrap, for hosts that let it make them and nobody else: Ubuntu's AppArmor rule
//! does so since 23.10. Ordinary users only; root may make namespaces itself.
//!
//! ```text
//!   supervisor ──clone──▶ bubblewrap ──▶ this program again, as process 1 ──fork──▶ command
//!        └──────────── status socket, as its standard input ──────┘
//! ```
//!
//! Bubblewrap builds the mounts and the namespaces. What is inside then confines itself as everywhere:
//! Landlock, no capabilities, the system call filter, resource limits. Different from this crate's own mounts
//! are two things that bubblewrap has no words for: there is no `/proc`, because it would show the machine,
//! and `/tmp` is a directory of the host, watched like the workspace, because files of a tmpfs could not be
//! counted.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::Command as Process;

use rustix::process::{Pid, Signal, set_child_subreaper, set_parent_process_death_signal};

use super::cgroup::Cgroup;
use super::failure::{Failure, Or as _};
use super::identity::{Identity, Source};
use super::init::{GO, NONE, Status, await_go};
use super::landlock::{DEVICES, ETC, ETC_NETWORK, SYSTEM};
use super::mounts::{GROUP, HOSTS, PASSWD, SUPERVISOR, USER};
use super::{program, socket_pair};
use crate::command::{Network, WORKSPACE};
use crate::spec::{Bubblewrap, Spec};
use crate::sys::{self, Child, Side};
use crate::wire::{self, Reader};

/// The first release that does not follow links of the new root to the places that it mounts at.
const VERSION_MIN: [u32; 2] = [0, 12];

/// The version that `program` says it is, if it is bubblewrap.
pub(crate) fn version(program: &Path) -> Option<[u32; 2]> {
    let output = Process::new(program).arg("--version").env_clear().output().ok()?;
    parse_version(std::str::from_utf8(&output.stdout).ok()?)
}

fn parse_version(said: &str) -> Option<[u32; 2]> {
    let mut numbers = said.trim().strip_prefix("bubblewrap ")?.split('.').map(|part| part.parse().ok());
    Some([numbers.next()??, numbers.next()??])
}

/// Whether a version is used without being asked for; if not, what to change.
pub(crate) fn obstacle(version: Option<[u32; 2]>) -> Option<String> {
    let [least, minor] = VERSION_MIN;
    match version {
        None => Some(format!("install bubblewrap {least}.{minor} or later")),
        Some(found) if found < VERSION_MIN => {
            Some(format!("install bubblewrap {least}.{minor} or later; here it is {}.{}", found[0], found[1]))
        }
        Some(_) => None,
    }
}

/// Starts bubblewrap and waits until what is inside has confined itself.
pub(crate) fn start(
    spec: &Spec,
    bubblewrap: &Bubblewrap,
    identity: Identity,
    cgroup: Option<&Cgroup>,
) -> Result<(Child, OwnedFd, Reader), Failure> {
    match identity.source {
        Source::Server if !rustix::process::geteuid().is_root() => {}
        Source::Server | Source::Passing | Source::Lasting => {
            return Err(Failure::plain("being an ordinary user, which bubblewrap is for,"));
        }
    }
    set_child_subreaper(Pid::from_raw(1)).failed("inheriting orphans")?;
    let files = [("/etc/passwd", PASSWD), ("/etc/group", GROUP), ("/etc/hosts", HOSTS)];
    let mut data = Vec::new();
    for (path, text) in files {
        data.push((path, memory_file(text).failed("writing what is made rather than shown")?));
    }
    let words = arguments(spec, bubblewrap, &data)?;
    let stdin = rustix::stdio::stdin().try_clone_to_owned().failed("keeping standard input")?;
    let (status, inner) = socket_pair().failed("making a socket pair")?;
    let child = match sys::clone(0).failed("starting bubblewrap")? {
        Side::Child => {
            drop(status);
            let why = become_it(bubblewrap, &words, &data, &inner);
            let told = Status::Failed { what: why.what, errno: why.errno };
            let _ = wire::tell(&inner, &told, NONE);
            std::process::exit(1)
        }
        Side::Parent(child) => child,
    };
    drop(inner);
    // Before it starts anything, so that everything is in it.
    if let Some(cgroup) = cgroup {
        cgroup.take(child.pid).failed("entering the control group")?;
    }
    rustix::io::write(&status, &[GO]).failed("starting bubblewrap")?;
    let inside = Spec { is_inside: true, ..spec.clone() };
    let told = wire::tell(&status, &inside, &[stdin]);
    program::release_output();
    let mut reader = Reader::default();
    let said = told.and_then(|()| reader.next(&status));
    match said.failed("waiting for bubblewrap")? {
        Some(Status::Ready) => {
            rustix::io::write(&status, &[GO]).failed("starting the command")?;
            Ok((child, status, reader))
        }
        Some(Status::Failed { what, errno }) => Err(Failure { what, errno }),
        Some(Status::NotExecuted { why }) => Err(Failure::plain(why)),
        Some(Status::Ended { .. }) | None => Err(Failure::plain("waiting for bubblewrap, which ended,")),
    }
}

/// The last steps of the process that becomes bubblewrap.
fn become_it(
    bubblewrap: &Bubblewrap,
    words: &[CString],
    data: &[(&str, OwnedFd)],
    inner: &OwnedFd,
) -> Failure {
    let prepared = await_go(inner).and_then(|()| {
        set_parent_process_death_signal(Some(Signal::KILL)).failed("tying bubblewrap to the supervisor")?;
        for (_, file) in data {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).failed("handing files on")?;
        }
        rustix::stdio::dup2_stdin(inner).failed("handing the status socket on")
    });
    if let Err(failure) = prepared {
        return failure;
    }
    sys::default_signals();
    match CString::new(bubblewrap.program.as_os_str().as_encoded_bytes()) {
        Ok(path) => Failure::new("executing bubblewrap", &sys::execute(&path, words, &[])),
        Err(_) => Failure::plain("naming bubblewrap"),
    }
}

/// What bubblewrap is told: the same view as this crate's own mounts give, but for `/proc` and `/tmp`.
fn arguments(
    spec: &Spec,
    bubblewrap: &Bubblewrap,
    data: &[(&str, OwnedFd)],
) -> Result<Vec<CString>, Failure> {
    let mut words: Vec<String> =
        ["bwrap", "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts"]
            .map(str::to_owned)
            .to_vec();
    let mut say = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    let network = match spec.network {
        Network::Disabled | Network::Restricted { .. } => {
            say(&["--unshare-net"]);
            &[][..]
        }
        Network::Enabled => ETC_NETWORK,
    };
    let user = USER.to_string();
    say(&["--unshare-cgroup-try", "--uid", &user, "--gid", &user, "--hostname", "sandbox"]);
    say(&["--die-with-parent", "--as-pid-1"]);
    for path in SYSTEM {
        match std::fs::read_link(path) {
            Ok(target) => say(&["--symlink", text(&target)?, path]),
            Err(_) => say(&["--ro-bind-try", path, path]),
        }
    }
    for path in ETC.iter().chain(network) {
        say(&["--ro-bind-try", path, path]);
    }
    for (path, file) in data {
        // The host's own is shown with its network.
        if !network.contains(path) {
            say(&["--perms", "0444", "--ro-bind-data", &file.as_raw_fd().to_string(), path]);
        }
    }
    for path in DEVICES {
        say(&["--dev-bind", path, path]);
    }
    let tmp = spec.tmp.as_deref().ok_or_else(|| Failure::plain("finding a temporary directory"))?;
    say(&["--bind", text(tmp)?, "/tmp", "--symlink", "/tmp", "/dev/shm"]);
    say(&["--bind", text(&spec.workspace)?, WORKSPACE]);
    for (host, inside) in &spec.read_only {
        say(&["--ro-bind", text(host)?, text(inside)?]);
    }
    say(&["--ro-bind", text(&bubblewrap.launcher)?, SUPERVISOR, "--remount-ro", "/", "--chdir", "/"]);
    say(&["--", SUPERVISOR]);
    words.extend(bubblewrap.args.iter().cloned());
    words
        .into_iter()
        .map(|word| CString::new(word).map_err(|_| Failure::plain("naming a path with a zero byte")))
        .collect()
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::plain(format!("naming `{}`, which is not UTF-8,", path.display())))
}

fn memory_file(text: &str) -> std::io::Result<OwnedFd> {
    let mut file = std::fs::File::from(rustix::fs::memfd_create("data", rustix::fs::MemfdFlags::CLOEXEC)?);
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_bubblewrap_to_use() {
        for (said, expected) in [
            ("bubblewrap 0.12.0\n", None),
            ("bubblewrap 1.0\n", None),
            ("bubblewrap 0.11.2\n", Some("install bubblewrap 0.12 or later; here it is 0.11")),
            ("bwrap: unknown option", Some("install bubblewrap 0.12 or later")),
            ("", Some("install bubblewrap 0.12 or later")),
        ] {
            assert_eq!(obstacle(parse_version(said)).as_deref(), expected, "{said}");
        }
    }
}
