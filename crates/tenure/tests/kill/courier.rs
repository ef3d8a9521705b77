//! A tool server that knows no idempotency keys: every call ships a parcel. It runs in the test's own
//! process, outlives every kill, and remembers what it did.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The service.
#[derive(Clone)]
pub(crate) struct Courier {
    shipped: Arc<Mutex<Vec<String>>>,
    /// How many parcels left.
    count: Arc<watch::Sender<usize>>,
    /// Whether parcels leave without the caller being told.
    silent: Arc<watch::Sender<bool>>,
    tool_router: ToolRouter<Self>,
}

/// Which order's parcel.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ship {
    /// The order's id.
    order_id: String,
}

impl Courier {
    /// Serves on a free port; gives the address.
    pub(crate) async fn serve() -> (Self, String) {
        let courier = Self {
            shipped: Arc::default(),
            count: Arc::new(watch::Sender::new(0)),
            silent: Arc::new(watch::Sender::new(false)),
            tool_router: Self::tool_router(),
        };
        let service = courier.clone();
        let config =
            StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
        let sessions = Arc::new(NeverSessionManager::default());
        let service = StreamableHttpService::new(move || Ok(service.clone()), sessions, config);
        let app = axum::Router::new().route_service("/mcp", service);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
        (courier, format!("http://{address}/mcp"))
    }

    /// The order of every parcel that left, in order.
    pub(crate) fn shipped(&self) -> Vec<String> {
        self.shipped.lock().expect("no panics").clone()
    }

    /// Keeps callers waiting from now on; returns when a parcel left, or when `patience` is at its end.
    pub(crate) async fn ship_one_silently(&self, patience: Duration) -> bool {
        self.silent.send_replace(true);
        let mut count = self.count.subscribe();
        let before = *count.borrow_and_update();
        tokio::time::timeout(patience, count.wait_for(|count| *count > before)).await.is_ok()
    }

    /// Answers everybody again.
    pub(crate) fn speak(&self) {
        self.silent.send_replace(false);
    }
}

#[tool_router]
impl Courier {
    #[tool(
        description = "Ships an order's parcel. Every call ships one.",
        annotations(read_only_hint = false, destructive_hint = true, idempotent_hint = false)
    )]
    async fn ship(&self, Parameters(Ship { order_id }): Parameters<Ship>) -> CallToolResult {
        self.shipped.lock().expect("no panics").push(order_id);
        self.count.send_modify(|count| *count += 1);
        let mut silent = self.silent.subscribe();
        // The sender is this service's own.
        let _ = silent.wait_for(|silent| !silent).await;
        CallToolResult::success(vec![ContentBlock::text("shipped")])
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Courier {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("courier", "1"))
    }
}
