//! A batch and everything that follows from it, as one transaction, and who is told once it is durable.

use bytes::Bytes;
use tenure_journal::{Done, Event, Outcome, Version};
use tenure_session::{Batch, Budgets, Reserving, Role};
use tenure_store::{Append, GoneRows, ItemRow, Receipt, StoreError};

use crate::handle::Shared;
use crate::{budget, budgets, environments, facts, fork};

/// Events between two snapshots: opening a session folds at most this many beside the snapshot.
const EVENTS_PER_SNAPSHOT: u64 = 128;

/// What a refused reservation is decided again with.
pub(crate) fn refused(error: &StoreError) -> Reserving {
    error.exceeded().map_or(Reserving::Refused, |(budget, measure)| Reserving::RefusedBy(budget, measure))
}

/// Appends a batch with everything that follows from it; gives the version of the stored snapshot.
pub(crate) async fn append(
    shared: &Shared,
    batch: &Batch,
    role: Role,
    snapshot: Version,
    receipt: Option<Receipt>,
    budgets: &Budgets,
) -> Result<Version, StoreError> {
    let version = batch.after.version();
    let due = version.0 >= snapshot.0 + EVENTS_PER_SNAPSHOT;
    let mut documents = shared.webhooks.deliveries(shared, batch, batch.at).await?;
    let told = !documents.is_empty();
    documents.extend(environments::document(batch));
    if batch.expected == Version::ZERO {
        let from = batch.after.forked_from();
        documents.extend(from.map(|from| fork::document(batch.after.key(), from, batch.at)));
    }
    let learned = facts::learned(shared, batch).await?;
    documents.extend(learned.proposals);
    let append = Append {
        expected: batch.expected,
        at: batch.at,
        events: batch.events.clone(),
        head: batch.after.head(),
        items: batch
            .items
            .iter()
            .map(|(ordinal, item)| ItemRow { ordinal: *ordinal, item: item.clone() })
            .collect(),
        turns: batch.turns.clone(),
        gone: GoneRows { items_from: batch.gone.items_from, turns: batch.gone.turns.clone() },
        snapshot: due.then(|| Bytes::from(batch.after.encode())),
        receipt,
        holder: match role {
            Role::Holder => Some(shared.node),
            Role::Guest => None,
        },
        documents,
        indexed: learned.indexed,
        budget: budget::entries(batch),
        uses: budgets::uses(batch, budgets),
        audit: batch.audit.clone(),
        episodes: batch.episodes.clone(),
    };
    for event in &batch.events {
        if let Event::PolicyRefused { refusal } = event
            && let Some(fault) = &refusal.fault
        {
            let session = batch.after.key().session;
            tracing::error!(%session, action = refusal.action, resource = refusal.resource, fault, "policy could not decide, and refused");
        }
    }
    let began = std::time::Instant::now();
    let appended = shared.store.append(append).await;
    let error = appended.as_ref().err().map(StoreError::kind);
    shared.metrics.appended(batch.events.len(), began.elapsed(), error);
    appended?;
    learned.facts.iter().for_each(|outcome| shared.metrics.extracted(outcome));
    learned.procedures.iter().for_each(|outcome| shared.metrics.procedure_read(outcome));
    count_reading(shared, batch);
    if told {
        shared.webhooks.wake();
    }
    if !batch.audit.is_empty() {
        shared.unsealed.tell();
    }
    if !batch.episodes.is_empty() {
        shared.embedding.tell();
    }
    if let Some(exporter) = &shared.exporter {
        exporter.committed(batch, &shared.metrics);
    }
    Ok(if due { version } else { snapshot })
}

/// Counts what was read out of turns, and logs what could not be.
fn count_reading(shared: &Shared, batch: &Batch) {
    let session = batch.after.key().session;
    for event in &batch.events {
        if let Event::AttemptEnded { outcome: Outcome::Done { done }, .. } = event
            && let Done::Extracted { problem, dropped, .. } = done
        {
            shared.metrics.turn_read(if problem.is_some() { "unreadable" } else { "read" });
            if problem.is_some() || *dropped > 0 {
                tracing::warn!(%session, problem, dropped, "what a model read out of a turn is not as asked for");
            }
        }
        if let Event::ExtractionSkipped { turn_id, why } = event {
            shared.metrics.turn_read(why.as_str());
            tracing::info!(%session, turn = %turn_id, why = why.as_str(), "no facts are read out of a turn");
        }
    }
}
