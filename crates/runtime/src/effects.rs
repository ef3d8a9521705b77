//! Running attempts: one task each, cancelled by its actor, answered with an outcome.

mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tenure_journal::{
    AgentId, BlobRef, Effect, EffectKind, Failure, FailureKind, Labels, McpTool, MemoryScope, ModelRequest,
    Network, ProjectId, ServerRef, SessionKey, Tool, ToolResult, limit,
};
use tenure_model::Delta;
use tenure_session::{Attempted, Session, TurnToRead};
use tenure_tools::Call;
use tokio_util::sync::CancellationToken;

use crate::automations;
use crate::environments;
use crate::facts;
use crate::handle::Shared;
use crate::history;
use crate::live::{Live, Source};
use crate::memory;
use crate::subagents;
use crate::{ModelTable, Route, Runtime};

pub(crate) use self::servers::{address, sealed_headers, sealed_text};

/// Everything one attempt needs, taken from the state when it begins.
pub(crate) struct Launch {
    effect: Arc<Effect>,
    agent: AgentId,
    version: Option<u64>,
    work: Work,
}

/// An attempt that is about to begin.
struct Begin<'a> {
    shared: &'a Arc<Shared>,
    project: ProjectId,
    agent: AgentId,
    version: Option<u64>,
    effect: &'a Effect,
}

impl Begin<'_> {
    /// Looks once more, at the last moment, whether somebody froze what is about to begin: since it was decided,
    /// it may have waited for its place.
    async fn check(&self) -> Result<(), Failure> {
        let frozen = self.shared.freezes.of(&*self.shared.store, self.project).await.map_err(|error| {
            tracing::error!(%error, "what is frozen cannot be read");
            failure(FailureKind::NotBegun, "what is frozen cannot be read now")
        })?;
        if frozen.holds(self.agent, self.effect) {
            return Err(failure(FailureKind::NotBegun, "it was frozen before it began"));
        }
        Ok(())
    }
}

enum Work {
    Model {
        request: Box<ModelRequest>,
        route: Option<String>,
        source: Source,
        bounds: Bounds,
    },
    /// A summary, which nobody watches being written.
    Summary {
        request: Option<Box<ModelRequest>>,
        route: Option<String>,
        bounds: Bounds,
    },
    Review {
        request: Box<ModelRequest>,
        route: Option<String>,
        bounds: Bounds,
    },
    /// A turn to read for facts.
    Read(Option<Box<Reading>>),
    List {
        server: Box<McpTool>,
        desk: Desk,
    },
    Tool {
        server: Option<Box<McpTool>>,
        name: String,
        arguments: Value,
        desk: Desk,
    },
    Builtin(Box<automations::Call>),
    Recall(Box<memory::Call>),
    History(Box<history::Call>),
    Remember(Box<facts::Call>),
    Subagent(Box<subagents::Work>),
    Environment(Option<Box<environments::Work>>),
    Remote(Box<environments::RemoteWork>),
}

/// What an attempt at a model call has to keep to, so that it uses no more than was set aside for it.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Whether its money is limited, or may be.
    limited: bool,
    /// Whether something was set aside for it in configured budgets.
    held: bool,
    /// How long it may take, where that is limited.
    time: Option<Duration>,
}

impl Bounds {
    fn of(state: &Session, effect: &Effect) -> Self {
        let held = state.held(effect.id);
        let time = held.map(|held| held.millis).filter(|millis| *millis > 0).map(Duration::from_millis);
        Self { limited: state.is_limited(), held: held.is_some(), time }
    }

    /// The tokens that an answer by a route may have, if anything limits them: what nothing else does is held to what
    /// was set aside for it.
    fn output_tokens_max(self, route: &Route) -> Option<u64> {
        let reserved = limit::OUTPUT_TOKENS_RESERVED;
        match (route.output_tokens_max, route.prices) {
            // Of a model without a price no more is known.
            (Some(most), None) if self.held => Some(most.min(reserved)),
            (Some(most), _) => Some(most),
            (None, Some(_)) => (self.limited || self.held).then_some(reserved),
            (None, None) => self.held.then_some(reserved),
        }
    }
}

