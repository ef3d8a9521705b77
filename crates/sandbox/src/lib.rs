//! Run a command under declared files, network, time and memory, and report what happened.
//!
//! ```text
//!   server ──spawn──▶ supervisor ──clone──▶ init (pid 1 inside) ──fork──▶ command
//!     ▲  control socket   │    ▲  status socket  │                          │
//!     └───────────────────┘    └─────────────────┘      stdout, stderr ─────┴──▶ server
//! ```
//!
//! The supervisor is the server's own program, executed again ([`launcher`]). It stays outside, waits for
//! the first of many ends, kills what is left and says why. If the server dies its end of the control socket
//! closes and the supervisor kills; if the supervisor dies the kernel kills init, and with init its whole
//! process namespace.
//!
//! Two tiers exist, [`Tier::Namespaces`] and, for containers that may not make namespaces,
//! [`Tier::Landlock`], and none without isolation. [`survey`] runs a canary in each and says what it saw;
//! [`Survey::choose`] gives the strongest that works, or the canary's finding and a remedy. A third,
//! [`Tier::Gvisor`], is looked for by [`survey_gvisor`] and used by whoever asks for it by name.
//!
//! What this crate does not do: keep files, speak HTTP, decide what a command may ask for. It works on Linux
//! and is empty elsewhere.
#![cfg(target_os = "linux")]

mod backend;
mod command;
mod dialogue;
mod error;
pub mod launcher;
mod report;
mod running;
mod spec;
mod survey;
mod sys;
mod wire;

pub use backend::{Backend, Output, Stream};
pub use command::{Command, Files, Limits, Network, PATH, PROXY_PORT, Stdin, WORKSPACE};
pub use dialogue::Dialogue;
pub use error::{Error, ErrorKind};
pub use report::{End, Group, InForce, Isolation, Launcher, Limit, Mechanism, Platform, Report, Tier};
pub use running::{Execution, Killer, Running};
pub use survey::{
    Finding, LauncherPath, Refused, Survey, survey, survey_bubblewrap, survey_gvisor, survey_gvisor_at,
};
