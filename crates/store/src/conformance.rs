//! One suite that every implementation of [`Store`] passes.
//!
//! Each case gets a fresh, empty store and states sentences of the contract; a failure panics with the
//! sentence that does not hold. Nothing here knows how a store is made or where it keeps its data, and
//! nothing sleeps or reads a clock. Concurrency comes from polling many calls at once, so the suite needs
//! no particular async runtime.

mod appends;
mod audit;
mod budgets;
mod build;
mod collecting;
mod documents;
mod episodes;
mod erasing;
mod found;
mod isolation;
mod lists;
mod nodes;
mod random;
mod uses;
mod vectors;

use std::sync::Arc;

use crate::Store;

/// Runs every case, each on a store of its own from `make`.
///
/// # Panics
/// A sentence of the contract does not hold; the message says which.
pub async fn run<F: AsyncFn() -> Arc<dyn Store>>(make: F) {
    macro_rules! cases {
        ($($case:path,)*) => { $( Box::pin($case(&*make().await)).await; )* };
    }
    cases! {
        appends::opens_and_extends_contiguously,
        appends::reads_events_in_pages,
        appends::refuses_stale_versions,
        appends::keeps_receipts_with_the_append,
        appends::loads_snapshot_and_tail,
        appends::keeps_what_events_hold,
        appends::lets_one_of_many_writers_win,
        appends::serves_many_sessions_at_once,
        lists::replaces_the_head,
        lists::pages_sessions,
        lists::filters_sessions,
        lists::finds_due_sessions_earliest_first,
        lists::pages_items_by_ordinal,
        lists::keeps_an_items_place,
        lists::hides_items_that_are_not_public,
        lists::lists_items_of_a_turn,
        lists::pages_turns,
        documents::writes_versions_in_order,
        documents::deletes_and_keeps_versions,
        documents::pages_documents_by_id,
        documents::finds_documents_by_name,
        documents::keeps_receipts_with_the_document,
        documents::lets_one_of_many_writers_win,
        documents::writes_several_or_none,
        documents::finds_due_documents_earliest_first,
        documents::notes_without_a_history,
        documents::keeps_blobs_by_content,
        nodes::fences_all_but_the_holder,
        nodes::claims_what_no_living_node_holds,
        nodes::frees_what_a_retired_node_held,
        nodes::leaves_to_others_what_a_node_cannot_do,
        budgets::reserves_before_it_spends,
        budgets::is_never_exceeded_by_a_tree,
        budgets::writes_documents_with_the_events,
        uses::sets_aside_in_all_or_none,
        uses::is_never_exceeded_by_many,
        uses::changes_with_records_and_without_events,
        uses::erases_those_of_a_session,
        collecting::forgets_only_what_is_old,
        collecting::stamps_what_is_kept_again,
        collecting::keeps_what_it_says_is_kept,
        collecting::names_every_session,
        collecting::removes_rows_that_are_gone,
        audit::keeps_records_with_the_events,
        audit::keeps_records_with_documents,
        audit::seals_each_record_once,
        audit::lets_one_of_many_seals_win,
        episodes::finds_what_shares_terms,
        episodes::brings_neighbours_without_gaps,
        episodes::replaces_and_gives_up_places,
        episodes::forgets_a_deleted_session,
        episodes::finds_a_stretch_of_time,
        erasing::finds_what_is_whose,
        erasing::erases_every_row_of_a_session,
        erasing::erases_nothing_of_other_projects,
        erasing::erases_a_document_with_its_past,
        erasing::erases_an_automation_with_what_it_has_not_delivered,
        found::finds_documents_by_terms,
        found::finds_a_document_by_its_latest_terms,
        found::indexes_what_an_append_brings,
        found::indexes_all_or_nothing,
        vectors::finds_what_is_alike,
        vectors::says_what_has_no_vectors,
        vectors::keeps_no_vectors_of_what_is_gone,
        isolation::hides_the_memory_of_other_spaces,
        isolation::hides_everything_of_other_projects,
    }
}

/// Runs `operations` random operations, drawn from `seed`, on a store from `make` and on a
/// [`crate::MemoryStore`], and compares every answer.
///
/// # Panics
/// An answer differs; the message gives the seed and the operation.
pub async fn random<F: AsyncFn() -> Arc<dyn Store>>(make: F, seed: u64, operations: usize) {
    random::compare(&*make().await, seed, operations).await;
}