/// A turn that a model is asked to read, and what is known already of whom.
struct Reading {
    turn: TurnToRead,
    scope: MemoryScope,
    labels: Labels,
    route: Option<String>,
    bounds: Bounds,
}

/// The session that reaches a tool server, and the vaults it names.
struct Desk {
    session: SessionKey,
    vault_ids: Vec<String>,
    /// The network of its hosted environment.
    network: Option<Network>,
}

impl Desk {
    fn of(state: &Session) -> Self {
        let network = state.hosted().map(|hosted| hosted.network.clone());
        Self { session: state.key(), vault_ids: state.vault_ids().to_vec(), network }
    }
}

impl Launch {
    pub(crate) fn new(state: &Session, effect: Arc<Effect>, attempt: u32, models: &ModelTable) -> Self {
        let (agent, version) = (state.agent().id, state.agent().version);
        let elsewhere = environments::RemoteWork::of(state, &effect, attempt);
        let work = match &effect.kind {
            EffectKind::ModelCall { model, step } => {
                // A model is asked within a turn only.
                let turn_id = effect.turn_id.or_else(|| state.active_turn().map(|turn| turn.id));
                let Some(turn_id) = turn_id else {
                    return Self { effect, agent, version, work: Work::Environment(None) };
                };
                let source = Source {
                    effect: effect.id,
                    attempt,
                    turn_id,
                    step: *step,
                    base: state.next_output_index(),
                    model: model.clone(),
                    cancel: CancellationToken::new(),
                };
                let mut request = state.context();
                request.model.clone_from(model);
                let route = state.route(effect.id).map(str::to_owned);
                let bounds = Bounds::of(state, &effect);
                Work::Model { request: Box::new(request), route, source, bounds }
            }
            EffectKind::Review { approval_id, .. } => match state.review_request(*approval_id) {
                Some(request) => {
                    let route = state.route(effect.id).map(str::to_owned);
                    Work::Review { request: Box::new(request), route, bounds: Bounds::of(state, &effect) }
                }
                None => Work::Environment(None),
            },
            EffectKind::Extract { model, scope, labels, .. } => {
                let turn = state.turn_to_read(&effect.kind, models.window(model));
                let route = state.route(effect.id).map(str::to_owned);
                let bounds = Bounds { limited: true, ..Bounds::of(state, &effect) };
                let (scope, labels) = (scope.clone(), labels.clone());
                let reading = |turn| Reading { turn, scope, labels, route, bounds };
                Work::Read(turn.map(reading).map(Box::new))
            }
            EffectKind::Compact { model, .. } => {
                let request = state.compaction(&effect.kind, models.window(model)).map(Box::new);
                let route = state.route(effect.id).map(str::to_owned);
                Work::Summary { request, route, bounds: Bounds::of(state, &effect) }
            }
            EffectKind::ListTools { server_label, inside: false } => match mcp_tool(state, server_label) {
                Some(server) => Work::List { server: Box::new(server), desk: Desk::of(state) },
                None => Work::Tool {
                    server: None,
                    name: String::new(),
                    arguments: Value::Null,
                    desk: Desk::of(state),
                },
            },
            EffectKind::ToolCall { server: ServerRef::Mcp { server_label }, name, arguments, .. } => {
                Work::Tool {
                    server: mcp_tool(state, server_label).map(Box::new),
                    name: name.clone(),
                    arguments: arguments.clone(),
                    desk: Desk::of(state),
                }
            }
            EffectKind::ToolCall { server: ServerRef::Builtin, name, arguments, item_id } => {
                let work = memory::Call::of(state, name, arguments)
                    .map(|call| Work::Recall(Box::new(call)))
                    .or_else(|| {
                        let call = history::Call::of(state, name, arguments)?;
                        Some(Work::History(Box::new(call)))
                    })
                    .or_else(|| {
                        let call = facts::Call::of(state, (effect.id, *item_id), name, arguments)?;
                        Some(Work::Remember(Box::new(call)))
                    });
                match work {
                    Some(work) => work,
                    None => Work::Builtin(Box::new(automations::Call {
                        session: state.key(),
                        effect: effect.id,
                        item: *item_id,
                        name: name.clone(),
                        arguments: arguments.clone(),
                    })),
                }
            }
            EffectKind::Subagent { request, .. } => {
                Work::Subagent(Box::new(subagents::Work::of(state, effect.id, request)))
            }
            EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts
            | EffectKind::ListTools { inside: true, .. }
            | EffectKind::ToolCall { server: ServerRef::Inside { .. }, .. } => {
                Work::Environment(environments::Work::of(state, &effect).map(Box::new))
            }
            EffectKind::EndSubagents { ends } => Work::Subagent(Box::new(subagents::Work::End(ends.clone()))),
        };
        let work = elsewhere.map_or(work, |elsewhere| Work::Remote(Box::new(elsewhere)));
        Self { effect, agent, version, work }
    }

