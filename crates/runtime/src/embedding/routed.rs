//! Vectors from a provider, by routes: each call is decided, recorded and counted before it is made, as a model's is.
//!
//! ```text
//!   decide ──▶ set aside in budgets, with its record ──▶ a place at the provider ──▶ call ──▶ settle, with its record
//!      │ refused: recorded                 │ does not fit
//!      ▼                                   ▼
//!   no vectors, and lexical recall says why
//! ```
//!
//! A process that dies in the middle leaves in those budgets what it had set aside, so that they are counted too high
//! and never too low; the vectors are made by the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tenure_journal::{
    Amounts, AuditOutcome, BudgetId, BudgetScope, EffectId, Failure, FailureKind, Labels, ProjectId,
    SessionId, SessionKey, Usage,
};
use tenure_memory::meaning;
use tenure_model::{EmbedAnswer, EmbedRequest};
use tenure_session::{Deciding, Family, Rememberer, Unsent, Way};
use tenure_store::{AuditEntry, StoreError, StoreErrorKind, Unembedded, UseChange, UseEntry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{EmbedError, Embedder, Failed, embedded, texts};
use crate::Route;
use crate::actor;
use crate::budgets::{self, Whom};
use crate::handle::Shared;

/// How long a question waits for its vector if nobody says otherwise; then recall is lexical.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a batch of the background may take, with waiting for its place.
const BATCH_TIMEOUT: Duration = Duration::from_secs(180);
/// Refusals and texts that are remembered, so that they are told of once.
const REMEMBERED_MAX: usize = 10_000;
/// Failures one after the other by which a route is taken to fail, and not what it was sent.
const FAILURES_MAX: u32 = 3;

/// Where vectors come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingRoutes {
    /// The model, as `models` names it, or the default provider.
    pub model: String,
    /// Numbers of a vector, where the model has a choice.
    pub dimensions: Option<u32>,
    /// Texts of one request.
    pub texts_max: usize,
    /// How long a question waits for its vector.
    pub question_timeout: Duration,
}

/// The model behind routes.
#[derive(Debug)]
pub(crate) struct Routed {
    routes: EmbeddingRoutes,
    /// What is kept with the vectors.
    name: String,
    told: Mutex<Told>,
}

/// What was told once in the life of this process.
#[derive(Debug, Default)]
struct Told {
    refused: HashSet<Refusal>,
    /// Episodes that the provider does not take, or that it may not take.
    doubted: HashMap<(SessionId, u64), Doubt>,
    /// Calls that gave vectors.
    made: u64,
}

/// What is refused, by which policies.
type Refusal = (ProjectId, SessionId, Labels, String);

/// Why an episode may stay without vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// By itself it failed in a way that may be the provider's fault, when so many calls had given vectors.
    Suspect { made: u64 },
    /// It is not sent again.
    Unfit,
}

impl Told {
    fn refuse(&mut self, refusal: Refusal) {
        if self.refused.len() >= REMEMBERED_MAX
            && let Some(one) = self.refused.iter().next().cloned()
        {
            self.refused.remove(&one);
        }
        self.refused.insert(refusal);
    }

    fn is_unfit(&self, episode: &(SessionId, u64)) -> bool {
        self.doubted.get(episode) == Some(&Doubt::Unfit)
    }

    /// Takes note that an episode failed by itself; gives whether that was its fault. What may have been the provider's
    /// is so if it fails once more though the provider gave vectors of something else in between.
    fn doubt(&mut self, episode: (SessionId, u64), kind: FailureKind) -> Doubt {
        let again = matches!(self.doubted.get(&episode), Some(Doubt::Suspect { made }) if *made < self.made);
        let doubt =
            if again || is_of_the_text(kind) { Doubt::Unfit } else { Doubt::Suspect { made: self.made } };
        if self.doubted.len() >= REMEMBERED_MAX
            && let Some(one) = self.doubted.keys().next().copied()
        {
            self.doubted.remove(&one);
        }
        self.doubted.insert(episode, doubt);
        doubt
    }
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("policy does not allow this to be sent to the model")]
    Refused,
    #[error("{0}")]
    Budget(String),
    #[error("there is no route to the model")]
    NoRoute,
    #[error("{}", .0.message)]
    Failed(Failure),
    #[error("durable state cannot be used now")]
    Store(#[from] StoreError),
}

