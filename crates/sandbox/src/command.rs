//! What to run, and everything it may touch.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// Where the workspace is inside, in tiers that have a file system view of their own.
pub const WORKSPACE: &str = "/workspace";
/// Port on the sandbox's loopback address at which [`Network::Restricted`] offers its proxy.
pub const PROXY_PORT: u16 = 3128;

/// Bytes of arguments and environment together. Linux allows about 2 MiB for both.
const WORDS_BYTES_MAX: usize = 1024 * 1024;
/// Directories that one command may be shown beside the workspace.
const READ_ONLY_MAX: usize = 64;
/// Bytes of standard input.
const STDIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Where programs are looked for inside, unless the command declares another `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One command. What is not declared here does not exist inside.
#[derive(Clone)]
pub struct Command {
    /// The program and its arguments. A program without a slash is looked for in `PATH`.
    pub argv: Vec<String>,
    /// Where it starts: absolute, at or below [`WORKSPACE`]. A tier without a view of its own starts it at
    /// the same place below the workspace on the host.
    pub cwd: PathBuf,
    /// Its environment beside `PATH`, `HOME`, `LANG` and `TMPDIR`, which it may replace.
    pub env: BTreeMap<String, String>,
    /// What it sees of the host's files.
    pub files: Files,
    /// What it reaches.
    pub network: Network,
    /// What it may use up.
    pub limits: Limits,
    /// What it reads.
    pub stdin: Stdin,
}

/// Files of the host that exist inside, beside a read-only system.
#[derive(Debug, Clone)]
pub struct Files {
    /// The one directory that can be written to, at [`WORKSPACE`].
    pub workspace: PathBuf,
    /// Files and directories to read and execute, with their place inside. A tier without a view of its
    /// own cannot move them: there both paths must be equal.
    pub read_only: Vec<(PathBuf, PathBuf)>,
}

/// What a command may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Network {
    /// Nothing but its own loopback, where the tier gives it one.
    #[default]
    Disabled,
    /// An HTTP proxy at `127.0.0.1:3128` inside, whose connections arrive at a Unix socket of the host.
    Restricted {
        /// The socket on the host.
        proxy_socket: PathBuf,
    },
    /// The host's network, with everything that listens on its loopback.
    Enabled,
}

/// Standard input.
#[derive(Clone, Default)]
pub enum Stdin {
    /// At its end from the start.
    #[default]
    Closed,
    /// These bytes, then its end.
    Bytes(Vec<u8>),
    /// Whatever comes out of this end of a pipe; see [`crate::Dialogue`].
    Pipe(Arc<OwnedFd>),
}

/// What a command may use up. Each holds for the command with everything it starts, except where a kernel
/// limit of each process is meant: `file_bytes`, `open_files`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time from the start.
    pub wall: Duration,
    /// Processor time.
    pub cpu: Duration,
    /// Memory, with what lies in `/tmp`.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
    /// The length of any one file.
    pub file_bytes: u64,
    /// Growth of the workspace.
    pub disk_bytes: u64,
    /// What fits into `/tmp`.
    pub tmp_bytes: u64,
    /// Descriptors of each process.
    pub open_files: u32,
    /// Output that is handed on, both streams together. What is beyond is read and dropped.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            wall: Duration::from_secs(60),
            cpu: Duration::from_secs(60),
            memory_bytes: 1024 * MIB,
            processes: 128,
            file_bytes: 256 * MIB,
            disk_bytes: 1024 * MIB,
            tmp_bytes: 256 * MIB,
            open_files: 1024,
            output_bytes: MIB,
        }
    }
}

impl Command {
    /// `argv` in `workspace`, with the default limits, no network and closed standard input.
    #[must_use]
    pub fn new(argv: Vec<String>, workspace: PathBuf) -> Self {
        Self {
            argv,
            cwd: PathBuf::from(WORKSPACE),
            env: BTreeMap::new(),
            files: Files { workspace, read_only: Vec::new() },
            network: Network::default(),
            limits: Limits::default(),
            stdin: Stdin::default(),
        }
    }

    /// Whether it can mean something at all, on any tier.
    ///
    /// # Errors
    /// [`ErrorKind::Command`], naming the field.
    pub fn check(&self) -> Result<(), Error> {
        let wrong =
            |field: &str, what: &str| Err(Error::new(ErrorKind::Command, format!("`{field}` {what}")));
        if self.argv.first().is_none_or(String::is_empty) {
            return wrong("argv", "names no program");
        }
        let words = self.argv.iter().chain(self.env.keys()).chain(self.env.values());
        if words.clone().any(|word| word.contains('\0')) {
            return wrong("argv and env", "must not contain a zero byte");
        }
        if words.map(String::len).sum::<usize>() > WORDS_BYTES_MAX {
            return wrong("argv and env", &format!("are longer than {WORDS_BYTES_MAX} bytes together"));
        }
        if self.env.keys().any(|name| name.is_empty() || name.contains('=')) {
            return wrong("env", "has a name that is empty or contains `=`");
        }
        if !is_plain(&self.cwd) || !self.cwd.starts_with(WORKSPACE) {
            return wrong("cwd", &format!("must be at or below `{WORKSPACE}`, without `..`"));
        }
        if !is_plain(&self.files.workspace) {
            return wrong("files.workspace", "must be an absolute path without `..`");
        }
        if self.files.read_only.len() > READ_ONLY_MAX {
            return wrong("files.read_only", &format!("has more than {READ_ONLY_MAX} entries"));
        }
        for (host, inside) in &self.files.read_only {
            if !is_plain(host) || !is_plain(inside) {
                return wrong("files.read_only", "must hold absolute paths without `..`");
            }
            let is_taken = RESERVED.iter().any(|taken| inside.starts_with(taken));
            if is_taken || RESERVED.iter().chain(&["/tmp"]).any(|taken| Path::new(taken).starts_with(inside))
            {
                return wrong("files.read_only", &format!("must not cover `{}`", inside.display()));
            }
        }
        if matches!(&self.stdin, Stdin::Bytes(bytes) if bytes.len() > STDIN_BYTES_MAX) {
            return wrong("stdin", &format!("is longer than {STDIN_BYTES_MAX} bytes"));
        }
        self.limits.check()
    }
}

/// Places inside that are the sandbox's own, with everything below.
const RESERVED: &[&str] = &[WORKSPACE, "/proc", "/dev", "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64"];

impl Limits {
    fn check(&self) -> Result<(), Error> {
        let zero = [
            ("wall", self.wall.is_zero()),
            ("cpu", self.cpu.is_zero()),
            ("memory_bytes", self.memory_bytes == 0),
            ("processes", self.processes == 0),
            ("tmp_bytes", self.tmp_bytes == 0),
            ("open_files", self.open_files == 0),
        ];
        match zero.iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => {
                Err(Error::new(ErrorKind::Command, format!("`limits.{name}` must be more than zero")))
            }
            None => Ok(()),
        }
    }
}

/// Absolute, UTF-8, and nothing in it that goes back up.
fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.to_str().is_some_and(|text| !text.contains('\0'))
        && !path.components().any(|part| part == Component::ParentDir)
}

/// Values of the environment and input may be secret; names and sizes are not.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.argv.first())
            .field("arguments", &self.argv.len().saturating_sub(1))
            .field("cwd", &self.cwd)
            .field("env", &self.env.keys())
            .field("files", &self.files)
            .field("network", &self.network)
            .field("limits", &self.limits)
            .field("stdin", &self.stdin)
            .finish()
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Pipe(_) => f.write_str("Pipe"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Command)) -> String {
        let mut command = Command::new(vec!["true".to_owned()], "/srv/w".into());
        change(&mut command);
        command.check().map_or_else(|error| error.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn says_which_field_is_wrong() {
        assert_eq!(refused(|_| ()), "accepted");
        assert_eq!(refused(|c| c.cwd = "/workspace/a/b".into()), "accepted");
        assert_eq!(refused(|c| c.argv.clear()), "`argv` names no program");
        assert_eq!(refused(|c| c.argv[0].clear()), "`argv` names no program");
        assert_eq!(refused(|c| c.argv.push("a\0b".into())), "`argv and env` must not contain a zero byte");
        assert_eq!(
            refused(|c| c.argv.push("a".repeat(WORDS_BYTES_MAX))),
            "`argv and env` are longer than 1048576 bytes together"
        );
        for name in ["", "A=B"] {
            let error = refused(|c| drop(c.env.insert(name.into(), String::new())));
            assert_eq!(error, "`env` has a name that is empty or contains `=`");
        }
        for cwd in ["/", "workspace", "/workspace/../etc", "/workspaces"] {
            let error = refused(|c| c.cwd = cwd.into());
            assert_eq!(error, "`cwd` must be at or below `/workspace`, without `..`", "{cwd}");
        }
        for workspace in ["", "here", "/srv/../etc"] {
            let error = refused(|c| c.files.workspace = workspace.into());
            assert_eq!(error, "`files.workspace` must be an absolute path without `..`", "{workspace}");
        }
        for inside in ["/", "/usr/lib", "/workspace", "/tmp", "/etc/shadow", "/proc/1"] {
            let error = refused(|c| c.files.read_only.push(("/srv".into(), inside.into())));
            assert_eq!(error, format!("`files.read_only` must not cover `{inside}`"));
        }
        assert_eq!(refused(|c| c.limits.processes = 0), "`limits.processes` must be more than zero");
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut command = Command::new(vec!["true".into(), "hush-1".into()], "/srv/w".into());
        command.env.insert("KEY".into(), "hush-2".into());
        command.stdin = Stdin::Bytes(b"hush-3".to_vec());
        let shown = format!("{command:?}");
        assert!(shown.contains("KEY") && !shown.contains("hush"), "{shown}");
    }
}
