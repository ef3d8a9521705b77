//! Which model a name means, and the one limiter that all sessions share for each provider account, round-robin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenure_journal::{
    Extraction, Failure, FailureKind, ModelAnswer, ModelRequest, ProjectId, RouteRecord, Usage,
};
use tenure_model::{Delta, EmbedAnswer, EmbedRequest, Embeddings, Model};
use tenure_session::{Candidate, Routes, Window};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Places;
use crate::breaker::Breaker;
use crate::budget;
use crate::fair::{Gate, Place};

/// The longest that one provider's throttling answer holds back the calls of other sessions. Each session
/// honours the full `Retry-After` of its own.
const SHARED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A provider account and what it can bear.
pub struct Provider {
    name: String,
    model: Arc<dyn Model>,
    gate: Arc<Gate>,
    not_before: Mutex<Option<Instant>>,
    breaker: Mutex<Breaker>,
    /// What is known of every route through it.
    record: RouteRecord,
    stateful: bool,
    /// What makes vectors there, where something does.
    embeddings: Option<Arc<dyn Embeddings>>,
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
    /// What contracts, and the journal, are told of it. Its name tells it apart from the model's other routes.
    pub record: RouteRecord,
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
    /// Configured names, and the ways to each in the order in which they are tried.
    pub named: BTreeMap<String, Vec<Route>>,
    /// Where other names go.
    pub fallback: Option<Arc<Provider>>,
}

impl Provider {
    /// A provider that is asked at most `concurrent_max` questions at once.
    #[must_use]
    pub fn new(name: impl Into<String>, model: Arc<dyn Model>, concurrent_max: usize) -> Arc<Self> {
        Self::with_places(name, model, Places::shared(concurrent_max))
    }

    /// A provider with places of which one project may have a part.
    #[must_use]
    pub fn with_places(name: impl Into<String>, model: Arc<dyn Model>, places: Places) -> Arc<Self> {
        Self::described(name, model, places, RouteRecord::default(), false)
    }

    /// The same, with what is known of every route through it, and whether what it sends makes state at the
    /// provider.
    #[must_use]
    pub fn described(
        name: impl Into<String>,
        model: Arc<dyn Model>,
        places: Places,
        record: RouteRecord,
        stateful: bool,
    ) -> Arc<Self> {
        Self::with_embeddings(name, (model, None), places, record, stateful)
    }

    /// The same with what makes vectors of texts there.
    #[must_use]
    pub fn with_embeddings(
        name: impl Into<String>,
        (model, embeddings): (Arc<dyn Model>, Option<Arc<dyn Embeddings>>),
        places: Places,
        record: RouteRecord,
        stateful: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            model,
            gate: Gate::new(places),
            not_before: Mutex::default(),
            breaker: Mutex::default(),
            record,
            stateful,
            embeddings,
        })
    }

    /// Whether it makes vectors of texts.
    #[must_use]
    pub fn makes_vectors(&self) -> bool {
        self.embeddings.is_some()
    }

    /// What is known of every route through it.
    #[must_use]
    pub fn record(&self) -> &RouteRecord {
        &self.record
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        // It is whole between its methods, none of which can panic halfway.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The name it is configured under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for a place, and until the provider is not asking for patience; nothing if `cancel` fires
    /// first. Safe to cancel.
    pub(crate) async fn enter(&self, project: ProjectId, cancel: &CancellationToken) -> Option<Place> {
        let place = self.gate.enter(project, cancel).await?;
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = not_before {
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = cancel.cancelled() => return None,
            }
        }
        Some(place)
    }

    /// Makes one attempt. The caller has a place.
    pub(crate) async fn answer(
        &self,
        request: &ModelRequest,
        sink: &mut (dyn FnMut(Delta) + Send),
        cancel: &CancellationToken,
    ) -> Result<ModelAnswer, Failure> {
        self.watched(self.model.answer(request, sink, cancel), cancel).await
    }

    /// Makes one attempt at vectors. The caller has a place. Dropping it counts as silence.
    pub(crate) async fn embed(
        &self,
        request: &EmbedRequest,
        cancel: &CancellationToken,
    ) -> Result<EmbedAnswer, Failure> {
        let Some(embeddings) = &self.embeddings else {
            let message = format!("the provider `{}` makes no vectors of texts", self.name);
            return Err(Failure { kind: FailureKind::NotFound, message, retry_after_ms: None });
        };
        self.watched(embeddings.embed(request), cancel).await
    }

    /// Sees how an attempt ends, for those after it.
    async fn watched<T>(
        &self,
        attempt: impl Future<Output = Result<T, Failure>>,
        cancel: &CancellationToken,
    ) -> Result<T, Failure> {
        self.breaker().begin(Instant::now());
        let outcome = attempt.await;
        // What was cancelled says nothing about the provider.
        if outcome.is_ok() || !cancel.is_cancelled() {
            let failed = outcome.as_ref().err().map(|failure| failure.kind);
            if self.breaker().end(failed, Instant::now()) {
                tracing::warn!(provider = %self.name, "a provider fails; other routes are taken for a while");
            }
        }
        if let Err(Failure { kind: FailureKind::RateLimited, retry_after_ms: Some(pause), .. }) = &outcome {
            let pause = Duration::from_millis(*pause).min(SHARED_PAUSE_MAX);
            *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
        }
        outcome
    }
}

