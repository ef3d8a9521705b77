//! Long-term memory: how well questions are answered, how long that takes beside a bare query of the same full-text
//! index, and what remembering adds to a commit.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tenure_embed::Model;
use tenure_journal::{
    AgentId, Episode, Event, Fresh, Head, Input, InputId, InputPart, Labels, MemorySpace, ProjectId,
    Remembered, SessionId, SessionKey, Timestamp, Version,
};
use tenure_memory::bench::{Conversation, Measure, Prepared, measure, synthetic};
use tenure_memory::cue::Question;
use tenure_memory::rank::Weights;
use tenure_memory::text;
use tenure_runtime::Embedder;
use tenure_store::{Append, Embedded, Store as _};
use tenure_store_sqlite::SqliteStore;
use tenure_vector::Vectors;

use super::locomo::Halves;
use super::{Benchmark, Row, Tell, failed, lab, median};
use crate::cli::error::CliError;
use crate::server::embedding::Local;

/// The seed of the talk that is made up.
const SEED: u64 = 1;
/// Talks in each language whose questions are counted.
const TALKS: usize = 12;
/// Languages that talk is made up in, and passages of one talk, about.
const LANGUAGES: usize = 4;
const PASSAGES_OF_TALK: usize = 255;
/// Exchanges that are appended to see what remembering them costs: so many that the log has its size for most of them.
const TURNS: usize = 3_000;
/// Passages that are given vectors together.
const EMBEDDED_AT_ONCE: usize = 1_000;
/// Questions that are asked of it.
const QUESTIONS: usize = 400;
/// Passages of an answer.
const PASSAGES: usize = 8;
const SPEED_GOAL: &str = "p99 under 20 ms with 100,000 memories, 60 ms with 1,000,000";
const MODEL_SPEED_GOAL: &str = "15 ms more than without";
const INGEST_GOAL: &str = "under 15 %";
const QUALITY_GOAL: &str = "R@10 79, multi-hop 50";
const MEANING_GOAL: &str = "with a model: R@10 85, multi-hop 60";

/// How well questions are answered of talk that is made up, by the ranker alone, of what a store would pick.
pub(super) fn quality(embedding: Option<&Path>, tell: Tell<'_>) -> Result<Vec<Row>, CliError> {
    let model = embedding.map(Model::open).transpose().map_err(|error| failed("reading the model", error))?;
    let model = model.as_ref();
    let made_up = synthetic::conversations(SEED, TALKS);
    let mut languages: BTreeMap<&str, Vec<&Conversation>> = BTreeMap::new();
    for talk in &made_up {
        languages.entry(talk.name.split(' ').next().unwrap_or_default()).or_default().push(talk);
    }
    let mut rows = Vec::new();
    for (language, talks) in languages {
        tell(&format!("  asking of {} talks that are made up, {language} ...", talks.len()))?;
        let measured = ranked(&talks, model)?;
        rows.extend(table(&format!("made up, {language}"), &measured, None));
    }
    Ok(rows)
}

/// The same of LoCoMo, of which the user has a copy, on the whole path of a server.
pub(super) async fn locomo(
    parent: &Path,
    path: &Path,
    embedding: Option<&Path>,
    tell: Tell<'_>,
) -> Result<Vec<Row>, CliError> {
    let Halves { tuning, held_out } = super::locomo::measure(parent, path, embedding, tell).await?;
    let goal = if embedding.is_some() { MEANING_GOAL } else { QUALITY_GOAL };
    let mut rows = table("LoCoMo, tuning half", &tuning, None);
    rows.extend(table("LoCoMo, held-out half", &held_out, Some(goal)));
    Ok(rows)
}

/// What the ranker makes of what a store would pick.
fn ranked(talks: &[&Conversation], model: Option<&Model>) -> Result<Measure, CliError> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let prepared = talks.iter().map(|talk| match model {
        Some(model) => Prepared::embedded(talk, &|texts| model.encode(texts, threads))
            .ok_or_else(|| failed("reading the vectors", "the model gave none that can be kept")),
        None => Ok(Prepared::new(talk)),
    });
    let prepared: Vec<Prepared<'_>> = prepared.collect::<Result<_, _>>()?;
    let weights = if model.is_some() { Weights::with_vectors() } else { Weights::default() };
    Ok(measure(&prepared, &weights))
}

fn table(what: &str, measured: &Measure, goal: Option<&'static str>) -> Vec<Row> {
    let Measure { questions, recall_5, recall_10, recall_20, reciprocal_rank, multi_hop_10 } = *measured;
    let row = |name: &str, value: f64, goal: Option<&'static str>| Row {
        goal,
        ..Row::new(Benchmark::Memory, format!("{what}, {questions} questions: {name}"), value, "%")
    };
    vec![
        row("R@5", recall_5, None),
        row("R@10", recall_10, goal),
        row("R@20", recall_20, None),
        row("MRR", reciprocal_rank, None),
        row("R@10 multi-hop", multi_hop_10, goal),
    ]
}

