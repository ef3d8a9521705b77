//! Reach MCP servers. The official `rmcp` crate does the protocol; this crate decides what a server's
//! words mean to a session: which tools it may offer, what may be repeated, what failed for certain.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tenure_journal::{Failure, ToolDef};
use tokio_util::sync::CancellationToken;

/// A tool's complete result, before the runtime stores or previews it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallResult {
    /// All text of the result, joined; structured content as JSON text when there is no text.
    pub text: String,
    /// Whether the tool itself reports an error.
    pub is_error: bool,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The tool's name on its server.
    pub name: &'a str,
    /// Its arguments; an object.
    pub arguments: &'a Value,
    /// Travels as `_meta["tenure/idempotency-key"]` and, over HTTP, in an `Idempotency-Key` header.
    pub idempotency_key: &'a str,
    /// Further members of `_meta`.
    pub metadata: &'a Map<String, Value>,
}

/// How to reach a server, with its secrets; never written down.
#[derive(Clone, PartialEq, Eq)]
pub enum Server {
    /// Streamable HTTP.
    Http {
        /// The endpoint.
        url: String,
        /// Headers of every request, authorization included.
        headers: BTreeMap<String, String>,
        /// How the server's tools are to be read.
        hints: Hints,
    },
    /// A child process that speaks over standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Its environment beside `PATH`, `HOME`, `LANG` and `TMPDIR`.
        env: BTreeMap<String, String>,
        /// Its working directory.
        cwd: Option<std::path::PathBuf>,
        /// How the server's tools are to be read.
        hints: Hints,
    },
}

/// What the operator knows about a server that its annotations do not say. Annotations are hints from the
/// server; these are configuration and win.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Tools that recognise the idempotency key; `*` means all.
    pub keyed: Vec<String>,
    /// Tools that change nothing.
    pub read_only: Vec<String>,
    /// Tools that may destroy or spend.
    pub destructive: Vec<String>,
    /// How long one call may take.
    pub timeout_ms: Option<u64>,
}

/// Tool servers as a session's effects use them. Connections are kept and shared behind it.
#[async_trait]
pub trait Servers: Send + Sync + 'static {
    /// The server's tools, in its order.
    ///
    /// # Errors
    /// Why they cannot be had; the message is safe for customers.
    async fn list(&self, server: &Server, cancel: &CancellationToken) -> Result<Vec<ToolDef>, Failure>;

    /// Makes one attempt at one call.
    ///
    /// # Errors
    /// Why there is no result. `FailureKind::is_ambiguous` tells whether the tool may have acted.
    async fn call(
        &self,
        server: &Server,
        call: Call<'_>,
        cancel: &CancellationToken,
    ) -> Result<CallResult, Failure>;
}