    /// Makes the attempt. Ends promptly when `cancel` fires; its outcome no longer matters then.
    pub(crate) async fn run(
        self,
        shared: Arc<Shared>,
        project: ProjectId,
        live: Arc<Live>,
        cancel: CancellationToken,
    ) -> Attempted {
        let begin = Begin {
            shared: &shared,
            project,
            agent: self.agent,
            version: self.version,
            effect: &self.effect,
        };
        if let Err(failure) = begin.check().await {
            return Attempted::Failed(failure);
        }
        let outcome = match self.work {
            Work::Model { request, route, source, bounds } => {
                ask(&begin, (*request, route), source, bounds, &live, &cancel).await
            }
            Work::Summary { request: Some(request), route, bounds } => {
                ask_model(&begin, (*request, route), bounds, &mut |_| {}, &cancel).await
            }
            Work::Summary { request: None, .. } => {
                Err(failure(FailureKind::NotFound, "what was to be summarised is not there any more"))
            }
            Work::Review { request, route, bounds } => {
                review(&begin, (*request, route), bounds, &cancel).await
            }
            Work::Read(Some(reading)) => read(&begin, *reading, &cancel).await,
            Work::Read(None) => {
                Err(failure(FailureKind::NotFound, "nothing of the turn is in the context any more"))
            }
            Work::List { server, desk } => servers::list(&begin, &desk, &server, &cancel).await,
            Work::Tool { server: Some(server), name, arguments, desk } => {
                let key = self.effect.id.to_string();
                let call = Call {
                    name: &name,
                    arguments: &arguments,
                    idempotency_key: &key,
                    metadata: &server.request_metadata,
                };
                servers::call(&begin, &desk, &server, call, &cancel).await
            }
            Work::Tool { server: None, .. } => Err(gone()),
            Work::Recall(call) => memory::run(&shared, &call).await,
            Work::History(call) => history::run(&shared, &call).await,
            Work::Remember(call) => call.run(&shared).await,
            Work::Builtin(call) => builtin(&shared, project, &call).await,
            Work::Environment(Some(work)) => environments::run(&shared, project, *work, &live, &cancel).await,
            Work::Remote(work) => environments::run_remote(&shared, project, *work, &live, &cancel).await,
            Work::Environment(None) => Err(failure(
                FailureKind::NotFound,
                "there is no environment, or what was asked for is gone from it",
            )),
            Work::Subagent(work) => Ok(subagents::run(&shared, project, *work, &cancel).await),
        };
        outcome.unwrap_or_else(Attempted::Failed)
    }
}

pub(crate) fn mcp_tool(state: &Session, label: &str) -> Option<McpTool> {
    state.agent().tools.iter().find_map(|tool| match tool {
        Tool::Mcp(mcp) if mcp.server_label == label => Some(mcp.clone()),
        Tool::Mcp(_)
        | Tool::Function(_)
        | Tool::ToolSearch
        | Tool::ProgrammaticToolCalling { .. }
        | Tool::WebSearch { .. }
        | Tool::ComputerUse { .. }
        | Tool::Automations
        | Tool::Memory => None,
    })
}

fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), retry_after_ms: None }
}