/// One call.
struct Call {
    rememberer: Rememberer,
    flow: Labels,
    texts: Vec<String>,
    timeout: Duration,
    /// Whether a refusal is told of each time.
    asked: bool,
}

impl Routed {
    /// `upstream` are the names that the model has at the providers: vectors of another are not compared with these.
    pub(super) fn new(routes: EmbeddingRoutes, upstream: &[String]) -> Self {
        let dimensions = routes.dimensions.map(|count| format!("/{count}")).unwrap_or_default();
        let name = format!("{}={}{dimensions}", routes.model, upstream.join("+"));
        Self { routes, name, told: Mutex::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn model(&self) -> &str {
        &self.routes.model
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        // Sets are whole between their methods.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn vectors(&self, shared: &Shared, call: Call) -> Result<Vec<Vec<f32>>, Missing> {
        let mut vectors = Vec::with_capacity(call.texts.len());
        for texts in call.texts.chunks(self.routes.texts_max) {
            vectors.extend(self.some_vectors(shared, &call, texts.to_vec()).await?);
        }
        Ok(vectors)
    }

    async fn some_vectors(
        &self,
        shared: &Shared,
        call: &Call,
        texts: Vec<String>,
    ) -> Result<Vec<Vec<f32>>, Missing> {
        let effect = EffectId::fresh(&shared.clock.fresh());
        let way = self.decided(shared, call, effect, &texts).await?;
        let model = &self.routes.model;
        let began = Instant::now();
        let route = shared.models.route(model, Some(&way.decision.route.name));
        let sent = AtomicBool::new(false);
        let asking = async {
            match &route {
                Some(route) => self.ask(shared, call.rememberer.project(), route, (texts, &sent)).await,
                None => Err(failure(FailureKind::NotFound, "the route is not there any more")),
            }
        };
        // A call whose time is limited is cut off at the end of what was set aside.
        let time = Some(way.amounts.millis).filter(|millis| *millis > 0).map(Duration::from_millis);
        let timeout = time.map_or(call.timeout, |time| time.min(call.timeout));
        // What was not sent when it ended cost nothing.
        let cut_off = |kind, message| {
            failure(if sent.load(Ordering::Relaxed) { kind } else { FailureKind::NotBegun }, message)
        };
        let answer = tokio::select! {
            // Not dropped with its task: what was begun is settled.
            () = shared.stop.cancelled() => Err(cut_off(FailureKind::ConnectionFailed, "the server is ending")),
            answer = tokio::time::timeout(timeout, asking) => match answer {
                Ok(answer) => answer,
                Err(_) => Err(cut_off(FailureKind::Timeout, "the model did not answer in time")),
            },
        };
        self.settle(shared, (call, effect, &way, route.as_ref()), began.elapsed(), &answer).await;
        let vectors = answer.map_err(Missing::Failed)?.vectors;
        self.told().made += 1;
        Ok(vectors)
    }

    /// The way that the texts take. When this returns it is recorded, and what they may use is set aside.
    async fn decided(
        &self,
        shared: &Shared,
        call: &Call,
        effect: EffectId,
        texts: &[String],
    ) -> Result<Way, Missing> {
        let (store, at) = (&*shared.store, shared.clock.now());
        let Call { rememberer, flow, .. } = call;
        let (project, model) = (rememberer.project(), &self.routes.model);
        let policy = shared.policies.of(store, project).await?;
        let frozen = shared.freezes.of(store, project).await?;
        let (agent, name) = rememberer.agent();
        let root = rememberer.budget_root();
        // Who searches has no session: only what all of them share is limited.
        let whom =
            Whom::opening(root.unwrap_or_else(|| SessionId::fresh(&shared.clock.fresh())), agent, name);
        let mut budgets = budgets::look(shared, project, &whom, at).await?;
        if root.is_none() {
            budgets.shared.retain(|budget| !matches!(budget.id.scope(), BudgetScope::Session(_)));
        }
        let unhealthy = shared.models.unhealthy();
        let family = Family::of(model);
        let deciding = Deciding {
            policy: &policy,
            frozen: &frozen,
            routes: shared.candidates.with(&unhealthy),
            budgets: &budgets,
            model,
            flow,
            tokens: texts.iter().map(|text| family.count(text).max(1)).sum(),
            at,
        };
        let entries = |records: Vec<Vec<u8>>| -> Vec<AuditEntry> {
            records.into_iter().map(|record| AuditEntry { project, record: record.into() }).collect()
        };
        let way = match rememberer.decide(&deciding) {
            Ok(way) => way,
            Err(Unsent::NoRoute) => return Err(Missing::NoRoute),
            Err(Unsent::Budget(why)) => return Err(Missing::Budget(why)),
            Err(Unsent::Refused(ways)) => {
                let policies = policy.digest().to_owned();
                let refusal = root.map(|session| (project, session, flow.clone(), policies));
                let is_told = refusal.as_ref().is_some_and(|refusal| self.told().refused.contains(refusal));
                if call.asked || !is_told {
                    let records = entries(rememberer.refused(model, &ways, &policy, at));
                    store.change_uses(project, Vec::new(), records).await?;
                    shared.unsealed.tell();
                }
                if let Some(refusal) = refusal.filter(|_| !call.asked && !is_told) {
                    self.told().refuse(refusal);
                }
                return Err(Missing::Refused);
            }
        };
        let reserve = |budget: &BudgetId| UseEntry {
            budget: *budget,
            change: UseChange::Reserve { amounts: way.amounts, caps: budgets.caps(*budget) },
        };
        let uses = way.budgets.iter().map(reserve).collect();
        let records = entries(rememberer.started(model, effect, &way, at));
        match store.change_uses(project, uses, records).await {
            Ok(()) => {}
            Err(error) if error.kind() == StoreErrorKind::BudgetExceeded => {
                return Err(Missing::Budget("a budget is reached".to_owned()));
            }
            Err(error) => return Err(Missing::Store(error)),
        }
        shared.unsealed.tell();
        Ok(way)
    }

    /// `sent` becomes true right before the request goes out.
    async fn ask(
        &self,
        shared: &Shared,
        project: ProjectId,
        route: &Route,
        (texts, sent): (Vec<String>, &AtomicBool),
    ) -> Result<EmbedAnswer, Failure> {
        let closing = || failure(FailureKind::NotBegun, "the server is ending");
        let stop: &CancellationToken = &shared.stop;
        let waiting = shared.load.model_calls_waiting.hold();
        let _at_provider = route.provider.enter(project, stop).await.ok_or_else(closing)?;
        let _place = shared.model_gate.enter(project, stop).await.ok_or_else(closing)?;
        drop(waiting);
        let _running = shared.load.model_calls_running.hold();
        let began = std::time::Instant::now();
        let request = EmbedRequest { model: route.model.clone(), texts, dimensions: self.routes.dimensions };
        sent.store(true, Ordering::Relaxed);
        let answer = route.provider.embed(&request, stop).await;
        let told = answer.as_ref().map(usage).map_err(|failure| failure.kind);
        shared.metrics.model_called(route.provider.name(), Some(&self.routes.model), began.elapsed(), told);
        answer
    }

    /// Counts what was used, and records what came of it. What cannot be written now stays set aside.
    async fn settle(
        &self,
        shared: &Shared,
        (call, effect, way, route): (&Call, EffectId, &Way, Option<&Route>),
        elapsed: Duration,
        answer: &Result<EmbedAnswer, Failure>,
    ) {
        let project = call.rememberer.project();
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let reserved = way.amounts;
        let usage = answer.as_ref().ok().and_then(usage);
        let cost = route
            .and_then(|route| route.prices)
            .zip(usage)
            .map(|(prices, usage)| prices.cost_nano_usd(&usage));
        let spent = match answer {
            Ok(_) => Amounts {
                nano_usd: cost.unwrap_or(reserved.nano_usd),
                tokens: usage.map_or(reserved.tokens, |usage| usage.total_tokens()),
                calls: reserved.calls,
                millis,
            },
            // Nobody knows whether the provider worked.
            Err(failure) if failure.kind.is_ambiguous() => Amounts { millis, ..reserved },
            Err(failure) if failure.kind == FailureKind::NotBegun => Amounts::default(),
            Err(_) => Amounts { millis, ..Amounts::default() },
        };
        let settle =
            |budget: &BudgetId| UseEntry { budget: *budget, change: UseChange::Settle { reserved, spent } };
        let outcome = match answer {
            Ok(_) => AuditOutcome::Done,
            Err(failure) if failure.kind.is_ambiguous() => AuditOutcome::Unknown,
            Err(_) => AuditOutcome::Failed,
        };
        let records = call.rememberer.ended(effect, outcome, cost, shared.clock.now());
        let records: Vec<AuditEntry> =
            records.into_iter().map(|record| AuditEntry { project, record: record.into() }).collect();
        let uses: Vec<UseEntry> = way.budgets.iter().map(settle).collect();
        if uses.is_empty() && records.is_empty() {
            return;
        }
        match shared.store.change_uses(project, uses, records).await {
            Ok(()) => shared.unsealed.tell(),
            Err(error) => {
                tracing::error!(%error, "what vectors cost cannot be counted now; it stays set aside");
            }
        }
    }
}

fn usage(answer: &EmbedAnswer) -> Option<Usage> {
    let input_tokens = answer.tokens?;
    Some(Usage { input_tokens, cached_tokens: 0, output_tokens: 0, reasoning_tokens: 0 })
}

fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: message.to_owned(), retry_after_ms: None }
}

