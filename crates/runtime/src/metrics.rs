//! What the runtime counts about itself, and how all of it is written.
//!
//! No label ever holds an id or what a client wrote: models go by the names of the configuration, and those
//! that clients make up are counted together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenure_journal::{Failure, FailureKind, Usage};
use tenure_store::StoreErrorKind;
use tenure_telemetry::metrics::{Counter, Family, Gauge, Histogram, Kind, Present, Text};

use crate::{Limit, Load, Runtime, Whose};

/// The label of models that the configuration does not name.
const UNNAMED: &str = "other";
/// The outcome of what went well.
const OK: &str = "ok";

/// A number that someone else counts, read when it is asked for.
#[derive(Clone)]
pub struct Sampled {
    /// The metric's name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Reads it.
    pub read: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampled").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is counted where it happens.
#[derive(Debug)]
pub struct Metrics {
    appends: Family<Counter>,
    append_seconds: Histogram,
    append_events: Histogram,
    store_errors: Family<Counter>,
    model_calls: Family<Counter>,
    model_seconds: Family<Histogram>,
    tokens: Family<Counter>,
    tool_calls: Family<Counter>,
    tool_seconds: Histogram,
    extractions: Family<Counter>,
    procedures: Family<Counter>,
    extracted: Family<Counter>,
    pub(crate) deliveries: Family<Counter>,
    pub(crate) token_refreshes: Family<Counter>,
    pub(crate) sign_ins_needed: Family<Counter>,
    pub(crate) traces: Family<Counter>,
    requests: Family<Counter>,
    streams: Arc<Gauge>,
    sampled: Vec<Sampled>,
}

impl Metrics {
    pub(crate) fn new(sampled: Vec<Sampled>) -> Self {
        Self {
            appends: Family::new(&["outcome"], Counter::default),
            append_seconds: Histogram::new(Histogram::COMMIT_SECONDS),
            append_events: Histogram::new(Histogram::SIZES),
            store_errors: Family::new(&["kind"], Counter::default),
            model_calls: Family::new(&["provider", "model", "outcome"], Counter::default),
            model_seconds: Family::new(&["provider", "model"], || Histogram::new(Histogram::CALL_SECONDS)),
            tokens: Family::new(&["provider", "model", "kind"], Counter::default),
            tool_calls: Family::new(&["outcome"], Counter::default),
            tool_seconds: Histogram::new(Histogram::CALL_SECONDS),
            extractions: Family::new(&["outcome"], Counter::default),
            procedures: Family::new(&["outcome"], Counter::default),
            extracted: Family::new(&["outcome"], Counter::default),
            deliveries: Family::new(&["outcome"], Counter::default),
            token_refreshes: Family::new(&["outcome"], Counter::default),
            sign_ins_needed: Family::new(&[], Counter::default),
            traces: Family::new(&["outcome"], Counter::default),
            requests: Family::new(&["status"], Counter::default),
            streams: Arc::default(),
            sampled,
        }
    }

    /// A request was answered with a status of this class.
    pub fn answered(&self, class: &'static str) {
        self.requests.with(&[class]).add(1);
    }

    /// An event stream is open until what is returned is dropped.
    #[must_use]
    pub fn stream_opened(&self) -> Present {
        self.streams.enter()
    }

    pub(crate) fn appended(&self, events: usize, took: Duration, error: Option<StoreErrorKind>) {
        let outcome = error.map_or(OK, word);
        self.appends.with(&[outcome]).add(1);
        match error {
            Some(error) => self.store_failed(error),
            None => {
                self.append_seconds.observe(took);
                self.append_events.observe_size(events);
            }
        }
    }

    /// Counts what is an error of the store, and not an answer of it.
    pub(crate) fn store_failed(&self, kind: StoreErrorKind) {
        match kind {
            StoreErrorKind::Conflict { .. }
            | StoreErrorKind::ReceiptExists
            | StoreErrorKind::Held
            | StoreErrorKind::BudgetExceeded
            | StoreErrorKind::UnknownCursor => {}
            StoreErrorKind::Unavailable
            | StoreErrorKind::Full
            | StoreErrorKind::Corrupt
            | StoreErrorKind::Locked
            | StoreErrorKind::TooNew
            | StoreErrorKind::OlderNodes => self.store_errors.with(&[word(kind)]).add(1),
        }
    }

