//! What the server and its supervisor say to each other, over one socket: a [`Spec`] on the way in, then
//! [`Message`]s on the way back. One JSON text a line.
//!
//! The specification never travels in arguments or an environment, which every process of the same user
//! could read: it holds values that may be secret.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{Limits, Network};
use crate::report::{End, InForce, Isolation, Platform, Tier};

/// Bytes of one message; the largest is a specification.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What the server writes to end the command; its end of the socket being closed means the same.
pub(crate) const CANCEL: u8 = b'K';

/// Everything the supervisor needs to know.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) tier: Tier,
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) workspace: PathBuf,
    pub(crate) read_only: Vec<(PathBuf, PathBuf)>,
    pub(crate) network: Network,
    pub(crate) limits: Limits,
    /// The version of Landlock to use.
    pub(crate) landlock: Option<u32>,
    /// Whether a fresh `/proc` can be mounted.
    pub(crate) proc: bool,
    pub(crate) cgroup: Option<CgroupPlan>,
    /// What builds the namespaces, if this crate does not.
    pub(crate) bubblewrap: Option<Bubblewrap>,
    /// What gVisor is run by, in its tier.
    pub(crate) gvisor: Option<Gvisor>,
    /// Whether this is told to what bubblewrap or gVisor started, rather than to a supervisor.
    pub(crate) is_inside: bool,
    /// Who the first process inside has to become to be the command, where it is somebody else.
    pub(crate) user: Option<u32>,
    /// The directory for temporary files on the host, made by the supervisor where there is no own `/tmp`.
    #[serde(skip)]
    pub(crate) tmp: Option<PathBuf>,
    /// Run these probes in place of a program.
    pub(crate) canary: Option<Bait>,
}

/// Bubblewrap, and what it is to start inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bubblewrap {
    /// The program.
    pub(crate) program: PathBuf,
    /// This very program, as a path of the host.
    pub(crate) launcher: PathBuf,
    /// What makes it a supervisor.
    pub(crate) args: Vec<String>,
}

/// gVisor, and what it is to start inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gvisor {
    /// `runsc`.
    pub(crate) program: PathBuf,
    pub(crate) platform: Platform,
    /// This very program, as a path of the host.
    pub(crate) launcher: PathBuf,
    /// What makes it a supervisor.
    pub(crate) args: Vec<String>,
}

/// Where control groups can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CgroupPlan {
    V1 { memory: PathBuf },
    V2 { parent: PathBuf },
}

/// What was planted on the host for the canary to fail at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bait {
    /// A file that everybody may read.
    pub(crate) file: PathBuf,
    /// A path at which a Unix socket listens.
    pub(crate) socket: PathBuf,
    /// A port on the host's loopback at which something listens.
    pub(crate) port: u16,
    /// A process of the host.
    pub(crate) process: i32,
    /// What the host's kernel says it was built as.
    pub(crate) kernel: String,
}

/// What the supervisor says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Everything is in force and the program is about to be executed.
    Started { isolation: Isolation, limits: Vec<InForce> },
    /// It could not be put in force; nothing ran.
    Failed { what: String, errno: i32 },
    /// The command ended, and everything it started is dead.
    Ended { end: End, wall: Duration, cpu: Duration, memory_peak_bytes: u64 },
}