/// Vectors for whoever asks a question: an embedder whose calls are decided for them.
pub(crate) struct Questioner {
    pub(super) shared: Arc<Shared>,
    pub(super) routed: Arc<Routed>,
    pub(super) rememberer: Rememberer,
    pub(super) flow: Labels,
}

#[async_trait]
impl Embedder for Questioner {
    fn model(&self) -> &str {
        self.routed.name()
    }

    /// What was begun is counted, even if who asked goes away meanwhile.
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let (shared, routed) = (Arc::clone(&self.shared), Arc::clone(&self.routed));
        let call = Call {
            rememberer: self.rememberer.clone(),
            flow: self.flow.clone(),
            texts,
            timeout: routed.routes.question_timeout,
            asked: true,
        };
        let asking = self.shared.tasks.spawn(async move { routed.vectors(&shared, call).await });
        let answer = asking.await.map_err(|_| EmbedError::new("the server is ending"))?;
        answer.map_err(|missing| EmbedError::new(missing.to_string()))
    }
}

/// Episodes of one session with the same labels: what is decided together.
type Group = Vec<Unembedded>;

/// How many groups of a project with the same labels failed one after the other.
pub(super) type Failing = HashMap<(ProjectId, Labels), u32>;

/// Makes vectors of some episodes, group by group. What policy does not allow, and what the provider does not take, is
/// left without; so are, until the next pass, what fails, and what a route that is failing would be asked for.
///
/// # Errors
/// The first of a route, after all groups; or that of the store, at once.
pub(super) async fn make(
    shared: &Shared,
    routed: &Routed,
    lacking: Vec<Unembedded>,
    failing: &mut Failing,
) -> Result<(), Failed> {
    let mut first = Ok(());
    for ((key, flow), mut group) in grouped(lacking) {
        if shared.stop.is_cancelled() {
            break;
        }
        let whose = (key.project, flow);
        if failing.get(&whose).is_some_and(|failures| *failures >= FAILURES_MAX) {
            continue;
        }
        {
            let told = routed.told();
            group.retain(|one| !told.is_unfit(&(one.episode.session, one.episode.ordinal)));
        }
        if group.is_empty() {
            continue;
        }
        let rememberer = match actor::load(key, shared).await {
            Ok(Some((state, _))) if !state.is_deleted() => Rememberer::of(&state),
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(session = %key.session, %error, "a session cannot be read, and gets no vectors");
                continue;
            }
        };
        let made = make_group(shared, routed, (&rememberer, &whose.1), group).await;
        match made {
            Ok(()) => {}
            Err(error @ Failed::Store(_)) => return Err(error),
            Err(error @ Failed::Embed(_)) => {
                *failing.entry(whose).or_default() += 1;
                first = first.and(Err(error));
                continue;
            }
        }
        // What failed before is still to be tried again.
        if let Some(failures) = failing.get_mut(&whose) {
            *failures = 0;
        }
    }
    first
}

