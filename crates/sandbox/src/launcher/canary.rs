//! What runs in place of a program to see whether a sandbox is one: it tries to reach what was planted on
//! the host for it, and says what it reached.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use rustix::thread::{SecureComputingMode, no_new_privs, secure_computing_mode};

use super::program::workspace;
use crate::report::Tier;
use crate::spec::{Bait, Spec};

/// What a line begins with that says of a sandbox that holds what is odd about it.
pub(crate) const NOTE: &str = "note: ";
/// How long a connection to the host's loopback may take to be refused.
const CONNECT: Duration = Duration::from_millis(500);

/// Prints what is wrong, a line for each, and gives the exit code.
pub(crate) fn probe(spec: &Spec, bait: &Bait) -> i32 {
    let inside = workspace(spec).join("canary");
    let port = SocketAddr::from(([127, 0, 0, 1], bait.port));
    let is_alive = Pid::from_raw(bait.process).is_some_and(|pid| test_kill_process(pid).is_ok());
    let is_gvisor = spec.tier == Tier::Gvisor;
    // Root that gVisor makes of an ordinary user has nothing but its name.
    let is_renamed = is_gvisor && spec.user.is_none();
    let is_root = !is_renamed && rustix::process::geteuid().is_root();
    let is_host = rustix::system::uname().version().to_string_lossy() == bait.kernel;
    let findings = [
        (fs::read(&bait.file).is_ok(), "a file of the host can be read"),
        (fs::write("/usr/canary", b"").is_ok(), "the system can be written to"),
        (UnixStream::connect(&bait.socket).is_ok(), "a Unix socket of the host can be reached"),
        (TcpStream::connect_timeout(&port, CONNECT).is_ok(), "a port of the host can be reached"),
        (is_alive, "a process of the host can be signalled"),
        (rustix::process::chroot("/").is_ok(), "the root can be changed"),
        (is_root, "it runs as root"),
        (is_gvisor && is_host, "the host's kernel answers"),
        (!no_new_privs().is_ok_and(|is_set| is_set), "privileges can be gained"),
        (!is_filtered(), "system calls are not filtered"),
        (fs::write(inside, b"tweet").is_err(), "the workspace cannot be written to"),
    ];
    let wrong: Vec<&str> = findings.iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, what)| *what).collect();
    wrong.iter().for_each(|what| println!("{what}"));
    let is_flag_unknown = matches!(statat(CWD, "/", AtFlags::NO_AUTOMOUNT), Err(Errno::INVAL));
    if wrong.is_empty() && is_flag_unknown {
        println!("{NOTE}programs that ask of files as `ls` does get EINVAL; newer releases of gVisor answer");
    }
    i32::from(!wrong.is_empty())
}

fn is_filtered() -> bool {
    matches!(secure_computing_mode(), Ok(SecureComputingMode::Filter))
}