impl ModelTable {
    /// Every provider, possibly more than once.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.named.values().flatten().map(|route| &route.provider).chain(&self.fallback)
    }

    /// The route of this name to a model, or the first where none is named.
    #[must_use]
    pub fn route(&self, model: &str, name: Option<&str>) -> Option<Route> {
        if let Some(routes) = self.named.get(model) {
            let named = |route: &&Route| name.is_none_or(|name| route.record.name == name);
            return routes.iter().find(named).cloned();
        }
        let provider = Arc::clone(self.fallback.as_ref()?);
        Some(Route {
            record: provider.record.clone(),
            provider,
            model: model.to_owned(),
            prices: None,
            context_tokens: None,
            output_tokens_max: None,
        })
    }

    /// What a model is called at the providers by each of its routes, every name once.
    pub(crate) fn upstream(&self, model: &str) -> Vec<String> {
        let Some(routes) = self.named.get(model) else {
            return self.fallback.iter().map(|_| model.to_owned()).collect();
        };
        let mut names: Vec<String> = Vec::new();
        for route in routes {
            if !names.contains(&route.model) {
                names.push(route.model.clone());
            }
        }
        names
    }

    /// The names of the routes to a model, as decisions and receipts have them.
    pub(crate) fn route_names(&self, model: &str) -> Vec<String> {
        match self.named.get(model) {
            Some(routes) => routes.iter().map(|route| route.record.name.clone()).collect(),
            None => self.fallback.iter().map(|provider| format!("{}/{model}", provider.name)).collect(),
        }
    }

    /// What every way to a model takes in: the smallest of their windows.
    #[must_use]
    pub fn window(&self, model: &str) -> Window {
        let of = |route: &Route| Window::of(&route.model, route.context_tokens, route.output_tokens_max);
        let named = self.named.get(model).into_iter().flatten().map(of);
        named.min_by_key(|window| window.input()).unwrap_or_else(|| Window::of(model, None, None))
    }

    /// The ways as decisions are told of them.
    pub(crate) fn candidates(&self) -> Candidates {
        let named = self.named.iter().map(|(name, routes)| {
            let candidate = |route: &Route| Candidate {
                record: route.record.clone(),
                account: route.provider.name.clone(),
                stateful: route.provider.stateful,
                price: budget::price(route),
            };
            (name.clone(), routes.iter().map(candidate).collect())
        });
        let fallback = self.fallback.as_ref().map(|provider| Candidate {
            record: provider.record.clone(),
            account: provider.name.clone(),
            stateful: provider.stateful,
            price: None,
        });
        Candidates { named: named.collect(), fallback, reviewer: None, extraction: None }
    }

    /// Accounts that are left alone now.
    pub(crate) fn unhealthy(&self) -> BTreeSet<String> {
        let now = Instant::now();
        let unwell = self.providers().filter(|provider| !provider.breaker().is_well(now));
        unwell.map(|provider| provider.name.clone()).collect()
    }
}

/// The ways to all models, as far as they do not change.
#[derive(Debug)]
pub(crate) struct Candidates {
    named: BTreeMap<String, Vec<Candidate>>,
    fallback: Option<Candidate>,
    reviewer: Option<String>,
    extraction: Option<Extraction>,
}

impl Candidates {
    /// The same, with a model that reviews calls.
    pub(crate) fn reviewed_by(self, reviewer: Option<String>) -> Self {
        Self { reviewer, ..self }
    }

    /// The same, with how facts are read out of turns.
    pub(crate) fn read_by(self, extraction: Option<Extraction>) -> Self {
        Self { extraction, ..self }
    }

    pub(crate) fn with<'a>(&'a self, unhealthy: &'a BTreeSet<String>) -> Routes<'a> {
        let (fallback, reviewer) = (self.fallback.as_ref(), self.reviewer.as_deref());
        Routes { named: &self.named, fallback, unhealthy, reviewer, extraction: self.extraction.as_ref() }
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
