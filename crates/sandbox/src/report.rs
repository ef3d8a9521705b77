//! What happened, and what was in force while it did.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How strongly a command is kept apart, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Landlock and seccomp in the host's namespaces, for containers without user namespaces.
    Landlock,
    /// Namespaces of its own, with Landlock where the kernel has it, and seccomp.
    Namespaces,
    /// gVisor in namespaces of its own: another kernel, in user space, answers what the command asks.
    Gvisor,
}

/// What really keeps a command apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The tier.
    pub tier: Tier,
    /// What built it.
    pub launcher: Launcher,
    /// How gVisor comes by the command's system calls; none where the host's kernel answers them.
    pub gvisor: Option<Platform>,
    /// The version of Landlock in force; none in kernels without it.
    pub landlock: Option<u32>,
    /// Whether system calls go through the allow list.
    pub seccomp: bool,
    /// Whether there is a `/proc` of the sandbox's own inside.
    pub proc: bool,
    /// What holds the tree's memory and processes.
    pub group: Group,
    /// The user the command is on the host.
    pub host_uid: u32,
}

/// What built the isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Launcher {
    /// This crate's.
    Own,
    /// Bubblewrap, where it may make namespaces and this crate may not.
    Bubblewrap,
}

/// How gVisor comes by system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Platform {
    /// The kernel's traps, by seccomp; releases since 2023.
    Systrap,
    /// `ptrace`, which is slower and everywhere.
    Ptrace,
}

/// What holds the whole tree of processes to its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Group {
    /// Control groups, version 1.
    CgroupV1,
    /// A control group, version 2.
    CgroupV2,
    /// The supervisor looks every few milliseconds and ends what exceeds.
    Watchdog,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Limit {
    /// Time.
    Wall,
    /// Processor time, in milliseconds.
    Cpu,
    /// Memory, in bytes.
    Memory,
    /// Processes and threads.
    Processes,
    /// One file's length, in bytes.
    FileLength,
    /// Growth of the workspace, in bytes.
    Disk,
    /// What fits into the directory for temporary files, in bytes.
    Tmp,
    /// Descriptors of a process.
    OpenFiles,
    /// Output that is handed on, in bytes.
    Output,
}

/// What enforces a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// A control group.
    Cgroup,
    /// A resource limit of each process.
    Rlimit,
    /// A file system of its own, of that size.
    Tmpfs,
    /// The supervisor, which looks and ends the command.
    Watchdog,
    /// Whoever reads the output.
    Reader,
}

/// One limit as it is enforced. A limit may appear twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// Which.
    pub limit: Limit,
    /// How much, in the limit's unit.
    pub value: u64,
    /// By what.
    pub by: Mechanism,
}

/// Why a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It ended by itself, with this code.
    Exited(i32),
    /// A signal ended it that the sandbox did not send.
    Signalled(i32),
    /// Its program could not be executed.
    NotExecuted(String),
    /// It ran out of time.
    WallLimit,
    /// It ran out of processor time.
    CpuLimit,
    /// It ran out of memory.
    MemoryLimit,
    /// The workspace or the temporary directory grew too large.
    DiskLimit,
    /// Someone asked for its end.
    Cancelled,
    /// The supervisor died before it could say. But for [`Tier::Landlock`], everything died with it.
    Lost(String),
}

impl End {
    /// The code a shell would show.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        /// What shells add to the number of a signal.
        const SIGNAL: i32 = 128;
        match self {
            Self::Exited(code) => *code,
            Self::Signalled(signal) => SIGNAL + signal,
            Self::NotExecuted(_) => 127,
            Self::WallLimit => 124,
            Self::CpuLimit | Self::MemoryLimit | Self::DiskLimit | Self::Cancelled | Self::Lost(_) => {
                SIGNAL + 9
            }
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What kept it apart.
    pub isolation: Isolation,
    /// Every limit, and what enforced it.
    pub limits: Vec<InForce>,
    /// Why it ended.
    pub end: End,
    /// Bytes it wrote, whether handed on or not.
    pub output_bytes: u64,
    /// Whether some of them were dropped.
    pub output_truncated: bool,
    /// How long it ran.
    pub wall: Duration,
    /// Processor time of everything it started, as far as the kernel accounts for it.
    pub cpu: Duration,
    /// The most memory it had: exact with a control group, else the most that was seen.
    pub memory_peak_bytes: u64,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Landlock => "landlock",
            Self::Namespaces => "namespaces",
            Self::Gvisor => "gvisor",
        })
    }
}

impl std::str::FromStr for Tier {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "landlock" => Ok(Self::Landlock),
            "namespaces" => Ok(Self::Namespaces),
            "gvisor" => Ok(Self::Gvisor),
            _ => Err(format!("`{word}` is no tier; there are `gvisor`, `namespaces` and `landlock`")),
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tier)?;
        if let Some(platform) = self.gvisor {
            write!(f, " ({platform})")?;
        }
        match self.landlock {
            Some(version) => write!(f, ", landlock {version}")?,
            None => f.write_str(", no landlock")?,
        }
        f.write_str(if self.seccomp { ", seccomp" } else { ", no seccomp" })?;
        write!(f, ", {}", self.group)?;
        f.write_str(if self.proc { ", own /proc" } else { ", no /proc" })?;
        match self.launcher {
            Launcher::Own => f.write_str(", own launcher")?,
            Launcher::Bubblewrap => f.write_str(", bubblewrap")?,
        }
        write!(f, ", uid {} on the host", self.host_uid)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Systrap => "systrap",
            Self::Ptrace => "ptrace",
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupV1 => "cgroup v1",
            Self::CgroupV2 => "cgroup v2",
            Self::Watchdog => "watchdog",
        })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Signalled(signal) => write!(f, "ended by signal {signal}"),
            Self::NotExecuted(why) => write!(f, "not executed: {why}"),
            Self::WallLimit => f.write_str("out of time"),
            Self::CpuLimit => f.write_str("out of processor time"),
            Self::MemoryLimit => f.write_str("out of memory"),
            Self::DiskLimit => f.write_str("out of disk space"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Lost(why) => write!(f, "lost: {why}"),
        }
    }
}
