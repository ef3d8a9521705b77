//! Attempts on their way: sent by a process, lost or late, carried out outside, answered once or twice.

use std::sync::Arc;

use serde_json::json;
use tenure_journal::{
    CommandResult, Effect, EffectKind, FailureKind, ItemId, ModelRequest, SessionKey, Usage, WorkspaceRoot,
};
use tenure_session::{Attempted, Family, Session, Window};

use crate::oracle::{Arrival, response_id};
use crate::outside;
use crate::shell::Message;
use crate::sign_ins::Shown;
use crate::subagents::Asking;
use crate::world::{Happening, Stop, World};
use crate::{Bug, Property, Violation, sign_ins, strict};

/// The longest a request or a reply travels, in milliseconds.
const TRAVEL_MS_MAX: u64 = 50;
/// The longest the outside takes, in milliseconds.
const WORK_MS_MAX: u64 = 20_000;

/// A request to the outside.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) process: u64,
    pub(crate) key: SessionKey,
    pub(crate) effect: Arc<Effect>,
    pub(crate) attempt: u32,
    /// What a tool server is shown.
    pub(crate) shown: Shown,
    /// What a model is asked.
    request: Option<ModelRequest>,
    /// The files that a command finds.
    files: Option<WorkspaceRoot>,
}

impl World {
    /// Begins an attempt: sends its request on its way.
    pub(crate) fn begin(
        &mut self,
        process: u64,
        key: SessionKey,
        state: &Arc<Session>,
        effect: &Arc<Effect>,
        attempt: u32,
    ) -> Result<(), Stop> {
        self.step("before an effect starts")?;
        if self.cluster.is_some() {
            self.begins(process, key, state, effect, attempt)?;
        } else if !self.is_stale(process) {
            self.oracle.begins(key, effect)?;
        }
        let asks = matches!(effect.kind, EffectKind::ModelCall { .. });
        let request =
            if asks { Some(state.context()) } else { state.compaction(&effect.kind, self.window()) };
        // What is known already is no part of the simulation.
        let turn = state.turn_to_read(&effect.kind, self.window());
        let request = request.or_else(|| turn.map(|turn| turn.to_request(&[], &[])));
        let request = request.map(|mut request| {
            if asks && self.bug == Some(Bug::ForgetItem) && request.input.len() > 2 {
                request.input.pop();
            }
            request
        });
        let files = state.workspace_root().filter(|_| self.bug != Some(Bug::OldFiles));
        let shown = sign_ins::shown(state, effect);
        let mut effect = Arc::clone(effect);
        if let (Some(Bug::OtherArguments), EffectKind::ToolCall { arguments, .. }) =
            (self.bug, &mut Arc::make_mut(&mut effect).kind)
        {
            *arguments = json!({"n": 1_000});
        }
        let travel = self.rng.u64(..TRAVEL_MS_MAX);
        let faulty = self.faults.outside;
        let inside = matches!(effect.kind, EffectKind::Subagent { .. } | EffectKind::EndSubagents { .. });
        if !inside && self.chance(faulty / 4) {
            self.count_fault(true);
            // It may be lost, or arrive after the shell has given up waiting for it.
            let failure =
                outside::failure(&mut self.rng, &[FailureKind::ConnectionFailed, FailureKind::Timeout]);
            self.note(|| format!("{} attempt {attempt} is lost on its way", effect.id));
            self.tell(process, key, &effect, attempt, Attempted::Failed(failure));
            if self.rng.bool() {
                return Ok(());
            }
            let late = self.rng.u64(..WORK_MS_MAX);
            let call = Call { process, key, effect, attempt, shown, request, files };
            self.after(travel + late, Happening::Arrive(Box::new(call)));
            return Ok(());
        }
        let call = Call { process, key, effect, attempt, shown, request, files };
        self.after(travel, Happening::Arrive(Box::new(call)));
        Ok(())
    }

