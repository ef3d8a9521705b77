//! The scripted model: a provider whose answers are rules in a YAML file.
//!
//! It powers demonstrations, examples and tests, without a network and without chance: the same request
//! always gets the same answer, after a restart too, because a rule sees nothing but the request.
//! `docs/scripted-model.md` describes the file; this is the shape of it.
//!
//! ```yaml
//! rules:
//!   - name: look the order up
//!     when: { user: '(?i)refund.* order (?P<order>\d+)', no_result: true }
//!     reply:
//!       - text: "Looking up {{ order }}."
//!       - call: { tool: orders__get_order, arguments: { id: "{{ order }}" } }
//!   - name: answer
//!     when: { result_of: orders__get_order }
//!     reply:
//!       - text: "The total was {{ data.total }}."
//! ```
//!
//! Rules are tried in order and the first that matches answers. A request that no rule matches is refused
//! and reported in full on the log, so that a script with a hole is found at once. The only state is how
//! often a fault was acted out on a request, kept in the process by [`Player`].
//!
//! What it does not do: invent text, pretend to be a real model, or count tokens as one would. By its own count it can
//! have a window, `context_tokens`, and refuse what is longer as providers do.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{ContextItem, Failure, FailureKind, ModelAnswer, ModelRequest, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::codec::deltas;
use crate::failure::{Refused, of_kind, with_message};
use crate::{Delta, Model};

mod file;
mod reply;
mod rule;
mod template;
mod view;

pub use file::{SCRIPT_BYTES_MAX, ScriptError};
use view::View;

/// Requests whose faults are counted. Beyond it counting begins anew; only tests come near.
const COUNTED_REQUESTS_MAX: usize = 65_536;

/// A script: rules that were read and checked.
#[derive(Debug)]
pub struct Script {
    model: Option<String>,
    /// The most tokens that a request may have.
    context_tokens: Option<u64>,
    rules: Vec<rule::Rule>,
    templates: template::Engine,
}

/// What a script does with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// The rule that matched: its name, or its place such as `rules[2]`.
    pub rule: String,
    /// The answer; empty where a fault leaves none.
    pub answer: ModelAnswer,
    /// What goes wrong on the way.
    pub fault: Option<Fault>,
    /// Milliseconds between two tokens.
    pub token_delay_ms: u64,
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is refused.
    Status {
        /// The HTTP status.
        status: u16,
        /// The error's code.
        code: Option<String>,
        /// How long to stay away, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The connection closes before the response begins.
    Disconnect,
    /// The connection closes in the middle of the answer.
    Cut {
        /// Tokens that arrive before it.
        after_tokens: u64,
    },
    /// Nothing arrives for a while; then the answer goes on.
    Stall {
        /// How long, in milliseconds.
        ms: u64,
        /// Tokens that arrive before it; none means before the response begins.
        after_tokens: Option<u64>,
    },
}

/// Why a script has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayError {
    /// No rule matches. Holds what arrived, for whoever writes the script; it quotes the conversation.
    Unmatched(String),
    /// The rule that matches cannot be rendered.
    Render {
        /// The rule.
        rule: String,
        /// What is wrong.
        message: String,
    },
}

impl fmt::Display for PlayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmatched(arrived) => write!(f, "no rule of the scripted model matches\n{arrived}"),
            Self::Render { rule, message } => write!(f, "rule `{rule}` cannot be rendered: {message}"),
        }
    }
}

impl std::error::Error for PlayError {}

impl PlayError {
    /// The failure a session sees; it quotes nothing of the conversation.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let message = match self {
            Self::Unmatched(_) => "no rule of the scripted model matches this request".to_owned(),
            Self::Render { rule, .. } => format!("rule `{rule}` of the scripted model cannot be rendered"),
        };
        with_message(FailureKind::InvalidRequest, message)
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// What is wrong, where, and what was probably meant.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        file::parse(text)
    }

    /// The model name this script answers to; absent means any.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// What the script does with `request`. A pure function of both; `acted_out` tells how often a fault
    /// that happens a number of times has happened to this request.
    ///
    /// # Errors
    /// No rule matches, or the one that does cannot be rendered.
    pub fn play(
        &self,
        request: &ModelRequest,
        acted_out: impl FnOnce(usize) -> u32,
    ) -> Result<Play, PlayError> {
        let view = View::of(request);
        if self.context_tokens.is_some_and(|most| reply::input_tokens(&view) > most) {
            return Ok(too_long());
        }
        let answers_to_it = self.model.as_ref().is_none_or(|model| *model == request.model);
        let mut rules = self.rules.iter().enumerate().filter(|_| answers_to_it);
        let found =
            rules.find_map(|(index, rule)| rule.when.matches(&view).map(|captures| (index, rule, captures)));
        let Some((index, rule, captures)) = found else {
            return Err(PlayError::Unmatched(view.describe(self.model.as_deref())));
        };
        let fault = rule.fault.as_ref().and_then(|(fault, times)| match times {
            Some(times) => (acted_out(index) < *times).then(|| fault.clone()),
            None => Some(fault.clone()),
        });
        let token_delay_ms = rule.token_delay_ms;
        let answer = if matches!(fault, Some(Fault::Status { .. } | Fault::Disconnect)) {
            reply::empty()
        } else {
            reply::render(rule, &view, &captures, &self.templates)
                .map_err(|message| PlayError::Render { rule: rule.name.clone(), message })?
        };
        Ok(Play { rule: rule.name.clone(), answer, fault, token_delay_ms })
    }
}

