//! A tool server with every behaviour the tests need, over HTTP in its own runtime or over stdio in its
//! own process.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorCode, ErrorData,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value, json};
use tenure_journal::Failure;
use tenure_tools::{Call, CallResult, Hints, Limits, McpServers, Server, Servers};
use tokio::sync::{Barrier, mpsc};
use tokio_util::sync::CancellationToken;

/// Tools on each page of the listing.
const PAGE: usize = 2;
/// Calls that must be under way at once before any of them is answered.
pub(crate) const MEETING: usize = 64;

#[derive(Clone)]
pub(crate) struct Bench {
    /// What happened, for the test to wait for.
    pub(crate) seen: mpsc::UnboundedSender<String>,
    meeting: Arc<Barrier>,
}

impl Bench {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (seen, events) = mpsc::unbounded_channel();
        (Self { seen, meeting: Arc::new(Barrier::new(MEETING)) }, events)
    }

    fn see(&self, event: &str) {
        // Nobody listens where the test is in another process.
        let _ = self.seen.send(event.to_owned());
    }
}

impl ServerHandler for Bench {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let from: usize = cursor.map_or(0, |cursor| cursor.parse().expect("our own cursor"));
        let tools = tools();
        let mut page = ListToolsResult::with_all_items(tools.iter().skip(from).take(PAGE).cloned().collect());
        page.next_cursor = (from + PAGE < tools.len()).then(|| (from + PAGE).to_string());
        Ok(page)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        self.see(&format!("called {}", request.name));
        let result = match request.name.as_ref() {
            "echo" => text(echo(&arguments, &context).to_string()),
            "fail" => CallToolResult::error(vec![ContentBlock::text("out of stock")]),
            "structured" => CallToolResult::structured(json!({"total": 3})),
            "big" => text("x".repeat(arguments["bytes"].as_u64().expect("a size") as usize)),
            "pid" => text(std::process::id().to_string()),
            "exit" => std::process::exit(1),
            "meet" => {
                self.meeting.wait().await;
                text(arguments["n"].to_string())
            }
            "wait" => {
                context.ct.cancelled().await;
                self.see("cancelled");
                text("too late".to_owned())
            }
            "surroundings" => {
                let names: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
                text(json!({"env": names, "cwd": std::env::current_dir().expect("a directory")}).to_string())
            }
            "broken" => return Err(ErrorData::new(ErrorCode(-32000), "the printer is on fire", None)),
            "change" => {
                context.peer.notify_tool_list_changed().await.expect("a client that listens");
                text("changed".to_owned())
            }
            "invalid" => return Err(ErrorData::invalid_params("`id` is missing", None)),
            _ => return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "unknown tool", None)),
        };
        Ok(result.into())
    }
}

fn echo(arguments: &Map<String, Value>, context: &RequestContext<RoleServer>) -> Value {
    let headers = context.extensions.get::<Parts>().map(|parts| &parts.headers);
    let header = |name: &str| headers.and_then(|headers| headers.get(name)?.to_str().ok()).map(str::to_owned);
    json!({
        "arguments": arguments,
        "meta": context.meta.0.0,
        "key header": header("idempotency-key"),
        "authorization": header("authorization"),
    })
}

pub(crate) fn tools() -> Vec<Tool> {
    let tool = |name: &'static str| {
        let schema = json!({"type": "object", "properties": {"id": {"type": "string"}}});
        Tool::new(name, format!("does {name}"), schema.as_object().expect("an object").clone())
    };
    let annotated = |name, annotations| {
        let mut tool = tool(name);
        tool.annotations = Some(annotations);
        tool
    };
    let mut remote = tool("remote");
    remote.input_schema =
        Arc::new(json!({"$ref": "https://example.com/schema"}).as_object().expect("an object").clone());
    vec![
        annotated("read", ToolAnnotations::new().read_only(true)),
        annotated("put", ToolAnnotations::new().read_only(false).destructive(false).idempotent(true)),
        remote,
        annotated("refund", ToolAnnotations::new().destructive(true)),
        tool("plain"),
    ]
}

/// An HTTP server in a runtime of its own, so that it can be killed like a process.
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl HttpServer {
    pub(crate) fn start(router: axum::Router, address: Option<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let address = address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(address).expect("a free port");
        let _in_runtime = runtime.enter();
        let listener = socket.listen(128).expect("a listener");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, runtime: Some(runtime) }
    }

    /// A bench, answering with event streams or with plain JSON.
    pub(crate) fn bench(bench: &Bench, plain: bool, address: Option<SocketAddr>) -> Self {
        let bench = bench.clone();
        let config =
            StreamableHttpServerConfig::default().with_legacy_session_mode(!plain).with_json_response(plain);
        let service = StreamableHttpService::new(
            move || Ok(bench.clone()),
            Arc::new(LocalSessionManager::default()),
            config,
        );
        Self::start(axum::Router::new().route_service("/mcp", service), address)
    }

    pub(crate) fn server(&self) -> Server {
        self.server_with(&[], Hints::default())
    }

    pub(crate) fn server_with(&self, headers: &[(&str, &str)], hints: Hints) -> Server {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Server::Http { url: format!("http://{}/mcp", self.address), headers, hints }
    }

    pub(crate) fn kill(mut self) -> SocketAddr {
        self.runtime.take().expect("killed once").shutdown_timeout(std::time::Duration::from_secs(10));
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn pool() -> McpServers {
    McpServers::new(std::env::vars_os(), Limits::default()).expect("a pool")
}

pub(crate) async fn call(
    servers: &McpServers,
    server: &Server,
    name: &str,
    arguments: Value,
) -> Result<CallResult, Failure> {
    call_until(servers, server, name, arguments, &CancellationToken::new()).await
}

pub(crate) async fn call_until(
    servers: &McpServers,
    server: &Server,
    name: &str,
    arguments: Value,
    cancel: &CancellationToken,
) -> Result<CallResult, Failure> {
    let call = Call { name, arguments: &arguments, idempotency_key: "eff_1", metadata: &Map::new() };
    servers.call(server, call, cancel).await
}

pub(crate) fn stdio(command: &str, args: &[&str], env: &[(&str, &str)], timeout_ms: u64) -> Server {
    Server::Stdio {
        command: command.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        cwd: None,
        hints: Hints { timeout_ms: Some(timeout_ms), ..Hints::default() },
    }
}
