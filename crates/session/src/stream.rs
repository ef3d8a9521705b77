//! Stream events: what a client sees while a session runs. A projection of events and deltas; nothing
//! here is ever stored.

use std::sync::Arc;

use tenure_journal::{EnvironmentId, Item, ItemId, Turn, TurnError, TurnId};

use crate::{SessionView, SubagentView};

/// One notice to the clients that watch a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// The session changed its status, or was created.
    Session {
        /// What happened.
        kind: SessionNotice,
        /// The session at that moment.
        session: Arc<SessionView>,
    },
    /// A turn changed its status.
    Turn {
        /// What happened.
        kind: TurnNotice,
        /// The turn at that moment.
        turn: Turn,
    },
    /// An item exists. Messages and thinking that are still being written come empty and `in_progress`.
    ItemAdded {
        /// The item.
        item: Item,
    },
    /// An item of the agent reached its final status.
    ItemDone {
        /// The item, complete.
        item: Item,
    },
    /// Something about one part of a message or of thinking that is being written.
    Part {
        /// The turn.
        turn_id: TurnId,
        /// The item.
        item_id: ItemId,
        /// The item's place among the turn's outputs.
        output_index: u32,
        /// Which part of the item, from 0.
        part: u32,
        /// Text or thinking.
        of: PartOf,
        /// What happened.
        notice: PartNotice,
    },
    /// A subagent came to be, was closed, or was resumed.
    Subagent {
        /// What happened.
        kind: SubagentNotice,
        /// The subagent at that moment.
        subagent: SubagentView,
    },
    /// The environment changed its status.
    Environment {
        /// What happened.
        kind: EnvironmentNotice,
        /// The environment.
        id: EnvironmentId,
        /// Whose machine it is on.
        by: HostedBy,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// A running command wrote something.
    CommandOutput {
        /// The turn.
        turn_id: TurnId,
        /// The item that shows the command.
        item_id: ItemId,
        /// The item's place among the turn's outputs.
        output_index: u32,
        /// What it wrote.
        delta: String,
    },
    /// A turn fails; its `Turn` notice follows.
    Error {
        /// The turn.
        turn_id: TurnId,
        /// Why.
        error: TurnError,
    },
    /// The session is gone: streams end.
    Deleted,
}

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionNotice {
    /// It exists.
    Created,
    /// A turn runs.
    InProgress,
    /// It waits for a client or a person.
    RequiresAction,
    /// Its turn ended and no other waits.
    Idle,
    /// It cannot go on.
    Failed,
}

/// What happened to a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnNotice {
    /// It exists.
    Created,
    /// It runs.
    InProgress,
    /// It ended as intended.
    Completed,
    /// It ended with an error.
    Failed,
    /// A client ended it.
    Cancelled,
}

/// What happened to a subagent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubagentNotice {
    /// It exists.
    Created,
    /// It was closed and is available again.
    Active,
    /// It was closed.
    Closed,
}

/// Whose machine an environment is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostedBy {
    /// The server's.
    Server,
    /// The customer's, whose executor connects.
    Customer,
}

/// What happened to an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentNotice {
    /// It is being made ready.
    Pending,
    /// Its files and packages are there.
    Ready,
    /// Commands can run.
    Connected,
    /// Nothing was done in it for long.
    Suspended,
    /// Its executor is gone.
    Disconnected,
    /// Its files are lost, and it is made ready anew.
    Reset {
        /// How often that happened, with this time.
        count: u64,
    },
    /// It could not be made ready.
    Failed,
}

/// What a part belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOf {
    /// A message's text.
    Message,
    /// A summary of thinking.
    Reasoning,
}

/// What happened to a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartNotice {
    /// It begins, empty.
    Added,
    /// More text.
    Delta(String),
    /// Its whole text.
    TextDone(String),
    /// It is complete.
    Done {
        /// Its whole text.
        text: String,
        /// Whether it was cut off.
        incomplete: bool,
    },
}