/// A request that is longer than the script's window, as a provider refuses it.
fn too_long() -> Play {
    let code = Some("context_length_exceeded".to_owned());
    Play {
        rule: "context_tokens".to_owned(),
        answer: reply::empty(),
        fault: Some(Fault::Status { status: 400, code, retry_after_ms: None }),
        token_delay_ms: 0,
    }
}

/// A script together with how often its faults were acted out. Shared by everyone who serves it.
#[derive(Debug)]
pub struct Player {
    script: Arc<Script>,
    acted_out: Mutex<HashMap<u64, u32>>,
}

impl Player {
    /// A player that has acted out nothing yet.
    #[must_use]
    pub fn new(script: Arc<Script>) -> Self {
        Self { script, acted_out: Mutex::new(HashMap::new()) }
    }

    /// The script.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// What happens to this request now.
    ///
    /// # Errors
    /// As for [`Script::play`].
    pub fn play(&self, request: &ModelRequest) -> Result<Play, PlayError> {
        self.script.play(request, |rule| {
            let mut acted_out = self.acted_out.lock().unwrap_or_else(PoisonError::into_inner);
            if acted_out.len() >= COUNTED_REQUESTS_MAX {
                acted_out.clear();
            }
            let count = acted_out.entry(fingerprint(rule, request)).or_default();
            let before = *count;
            *count = before.saturating_add(1);
            before
        })
    }
}

/// What makes a repeated attempt the same request: everything but notes, which may tell the time.
fn fingerprint(rule: usize, request: &ModelRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    (rule, &request.model, &request.cache_key).hash(&mut hasher);
    let lasting = request.input.iter().filter(|item| !matches!(item, ContextItem::Note { .. }));
    for item in lasting {
        serde_json::to_string(item).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}

/// The scripted model as a [`Model`], without a network.
#[derive(Debug)]
pub struct ScriptedModel {
    player: Player,
}

impl ScriptedModel {
    /// A model that answers from `script`.
    #[must_use]
    pub fn new(script: Arc<Script>) -> Self {
        Self { player: Player::new(script) }
    }
}

#[async_trait]
impl Model for ScriptedModel {
    async fn answer(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        let play = self.player.play(request).map_err(|error| {
            tracing::error!(script_error = %error, "the scripted model has no answer");
            error.to_failure()
        })?;
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                Err(with_message(FailureKind::ConnectionFailed, "the model call was cancelled"))
            }
            outcome = act(play, sink) => outcome,
        }
    }
}

async fn act(play: Play, sink: &mut (dyn FnMut(Delta) + Send)) -> Result<ModelAnswer, Failure> {
    let mut cut_after = None;
    let mut stall = None;
    match play.fault {
        Some(Fault::Status { status, code, retry_after_ms }) => {
            return Err(refused(status, code.as_deref(), retry_after_ms));
        }
        Some(Fault::Disconnect) => return Err(of_kind(FailureKind::ConnectionFailed)),
        Some(Fault::Cut { after_tokens }) => cut_after = Some(after_tokens),
        Some(Fault::Stall { ms, after_tokens: None }) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(Fault::Stall { ms, after_tokens: Some(after) }) => stall = Some((after, ms)),
        None => {}
    }
    let mut tokens = 0;
    for delta in deltas(&play.answer) {
        if matches!(delta, Delta::Text { .. } | Delta::Summary { .. }) {
            if cut_after.is_some_and(|after| tokens >= after) {
                break;
            }
            if let Some((_, ms)) = stall.take_if(|(after, _)| tokens >= *after) {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            if play.token_delay_ms > 0 {
                tokio::time::sleep(Duration::from_millis(play.token_delay_ms)).await;
            }
            tokens += 1;
        }
        sink(delta);
    }
    match (cut_after, stall) {
        (Some(_), _) => Err(of_kind(FailureKind::ConnectionFailed)),
        (None, Some((_, ms))) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(play.answer)
        }
        (None, None) => Ok(play.answer),
    }
}

fn refused(status: u16, code: Option<&str>, retry_after_ms: Option<u64>) -> Failure {
    let body = serde_json::json!({ "error": { "code": code } }).to_string();
    let wait = retry_after_ms.map(|ms| ms.to_string());
    let refused =
        Refused { status, retry_after: None, retry_after_ms: wait.as_deref(), body: body.as_bytes() };
    refused.to_failure(Timestamp::EPOCH)
}
