//! What a session knows of its subagents, and how a subagent's session begins.

use serde::{Deserialize, Serialize};
use tenure_journal::{
    AgentConfig, AgentRef, Capabilities, Environment, EnvironmentId, HostedEnvironment, InputPart,
    MultiAgent, Parent, Review, SelfHostedEnvironment, SessionId, SessionOpened, SubagentId, SubagentRequest,
    TextConfig, Timestamp, Tool, TurnId, limit,
};

use crate::{Session, SubagentView};

/// One subagent, as its parent knows it.
///
/// ```text
///            create                    close
///   (none) ─────────▶ active ─────────────────────▶ closed
///                       ▲                              │
///                       └──────────── resume ──────────┘
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subagent {
    pub(crate) name: String,
    pub(crate) task: String,
    pub(crate) opened_at: Timestamp,
    pub(crate) closed_at: Option<Timestamp>,
    /// The latest of its turns that was reported to this session.
    pub(crate) reported: Option<TurnId>,
    /// Whether it was quarantined with the session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) quarantined: bool,
}

impl Subagent {
    pub(crate) fn new(name: &str, task: &str, opened_at: Timestamp) -> Self {
        let (name, task) = (name.to_owned(), task.to_owned());
        Self { name, task, opened_at, closed_at: None, reported: None, quarantined: false }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.closed_at.is_none()
    }
}

impl Session {
    /// Where it belongs, if it is a subagent's session.
    #[must_use]
    pub fn parent(&self) -> Option<&Parent> {
        self.parent.as_ref()
    }

    /// Its agent, as agents of the tree know it.
    #[must_use]
    pub fn as_agent(&self) -> AgentRef {
        match &self.parent {
            Some(parent) => AgentRef::Subagent(parent.subagent_id),
            None => AgentRef::Agent(self.agent.id),
        }
    }

    /// Its subagents, oldest first, closed ones included.
    pub fn subagents(&self) -> impl DoubleEndedIterator<Item = SubagentView> {
        self.subagents.iter().map(|(id, subagent)| self.view_of(*id, subagent))
    }

    /// One of its subagents.
    #[must_use]
    pub fn subagent(&self, id: SubagentId) -> Option<SubagentView> {
        self.subagents.get(&id).map(|subagent| self.view_of(id, subagent))
    }

    fn view_of(&self, id: SubagentId, subagent: &Subagent) -> SubagentView {
        SubagentView {
            id,
            session: self.budget_root(),
            parent: self.as_agent(),
            name: subagent.name.clone(),
            task: subagent.task.clone(),
            opened_at: subagent.opened_at,
            closed_at: subagent.closed_at,
        }
    }

    /// Whether its agent may have subagents.
    pub(crate) fn has_subagents(&self) -> bool {
        self.agent.multi_agent.enabled && self.depth() < limit::SUBAGENT_DEPTH_MAX
    }

    pub(crate) fn depth(&self) -> u32 {
        self.parent.as_ref().map_or(0, |parent| parent.depth)
    }

    /// The environment of a subagent's session. A hosted one is a copy of this one's as it is now: what either
    /// does in it afterwards, the other does not see. A self-hosted one is the same.
    fn environment_of(&self, child: SessionId) -> Environment {
        match &self.environment {
            Environment::None => Environment::None,
            Environment::SelfHosted(own) => Environment::SelfHosted(Box::new(SelfHostedEnvironment {
                found: self.skills().to_vec(),
                servers: self.found_servers().clone(),
                ..own.as_ref().clone()
            })),
            Environment::Hosted(hosted) => Environment::Hosted(Box::new(HostedEnvironment {
                id: EnvironmentId::of_session(child),
                base: self.workspace_root(),
                capabilities: Capabilities {
                    found: self.skills().to_vec(),
                    servers: self.found_servers().clone(),
                    ..hosted.capabilities.clone()
                },
                ..hosted.as_ref().clone()
            })),
        }
    }

    /// How the session of a subagent begins that its agent asks for, and its first input; nothing for other
    /// requests.
    ///
    /// A subagent works with its parent's model, instructions, MCP servers and web search. It has none of its
    /// functions, because nobody is there to answer them, and for the same reason a call that would wait for
    /// a person is denied.
    #[must_use]
    pub fn child(&self, request: &SubagentRequest) -> Option<(SessionOpened, Vec<Vec<InputPart>>)> {
        let SubagentRequest::Create { subagent_id, name, task, model, effort } = request else { return None };
        let parent = Parent {
            session: self.key.session,
            root: self.budget_root(),
            agent: self.as_agent(),
            subagent_id: *subagent_id,
            depth: self.depth() + 1,
        };
        let own = &self.agent;
        let agent = AgentConfig {
            name: Some(name.clone()),
            model: model.clone().unwrap_or_else(|| own.model.clone()),
            instructions: Some(instructions(own.instructions.as_deref(), name)),
            reasoning: tenure_journal::Reasoning { effort: effort.or(own.reasoning.effort), ..own.reasoning },
            text: TextConfig { verbosity: own.text.verbosity, ..TextConfig::default() },
            tools: own.tools.iter().filter(|tool| is_inherited(tool)).cloned().collect(),
            multi_agent: MultiAgent {
                enabled: own.multi_agent.enabled && parent.depth < limit::SUBAGENT_DEPTH_MAX,
                ..own.multi_agent
            },
            grants: Vec::new(),
            extraction: None,
            ..own.as_ref().clone()
        };
        let opened = SessionOpened {
            project_id: self.key.project,
            agent,
            environment: self.environment_of(subagent_id.session()),
            metadata: std::collections::BTreeMap::new(),
            vault_ids: self.vault_ids.clone(),
            review: Some(Review::AutoReview),
            spend_limit: None,
            prompt_cache: self.prompt_cache.clone(),
            parent: Some(parent),
            trust: self.child_trust(),
            opened_by: self.opened_by.clone(),
            digest_key: None,
        };
        Some((opened, vec![vec![InputPart::text(task.clone())]]))
    }
}

fn is_inherited(tool: &Tool) -> bool {
    match tool {
        Tool::Mcp(_) | Tool::WebSearch { .. } => true,
        Tool::Function(_)
        | Tool::ToolSearch
        | Tool::ProgrammaticToolCalling { .. }
        | Tool::ComputerUse { .. }
        | Tool::Automations
        | Tool::Memory => false,
    }
}

fn instructions(own: Option<&str>, name: &str) -> String {
    let role = format!(
        "You are the subagent `{name}`. Another agent gave you a task and reads only your last message: \
         put the whole result into it. You cannot ask anybody questions."
    );
    own.map_or_else(|| role.clone(), |own| format!("{own}\n\n{role}"))
}
