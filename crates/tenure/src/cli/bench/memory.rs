//! Long-term memory: how well questions are answered, how long that takes beside a bare query of the same full-text
//! index, and what remembering adds to a commit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tenure_journal::{
    AgentId, Episode, Event, Fresh, Head, Input, InputId, InputPart, Labels, MemorySpace, ProjectId,
    Remembered, SessionId, SessionKey, SessionStatus, Timestamp, Version,
};
use tenure_memory::bench::{Conversation, Measure, Prepared, locomo, measure, synthetic};
use tenure_memory::cue::Question;
use tenure_memory::rank::Weights;
use tenure_memory::text;
use tenure_store::{Append, GoneRows, Store as _};
use tenure_store_sqlite::SqliteStore;

use super::{Benchmark, Row, failed, lab};
use crate::cli::error::CliError;

/// The seed of the talk that is made up.
const SEED: u64 = 1;
/// Talks in each language whose questions are counted.
const TALKS: usize = 12;
/// Talks in each language that fill the store: 100,000 passages together.
const TALKS_STORED: usize = 98;
/// Questions that are asked of it.
const QUESTIONS: usize = 400;
/// Passages of an answer.
const PASSAGES: usize = 8;
const SPEED_GOAL: &str = "p99 under 20 ms with 100,000 memories";
const QUALITY_GOAL: &str = "held-out half of LoCoMo: R@10 79, multi-hop 50";

/// How well questions are answered: of talk that is made up, and of LoCoMo where the user has a copy.
pub(super) fn quality(locomo: Option<&Path>) -> Result<Vec<Row>, CliError> {
    let made_up = synthetic::conversations(SEED, TALKS);
    let mut languages: BTreeMap<&str, Vec<&Conversation>> = BTreeMap::new();
    for talk in &made_up {
        languages.entry(talk.name.split(' ').next().unwrap_or_default()).or_default().push(talk);
    }
    let mut rows = Vec::new();
    for (language, talks) in languages {
        rows.extend(table(&format!("made up, {language}"), &talks));
    }
    let Some(path) = locomo else { return Ok(rows) };
    let bytes = std::fs::read(path).map_err(|error| failed("reading LoCoMo", error))?;
    let talks = locomo::read(&bytes).map_err(|error| failed("reading LoCoMo", error))?;
    let is_tuning = |talk: &&Conversation| locomo::TUNING.contains(&talk.name.as_str());
    let (tuning, held_out): (Vec<_>, Vec<_>) = talks.iter().partition(is_tuning);
    rows.extend(table("LoCoMo, tuning half", &tuning));
    rows.extend(table("LoCoMo, held-out half", &held_out));
    Ok(rows)
}

fn table(what: &str, talks: &[&Conversation]) -> Vec<Row> {
    let prepared: Vec<Prepared<'_>> = talks.iter().map(|talk| Prepared::new(talk)).collect();
    let Measure { questions, recall_5, recall_10, recall_20, reciprocal_rank, multi_hop_10 } =
        measure(&prepared, &Weights::default());
    let row = |name: &str, value: f64| {
        Row::new(Benchmark::Memory, format!("{what}, {questions} questions: {name}"), value, "%")
    };
    vec![
        row("R@5", recall_5),
        row("R@10", recall_10).goal(QUALITY_GOAL),
        row("R@20", recall_20),
        row("MRR", reciprocal_rank),
        row("R@10 multi-hop", multi_hop_10).goal(QUALITY_GOAL),
    ]
}

/// How long a recall takes with 100,000 passages in scope, and what writing them added to their commits.
pub(super) async fn speed(parent: &Path) -> Result<Vec<Row>, CliError> {
    let directory = lab::directory(parent)?;
    let talks = synthetic::conversations(SEED, TALKS_STORED);
    let fresh = Fresh::new(Timestamp::EPOCH, SEED);
    let space = MemorySpace { project: ProjectId::fresh(&fresh), agent: AgentId::fresh(&fresh), user: None };
    let plain = filled(&directory.path().join("plain"), &fresh, &space, &talks, false).await?;
    plain.0.close().await.map_err(|error| failed("closing the store", error))?;
    let (store, with) = filled(&directory.path().join("with"), &fresh, &space, &talks, true).await?;
    let passages: usize = talks.iter().map(|talk| talk.episodes.len()).sum();
    let mut took = Vec::new();
    let asked = talks.iter().flat_map(|talk| talk.asked.iter().map(move |asked| (talk.now, &asked.question)));
    let asked: Vec<_> = asked.take(QUESTIONS).collect();
    for (now, question) in &asked {
        let question = Question { text: question, now: *now, names: &[] };
        let began = Instant::now();
        let found = tenure_runtime::recall(&*store, &space, &question, None, PASSAGES).await;
        found.map_err(|error| failed("recalling", error))?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
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
    let micros = (with - plain.1) * 1_000_000.0 / passages as f64;
    Ok(vec![
        Row::new(Benchmark::Memory, what("median"), percentile(&took, 0.5), "ms")
            .beside("ms of a bare FTS5 query", percentile(&bare, 0.5)),
        Row::new(Benchmark::Memory, what("p99"), percentile(&took, 0.99), "ms")
            .beside("ms of a bare FTS5 query", percentile(&bare, 0.99))
            .goal(SPEED_GOAL),
        Row::new(Benchmark::Memory, "remembering one passage, within its commit", micros, "us"),
    ])
}

/// A store with every talk appended session by session, and the seconds that took.
async fn filled(
    path: &Path,
    fresh: &Fresh,
    space: &MemorySpace,
    talks: &[Conversation],
    remembers: bool,
) -> Result<(Arc<SqliteStore>, f64), CliError> {
    let store = SqliteStore::open(path).map_err(|error| failed("opening the store", error))?;
    let store = Arc::new(store);
    let mut sessions: BTreeMap<(usize, SessionId), Vec<Episode>> = BTreeMap::new();
    for (number, talk) in talks.iter().enumerate() {
        for episode in &talk.episodes {
            sessions.entry((number, episode.session)).or_default().push(episode.clone());
        }
    }
    let appends: Vec<Append> =
        sessions.into_values().map(|episodes| append(fresh, space, episodes, remembers)).collect();
    let began = Instant::now();
    for append in appends {
        store.append(append).await.map_err(|error| failed("appending", error))?;
    }
    Ok((store, began.elapsed().as_secs_f64()))
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
    Append {
        expected: Version::ZERO,
        at: Timestamp::EPOCH,
        events: vec![Event::InputAccepted {
            input: Input { id: InputId::fresh(fresh), content, by_agent: false, labels: Labels::NEUTRAL },
        }],
        head: Head {
            key: SessionKey { project: space.project, session },
            status: SessionStatus::Idle,
            agent_id: space.agent,
            parent: None,
            agent_name: None,
            metadata: BTreeMap::new(),
            created_at: Timestamp::EPOCH,
            last_active_at: Timestamp::EPOCH,
            wake_at: None,
            deleted: false,
        },
        gone: GoneRows::default(),
        items: Vec::new(),
        turns: Vec::new(),
        snapshot: None,
        receipt: None,
        holder: None,
        documents: Vec::new(),
        budget: Vec::new(),
        audit: Vec::new(),
        episodes,
    }
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(place).copied().unwrap_or(0.0)
}