    /// A turn was read for facts, or was not.
    pub(crate) fn turn_read(&self, outcome: &'static str) {
        self.extractions.with(&[outcome]).add(1);
    }

    /// Something became of a procedure that was read.
    pub(crate) fn procedure_read(&self, outcome: &'static str) {
        self.procedures.with(&[outcome]).add(1);
    }

    /// Something became of a fact that was read.
    pub(crate) fn extracted(&self, outcome: &'static str) {
        self.extracted.with(&[outcome]).add(1);
    }

    pub(crate) fn model_called(
        &self,
        provider: &str,
        model: Option<&str>,
        took: Duration,
        outcome: Result<Option<Usage>, FailureKind>,
    ) {
        let model = model.unwrap_or(UNNAMED);
        let told = outcome.as_ref().err().map_or(OK, |kind| failure_word(*kind));
        self.model_calls.with(&[provider, model, told]).add(1);
        self.model_seconds.with(&[provider, model]).observe(took);
        if let Ok(Some(usage)) = outcome {
            for (kind, tokens) in [
                ("input", usage.input_tokens.saturating_sub(usage.cached_tokens)),
                ("cached_input", usage.cached_tokens),
                ("output", usage.output_tokens.saturating_sub(usage.reasoning_tokens)),
                ("reasoning_output", usage.reasoning_tokens),
            ] {
                self.tokens.with(&[provider, model, kind]).add(tokens);
            }
        }
    }

    pub(crate) fn tool_called(&self, took: Duration, is_error: Result<bool, &Failure>) {
        let outcome = match is_error {
            Ok(false) => OK,
            Ok(true) => "tool_error",
            Err(failure) => failure_word(failure.kind),
        };
        self.tool_calls.with(&[outcome]).add(1);
        self.tool_seconds.observe(took);
    }
}

impl Runtime {
    /// What is counted, for those who count with it.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared().metrics
    }

    /// All metrics of this node as they are now, in the text format of Prometheus.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        use Kind::{Counter, Gauge};
        let (shared, m) = (self.shared(), self.metrics());
        let mut text = Text::default();
        let t = &mut text;
        let version = env!("CARGO_PKG_VERSION");
        t.one(Gauge, "tenure_build_info", "The release that runs.", &[("version", version)], 1);
        let active = self.active_sessions() as u64;
        t.one(Gauge, "tenure_sessions_active", "Sessions with something to do on this node.", &[], active);
        let help = "What this release cannot read and leaves as it is, as of the last minute.";
        let left =
            [("document", shared.unreadable.documents()), ("session", shared.unreadable.sessions.count())];
        let left = left.map(|(kind, count)| ([("kind", kind)], count as u64));
        t.several(Gauge, "tenure_unreadable", help, left);
        t.counters("tenure_appends_total", "Appends to journals, by outcome.", &m.appends);
        let help = "How long appends that succeeded took until they were durable.";
        t.histogram("tenure_append_duration_seconds", help, &m.append_seconds);
        t.histogram("tenure_append_events", "Events in one append.", &m.append_events);
        t.counters("tenure_store_errors_total", "Failures of durable state, by kind.", &m.store_errors);
        let tally = shared.policies.base.tally();
        let decisions = [("allow", tally.allowed()), ("ask", tally.held()), ("deny", tally.denied())];
        let decisions = decisions.map(|(verdict, count)| ([("verdict", verdict)], count));
        t.several(Counter, "tenure_policy_decisions_total", "What policy said, by verdict.", decisions);
        let help = "Requests that policy could not decide, and that were denied for it.";
        t.one(Counter, "tenure_policy_faults_total", help, &[], tally.faults());
        for one in &m.sampled {
            t.one(one.kind, one.name, one.help, &[], (one.read)());
        }
        let help = "Attempts at model calls, by provider, configured model and outcome.";
        t.counters("tenure_model_calls_total", help, &m.model_calls);
        let help = "How long attempts at model calls took, once they had their place.";
        t.histograms("tenure_model_call_duration_seconds", help, &m.model_seconds);
        t.counters("tenure_tokens_total", "Tokens that providers counted, each once.", &m.tokens);
        let waiting = shared.load.model_calls_waiting.read();
        t.one(Gauge, "tenure_model_calls_waiting", "Model calls that wait for a place.", &[], waiting);
        t.counters("tenure_tool_calls_total", "Attempts at tool calls, by outcome.", &m.tool_calls);
        let help = "How long attempts at tool calls took, once they had their place.";
        t.histogram("tenure_tool_call_duration_seconds", help, &m.tool_seconds);
        let waiting = shared.load.tool_calls_waiting.read();
        t.one(Gauge, "tenure_tool_calls_waiting", "Tool calls that wait for a place.", &[], waiting);
        let help = "Turns that were read for facts, or not, by outcome.";
        t.counters("tenure_extractions_total", help, &m.extractions);
        let help = "Facts that were read out of turns, by what became of them.";
        t.counters("tenure_extracted_facts_total", help, &m.extracted);
        let help = "Procedures that were read out of turns, by what became of them.";
        t.counters("tenure_extracted_procedures_total", help, &m.procedures);
        let help = "Tries at webhook deliveries, by outcome.";
        t.counters("tenure_webhook_deliveries_total", help, &m.deliveries);
        let help = "Requests for new access tokens of credentials, by outcome.";
        t.counters("tenure_token_refreshes_total", help, &m.token_refreshes);
        let help = "Credentials that came to need a person's sign-in.";
        t.counters("tenure_sign_ins_needed_total", help, &m.sign_ins_needed);
        t.counters("tenure_traces_exported_total", "Traces for the collector, by outcome.", &m.traces);
        let queued = shared.exporter.as_ref().map_or(0, crate::export::Exporter::waiting);
        t.one(Gauge, "tenure_traces_waiting", "Turns that wait for the export of their trace.", &[], queued);
        t.counters("tenure_http_requests_total", "Answered requests, by class of status.", &m.requests);
        let help = "Requests that were refused for a limit, by limit and whose it is.";
        t.several(Counter, "tenure_load_shed_total", help, refused(&shared.load));
        t.one(Gauge, "tenure_event_streams", "Event streams that are open.", &[], m.streams.count());
        text.into_string()
    }
}