/// Makes vectors of one group, a request at a time; what was made is kept before the next.
async fn make_group(
    shared: &Shared,
    routed: &Routed,
    whose: (&Rememberer, &Labels),
    group: Group,
) -> Result<(), Failed> {
    for part in parts(group, routed.routes.texts_max) {
        let made = match make_part(shared, routed, whose, part.clone()).await {
            Err(Missing::Failed(failure)) if may_be_of_the_text(failure.kind) => {
                make_each(shared, routed, whose, (part, failure)).await
            }
            made => made,
        };
        match made {
            Ok(()) => {}
            // One project's policy or budget holds up no other; the next sweep asks again.
            Err(missing @ (Missing::Refused | Missing::Budget(_))) => {
                let project = whose.0.project();
                tracing::debug!(%missing, %project, "some episodes stay without vectors for now");
                return Ok(());
            }
            // What cannot be read of one project holds up no other, either.
            Err(Missing::Store(error)) if error.kind() == StoreErrorKind::Corrupt => {
                return Err(Failed::Embed(EmbedError::new(error.to_string())));
            }
            Err(Missing::Store(error)) => return Err(Failed::Store(error)),
            Err(missing) => return Err(Failed::Embed(EmbedError::new(missing.to_string()))),
        }
    }
    Ok(())
}

