//! The plainest of everything: an agent, a session, and no tool servers. A test says what of it is different.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tenure_journal::{
    AgentConfig, AgentId, ApprovalMode, Environment, Failure, FailureKind, Fresh, MultiAgent, ProjectId,
    Reasoning, ServiceTier, SessionOpened, TextConfig, Timestamp, ToolDef, Trust,
};
use tenure_tools::{Call, CallResult, Server, Servers};
use tokio_util::sync::CancellationToken;

/// No tool servers.
pub(crate) struct Nowhere;

fn nowhere() -> Failure {
    Failure { kind: FailureKind::NotFound, message: "no such server".into(), retry_after_ms: None }
}

#[async_trait]
impl Servers for Nowhere {
    async fn list(&self, _: &Server, _: &CancellationToken) -> Result<Vec<ToolDef>, Failure> {
        Err(nowhere())
    }

    async fn call(&self, _: &Server, _: Call<'_>, _: &CancellationToken) -> Result<CallResult, Failure> {
        Err(nowhere())
    }
}

/// An agent of the model `m`, without a name and without tools.
pub(crate) fn agent() -> AgentConfig {
    AgentConfig {
        id: AgentId::fresh(&Fresh::new(Timestamp::from_millis(1), 2)),
        version: None,
        name: None,
        model: "m".into(),
        instructions: None,
        reasoning: Reasoning::default(),
        text: TextConfig::default(),
        service_tier: ServiceTier::Auto,
        tools: Vec::new(),
        multi_agent: MultiAgent::default(),
        compaction_async: false,
        time_awareness: false,
        approval: ApprovalMode::Destructive,
        skills: Vec::new(),
        grants: Vec::new(),
        extraction: None,
    }
}

/// A session without an environment, a limit or metadata.
pub(crate) fn opened(agent: AgentConfig) -> SessionOpened {
    SessionOpened {
        project_id: ProjectId::fresh(&Fresh::new(Timestamp::from_millis(1), 1)),
        agent,
        environment: Environment::None,
        metadata: BTreeMap::new(),
        vault_ids: Vec::new(),
        review: None,
        spend_limit: None,
        prompt_cache: None,
        parent: None,
        trust: Trust::default(),
        opened_by: None,
    }
}
