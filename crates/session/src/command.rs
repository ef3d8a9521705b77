//! What clients and people ask of a session, and why it may be refused.

use tenure_journal::{
    ApprovalId, ArtifactId, Decision, EndHow, EnvironmentFile, FunctionOutput, Grant, InputPart, Labels,
    Party, Rewound, SessionOpened, SessionPatch, SubagentId, Timestamp, TurnId, Version,
};

/// What a client asks of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A user message: starts a turn, joins the running one at its next step, or waits for the next.
    Message {
        /// Its parts, never empty.
        content: Vec<InputPart>,
    },
    /// What the session's own agent wrote for later, which nobody else said.
    OwnMessage {
        /// Its parts, never empty.
        content: Vec<InputPart>,
    },
    /// Give leave for certain calls.
    Grant {
        /// What for.
        grant: Grant,
    },
    /// Give leave for further calls with the targets of one that waits for an approval, before it is decided.
    GrantAgain {
        /// The approval.
        approval_id: ApprovalId,
        /// How many further calls, with the one that waits.
        uses_max: u32,
        /// From when on none.
        expires_at: Option<Timestamp>,
    },
    /// Stop the running turn. Without one, nothing happens.
    Cancel,
    /// What a function call gave.
    FunctionResult {
        /// The turn that waits.
        turn_id: TurnId,
        /// The call.
        call_id: String,
        /// Whether the function succeeded.
        success: bool,
        /// Its output.
        output: Option<FunctionOutput>,
        /// Its error.
        error: Option<String>,
    },
    /// A person's answer about a held call.
    Decide {
        /// The approval.
        approval_id: ApprovalId,
        /// The answer.
        decision: Decision,
        /// Who answers.
        by: Party,
    },
    /// End the session's quarantine. Without one, nothing happens.
    Release {
        /// Who ends it.
        by: Party,
    },
    /// Change settings.
    Update {
        /// What changes.
        patch: Box<SessionPatch>,
    },
    /// Delete the session.
    Delete,
    /// Put files into the environment, before anything that is asked for later.
    PlaceFiles {
        /// The files, at least one.
        files: Vec<EnvironmentFile>,
    },
    /// Open the session that a pre-warmed environment waits for.
    OpenSession {
        /// How it begins; its environment is the one that is there.
        opened: Box<SessionOpened>,
        /// Its first messages.
        messages: Vec<Vec<InputPart>>,
    },
    /// End a pre-warmed environment whose time is over. Changes nothing about any other.
    ExpireEnvironment,
    /// Note that nothing is left of the environment on its machine. Changes nothing while something is done
    /// there.
    SuspendEnvironment,
    /// Say that a client waits with a message until an executor connects, if the message would have to.
    AwaitConnection {
        /// How long it waits.
        until: Timestamp,
    },
    /// Delete a published file. The environment keeps its own.
    DeleteArtifact {
        /// The artifact.
        artifact_id: ArtifactId,
    },
    /// Go back to an earlier version: made by [`crate::History::rewind`].
    Rewind {
        /// What it goes back to.
        rewound: Box<Rewound>,
        /// The version at which that was found out.
        seen: Version,
        /// Subagents that came since.
        since: Vec<SubagentId>,
    },
    /// A person signed in where calls of the session may wait for it. Changes nothing about one that does not wait.
    SignedIn,
    /// A credential for this address lies in one of the session's vaults since. Servers that were reached there without
    /// one, and asked for a sign-in, are shown it. Changes nothing about others.
    BindCredential {
        /// The address, compared as it is written.
        server_url: String,
        /// The credential.
        credential_id: String,
    },
    /// What a subagent's parent asks of it. A subagent's session takes nothing else but that somebody signed in.
    Parent(FromParent),
}

/// What a parent asks of its subagent's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromParent {
    /// More to do: starts a turn, joins the running one at its next step, or waits for the next.
    Input {
        /// The text.
        text: String,
        /// The labels of everything that the parent had seen when it wrote this.
        labels: Labels,
    },
    /// To stop, in one of the ways there are. Interrupted, it loses every input that waits as well; what is said of a
    /// quarantine counts unless something younger was heard of it.
    End(EndHow),
}

/// Why a session does not do what it is asked. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such call waits for a result.
    #[error("Unknown pending tool call: {call_id}")]
    UnknownCall {
        /// The call asked for.
        call_id: String,
    },
    /// The call was answered before, differently.
    #[error("the tool call `{call_id}` already has a different result")]
    ConflictingResult {
        /// The call.
        call_id: String,
    },
    /// No such approval was ever requested in this session.
    #[error("no approval request `{approval_id}` in this session")]
    UnknownApproval {
        /// The approval asked for.
        approval_id: ApprovalId,
    },
    /// The approval was decided before, differently, or its turn ended.
    #[error("the approval request `{approval_id}` was already decided")]
    AlreadyDecided {
        /// The approval.
        approval_id: ApprovalId,
    },
    /// Policy does not let whoever asks do it.
    #[error("policy does not allow this ({})", named(policies))]
    NotAllowed {
        /// The policies that forbid it; empty when none permits it.
        policies: Vec<String>,
    },
    /// The session is queued, running or waiting.
    #[error("the session is busy; cancel its turn or wait until it is idle, then delete it")]
    Busy,
    /// Something is under way, and would go on with what is gone.
    #[error("a turn runs, or waits for someone; cancel it first, then go back")]
    Running,
    /// There is no such moment in the session's own journal.
    #[error("no version, turn or item `{point}` in this session's own journal")]
    UnknownPoint {
        /// The moment asked for.
        point: String,
    },
    /// The session has changed since its journal was read.
    #[error("the session has changed meanwhile; look again")]
    Moved,
    /// The session failed for good.
    #[error("the session has failed and accepts no more input")]
    Failed,
    /// The session is a subagent's and takes commands of its parent alone, or it is nobody's subagent.
    #[error("no such session")]
    Hidden,
    /// The session is deleted.
    #[error("the session is deleted")]
    Deleted,
    /// There is no environment, or it is not ready.
    #[error("the environment is not connected")]
    NotConnected,
    /// The environment has a session, or had one.
    #[error("the environment has a session already; an environment has one session at most")]
    EnvironmentTaken,
    /// The environment waited too long for a session.
    #[error("the environment has expired; make another")]
    EnvironmentExpired,
    /// The environment could not be made ready.
    #[error("the environment could not be made ready; make another")]
    EnvironmentFailed,
    /// No such artifact was published, or it is deleted.
    #[error("no artifact `{artifact_id}` in this session")]
    UnknownArtifact {
        /// The artifact asked for.
        artifact_id: ArtifactId,
    },
    /// The session holds as many grants as it may.
    #[error("the session holds as many grants as it may; open another")]
    GrantsFull,
    /// Too many messages wait already.
    #[error("{waiting} messages already wait in this session; wait until some have been taken up")]
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
}

fn named(policies: &[String]) -> String {
    if policies.is_empty() { "no policy permits it".to_owned() } else { policies.join(", ") }
}