/// Episode by episode, after `failure` of all of them: the others get theirs if one is at fault.
async fn make_each(
    shared: &Shared,
    routed: &Routed,
    whose: (&Rememberer, &Labels),
    (part, failure): (Group, Failure),
) -> Result<(), Missing> {
    let (alone, mut in_a_row, mut suspected) = (part.len() == 1, 0, None);
    for one in part {
        let episode = (one.episode.session, one.episode.ordinal);
        let made = if alone {
            Err(Missing::Failed(failure.clone()))
        } else {
            make_part(shared, routed, whose, vec![one]).await
        };
        match made {
            Ok(()) => in_a_row = 0,
            Err(Missing::Failed(failure)) if may_be_of_the_text(failure.kind) => {
                let (session, ordinal) = episode;
                let doubt = routed.told().doubt(episode, failure.kind);
                match doubt {
                    Doubt::Unfit => {
                        tracing::warn!(%session, ordinal, "the provider takes no text of an episode, which stays without vectors");
                    }
                    Doubt::Suspect { .. } => {
                        in_a_row += 1;
                        suspected = Some(failure);
                        if in_a_row >= FAILURES_MAX {
                            break;
                        }
                    }
                }
            }
            Err(missing) => return Err(missing),
        }
    }
    suspected.map_or(Ok(()), |failure| Err(Missing::Failed(failure)))
}

