//! Reach MCP servers. The official `rmcp` crate does the protocol; this crate decides what a server's
//! words mean to a session: which tools it may offer, what may be repeated, what failed for certain.
//!
//! [`McpServers`] keeps one connection per server and shares it among all sessions. It never repeats a
//! call whose request may have reached the server: what to do after an interruption is the session's
//! decision, and [`tenure_journal::FailureKind::is_ambiguous`] tells it what is known.
//!
//! # What a call's end means
//!
//! | What happened | What `call` returns | May the tool have acted? |
//! |---|---|---|
//! | a result | `Ok`, `is_error` as the server says | it has |
//! | JSON-RPC error -32601 | `ToolNotFound` | no |
//! | JSON-RPC error -32600 or -32602 | `InvalidRequest`, with the server's words | no |
//! | any other JSON-RPC error | `Ok` with `is_error` and the server's words: the server answered, and its answer is that the tool failed | as far as it says |
//! | arguments, metadata, address or headers that cannot be sent | `InvalidRequest` | no |
//! | the connection could not be opened | `Overloaded`; `NotFound` if there is no such program or endpoint | no |
//! | HTTP 401 | `SignInRequired` from [`McpServers`], `Authentication` from [`Reached`], where nobody can sign in | no |
//! | HTTP 403 | `Authentication` | no |
//! | HTTP 404 | `NotFound`; with a session, one fresh session is tried first | no |
//! | HTTP 429 | `RateLimited`, with the delay of `Retry-After` | no |
//! | other HTTP 3xx and 4xx | `InvalidRequest` | no |
//! | HTTP 5xx | `ServerError` | unknown |
//! | the connection broke, or the call was cancelled | `ConnectionFailed` | unknown |
//! | no answer in time | `Timeout` | unknown |
//! | an answer that is not MCP, or too large to be read | `Protocol` | unknown |
//!
//! `list` reports a connection that could not be opened as `ConnectionFailed` or `Timeout`, since nothing
//! hangs on the difference there.

mod address;
mod asking;
mod changes;
mod connection;
mod definition;
mod failure;
mod http;
mod outcome;
mod pool;
mod reached;
mod stdio;
mod via;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tenure_journal::{Confidentiality, Failure, FieldTerms, Labels, ToolDef, ToolEffect};
use tokio_util::sync::CancellationToken;

pub use self::address::Addresses;
pub use self::outcome::RESULT_BYTES_MAX;
pub use self::pool::{Limits, McpServers};
pub use self::reached::Reached;
pub use self::via::{HttpFailure, HttpRequest, HttpResponse, Requests};

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

/// How to reach a server, with its secrets; never written down. `Debug` shows neither header values,
/// environment values, arguments, nor the credentials and query of an address.
#[derive(Clone, PartialEq, Eq, Hash)]
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
///
/// In each list `*` means all tools, and a tool's own name weighs more than `*`. A tool that is named in
/// both `read_only` and `destructive` is destructive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// Tools that recognise the idempotency key; `*` means all.
    pub keyed: Vec<String>,
    /// Tools that change nothing.
    pub read_only: Vec<String>,
    /// Tools that may destroy or spend.
    pub destructive: Vec<String>,
    /// How long one call may take without a sign of progress; 60 seconds if absent.
    pub timeout_ms: Option<u64>,
    /// Whether the operator has configured the server, and so knows what it is.
    pub known: bool,
    /// On which terms its tools are used, by name.
    pub terms: BTreeMap<String, SaidTerms>,
    /// Where it may be reached.
    pub addresses: Addresses,
}

/// What the operator says of the terms on which a tool is used. What is absent is taken from what is said of all
/// tools, or follows from the annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SaidTerms {
    /// What it does to the world.
    pub effect: Option<ToolEffect>,
    /// The highest confidentiality that it may be given.
    pub clearance: Option<Confidentiality>,
    /// The labels of what it gives.
    pub result: Option<Labels>,
    /// The labels of fields of what it gives, by path.
    pub fields: BTreeMap<String, FieldTerms>,
    /// The arguments that decide whom or what a call reaches, by name.
    pub critical: Option<Vec<String>>,
}

impl Server {
    /// How the server's tools are to be read.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        match self {
            Self::Http { hints, .. } | Self::Stdio { hints, .. } => hints,
        }
    }

    /// What distinguishes its connection: everything but the hints about its tools.
    fn endpoint(&self) -> Self {
        let mut endpoint = self.clone();
        match &mut endpoint {
            Self::Http { hints, .. } | Self::Stdio { hints, .. } => {
                *hints = Hints { addresses: hints.addresses, ..Hints::default() };
            }
        }
        endpoint
    }

    /// Where it is, without what is secret and without the hints.
    fn address(&self) -> Self {
        let mut address = self.endpoint();
        match &mut address {
            Self::Http { headers, hints, .. } => {
                headers.clear();
                *hints = Hints::default();
            }
            Self::Stdio { env, hints, .. } => {
                env.clear();
                *hints = Hints::default();
            }
        }
        address
    }

    /// Its name in logs: the address without credentials and query, or the program.
    fn shown(&self) -> String {
        match self {
            Self::Http { url, .. } => shown_url(url),
            Self::Stdio { command, .. } => command.clone(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { headers, hints, .. } => f
                .debug_struct("Http")
                .field("url", &self.shown())
                .field("headers", &headers.keys().collect::<Vec<_>>())
                .field("hints", hints)
                .finish(),
            Self::Stdio { command, args, env, cwd, hints } => f
                .debug_struct("Stdio")
                .field("command", command)
                .field("args", &args.len())
                .field("env", &env.keys().collect::<Vec<_>>())
                .field("cwd", cwd)
                .field("hints", hints)
                .finish(),
        }
    }
}

fn shown_url(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else { return "(not an address)".to_owned() };
    format!("{}{}", url.origin().ascii_serialization(), url.path())
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

    /// How long ago the server last said that its tools have changed; `None` if it never did, as far as this
    /// process knows. Only the address counts: credentials may be left out.
    fn tools_changed(&self, _server: &Server) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secrets() {
        let secret = "s3cr3t-value";
        let map = BTreeMap::from([("Authorization".to_owned(), secret.to_owned())]);
        let http = Server::Http {
            url: format!("https://user:{secret}@example.com:8443/mcp?token={secret}"),
            headers: map.clone(),
            hints: Hints::default(),
        };
        let stdio = Server::Stdio {
            command: "server".to_owned(),
            args: vec![secret.to_owned()],
            env: map,
            cwd: None,
            hints: Hints::default(),
        };
        for (server, name) in [(http, "https://example.com:8443/mcp"), (stdio, "server")] {
            let shown = format!("{server:?}");
            assert!(!shown.contains(secret), "{shown}");
            assert!(shown.contains("Authorization") && shown.contains(name), "{shown}");
            assert_eq!(server.shown(), name);
        }
    }
}
