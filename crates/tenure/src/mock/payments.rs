//! The payment service: refunds on a ledger that outlives it.
//!
//! A call that carries an idempotency key is refunded once, however often it arrives. A call without one
//! is refunded every time, so that a caller who repeats itself shows in the ledger.
//!
//! # Being interrupted at the worst moment
//!
//! With `hold_after_commit`, and for as long as that file exists, a refund that has just been written to
//! the ledger is not answered:
//!
//! ```text
//!   refund called ─▶ written and synced ─▶ file exists? ── no ──▶ answered
//!                                              │ yes                 ▲
//!                                              ▼                     │ file removed
//!                                   `<file>.held` appears ─▶ waits ──┘ and `<file>.held` with it
//! ```
//!
//! Whoever waits for `<file>.held` knows that the money has moved and that the caller does not know it.
//! A repetition of that call moves no money and is answered at once, whether the file is still there or
//! not.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, Implementation, RequestMetaObject, ServerCapabilities, ServerConfig};
use rmcp::{ErrorData, ServerHandler, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::{Declined, Ledger, Made, Refund, Request};
use super::{Listen, MockError, Service, refused, run};

/// Where a call's idempotency key is in its `_meta`.
const KEY_IN_META: &str = "tenure/idempotency-key";
/// Bytes of an order's id and of an idempotency key.
const ID_BYTES_MAX: usize = 128;
/// Bytes of a reason.
const REASON_BYTES_MAX: usize = 1024;
/// The largest refund, in hundredths: ten million.
const AMOUNT_CENTS_MAX: u64 = 1_000_000_000;
/// Refunds that one listing shows.
const LISTED_MAX: usize = 200;
/// How often a held refund looks whether it may go on.
const HOLD_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// How to serve payments.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where.
    pub(crate) listen: Listen,
    /// The ledger: a file of one JSON object a line, created if absent.
    pub(crate) ledger: PathBuf,
    /// While this file exists, a refund is not answered once it is made.
    pub(crate) hold_after_commit: Option<PathBuf>,
}

/// Serves payments until the input ends, or for ever.
///
/// # Errors
/// The ledger or the address cannot be used, or the client on the pipes is none.
pub(crate) async fn serve(options: Options) -> Result<(), MockError> {
    let listen = options.listen;
    run(Service::Payments(Payments::open(options)?), listen).await
}

/// The service.
#[derive(Clone)]
pub(crate) struct Payments {
    ledger: Arc<Mutex<Ledger>>,
    hold: Option<Arc<Path>>,
    tool_router: ToolRouter<Self>,
}

/// Which refund to make.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeRefund {
    /// The order's id, for example `ord_1042`.
    order_id: String,
    /// How much to give back, in hundredths of the order's currency; more than 0.
    amount_cents: u64,
    /// Why, in a few words.
    reason: String,
}

/// Which order's refunds.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetRefund {
    /// The order's id, for example `ord_1042`.
    order_id: String,
}

impl Payments {
    /// Opens the ledger and replays it.
    ///
    /// # Errors
    /// The ledger cannot be used.
    pub(crate) fn open(options: Options) -> Result<Self, MockError> {
        Ok(Self {
            ledger: Arc::new(Mutex::new(Ledger::open(&options.ledger)?)),
            hold: options.hold_after_commit.map(Into::into),
            tool_router: Self::tool_router(),
        })
    }

    /// Commits, and holds the answer if asked to.
    async fn make(self, request: Request) -> Result<Made, Declined> {
        let ledger = self.ledger.clone();
        let commit = move || {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.refund(request, jiff::Timestamp::now())
        };
        let made = tokio::task::spawn_blocking(commit).await.map_err(|_| Declined::Broken)??;
        if let (Made::Now(refund), Some(hold)) = (&made, &self.hold) {
            wait_while_held(hold, refund).await;
        }
        Ok(made)
    }

    fn select(&self, wanted: impl Fn(&Refund) -> bool) -> Value {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<&Refund> = ledger.refunds().iter().filter(|refund| wanted(refund)).collect();
        let total_cents: u64 = found.iter().map(|refund| refund.amount_cents).sum();
        let newest: Vec<&Refund> = found.iter().rev().take(LISTED_MAX).copied().collect();
        json!({ "count": found.len(), "total_cents": total_cents, "refunds": newest })
    }
}