/// How long a recall takes with so many passages in scope, and what writing them adds to commits.
pub(super) async fn speed(
    parent: &Path,
    memories: usize,
    embedding: Option<&Path>,
    tell: Tell<'_>,
) -> Result<Vec<Row>, CliError> {
    let directory = lab::directory(parent)?;
    tell(&format!("  remembering {memories} passages ..."))?;
    let talks = synthetic::conversations(SEED, memories.div_ceil(PASSAGES_OF_TALK * LANGUAGES));
    let fresh = Fresh::new(Timestamp::EPOCH, SEED);
    let space = MemorySpace { project: ProjectId::fresh(&fresh), agent: AgentId::fresh(&fresh), user: None };
    let store = filled(&directory.path().join("store"), &fresh, &space, &talks).await?;
    let passages: usize = talks.iter().map(|talk| talk.episodes.len()).sum();
    let asked = talks.iter().flat_map(|talk| talk.asked.iter().map(move |asked| (talk.now, &asked.question)));
    let asked: Vec<_> = asked.take(QUESTIONS).collect();
    tell("  recalling ...")?;
    let lexical = recalls(&store, None, &space, &asked).await?;
    let meaning = match embedding {
        Some(path) => {
            let model = Local::open(path).await.map_err(|error| failed("reading the model", error))?;
            tell("  keeping vectors ...")?;
            embed_anyhow(&store, &model).await?;
            tell("  recalling by meaning ...")?;
            Some(recalls(&store, Some(&model), &space, &asked).await?)
        }
        None => None,
    };
    store.close().await.map_err(|error| failed("closing the store", error))?;
    let texts: Vec<String> =
        talks.iter().flat_map(|talk| &talk.episodes).map(|episode| episode.text.clone()).collect();
    let questions: Vec<Vec<String>> =
        asked.iter().map(|(_, question)| text::distinct_stems(question)).collect();
    let path = directory.path().join("bare.db");
    let bare = tokio::task::spawn_blocking(move || {
        tenure_store_sqlite::bench::bare_recall(&path, &texts, &questions)
    });
    let bare = bare.await.map_err(|error| failed("asking the bare index", error))?;
    let bare = bare.map_err(|error| failed("asking the bare index", error))?;
    let bare: Vec<f64> = bare.iter().map(|took| took.as_secs_f64() * 1_000.0).collect();
    let what = |part: &str| format!("recall among {passages} passages, {part}");
    let row = |part: &str, took: &[f64], at: f64| {
        Row::new(Benchmark::Memory, what(part), percentile(took, at), "ms")
            .beside("ms of a bare FTS5 query", percentile(&bare, at))
    };
    let processor = |part: &str, recalls: &Recalls| {
        recalls.processor_ms.map(|each| Row::new(Benchmark::Memory, what(part), each, "ms"))
    };
    let mut rows = vec![row("median", &lexical.took, 0.5), row("p99", &lexical.took, 0.99).goal(SPEED_GOAL)];
    rows.extend(processor("processor time", &lexical));
    if let Some(meaning) = meaning {
        rows.push(row("with a model, median", &meaning.took, 0.5));
        rows.push(row("with a model, p99", &meaning.took, 0.99).goal(MODEL_SPEED_GOAL));
        rows.extend(processor("with a model, processor time", &meaning));
    }
    tell("  comparing commits ...")?;
    rows.extend(ingest(directory.path(), &fresh, &space, &talks).await?);
    Ok(rows)
}

/// What so many questions took, in milliseconds.
struct Recalls {
    took: Vec<f64>,
    /// Processor time of each, where the system says: what else the machine does makes it no longer.
    processor_ms: Option<f64>,
}

