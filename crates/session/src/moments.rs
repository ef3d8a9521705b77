//! The moments of a session, as people look for one to go back to or to fork: what was said and done, and after
//! which version.

use std::collections::BTreeSet;

use tenure_journal::{
    Event, Item, ItemId, ItemStatus, Next, Recorded, SessionKey, Timestamp, TurnEnd, TurnId, Version,
};

use crate::Session;
use crate::batch::appends;

/// Something that happened, and the version right after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The version right after it.
    pub version: Version,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub what: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// An item was completed.
    Item(Box<Item>),
    /// A turn ended.
    TurnEnded {
        /// The turn.
        turn_id: TurnId,
        /// How.
        end: TurnEnd,
    },
    /// The session went back.
    Rewound {
        /// To what.
        to: Version,
    },
}

/// Everything that happened in a session, in order; what was given up by going back included. What a fork began
/// with happened elsewhere. `None`: the journal does not begin as one.
#[must_use]
pub fn moments(key: SessionKey, journal: &[Recorded]) -> Option<Vec<Moment>> {
    let mut state: Option<Session> = None;
    let mut told: BTreeSet<ItemId> = BTreeSet::new();
    let mut moments = Vec::new();
    for append in appends(journal) {
        let end = append.last()?;
        let mut touched = Vec::new();
        let mut ends = Vec::new();
        for recorded in append {
            touched.extend(state.as_ref().into_iter().flat_map(|state| items_of(state, &recorded.event)));
            ends.extend(ending(recorded));
            state = Session::fold(key, state, std::slice::from_ref(recorded));
        }
        let state = state.as_ref()?;
        for id in touched {
            let item =
                state.item(id).filter(|item| item.is_public() && item.status != ItemStatus::InProgress);
            let Some(item) = item.filter(|item| told.insert(item.id)) else { continue };
            let what = Happened::Item(Box::new(item.clone()));
            moments.push(Moment { version: end.version, at: end.at, what });
        }
        moments.extend(ends);
    }
    Some(moments)
}

fn ending(recorded: &Recorded) -> Option<Moment> {
    let what = if let Event::TurnEnded { turn_id, end } = &recorded.event {
        Happened::TurnEnded { turn_id: *turn_id, end: end.clone() }
    } else if let Event::Rewound(rewound) = &recorded.event {
        Happened::Rewound { to: rewound.to }
    } else {
        return None;
    };
    Some(Moment { version: recorded.version, at: recorded.at, what })
}

/// The items that an event may complete.
fn items_of(before: &Session, event: &Event) -> Vec<ItemId> {
    match event {
        Event::InputJoined { item_id, .. }
        | Event::ItemClosed { item_id, .. }
        | Event::ItemAdded { item: Item { id: item_id, .. } } => vec![*item_id],
        Event::FunctionReturned { call_item_id, item_id, .. } => vec![*call_item_id, *item_id],
        Event::AttemptEnded { effect_id, next: Next::Settled, .. } => {
            let pending = before.effects.get(effect_id);
            pending.and_then(|pending| pending.effect.kind.item_id()).into_iter().collect()
        }
        Event::AttemptEnded { .. }
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
        | Event::Granted { .. }
        | Event::SubagentOpened { .. }
        | Event::SubagentClosed { .. }
        | Event::SubagentResumed { .. }
        | Event::PolicyRefused { .. }
        | Event::Governed { .. }
        | Event::ArtifactDeleted { .. }
        | Event::EnvironmentOpened(_)
        | Event::EnvironmentExpired
        | Event::EnvironmentSuspended
        | Event::EnvironmentResumed
        | Event::EnvironmentReset
        | Event::EnvironmentConnected
        | Event::EnvironmentDisconnected
        | Event::SignedIn
        | Event::CredentialBound { .. }
        | Event::SecretPermitted { .. }
        | Event::ConnectionAwaited { .. }
        | Event::ConnectionLapsed
        | Event::ContextCompacted(_)
        | Event::ContextTrimmed { .. }
        | Event::ExtractionSkipped { .. }
        | Event::OutputsShortened { .. }
        | Event::BlocksTaken { .. }
        | Event::ProceduresTaken { .. }
        | Event::Forked(_)
        | Event::Rewound(_) => vec![],
    }
}
