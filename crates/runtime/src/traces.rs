//! Traces of finished turns, made from the journal when they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tenure_journal::{Event, SessionKey, Timestamp, Turn, TurnId, Version};
use tenure_store::{Order, Store};
use tenure_telemetry::{Content, Subject, Trace, Tracer, otlp};

use crate::{Runtime, RuntimeError, RuntimeErrorKind};

/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 512;
/// Bytes of the traces of one answer, as the Agents API documents it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The trace of one turn, ready to be shown.
#[derive(Debug, Clone)]
pub struct ShownTrace {
    /// The turn.
    pub turn_id: TurnId,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its spans, as an `ExportTraceServiceRequest` in JSON.
    pub otlp: Value,
}

impl Runtime {
    /// The traces of those of `turns` that have ended, in the order of `turns`, and whether some were left
    /// out at the end because the answer would be too large. One is always there, however large.
    ///
    /// # Errors
    /// `NotFound`, `Storage`, `Damaged`.
    pub async fn traces(
        &self,
        key: SessionKey,
        turns: &[Turn],
        order: Order,
    ) -> Result<(Vec<ShownTrace>, bool), RuntimeError> {
        let shared = self.shared();
        let ended = turns.iter().filter(|turn| turn.status.is_terminal()).map(|turn| turn.id);
        let wanted: BTreeSet<TurnId> = ended.collect();
        if wanted.is_empty() {
            return Ok((Vec::new(), false));
        }
        let store = shared.store.as_ref();
        let first = store.events(key, Version::ZERO, 1).await?;
        let subject = match first.first().map(|first| &first.event) {
            Some(Event::SessionOpened(opened)) => Subject::new(key.session, &opened.agent),
            // Its environment was there first, and anything may have been done there.
            Some(_) => match self.session_state(key).await? {
                Some(state) => Subject::new(key.session, state.agent()),
                None => return Err(RuntimeErrorKind::NotFound.into()),
            },
            None => return Err(RuntimeErrorKind::NotFound.into()),
        };
        let from = match order {
            Order::Ascending => Version::ZERO,
            Order::Descending => before(store, key, end(store, key).await?, wanted.clone()).await?,
        };
        let found = of_turns(store, key, from, wanted, subject, shared.trace_content).await?;
        // Lists go by id, and ids of one millisecond do not follow the journal.
        let mut found: BTreeMap<TurnId, Trace> =
            found.into_iter().map(|trace| (trace.turn_id, trace)).collect();
        let mut bytes = 0;
        let mut shown = Vec::with_capacity(found.len());
        for trace in turns.iter().filter_map(|turn| found.remove(&turn.id)) {
            let otlp = otlp::request([&trace]);
            bytes += otlp.to_string().len();
            if bytes > ANSWER_BYTES_MAX && !shown.is_empty() {
                return Ok((shown, true));
            }
            shown.push(ShownTrace { turn_id: trace.turn_id, created_at: trace.created_at, otlp });
        }
        Ok((shown, false))
    }
}

/// The version of a session's last event.
async fn end(store: &dyn Store, key: SessionKey) -> Result<Version, RuntimeError> {
    let stored = store.load(key).await?.ok_or(RuntimeErrorKind::NotFound)?;
    let snapshot = stored.snapshot.map_or(Version::ZERO, |snapshot| snapshot.version);
    Ok(stored.tail.last().map_or(snapshot, |last| last.version))
}

/// A version before the creation of each of `turns`, looked for from `end` backwards: what is asked for is
/// mostly new, and journals are long.
pub(crate) async fn before(
    store: &dyn Store,
    key: SessionKey,
    end: Version,
    mut turns: BTreeSet<TurnId>,
) -> Result<Version, RuntimeError> {
    let mut after = end;
    while after > Version::ZERO {
        after = Version(after.0.saturating_sub(EVENTS_AT_ONCE as u64));
        let events = store.events(key, after, EVENTS_AT_ONCE).await?;
        for recorded in &events {
            if let Event::TurnCreated { turn_id } = &recorded.event {
                turns.remove(turn_id);
            }
        }
        if turns.is_empty() {
            // The messages that a turn begins with were accepted just before it.
            return Ok(Version(after.0.saturating_sub(EVENTS_AT_ONCE as u64)));
        }
    }
    Ok(Version::ZERO)
}

/// The traces of the wanted turns, in the order of the journal, read from after `from` on.
pub(crate) async fn of_turns(
    store: &dyn Store,
    key: SessionKey,
    from: Version,
    mut wanted: BTreeSet<TurnId>,
    subject: Subject,
    content: Content,
) -> Result<Vec<Trace>, RuntimeError> {
    let mut tracer = Tracer::new(subject, content);
    let (mut after, mut found) = (from, Vec::new());
    while !wanted.is_empty() {
        let events = store.events(key, after, EVENTS_AT_ONCE).await?;
        let Some(last) = events.last() else { break };
        after = last.version;
        let ended = events.iter().filter_map(|recorded| tracer.apply(recorded));
        found.extend(ended.filter(|trace| wanted.remove(&trace.turn_id)));
    }
    Ok(found)
}