/// Makes vectors of episodes that fit into one request, and keeps them.
async fn make_part(
    shared: &Shared,
    routed: &Routed,
    (rememberer, flow): (&Rememberer, &Labels),
    part: Group,
) -> Result<(), Missing> {
    let (texts, counts) = texts(&part);
    let (rememberer, flow) = (rememberer.clone(), flow.clone());
    let call = Call { rememberer, flow, texts, timeout: BATCH_TIMEOUT, asked: false };
    let vectors = routed.vectors(shared, call).await?;
    let strange = |error: EmbedError| Missing::Failed(failure(FailureKind::Protocol, &error.to_string()));
    let embedded = embedded(part, &counts, vectors).map_err(strange)?;
    Ok(shared.store.embed(routed.name(), embedded).await?)
}

/// Cut between episodes, so that the texts of each part fit into one request; an episode that has too many is a part by
/// itself.
fn parts(group: Group, texts_max: usize) -> Vec<Group> {
    let mut parts: Vec<Group> = Vec::new();
    let mut room = 0;
    for one in group {
        let count = meaning::texts(one.before.as_ref(), &one.episode).len();
        match parts.last_mut().filter(|_| count <= room) {
            Some(part) => {
                part.push(one);
                room -= count;
            }
            None => {
                parts.push(vec![one]);
                room = texts_max.saturating_sub(count);
            }
        }
    }
    parts
}

/// Whether it may help to send texts one by one: a model that fails on one of them, or gives something strange for it,
/// says no more than that.
fn may_be_of_the_text(kind: FailureKind) -> bool {
    is_of_the_text(kind) || matches!(kind, FailureKind::Protocol | FailureKind::ServerError)
}

/// Whether a provider refused what was sent, and not who sent it or how often.
fn is_of_the_text(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::InvalidRequest | FailureKind::ContextTooLong | FailureKind::ContentPolicy)
}

