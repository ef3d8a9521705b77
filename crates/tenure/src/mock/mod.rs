//! Two invented services, for demos, examples and tests: an order book and a payment service. They are
//! real MCP servers, so that nothing about reaching them is pretended.

pub(crate) mod ledger;
pub(crate) mod orders;
pub(crate) mod payments;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::json;
use tokio::net::TcpListener;

use self::orders::Orders;
use self::payments::Payments;

/// Where a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Over standard input and output; the service ends when its input does.
    Stdio,
    /// Over streamable HTTP at `/mcp` of this address; port 0 takes a free one. The bound address is
    /// printed as one line of JSON, `{"listening":"http://127.0.0.1:4711/mcp"}`. The service keeps no
    /// sessions: it ends with its process, and not with its clients.
    Http(SocketAddr),
}

/// Why a service could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MockError {
    /// The address cannot be listened on, or standard output is closed.
    #[error("`{address}` cannot be served: {source}")]
    Listen {
        /// The address as given.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The client on the other end of the pipes is not one.
    #[error("the client did not open a session: {0}")]
    Handshake(String),
    /// The ledger cannot be read or written.
    #[error("the ledger `{path}` cannot be used: {source}")]
    Ledger {
        /// Its path as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The ledger is in use by another process.
    #[error("the ledger `{0}` is in use by another process")]
    LedgerInUse(PathBuf),
    /// A line of the ledger is not a refund.
    #[error("line {line} of the ledger `{path}` is not a refund: {reason}")]
    LedgerLine {
        /// The ledger's path as given.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why it is not.
        reason: String,
    },
    /// The shipped orders do not parse.
    #[error("the shipped orders cannot be read: {0}")]
    Orders(#[from] csv::Error),
}

/// Either service, as one type: everything that serves one is compiled for each type anew.
#[derive(Clone)]
pub(crate) enum Service {
    Orders(Orders),
    Payments(Payments),
}

impl ServerHandler for Service {
    fn get_info(&self) -> ServerConfig {
        match self {
            Self::Orders(orders) => orders.get_info(),
            Self::Payments(payments) => payments.get_info(),
        }
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        match self {
            Self::Orders(orders) => orders.list_tools(request, context).await,
            Self::Payments(payments) => payments.list_tools(request, context).await,
        }
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match self {
            Self::Orders(orders) => orders.call_tool(request, context).await,
            Self::Payments(payments) => payments.call_tool(request, context).await,
        }
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        match self {
            Self::Orders(orders) => orders.get_tool(name),
            Self::Payments(payments) => payments.get_tool(name),
        }
    }
}

/// Serves until the input ends, or for ever.
async fn run(service: Service, listen: Listen) -> Result<(), MockError> {
    match listen {
        Listen::Stdio => {
            let serving = service.serve(rmcp::transport::stdio()).await;
            let running = serving.map_err(|error| MockError::Handshake(error.to_string()))?;
            // How it ended does not matter: the client is gone.
            let _ = running.waiting().await;
            Ok(())
        }
        Listen::Http(address) => {
            let failed = |source| MockError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            announce(listener.local_addr().map_err(failed)?).map_err(failed)?;
            axum::serve(listener, router(service)).await.map_err(failed)
        }
    }
}

/// Tells whoever started the service where it listens.
fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", json!({ "listening": format!("http://{address}/mcp") }))?;
    stdout.flush()
}

/// The service as an HTTP application.
pub(crate) fn router(service: Service) -> axum::Router {
    let config =
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(service.clone()), sessions, config);
    axum::Router::new().route_service("/mcp", service)
}

/// A result that tells the model what was wrong with its call.
fn refused(reason: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(reason)])
}
