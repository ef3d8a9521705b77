//! The plainest of everything: an agent, a session, and no tool servers. A test says what of it is different.

use async_trait::async_trait;
use tenure_journal::{
    AgentConfig, AgentId, Failure, FailureKind, Fresh, ProjectId, SessionOpened, Timestamp, ToolDef,
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
    AgentConfig::new(AgentId::fresh(&Fresh::new(Timestamp::from_millis(1), 2)), "m")
}

/// A session without an environment, a limit or metadata.
pub(crate) fn opened(agent: AgentConfig) -> SessionOpened {
    SessionOpened::new(ProjectId::fresh(&Fresh::new(Timestamp::from_millis(1), 1)), agent)
}