/// By session and by the labels of what is sent, which are those of what was said right before, too.
fn grouped(lacking: Vec<Unembedded>) -> Vec<((SessionKey, Labels), Group)> {
    let mut places: BTreeMap<(SessionKey, String), usize> = BTreeMap::new();
    let mut groups: Vec<((SessionKey, Labels), Group)> = Vec::new();
    for one in lacking {
        let key = SessionKey { project: one.project, session: one.episode.session };
        let labels = one.episode.labels.clone();
        let flow = one.before.as_ref().map_or(labels.clone(), |before| labels.join(&before.labels));
        let written = serde_json::to_string(&flow).expect("labels are words and sets of words");
        let place = *places.entry((key, written)).or_insert_with(|| {
            groups.push(((key, flow), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(one);
    }
    groups
}

/// Texts of an episode, at most.
const _: () = assert!(tenure_vector::VECTORS_MAX <= TEXTS_MIN, "an episode fits into a request");
/// The fewest texts of one request that a setting may say.
pub const TEXTS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use tenure_journal::{Episode, Fresh, ItemId, Speaker, Timestamp};

    use super::*;

    #[test]
    fn a_request_holds_whole_episodes() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (project, session) = (ProjectId::fresh(&fresh), SessionId::fresh(&fresh));
        let lacking = |ordinal: u64, text: &str| Unembedded {
            number: ordinal,
            project,
            before: None,
            episode: Episode {
                session,
                item: ItemId::fresh(&fresh),
                ordinal,
                at: Timestamp::EPOCH,
                speaker: Speaker::User,
                name: None,
                text: text.to_owned(),
                labels: Labels::NEUTRAL,
            },
        };
        let long = "Our spaniel has been ill. The vet saw him yesterday. He is much better now.";
        assert_eq!(meaning::texts(None, &lacking(1, long).episode).len(), 5);
        let check = |texts_max, expected: &[&[u64]]| {
            let group = [lacking(1, "x"), lacking(2, long), lacking(3, "x"), lacking(4, "x")].to_vec();
            let parts = parts(group, texts_max).into_iter();
            let parts: Vec<Vec<u64>> =
                parts.map(|part| part.iter().map(|one| one.episode.ordinal).collect()).collect();
            assert_eq!(parts, expected, "{texts_max}");
        };
        check(100, &[&[1, 2, 3, 4]]);
        check(11, &[&[1, 2, 3, 4]]);
        check(10, &[&[1, 2, 3], &[4]]);
        check(6, &[&[1], &[2], &[3, 4]]);
        check(4, &[&[1], &[2], &[3, 4]]);
        check(1, &[&[1], &[2], &[3], &[4]]);
    }

    #[test]
    fn a_text_is_at_fault_once_others_got_their_vectors() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let session = SessionId::fresh(&fresh);
        let mut told = Told::default();
        assert_eq!(told.doubt((session, 1), FailureKind::ContextTooLong), Doubt::Unfit);
        for _ in 0..3 {
            assert_eq!(told.doubt((session, 2), FailureKind::ServerError), Doubt::Suspect { made: 0 });
        }
        told.made += 1;
        assert_eq!(told.doubt((session, 3), FailureKind::Protocol), Doubt::Suspect { made: 1 });
        assert_eq!(told.doubt((session, 2), FailureKind::ServerError), Doubt::Unfit);
        let unfit: Vec<bool> = (0..4).map(|ordinal| told.is_unfit(&(session, ordinal))).collect();
        assert_eq!(unfit, [false, true, true, false]);
    }

    #[test]
    fn what_was_told_is_forgotten_one_by_one() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (project, session) = (ProjectId::fresh(&fresh), SessionId::fresh(&fresh));
        let mut told = Told::default();
        for number in 0..REMEMBERED_MAX + 5 {
            told.refuse((project, session, Labels::NEUTRAL, number.to_string()));
            told.doubt((session, number as u64), FailureKind::InvalidRequest);
        }
        assert_eq!((told.refused.len(), told.doubted.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
    }

    #[test]
    fn what_is_sent_together_has_one_session_and_the_same_labels() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let project = ProjectId::fresh(&fresh);
        let (one, other) = (SessionId::fresh(&fresh), SessionId::fresh(&fresh));
        let secret: Labels = serde_json::from_str(r#"{"confidentiality":"restricted"}"#).expect("labels");
        let episode = |session, ordinal, labels: &Labels| Episode {
            session,
            item: ItemId::fresh(&fresh),
            ordinal,
            at: Timestamp::EPOCH,
            speaker: Speaker::User,
            name: None,
            text: "x".to_owned(),
            labels: labels.clone(),
        };
        let lacking = |session, ordinal, before: Option<&Labels>, labels: &Labels| Unembedded {
            number: ordinal,
            project,
            before: before.map(|labels| episode(session, ordinal - 1, labels)),
            episode: episode(session, ordinal, labels),
        };
        let neutral = Labels::NEUTRAL;
        let groups = grouped(vec![
            lacking(one, 1, None, &neutral),
            lacking(one, 2, Some(&neutral), &secret),
            lacking(other, 1, None, &neutral),
            lacking(one, 3, Some(&secret), &neutral),
            lacking(one, 4, Some(&neutral), &neutral),
        ]);
        let shown: Vec<(bool, bool, Vec<u64>)> = groups
            .iter()
            .map(|((key, flow), group)| {
                let ordinals = group.iter().map(|one| one.episode.ordinal).collect();
                (key.session == one, flow.is_neutral(), ordinals)
            })
            .collect();
        assert_eq!(
            shown,
            [(true, true, vec![1, 4]), (true, false, vec![2, 3]), (false, true, vec![1])],
            "what was said right before is sent, too"
        );
    }

    #[test]
    fn another_model_or_length_has_another_name() {
        let routes = |model: &str, dimensions| EmbeddingRoutes {
            model: model.to_owned(),
            dimensions,
            texts_max: 64,
            question_timeout: QUESTION_TIMEOUT,
        };
        let name = |model, dimensions, upstream: &[&str]| {
            let upstream: Vec<String> = upstream.iter().map(ToString::to_string).collect();
            Routed::new(routes(model, dimensions), &upstream).name().to_owned()
        };
        assert_eq!(name("vectors", None, &["small"]), "vectors=small");
        assert_eq!(name("vectors", Some(256), &["small", "mine"]), "vectors=small+mine/256");
    }
}