/// Every limit under its name in the configuration, with how many requests were refused for it.
fn refused(load: &Load) -> impl Iterator<Item = ([(&'static str, &'static str); 2], u64)> {
    let both = [(Whose::Node, "server"), (Whose::Project, "project")];
    let of = move |limit: Limit| both.map(|(whose, word)| (limit, whose, word));
    Limit::ALL.into_iter().flat_map(of).map(|(limit, whose, word)| {
        let key = limit.key(Whose::Node);
        let name = key.strip_suffix("_max").unwrap_or(key);
        ([("limit", name), ("whose", word)], load.refused(limit, whose))
    })
}

fn word(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Conflict { .. } => "conflict",
        StoreErrorKind::ReceiptExists => "receipt_exists",
        StoreErrorKind::Held => "held",
        StoreErrorKind::BudgetExceeded => "budget_exceeded",
        StoreErrorKind::UnknownCursor => "unknown_cursor",
        StoreErrorKind::Unavailable => "unavailable",
        StoreErrorKind::Full => "full",
        StoreErrorKind::Corrupt => "corrupt",
        StoreErrorKind::Locked => "locked",
        StoreErrorKind::TooNew => "too_new",
        StoreErrorKind::OlderNodes => "older_nodes",
    }
}

fn failure_word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Authentication => "authentication",
        FailureKind::NotFound => "not_found",
        FailureKind::ContextTooLong => "context_too_long",
        FailureKind::InvalidRequest => "invalid_request",
        FailureKind::RateLimited => "rate_limited",
        FailureKind::CreditExhausted => "credit_exhausted",
        FailureKind::Overloaded => "overloaded",
        FailureKind::ServerError => "server_error",
        FailureKind::ConnectionFailed => "connection_failed",
        FailureKind::Timeout => "timeout",
        FailureKind::MaxOutputTokens => "max_output_tokens",
        FailureKind::ContentPolicy => "content_policy",
        FailureKind::ToolNotFound => "tool_not_found",
        FailureKind::SignInRequired => "sign_in_required",
        FailureKind::FilesLost => "files_lost",
        FailureKind::Protocol => "protocol",
        FailureKind::Internal => "internal",
        FailureKind::Crashed => "crashed",
        FailureKind::NotBegun => "not_begun",
    }
}