#[tool_router]
impl Payments {
    #[tool(
        description = "Refunds money to the customer of an order. This moves money and cannot be undone.",
        annotations(
            title = "Refund an order",
            read_only_hint = false,
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn refund(
        &self,
        Parameters(wanted): Parameters<MakeRefund>,
        meta: RequestMetaObject,
    ) -> Result<CallToolResult, ErrorData> {
        let request = match checked(wanted, &meta) {
            Ok(request) => request,
            Err(reason) => return Ok(refused(reason)),
        };
        // In a task of its own, a refund is made and held whether or not its caller stays.
        let made = tokio::spawn(self.clone().make(request)).await;
        let made = made.map_err(|_| ErrorData::internal_error("the refund failed", None))?;
        Ok(match made {
            Ok(Made::Now(refund)) => CallToolResult::structured(receipt(&refund, false)),
            Ok(Made::Before(refund)) => CallToolResult::structured(receipt(&refund, true)),
            Err(declined @ (Declined::KeyReused(_) | Declined::Full | Declined::Broken)) => {
                refused(declined.to_string())
            }
        })
    }

    #[tool(
        description = "Returns the refunds of one order, newest first, and their total.",
        annotations(title = "Get an order's refunds", read_only_hint = true, open_world_hint = false)
    )]
    async fn get_refund(&self, Parameters(wanted): Parameters<GetRefund>) -> CallToolResult {
        CallToolResult::structured(self.select(|refund| refund.order_id == wanted.order_id))
    }

    #[tool(
        description = "Returns all refunds, newest first, 200 at most, and the number and total of all.",
        annotations(title = "List refunds", read_only_hint = true, open_world_hint = false)
    )]
    async fn list_refunds(&self) -> CallToolResult {
        CallToolResult::structured(self.select(|_| true))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Payments {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("payments", env!("CARGO_PKG_VERSION")))
            .with_instructions("An invented payment service. Amounts are in hundredths of the currency.")
    }
}

fn checked(wanted: MakeRefund, meta: &RequestMetaObject) -> Result<Request, String> {
    let MakeRefund { order_id, amount_cents, reason } = wanted;
    if order_id.is_empty() || order_id.len() > ID_BYTES_MAX {
        return Err(format!("`order_id` must have between 1 and {ID_BYTES_MAX} bytes"));
    }
    if amount_cents == 0 || amount_cents > AMOUNT_CENTS_MAX {
        return Err(format!("`amount_cents` is {amount_cents} and must be between 1 and {AMOUNT_CENTS_MAX}"));
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(format!("`reason` must have at most {REASON_BYTES_MAX} bytes"));
    }
    let idempotency_key = match meta.0.0.get(KEY_IN_META) {
        None => None,
        Some(Value::String(key)) if !key.is_empty() && key.len() <= ID_BYTES_MAX => Some(key.clone()),
        // A key that cannot be kept must not pass for none: the caller relies on it.
        Some(_) => return Err(format!("the idempotency key must be text of 1 to {ID_BYTES_MAX} bytes")),
    };
    Ok(Request { order_id, amount_cents, reason, idempotency_key })
}

fn receipt(refund: &Refund, replayed: bool) -> Value {
    json!({
        "refund_id": refund.refund_id,
        "order_id": refund.order_id,
        "amount_cents": refund.amount_cents,
        "status": "refunded",
        "refunded_at": refund.refunded_at,
        "replayed": replayed,
    })
}

/// Waits until `hold` is gone; meanwhile `<hold>.held` names the refund.
async fn wait_while_held(hold: &Path, refund: &Refund) {
    if !exists(hold).await {
        return;
    }
    let held = held_path(hold);
    if let Err(error) = tokio::fs::write(&held, format!("{}\n", refund.refund_id)).await {
        tracing::error!(%error, "a refund cannot be held: `{}` cannot be written", held.display());
        return;
    }
    while exists(hold).await {
        tokio::time::sleep(HOLD_CHECK_INTERVAL).await;
    }
    if let Err(error) = tokio::fs::remove_file(&held).await {
        tracing::warn!(%error, "`{}` cannot be removed", held.display());
    }
}

async fn exists(path: &Path) -> bool {
    tokio::fs::try_exists(path).await.unwrap_or(false)
}

/// Where a held refund shows: the hold file's path with `.held` behind it.
pub(crate) fn held_path(hold: &Path) -> PathBuf {
    let mut held = OsString::from(hold);
    held.push(".held");
    held.into()
}
