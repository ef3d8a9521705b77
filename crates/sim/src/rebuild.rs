//! Projections, built again from a journal alone.

use std::collections::BTreeMap;

use tenure_journal::{Event, Head, Item, Recorded, SessionKey, Turn, TurnEnd, TurnId, TurnStatus};
use tenure_session::Session;

/// The rows of one session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) head: Head,
    pub(crate) items: Vec<Item>,
    pub(crate) turns: Vec<Turn>,
}

/// Folds a journal event by event and keeps every row as it last was.
pub(crate) fn rows(key: SessionKey, journal: &[Recorded]) -> Option<Rows> {
    let mut state = Session::fold(key, None, journal.get(..1)?)?;
    let mut items: BTreeMap<u64, Item> = BTreeMap::new();
    let mut turns: BTreeMap<TurnId, Turn> = BTreeMap::new();
    for recorded in &journal[1..] {
        if let (Event::TurnEnded { turn_id, end }, Some(mut row)) = (&recorded.event, state.active_turn()) {
            (row.status, row.error) = match end {
                TurnEnd::Completed => (TurnStatus::Completed, None),
                TurnEnd::Failed { error } => (TurnStatus::Failed, Some(error.clone())),
                TurnEnd::Cancelled => (TurnStatus::Cancelled, None),
            };
            row.completed_at = Some(recorded.at);
            turns.insert(*turn_id, row);
        }
        state.apply(recorded.at, &recorded.event);
        if let Event::Rewound(rewound) = &recorded.event {
            items.split_off(&rewound.kept);
            items.extend(rewound.items.iter().map(|placed| (placed.ordinal, placed.item.clone())));
            turns.retain(|id, _| !rewound.gone.contains(id));
            turns.extend(rewound.turns.iter().map(|turn| (turn.id, turn.clone())));
        }
        if let Event::Forked(forked) = &recorded.event {
            let next = items.len() as u64;
            items.extend((next..).zip(forked.items.iter().cloned()));
            turns.extend(forked.turns.iter().map(|turn| (turn.id, turn.clone())));
        }
        if changes_items(&recorded.event) {
            for (ordinal, item) in state.items() {
                if items.get(&ordinal) != Some(item) {
                    items.insert(ordinal, item.clone());
                }
            }
        }
        turns.extend(state.active_turn().map(|turn| (turn.id, turn)));
    }
    let items = items.into_values().filter(Item::is_public).collect();
    Some(Rows { head: state.head(), items, turns: turns.into_values().collect() })
}

fn changes_items(event: &Event) -> bool {
    match event {
        Event::InputJoined { .. }
        | Event::ItemAdded { .. }
        | Event::ItemClosed { .. }
        | Event::AttemptEnded { .. }
        | Event::FunctionReturned { .. } => true,
        Event::EnvironmentOpened(_)
        | Event::EnvironmentExpired
        | Event::EnvironmentSuspended
        | Event::EnvironmentResumed
        | Event::EnvironmentReset
        | Event::SessionOpened(_)
        | Event::SessionUpdated { .. }
        | Event::SessionFailed { .. }
        | Event::SessionDeleted
        | Event::InputAccepted { .. }
        | Event::TurnCreated { .. }
        | Event::TurnStarted { .. }
        | Event::TurnEnded { .. }
        | Event::FunctionsLoaded { .. }
        | Event::EffectRequested { .. }
        | Event::AttemptStarted { .. }
        | Event::EffectAbandoned { .. }
        | Event::ApprovalRequested { .. }
        | Event::ApprovalDecided { .. }
        | Event::SubagentOpened { .. }
        | Event::SubagentClosed { .. }
        | Event::SubagentResumed { .. }
        | Event::PolicyRefused { .. }
        | Event::Granted { .. }
        | Event::Governed { .. }
        | Event::EnvironmentConnected
        | Event::EnvironmentDisconnected
        | Event::SignedIn
        | Event::CredentialBound { .. }
        | Event::SecretPermitted { .. }
        | Event::ConnectionAwaited { .. }
        | Event::ConnectionLapsed
        | Event::ArtifactDeleted { .. }
        | Event::ContextCompacted(_)
        | Event::ContextTrimmed { .. }
        | Event::ExtractionSkipped { .. }
        | Event::OutputsShortened { .. }
        | Event::BlocksTaken { .. }
        | Event::ProceduresTaken { .. }
        | Event::Forked(_)
        | Event::Rewound(_) => false,
    }
}
