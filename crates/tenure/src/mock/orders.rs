//! The order book: a few hundred invented orders, read-only.

use std::sync::Arc;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Listen, MockError, Service, refused, run};

const ORDERS: &str = include_str!("../../data/orders.csv");
/// Orders that one search shows unless it asks for another number.
const LIMIT_DEFAULT: usize = 20;
/// Orders that one search may show.
const LIMIT_MAX: usize = 100;

/// How to serve the orders.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where.
    pub(crate) listen: Listen,
}

/// Serves the orders until the input ends, or for ever.
///
/// # Errors
/// The address cannot be used, or the client on the pipes is none.
pub(crate) async fn serve(options: Options) -> Result<(), MockError> {
    run(Service::Orders(Orders::shipped()?), options.listen).await
}

/// The service.
#[derive(Clone)]
pub(crate) struct Orders {
    orders: Arc<[Order]>,
    tool_router: ToolRouter<Self>,
}

/// One order; amounts are in hundredths of the currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    id: String,
    customer: String,
    email: String,
    item: String,
    quantity: u32,
    total_cents: u64,
    currency: String,
    status: Status,
    ordered_at: String,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Status {
    Processing,
    Shipped,
    Delivered,
    Returned,
    Cancelled,
}

/// Which order.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetOrder {
    /// The order's id, for example `ord_1042`.
    id: String,
}

/// Which orders.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchOrders {
    /// Part of the customer's name or email address, in any case.
    #[serde(default)]
    customer: Option<String>,
    /// Where the order stands.
    #[serde(default)]
    status: Option<Status>,
    /// How many orders to show, 100 at most; 20 if absent.
    #[serde(default)]
    limit: Option<usize>,
}

impl Orders {
    /// The orders that ship with the program.
    ///
    /// # Errors
    /// The shipped file does not parse, which a test rules out.
    pub(crate) fn shipped() -> Result<Self, MockError> {
        let orders: Result<Vec<Order>, _> =
            csv::Reader::from_reader(ORDERS.as_bytes()).deserialize().collect();
        Ok(Self { orders: orders?.into(), tool_router: Self::tool_router() })
    }
}

#[tool_router]
impl Orders {
    #[tool(
        description = "Returns one order by its id.",
        annotations(title = "Get an order", read_only_hint = true, open_world_hint = false)
    )]
    async fn get_order(&self, Parameters(wanted): Parameters<GetOrder>) -> CallToolResult {
        match self.orders.iter().find(|order| order.id == wanted.id) {
            Some(order) => CallToolResult::structured(json!(order)),
            None => refused(format!("there is no order `{}`; ids look like `ord_1042`", wanted.id)),
        }
    }

    #[tool(
        description = "Finds orders by customer and status, oldest first. `matches` counts all that match, `orders` shows the first of them.",
        annotations(title = "Search orders", read_only_hint = true, open_world_hint = false)
    )]
    async fn search_orders(&self, Parameters(wanted): Parameters<SearchOrders>) -> CallToolResult {
        let limit = wanted.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return refused(format!("`limit` is {limit} and must be between 1 and {LIMIT_MAX}"));
        }
        let customer = wanted.customer.unwrap_or_default().to_lowercase();
        let matches = |order: &&Order| {
            let is_theirs =
                order.customer.to_lowercase().contains(&customer) || order.email.contains(&customer);
            is_theirs && wanted.status.is_none_or(|status| order.status == status)
        };
        let found: Vec<&Order> = self.orders.iter().filter(matches).collect();
        let shown = &found[..found.len().min(limit)];
        CallToolResult::structured(json!({ "matches": found.len(), "orders": shown }))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Orders {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("orders", env!("CARGO_PKG_VERSION")))
            .with_instructions("An invented order book. Amounts are in hundredths of the currency.")
    }
}
