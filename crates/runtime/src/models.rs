//! Which model a name means, and the one limiter that all sessions share for each provider account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_journal::{Failure, FailureKind, ModelAnswer, ModelRequest, Usage};
use tenure_model::{Delta, Model};
use tenure_telemetry::metrics::Gauge;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest that one provider's throttling answer holds back the calls of other sessions. Each session
/// honours the full `Retry-After` of its own.
const SHARED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A provider account and what it can bear.
pub struct Provider {
    name: String,
    model: Arc<dyn Model>,
    places: Semaphore,
    waiting: Arc<Gauge>,
    not_before: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What tokens cost, in US dollars per million.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Tokens read.
    pub input: f64,
    /// Tokens read from the provider's cache.
    pub cached_input: f64,
    /// Tokens written.
    pub output: f64,
}

/// One way to reach a model.
#[derive(Debug, Clone)]
pub struct Route {
    /// The account it goes through.
    pub provider: Arc<Provider>,
    /// The model's name at the provider.
    pub model: String,
    /// What it costs, where known.
    pub prices: Option<Prices>,
    /// Tokens its context window holds, where known.
    pub context_tokens: Option<u64>,
    /// Tokens an answer may have, where limited.
    pub output_tokens_max: Option<u64>,
}

/// What model names mean: configured names first, everything else goes to the default provider as it is.
#[derive(Debug, Default)]
pub struct ModelTable {
    /// Configured names.
    pub named: BTreeMap<String, Route>,
    /// Where other names go.
    pub fallback: Option<Arc<Provider>>,
}

impl Provider {
    /// A provider that is asked at most `concurrent_max` questions at once.
    #[must_use]
    pub fn new(name: impl Into<String>, model: Arc<dyn Model>, concurrent_max: usize) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            model,
            places: Semaphore::new(concurrent_max.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: Arc::default(),
            not_before: Mutex::default(),
        })
    }

    /// The name it is configured under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many calls wait for a place.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.count()
    }

    /// Makes one attempt once there is a place and the provider is not asking for patience. `began` is told
    /// when that is.
    pub(crate) async fn answer(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
        began: &mut Option<Instant>,
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        let cancelled = || Failure {
            kind: FailureKind::ConnectionFailed,
            message: "the model call was cancelled".to_owned(),
            retry_after_ms: None,
        };
        let waits = self.waiting.enter();
        let place = tokio::select! {
            place = self.places.acquire() => place.map_err(|_| cancelled())?,
            () = cancel.cancelled() => return Err(cancelled()),
        };
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = not_before {
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = cancel.cancelled() => return Err(cancelled()),
            }
        }
        drop(waits);
        *began = Some(Instant::now());
        let outcome = self.model.answer(request, sink, cancel).await;
        drop(place);
        if let Err(Failure { kind: FailureKind::RateLimited, retry_after_ms: Some(pause), .. }) = &outcome {
            let pause = Duration::from_millis(*pause).min(SHARED_PAUSE_MAX);
            *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
        }
        outcome
    }
}

impl ModelTable {
    /// Every provider that a name can lead to, once.
    pub(crate) fn providers(&self) -> Vec<&Provider> {
        let all = self.named.values().map(|route| &route.provider).chain(&self.fallback);
        let by_name: BTreeMap<&str, &Provider> = all.map(|provider| (provider.name(), &**provider)).collect();
        by_name.into_values().collect()
    }

    /// The route a name means.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<Route> {
        if let Some(route) = self.named.get(name) {
            return Some(route.clone());
        }
        let provider = Arc::clone(self.fallback.as_ref()?);
        Some(Route {
            provider,
            model: name.to_owned(),
            prices: None,
            context_tokens: None,
            output_tokens_max: None,
        })
    }
}

impl Prices {
    /// What `usage` costs, in billionths of a US dollar.
    #[must_use]
    pub fn cost_nano_usd(&self, usage: &Usage) -> u64 {
        // A dollar per million tokens is a thousand billionths per token.
        let fresh = usage.input_tokens.saturating_sub(usage.cached_tokens) as f64 * self.input;
        let cached = usage.cached_tokens as f64 * self.cached_input;
        let output = usage.output_tokens as f64 * self.output;
        ((fresh + cached + output) * 1_000.0).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_count_cached_tokens_once() {
        let prices = Prices { input: 2.0, cached_input: 0.5, output: 8.0 };
        let usage =
            Usage { input_tokens: 1_000, cached_tokens: 400, output_tokens: 100, reasoning_tokens: 50 };
        assert_eq!(prices.cost_nano_usd(&usage), 600 * 2_000 + 400 * 500 + 100 * 8_000);
    }
}
