//! Deciding: which facts should happen now, or why not.

mod answer;
mod approval;
mod attempt;
mod blocks;
mod client;
mod compaction;
mod connection;
mod environment;
mod extraction;
mod permission;
mod prewarmed;
mod quarantine;
mod review;
mod rewind;
mod route;
mod sign_in;
mod subagents;
mod turn;

use std::collections::BTreeMap;

use tenure_journal::{
    Artifact, CommandResult, EffectId, EnvironmentOpened, Event, Failure, Forked, Fresh, InputPart, Item,
    ModelAnswer, PluginServers, SessionKey, SessionOpened, SkillEntry, SubagentReport, TakenBlock,
    TakenProcedure, Timestamp, ToolDef, ToolResult, WorkspaceRoot,
};
use tenure_policy::PolicySet;

use crate::{Budgets, Command, Frozen, Price, Refusal, Reserving, Routes, Session, Window};

/// What a decision may depend on beside the state: time, chance, policy and limits, all as values.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The wall clock.
    pub now: Timestamp,
    /// Whether attempts may begin.
    pub role: Role,
    /// Ids no other decision was given.
    pub fresh: &'a Fresh,
    /// Chance, for spreading retries.
    pub chance: u64,
    /// What may happen.
    pub policy: &'a PolicySet,
    /// What the model takes in at once.
    pub window: Window,
    /// When servers, by label, last said that their tools have changed.
    pub tools_changed: &'a BTreeMap<String, Timestamp>,
    /// What models cost, by name; one that is not here has no known price.
    pub prices: &'a BTreeMap<String, Price>,
    /// The ways to models, and which accounts are unwell.
    pub routes: Routes<'a>,
    /// Whether the budget refused what this decision wants to set aside.
    pub reserving: Reserving,
    /// The budgets that hold for the session, as they stand.
    pub budgets: &'a Budgets,
    /// Messages and thinking that are being streamed, as far as they have come: what a cancelled turn keeps.
    pub partial: &'a [Item],
    /// What must not begin for now.
    pub frozen: &'a Frozen,
    /// The pinned blocks as they are now, for a turn that begins; absent where they were not asked for, which leaves
    /// those that the session has.
    pub blocks: Option<&'a [TakenBlock]>,
    /// The procedures, in the same way.
    pub procedures: Option<&'a [TakenProcedure]>,
}

/// What the node that decides may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It holds the session: attempts begin with the decision.
    Holder,
    /// Another node holds the session: effects are recorded, and their attempts are left to the holder.
    Guest,
}

/// What a session decides about.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A batch of commands: all or none.
    Commands(&'a [Command]),
    /// What came of an attempt.
    Attempted {
        /// The effect.
        effect_id: EffectId,
        /// Which attempt. The outcome of any but the latest is ignored.
        attempt: u32,
        /// What came of it.
        outcome: Attempted,
    },
    /// The process that ran the attempts is gone.
    Resumed,
    /// Time passed.
    Tick,
    /// The executor of its self-hosted environment is connected to this node.
    Connected,
    /// The executor is connected to this node no more, or was connected to one that is gone.
    Disconnected,
}

/// What came of an attempt, as the shell saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// A model answered.
    Answered {
        /// The answer.
        answer: ModelAnswer,
        /// What it cost in billionths of a US dollar, where prices are known.
        cost_nano_usd: Option<u64>,
    },
    /// A server listed its tools.
    Listed(Vec<ToolDef>),
    /// A tool returned.
    Returned(ToolResult),
    /// What was asked of a subagent was done, or not.
    Subagent(SubagentReply),
    /// Subagents were stopped.
    Ended,
    /// The environment's files are as they were meant to be.
    Placed(WorkspaceRoot),
    /// The environment was made ready.
    Prepared {
        /// Its files.
        root: WorkspaceRoot,
        /// The skills among them.
        skills: Vec<SkillEntry>,
        /// The tool servers that plugins among them name.
        servers: PluginServers,
    },
    /// Skills and plugins were looked for on a customer's machine.
    Found {
        /// The skills.
        skills: Vec<SkillEntry>,
        /// The tool servers that the plugins name.
        servers: PluginServers,
    },
    /// A command ran.
    Ran(CommandResult),
    /// Files were published.
    Published(Vec<Artifact>),
    /// It failed.
    Failed(Failure),
}

/// What came of asking something of a subagent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubagentReply {
    /// It is done.
    Done,
    /// The subagent does not do that.
    Refused(String),
    /// What was waited for.
    Reports(Vec<SubagentReport>),
}

impl Session {
    /// The events that open a session, with what it was forked with, and take up its first messages.
    ///
    /// # Errors
    /// More messages than may wait.
    pub fn open(
        key: SessionKey,
        opened: SessionOpened,
        forked: Vec<Forked>,
        messages: Vec<Vec<InputPart>>,
        cx: &Context<'_>,
    ) -> Result<Vec<Event>, Refusal> {
        let state = Self::opened(key, cx.now, &opened);
        let mut draft = Draft {
            state,
            events: vec![Event::SessionOpened(Box::new(opened))],
            budgets: cx.budgets.clone(),
            cx,
        };
        for part in forked {
            draft.push(Event::Forked(Box::new(part)));
        }
        for content in messages {
            draft.message(content)?;
        }
        draft.prepare_environment();
        draft.advance();
        Ok(draft.events)
    }

    /// The events that open an environment without a session, and make it ready.
    #[must_use]
    pub fn prewarm(key: SessionKey, opened: EnvironmentOpened, cx: &Context<'_>) -> Vec<Event> {
        let state = Self::prewarmed(key, cx.now, &opened);
        let mut draft = Draft {
            state,
            events: vec![Event::EnvironmentOpened(Box::new(opened))],
            budgets: cx.budgets.clone(),
            cx,
        };
        draft.prepare_environment();
        draft.advance();
        draft.events
    }

    /// Facts that should happen now, or why not. Does not change `self`; no facts means nothing to do.
    ///
    /// # Errors
    /// A command that the session refuses. Attempts, restarts and time are never refused.
    pub fn decide(&self, input: &Input<'_>, cx: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        let mut draft = Draft { state: self.clone(), events: Vec::new(), budgets: cx.budgets.clone(), cx };
        match input {
            Input::Commands(commands) => {
                for command in *commands {
                    draft.command(command)?;
                }
            }
            Input::Attempted { effect_id, attempt, outcome } => {
                draft.attempted(*effect_id, *attempt, outcome);
            }
            Input::Resumed => draft.resumed(),
            Input::Tick => draft.tick(),
            Input::Connected => draft.executor_connected(),
            Input::Disconnected => draft.executor_gone(),
        }
        draft.advance();
        Ok(draft.events)
    }
}

/// A decision in the making: the state as it will be, and the events that make it so.
struct Draft<'a> {
    state: Session,
    events: Vec<Event>,
    /// The budgets as they will be.
    budgets: Budgets,
    cx: &'a Context<'a>,
}

impl Draft<'_> {
    fn push(&mut self, event: Event) {
        self.budgets.follow(&self.state, self.cx.now, &event);
        self.state.apply(self.cx.now, &event);
        self.events.push(event);
    }
}