/// What is said of an attempt that was cancelled before it began; nobody hears it.
fn cancelled() -> Failure {
    failure(FailureKind::ConnectionFailed, "the call was cancelled")
}

async fn ask(
    begin: &Begin<'_>,
    asked: (ModelRequest, Option<String>),
    mut source: Source,
    bounds: Bounds,
    live: &Live,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    source.cancel = cancel.clone();
    ask_model(begin, asked, bounds, &mut |delta| live.delta(&source, delta), cancel).await
}

/// Asks a reviewer: nobody sees it think, and it has not long to.
async fn review(
    begin: &Begin<'_>,
    asked: (ModelRequest, Option<String>),
    bounds: Bounds,
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let mut unseen = |_| {};
    let bounds = Bounds { limited: true, ..bounds };
    let answer = ask_model(begin, asked, bounds, &mut unseen, cancel);
    match tokio::time::timeout(Duration::from_millis(limit::REVIEW_MS_MAX), answer).await {
        Ok(answer) => answer,
        Err(_) => Err(failure(FailureKind::Timeout, "the reviewer did not answer in time")),
    }
}

/// Has a model read a turn, with what is known already. Nobody waits for it.
async fn read(begin: &Begin<'_>, reading: Reading, cancel: &CancellationToken) -> Result<Attempted, Failure> {
    let Reading { turn, scope, labels, route, bounds } = reading;
    let store = &*begin.shared.store;
    let unreadable = |error: facts::MemoryError| {
        tracing::error!(%error, "what is remembered already cannot be read");
        failure(FailureKind::ServerError, "what is remembered already cannot be read now")
    };
    let whose = (&scope, &labels);
    let known = facts::known(store, begin.project, whose, &turn.about).await.map_err(unreadable)?;
    let procedures = match turn.wants_procedure() {
        true => facts::known_procedures(store, begin.project, whose).await.map_err(unreadable)?,
        false => Vec::new(),
    };
    let request = turn.to_request(&known, &procedures);
    let mut unseen = |_| {};
    let answer = ask_model(begin, (request, route), bounds, &mut unseen, cancel);
    match tokio::time::timeout(Duration::from_millis(limit::EXTRACTION_MS_MAX), answer).await {
        Ok(answer) => answer,
        Err(_) => Err(failure(FailureKind::Timeout, "the model did not answer in time")),
    }
}

/// Asks a model, for as long as was set aside for it.
async fn ask_model(
    begin: &Begin<'_>,
    asked: (ModelRequest, Option<String>),
    bounds: Bounds,
    sink: &mut (dyn FnMut(Delta) + Send),
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let answer = ask_provider(begin, asked, bounds, sink, cancel);
    let Some(time) = bounds.time else { return answer.await };
    match tokio::time::timeout(time, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(failure(FailureKind::Timeout, "the call took all the time that its budget had for it")),
    }
}

async fn ask_provider(
    begin: &Begin<'_>,
    (mut request, route): (ModelRequest, Option<String>),
    bounds: Bounds,
    sink: &mut (dyn FnMut(Delta) + Send),
    cancel: &CancellationToken,
) -> Result<Attempted, Failure> {
    let Begin { shared, project, .. } = *begin;
    let Some(route) = shared.models.route(&request.model, route.as_deref()) else {
        let message = format!("no provider is configured for the model `{}`", request.model);
        return Err(failure(FailureKind::NotFound, message));
    };
    let named = shared.models.named.contains_key(&request.model).then(|| request.model.clone());
    let most = bounds.output_tokens_max(&route);
    request.model = route.model;
    // A request that limits itself stays within that.
    request.output_tokens_max = match (request.output_tokens_max, most) {
        (Some(own), Some(most)) => Some(own.min(most)),
        (own, most) => own.or(most),
    };
    // First the provider's place, then the server's: one that throttles or stalls holds up nobody else's.
    let waiting = shared.load.model_calls_waiting.hold();
    let _at_provider = route.provider.enter(project, cancel).await.ok_or_else(cancelled)?;
    let _place = shared.model_gate.enter(project, cancel).await.ok_or_else(cancelled)?;
    drop(waiting);
    begin.check().await?;
    let _running = shared.load.model_calls_running.hold();
    let began = Instant::now();
    let answer = route.provider.answer(&request, sink, cancel).await;
    let told = answer.as_ref().map(|answer| answer.usage).map_err(|failure| failure.kind);
    shared.metrics.model_called(route.provider.name(), named.as_deref(), began.elapsed(), told);
    let answer = answer?;
    let cost_nano_usd = route.prices.zip(answer.usage).map(|(prices, usage)| prices.cost_nano_usd(&usage));
    Ok(Attempted::Answered { answer, cost_nano_usd })
}

