//! Recording real models and replaying them strictly.
//!
//! A recording is a file of JSON lines, one exchange each: the request and what came of it. Replay hands
//! the outcomes out in order and insists that each request equals the recorded one, so that a change in
//! what a model would see is found without asking it. Only the cache key may differ: it names a session.
//! Deltas are not recorded; replay derives them from the answer.

use std::io::{BufRead, Write};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenure_journal::{Failure, FailureKind, ModelAnswer, ModelRequest};
use tokio_util::sync::CancellationToken;

use crate::codec::deltas;
use crate::failure::with_message;
use crate::{Delta, Model};

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// What was asked.
    pub request: ModelRequest,
    /// The answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<ModelAnswer>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A model that writes down every exchange of another.
pub struct Recorder<M> {
    model: M,
    out: Mutex<Box<dyn Write + Send>>,
}

impl<M: Model> Recorder<M> {
    /// Records `model` to `out`, a line an exchange, flushed after each.
    pub fn new(model: M, out: Box<dyn Write + Send>) -> Self {
        Self { model, out: Mutex::new(out) }
    }

    fn write(&self, exchange: &Exchange) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(exchange)?;
        line.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&line)?;
        out.flush()
    }
}

#[async_trait]
impl<M: Model> Model for Recorder<M> {
    async fn answer(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        let outcome = self.model.answer(request, sink, cancel).await;
        if cancel.is_cancelled() && outcome.is_err() {
            // A cancelled attempt says nothing about the model.
            return outcome;
        }
        let (answer, failure) = match &outcome {
            Ok(answer) => (Some(answer.clone()), None),
            Err(failure) => (None, Some(failure.clone())),
        };
        let exchange = Exchange { request: request.clone(), answer, failure };
        self.write(&exchange)
            .map_err(|_| with_message(FailureKind::Internal, "the recording cannot be written"))?;
        outcome
    }
}

/// A recording that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("the recording cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// A line is not an exchange.
    #[error("line {line} of the recording is not an exchange: {source}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A model that repeats a recording.
#[derive(Debug)]
pub struct Replay {
    exchanges: Vec<Exchange>,
    next: Mutex<usize>,
}

impl Replay {
    /// Reads a recording.
    ///
    /// # Errors
    /// It cannot be read, or a line is not an exchange.
    pub fn read(from: impl BufRead) -> Result<Self, ReplayError> {
        let mut exchanges = Vec::new();
        for (index, line) in from.lines().enumerate() {
            let line = line?;
            if !line.trim().is_empty() {
                let exchange = serde_json::from_str(&line)
                    .map_err(|source| ReplayError::Line { line: index + 1, source })?;
                exchanges.push(exchange);
            }
        }
        Ok(Self { exchanges, next: Mutex::new(0) })
    }

    /// Exchanges that were not asked for yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.exchanges.len() - *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, request: &ModelRequest) -> Result<&Exchange, String> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(exchange) = self.exchanges.get(*next) else {
            return Err(format!(
                "the recording has {} exchanges and all were replayed",
                self.exchanges.len()
            ));
        };
        if let Some(difference) = difference(&exchange.request, request) {
            return Err(format!("exchange {} differs from the recording at {difference}", *next + 1));
        }
        *next += 1;
        Ok(exchange)
    }
}

#[async_trait]
impl Model for Replay {
    async fn answer(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
        _cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        let exchange = self.next(request).map_err(|message| {
            tracing::error!(replay_error = message, "the replay stopped");
            with_message(FailureKind::InvalidRequest, message)
        })?;
        match (&exchange.answer, &exchange.failure) {
            (Some(answer), _) => {
                deltas(answer).into_iter().for_each(sink);
                Ok(answer.clone())
            }
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => {
                Err(with_message(FailureKind::InvalidRequest, "the recorded exchange has no outcome"))
            }
        }
    }
}

/// The first place where two requests differ; only the place, because messages reach customers.
fn difference(recorded: &ModelRequest, found: &ModelRequest) -> Option<String> {
    let comparable = |request: &ModelRequest| {
        let request = ModelRequest { cache_key: String::new(), ..request.clone() };
        serde_json::to_value(request).unwrap_or(Value::Null)
    };
    first_difference(&comparable(recorded), &comparable(found), "request")
}

fn first_difference(recorded: &Value, found: &Value, at: &str) -> Option<String> {
    match (recorded, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.into_iter().find_map(|key| match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => first_difference(a, b, &format!("{at}.{key}")),
                _ => Some(format!("`{at}.{key}`")),
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            let each = a.iter().zip(b).enumerate();
            let inside = each
                .into_iter()
                .find_map(|(index, (a, b))| first_difference(a, b, &format!("{at}[{index}]")));
            inside.or_else(|| {
                (a.len() != b.len()).then(|| format!("`{at}`: {} items, recorded {}", b.len(), a.len()))
            })
        }
        (a, b) => (a != b).then(|| format!("`{at}`")),
    }
}
