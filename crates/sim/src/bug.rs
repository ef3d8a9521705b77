//! Deliberate bugs of the simulated shell: each makes one property fail, which shows that the property's
//! checker sees.

use crate::Property;

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident = $word:literal breaks $property:ident,)*) => {
        /// A deliberate bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $name,)* }

        impl Bug {
            /// Every bug.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The property it breaks.
            #[must_use]
            pub fn breaks(self) -> Property {
                match self { $(Self::$name => Property::$property,)* }
            }

            /// The bug of a name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
}

bugs! {
    /// A request is acknowledged before the disk was synced.
    AckEarly = "ack-early" breaks AcknowledgedIsKept,
    /// A batch is written in two halves.
    TornAppend = "torn-append" breaks WholeOrAbsent,
    /// Receipts are not written.
    NoReceipts = "no-receipts" breaks RequestOnce,
    /// Some batches are never published.
    SkipNotices = "skip-notices" breaks EventsContiguous,
    /// A writer that lost writes all the same, at whatever version it finds.
    IgnoreConflict = "ignore-conflict" breaks OneWriter,
    /// Effects start before the disk was synced.
    StartEarly = "start-early" breaks IntentionFirst,
    /// Any outcome counts as the latest attempt's.
    AnyAttempt = "any-attempt" breaks LatestAttemptOnly,
    /// The idempotency key changes from attempt to attempt.
    KeyPerAttempt = "key-per-attempt" breaks KeyedOnce,
    /// After a restart, interrupted calls are simply sent again.
    ResendBlindly = "resend-blindly" breaks NeverRepeated,
    /// After a restart, interrupted calls are reported as not made.
    DenyInterrupted = "deny-interrupted" breaks ToldHonestly,
    /// Other arguments are sent than were permitted.
    OtherArguments = "other-arguments" breaks PermitBindsArguments,
    /// Calls are made while their approval is asked for.
    DoNotWait = "do-not-wait" breaks ApprovalFirst,
    /// Events are published before the disk was synced.
    PublishEarly = "publish-early" breaks PublishedIsDurable,
    /// Snapshots hold the state before their last batch.
    OldSnapshot = "old-snapshot" breaks SnapshotEqualsFold,
    /// The last item is left out of requests to models.
    ForgetItem = "forget-item" breaks ContextValid,
    /// The model's window is taken for a large one.
    ForgetWindow = "forget-window" breaks ContextFits,
    /// What should be stopped is started once more.
    RestartStopped = "restart-stopped" breaks CancelStops,
    /// The cost of answers is not counted.
    FreeAnswers = "free-answers" breaks BudgetKept,
    /// A subagent that works is reported as done.
    ReportEarly = "report-early" breaks ReportOnce,
    /// Subagents are said to be stopped and are not.
    ForgetSubagents = "forget-subagents" breaks NoOrphan,
    /// What was on its way to a subagent when it was stopped may still arrive.
    NoFence = "no-fence" breaks NoOrphan,
    /// A session's inbox takes whatever comes.
    EndlessInbox = "endless-inbox" breaks QueuesBounded,
    /// Changed rows are not always written.
    SkipRows = "skip-rows" breaks ProjectionsRebuilt,
    /// A restarted process does not resume what was interrupted.
    NeverResume = "never-resume" breaks Progress,
    /// A guest begins the attempts that it should leave to the holder.
    GuestBegins = "guest-begins" breaks HolderOnly,
    /// An attempt begins however long ago it was recorded.
    StartLate = "start-late" breaks HolderOnly,
    /// A holder appends without its name.
    AppendUnnamed = "append-unnamed" breaks StaleHolderFenced,
    /// Nodes leave what is due to others.
    NeverTakeOver = "never-take-over" breaks TakeoverCompletes,
    /// A new holder tells its readers of its own commits before those of others.
    TellPast = "tell-past" breaks FollowedAsCommitted,
    /// A fork has what the session is and not what it was.
    ForkNow = "fork-now" breaks ForksStandAlone,
    /// Every command begins with empty files.
    OldFiles = "old-files" breaks FilesInOrder,
    /// Who waits for a sign-in is told of it once, whether or not they hear it.
    TellOnce = "tell-once" breaks SignInGoesOn,
    /// Who is refused looks for a credential before it is known that they wait for one.
    LookFirst = "look-first" breaks SignInGoesOn,
}