fn gone() -> Failure {
    failure(FailureKind::ToolNotFound, "the tool is no longer offered")
}

/// The built-in tools: reading a stored output, and the session's automations.
async fn builtin(
    shared: &Arc<Shared>,
    project: ProjectId,
    call: &automations::Call,
) -> Result<Attempted, Failure> {
    if call.name == "read_output" {
        return read_output(shared, project, &call.arguments).await;
    }
    let automations = Runtime { shared: Arc::clone(shared), by: None }.automations();
    let result = automations.call(call).await.map_err(|error| {
        tracing::error!(session = %call.session.session, %error, "an agent's automations cannot be stored");
        failure(FailureKind::ServerError, "automations cannot be reached now")
    })?;
    result.map(Attempted::Returned).ok_or_else(gone)
}

async fn read_output(shared: &Shared, project: ProjectId, arguments: &Value) -> Result<Attempted, Failure> {
    let blob: BlobRef = serde_json::from_value(arguments["blob"].clone()).map_err(|_| gone())?;
    let payload = shared.store.blob(project, blob).await.map_err(|error| {
        tracing::error!(%error, "a stored output cannot be read");
        failure(FailureKind::ServerError, "the stored output cannot be read now")
    })?;
    let text = String::from_utf8_lossy(&payload.ok_or_else(gone)?).into_owned();
    let offset = usize::try_from(arguments["offset"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    Ok(Attempted::Returned(page(&text, offset)))
}

/// A page of a text, cut at character boundaries.
pub(crate) fn page(text: &str, offset: usize) -> ToolResult {
    let total = text.len();
    if offset >= total {
        let text = format!("Nothing at byte {offset}: the output has {total} bytes.");
        return ToolResult::inline(text, true);
    }
    let start = text.ceil_char_boundary(offset);
    let end = text.floor_char_boundary(start.saturating_add(limit::READ_BYTES_MAX).min(total));
    let rest = if end < total { format!("Go on with offset {end}.") } else { "This is the end.".to_owned() };
    let text = format!("{}\n[Bytes {start} to {end} of {total}. {rest}]", &text[start..end]);
    ToolResult::inline(text, false)
}

/// The beginning and the end of a long output.
pub(crate) fn preview(text: &str) -> String {
    let head = text.floor_char_boundary(limit::PREVIEW_BYTES_MAX * 3 / 4);
    let tail = text.ceil_char_boundary(text.len() - limit::PREVIEW_BYTES_MAX / 4);
    format!(
        "{}\n[... {} of {} bytes left out ...]\n{}",
        &text[..head],
        tail - head,
        text.len(),
        &text[tail..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_an_output_without_gap_or_overlap() {
        let text = "aé€".repeat(20_000);
        let mut offset = 0;
        let mut read = String::new();
        while offset < text.len() {
            let result = page(&text, offset);
            let (body, note) = result.text.rsplit_once("\n[Bytes ").expect("a page names its bytes");
            read.push_str(body);
            offset = note.split(' ').nth(2).and_then(|end| end.parse().ok()).expect("an end");
        }
        assert_eq!(read, text);
        assert!(page(&text, text.len()).is_error);
    }

    #[test]
    fn a_preview_keeps_both_ends() {
        let text = format!("start{}end", "é".repeat(100_000));
        let shown = preview(&text);
        assert!(shown.starts_with("start") && shown.ends_with("end"));
        assert!(shown.len() < limit::PREVIEW_BYTES_MAX + 100);
    }
}
