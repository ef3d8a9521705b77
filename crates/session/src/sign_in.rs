//! Effects that wait until a person has signed in somewhere.
//!
//! Such a wait has no deadline of its own and costs nothing: the session is not due, nobody holds it, and its actor
//! leaves. [`Event::SignedIn`](tenure_journal::Event::SignedIn) ends it where the server has a credential, and
//! [`Event::CredentialBound`](tenure_journal::Event::CredentialBound) where it had none.

use std::collections::BTreeSet;
use std::sync::Arc;

use tenure_journal::{EffectId, EffectKind, McpTool, ServerRef, Timestamp, Tool};

use crate::state::{Pending, PendingPhase};
use crate::{RequiredAction, Session, catalogue};

impl Session {
    /// Whether anything waits for a person to sign in.
    pub(crate) fn awaits_sign_in(&self) -> bool {
        self.effects.values().any(|pending| pending.signed_out)
    }

    /// What waits for it: each tool server once, by its label.
    pub(crate) fn sign_ins(&self) -> impl Iterator<Item = RequiredAction> {
        let labels: BTreeSet<String> =
            self.effects.values().filter(|pending| pending.signed_out).filter_map(label).collect();
        labels.into_iter().map(|server_label| RequiredAction::SignIn { server_label })
    }

    /// The servers at this address that something asks, or waits to ask.
    pub(crate) fn servers_asked_at(&self, server_url: &str) -> impl Iterator<Item = &McpTool> {
        let asks = |pending: &&Pending| pending.signed_out || pending.is_running();
        let labels: BTreeSet<String> = self.effects.values().filter(asks).filter_map(label).collect();
        let is_there = move |mcp: &&McpTool| {
            labels.contains(&mcp.server_label) && mcp.credential_url() == Some(server_url)
        };
        catalogue::servers(&self.agent.tools).filter(is_there)
    }

    /// Gives a server its credential, and has what waits for it go on.
    pub(crate) fn bind(&mut self, server_label: &str, credential_id: &str, at: Timestamp) {
        for tool in &mut Arc::make_mut(&mut self.agent).tools {
            if let Tool::Mcp(mcp) = tool
                && mcp.server_label == server_label
            {
                mcp.credential_id = Some(credential_id.to_owned());
            }
        }
        for pending in self.effects.values_mut() {
            if label(pending).as_deref() != Some(server_label) {
                continue;
            }
            pending.rebound = true;
            if pending.signed_out {
                pending.phase = PendingPhase::Retry { at };
                pending.signed_out = false;
            }
        }
    }
}

impl Session {
    /// The label of the server that an effect asks for its tools, if it does.
    #[must_use]
    pub fn listed_by(&self, effect: EffectId) -> Option<&str> {
        match &self.effects.get(&effect)?.effect.kind {
            EffectKind::ListTools { server_label, .. } => Some(server_label),
            EffectKind::ToolCall { .. }
            | EffectKind::ModelCall { .. }
            | EffectKind::Review { .. }
            | EffectKind::Extract { .. }
            | EffectKind::Compact { .. }
            | EffectKind::Subagent { .. }
            | EffectKind::EndSubagents { .. }
            | EffectKind::PrepareEnvironment
            | EffectKind::PlaceFiles { .. }
            | EffectKind::Command { .. }
            | EffectKind::PublishArtifacts => None,
        }
    }
}

fn label(pending: &Pending) -> Option<String> {
    match &pending.effect.kind {
        EffectKind::ListTools { server_label, .. }
        | EffectKind::ToolCall { server: ServerRef::Mcp { server_label }, .. } => Some(server_label.clone()),
        EffectKind::ToolCall { server: ServerRef::Builtin | ServerRef::Inside { .. }, .. }
        | EffectKind::ModelCall { .. }
        | EffectKind::Review { .. }
        | EffectKind::Extract { .. }
        | EffectKind::Compact { .. }
        | EffectKind::Subagent { .. }
        | EffectKind::EndSubagents { .. }
        | EffectKind::PrepareEnvironment
        | EffectKind::PlaceFiles { .. }
        | EffectKind::Command { .. }
        | EffectKind::PublishArtifacts => None,
    }
}