/// Asks one question after the other.
async fn recalls(
    store: &SqliteStore,
    embedder: Option<&dyn Embedder>,
    space: &MemorySpace,
    asked: &[(Timestamp, &String)],
) -> Result<Recalls, CliError> {
    let mut took = Vec::new();
    let processor = lab::cpu_seconds();
    for (now, question) in asked {
        let question = Question { text: question, now: *now, names: &[] };
        let began = Instant::now();
        let found = tenure_runtime::recall(store, embedder, space, &question, None, PASSAGES).await;
        found.map_err(|error| failed("recalling", error))?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    let processor = processor.zip(lab::cpu_seconds()).map(|(before, after)| after - before);
    let processor_ms = processor.map(|seconds| seconds * 1_000.0 / asked.len().max(1) as f64);
    Ok(Recalls { took, processor_ms })
}

/// Gives every passage vectors of the model's name and length that come from a seed: comparing them takes as long as
/// comparing the model's own, which would be hours in the making.
async fn embed_anyhow(store: &SqliteStore, model: &Local) -> Result<(), CliError> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut after = 0;
    loop {
        let lacking = store.unembedded(model.model(), after, EMBEDDED_AT_ONCE).await;
        let lacking = lacking.map_err(|error| failed("looking for what has no vectors", error))?;
        let Some(last) = lacking.last() else { return Ok(()) };
        after = last.number;
        let mut vector = || -> Vec<f32> { (0..model.dimensions()).map(|_| random.f32() - 0.5).collect() };
        let embedded = lacking.into_iter().map(|one| {
            let vectors = Vectors::of(&[vector(), vector(), vector(), vector()])?;
            Some(Embedded { project: one.project, episode: one.episode, vectors })
        });
        let embedded = embedded.collect::<Option<Vec<_>>>();
        let embedded =
            embedded.ok_or_else(|| failed("making vectors", "the model's are too long to be kept"))?;
        store.embed(model.model(), embedded).await.map_err(|error| failed("keeping vectors", error))?;
    }
}

/// What remembering adds to a turn's commit: appends of an exchange each, with and without in turns, so that both
/// meet the same moods of the disk.
async fn ingest(
    directory: &Path,
    fresh: &Fresh,
    space: &MemorySpace,
    talks: &[Conversation],
) -> Result<Vec<Row>, CliError> {
    let (plain, with) = (opened(&directory.join("plain"))?, opened(&directory.join("with"))?);
    let episodes: Vec<&Episode> = talks.iter().flat_map(|talk| &talk.episodes).take(2 * TURNS).collect();
    let (mut took_plain, mut took_with) = (Vec::new(), Vec::new());
    for exchange in episodes.chunks(2) {
        for (store, took, remembers) in [(&plain, &mut took_plain, false), (&with, &mut took_with, true)] {
            let exchange = exchange.iter().map(|episode| (*episode).clone()).collect();
            let append = append(fresh, space, exchange, remembers);
            let began = Instant::now();
            store.append(append).await.map_err(|error| failed("appending", error))?;
            took.push(began.elapsed().as_secs_f64() * 1_000_000.0);
        }
    }
    for store in [plain, with] {
        store.close().await.map_err(|error| failed("closing the store", error))?;
    }
    let (plain, with) = (median(took_plain), median(took_with));
    let share = 100.0 * (with - plain) / with;
    Ok(vec![
        Row::new(Benchmark::Memory, "remembering an exchange, of its commit, median", share, "%")
            .goal(INGEST_GOAL),
        Row::new(Benchmark::Memory, "the commit of an exchange that is remembered, median", with, "us")
            .beside("us of one that is not", plain),
    ])
}

fn opened(path: &Path) -> Result<Arc<SqliteStore>, CliError> {
    SqliteStore::open(path).map(Arc::new).map_err(|error| failed("opening the store", error))
}

/// A store with every talk appended session by session, several at a time.
async fn filled(
    path: &Path,
    fresh: &Fresh,
    space: &MemorySpace,
    talks: &[Conversation],
) -> Result<Arc<SqliteStore>, CliError> {
    let store = opened(path)?;
    for talk in talks {
        let mut sessions: BTreeMap<SessionId, Vec<Episode>> = BTreeMap::new();
        for episode in &talk.episodes {
            sessions.entry(episode.session).or_default().push(episode.clone());
        }
        let appends =
            sessions.into_values().map(|episodes| store.append(append(fresh, space, episodes, true)));
        for appended in futures_util::future::join_all(appends).await {
            appended.map_err(|error| failed("appending", error))?;
        }
    }
    Ok(store)
}

fn append(fresh: &Fresh, space: &MemorySpace, episodes: Vec<Episode>, remembers: bool) -> Append {
    let session = SessionId::fresh(fresh);
    let content = vec![InputPart::text("x".repeat(1_024))];
    let remembered = |mut episode: Episode| {
        episode.session = session;
        let terms = text::distinct_stems(&episode.text);
        Remembered { space: space.clone(), episode, terms }
    };
    let episodes = if remembers { episodes.into_iter().map(remembered).collect() } else { Vec::new() };
    let events = vec![Event::InputAccepted {
        input: Input { id: InputId::fresh(fresh), content, by_agent: false, labels: Labels::NEUTRAL },
    }];
    let head = Head::idle(SessionKey { project: space.project, session }, space.agent, Timestamp::EPOCH);
    Append { episodes, ..Append::of(Version::ZERO, Timestamp::EPOCH, events, head) }
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(place).copied().unwrap_or(0.0)
}