    /// A request reaches the outside, whether or not its sender still lives.
    pub(crate) fn arrive(&mut self, call: Call) -> Result<(), Stop> {
        let gone = self.process(call.process).is_none();
        if gone && self.rng.bool() {
            return Ok(());
        }
        let Call { key, effect, attempt, .. } = &call;
        self.note(|| format!("{} attempt {attempt} arrives: {:?}", effect.id, effect.kind));
        self.oracle.arrives(&Arrival { key: *key, effect, attempt: *attempt })?;
        let Some(call) = self.greet(call) else { return Ok(()) };
        let Call { process, key, effect, attempt, request, files, .. } = call;
        if matches!(effect.kind, EffectKind::Subagent { .. } | EffectKind::EndSubagents { .. }) {
            return self.ask_subagents(Asking { process, key, effect, attempt });
        }
        let faulty = self.faults.outside;
        let fails = self.chance(faulty);
        self.count_fault(fails);
        let outcome = match &effect.kind {
            // What was to be summarised has left the context meanwhile.
            EffectKind::Compact { .. } | EffectKind::Extract { .. } if request.is_none() => {
                Attempted::Failed(outside::failure(&mut self.rng, &[FailureKind::NotFound]))
            }
            EffectKind::ModelCall { .. } | EffectKind::Compact { .. } | EffectKind::Extract { .. } => {
                let request = request.expect("a model call carries its request");
                if let Some(fault) = strict::fault(&request) {
                    return Err(Violation::new(Property::ContextValid, fault).into());
                }
                let tokens = self.tokens(&request);
                // What reads a turn has a window of its own.
                let is_in_window = !matches!(effect.kind, EffectKind::Extract { .. });
                if is_in_window && tokens > self.window.input() {
                    let detail = format!("{tokens} tokens for {:?}: {:?}", self.window, effect.kind);
                    return Err(Violation::new(Property::ContextFits, detail).into());
                }
                if fails {
                    Attempted::Failed(outside::failure(&mut self.rng, outside::MODEL_FAILURES))
                } else {
                    let id = response_id(effect.id, attempt);
                    let wild = !self.healed;
                    let (mut answer, cost) = if matches!(effect.kind, EffectKind::Compact { .. }) {
                        outside::summary(&mut self.rng, wild, id.clone())
                    } else if matches!(effect.kind, EffectKind::Extract { .. }) {
                        outside::facts(&mut self.rng, wild, id.clone())
                    } else {
                        outside::answer(&mut self.rng, &request, wild, id.clone())
                    };
                    answer.usage = answer.usage.map(|usage| Usage { input_tokens: tokens, ..usage });
                    self.oracle.costs.insert(id, cost);
                    Attempted::Answered { answer, cost_nano_usd: Some(cost) }
                }
            }
            EffectKind::ListTools { .. } if fails => {
                Attempted::Failed(outside::failure(&mut self.rng, outside::DOUBTS))
            }
            EffectKind::ListTools { .. } => Attempted::Listed(outside::shop()),
            EffectKind::ToolCall { name, item_id, .. } => {
                self.tool(&effect, attempt, name, *item_id, fails)?
            }
            EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts => self.in_environment(&effect, files, fails),
            // No simulated session has a reviewer.
            EffectKind::Review { .. } | EffectKind::Subagent { .. } | EffectKind::EndSubagents { .. } => {
                return Ok(());
            }
        };
        self.tell(process, key, &effect, attempt, outcome);
        Ok(())
    }

    /// The window that decisions are told of.
    pub(crate) fn window(&self) -> Window {
        if self.bug == Some(Bug::ForgetWindow) { Window::DEFAULT } else { self.window }
    }

    /// Tokens of a request as the simulated provider counts them: otherwise than we do, and always alike.
    fn tokens(&self, request: &ModelRequest) -> u64 {
        Family::of(&request.model).count_request(request) * self.tokens_percent / 100
    }

    /// Something is done in an environment, on the files that its process found there.
    fn in_environment(&mut self, effect: &Effect, found: Option<WorkspaceRoot>, fails: bool) -> Attempted {
        if fails {
            let kinds = if found.is_some() { outside::ENVIRONMENT_FAILURES } else { outside::DOUBTS };
            return Attempted::Failed(outside::failure(&mut self.rng, kinds));
        }
        let left = outside::files(found, effect.id);
        // The files of a customer's machine are nobody's snapshot.
        let changed = (self.rng.bool() && found.is_some()).then_some(left);
        match &effect.kind {
            EffectKind::Command { .. } => Attempted::Ran(CommandResult {
                output: "made".to_owned(),
                stored: None,
                exit_code: Some(i32::from(self.rng.u8(..2))),
                ended_by: None,
                duration_ms: 1,
                root: changed,
            }),
            EffectKind::PublishArtifacts => Attempted::Published(Vec::new()),
            EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::ModelCall { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Compact { .. }
            | EffectKind::ListTools { .. }
            | EffectKind::ToolCall { .. }
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. } => Attempted::Placed(left),
        }
    }

    /// The tool server does its work, or fails before it, after it, or on the way back.
    fn tool(
        &mut self,
        effect: &Effect,
        attempt: u32,
        name: &str,
        item: ItemId,
        fails: bool,
    ) -> Result<Attempted, Stop> {
        self.ledger.arrives(name, effect.id, attempt)?;
        if fails && self.rng.u8(..3) == 0 {
            return Ok(Attempted::Failed(outside::failure(&mut self.rng, outside::REFUSALS)));
        }
        let acts = !fails || self.rng.bool();
        if acts {
            let mut key = effect.id.to_string();
            if self.bug == Some(Bug::KeyPerAttempt) {
                key += &attempt.to_string();
            }
            self.ledger.act(name, &key, item)?;
        }
        if fails {
            return Ok(Attempted::Failed(outside::failure(&mut self.rng, outside::DOUBTS)));
        }
        Ok(Attempted::Returned(outside::result(attempt)))
    }

    /// Brings an outcome back to the process, perhaps twice.
    pub(crate) fn tell(
        &mut self,
        process: u64,
        key: SessionKey,
        effect: &Arc<Effect>,
        attempt: u32,
        outcome: Attempted,
    ) {
        let message = Message::Outcome { effect: Arc::clone(effect), attempt, outcome };
        let duplicate = self.faults.duplicate;
        if self.chance(duplicate) {
            self.count_fault(true);
            let later = self.rng.u64(..WORK_MS_MAX * 2);
            self.after(later, Happening::Deliver { process, key, message: message.clone() });
        }
        let slow = self.rng.u8(..10) == 0;
        let millis = self.rng.u64(..if slow { WORK_MS_MAX } else { TRAVEL_MS_MAX * 4 });
        self.after(millis, Happening::Deliver { process, key, message });
    }
}
