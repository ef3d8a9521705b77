//! Effects that wait until a person has signed in somewhere.
//!
//! Such a wait has no deadline of its own and costs nothing: the session is not due, nobody holds it, and its actor
//! leaves. [`Event::SignedIn`](tenure_journal::Event::SignedIn) ends it where the server has a credential, and
//! [`Event::CredentialBound`](tenure_journal::Event::CredentialBound) where it had none.

use std::collections::BTreeSet;
use std::sync::Arc;

use tenure_journal::{EffectId, EffectKind, McpTool, Timestamp, Tool};

use crate::state::{Pending, PendingPhase};
use crate::{RequiredAction, Session, catalogue};

impl Session {
    /// Whether anything waits for a person to sign in.
    pub(crate) fn awaits_sign_in(&self) -> bool {
        self.effects.values().any(|pending| pending.signed_out)
    }

    /// Whether an attempt runs that may be about to say that it waits for a person to sign in, and has not heard of any
    /// sign-in since it began.
    pub(crate) fn may_await_sign_in(&self) -> bool {
        let can = |server_label: &String| {
            let mut servers = catalogue::servers(&self.agent.tools);
            servers.any(|mcp| mcp.server_label == *server_label && mcp.credential_url().is_some())
        };
        let running = self.effects.values().filter(|pending| pending.is_running() && !pending.heard);
        running.filter_map(label).any(|server_label| can(&server_label))
    }

    /// What waits for a person to sign in is attempted again; what runs and finds that it has to wait, too.
    pub(crate) fn hear_of_sign_in(&mut self, at: Timestamp) {
        for pending in self.effects.values_mut() {
            if pending.signed_out {
                pending.phase = PendingPhase::Retry { at };
                pending.signed_out = false;
            } else if pending.is_running() && label(pending).is_some() {
                pending.heard = true;
            }
        }
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

    /// The servers are others than these were: policy is asked about credentials that it was not asked about.
    pub(crate) fn mark_rebound(&mut self, before: &[Tool]) {
        let bound = |tools: &[Tool], server_label: &str| {
            catalogue::server(tools, server_label).and_then(|mcp| mcp.credential_id.clone())
        };
        for pending in self.effects.values_mut() {
            let Some(server_label) = label(pending) else { continue };
            let now = bound(&self.agent.tools, &server_label);
            pending.rebound |= now.is_some() && now != bound(before, &server_label);
        }
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
    pending.effect.kind.asked_server().map(str::to_owned)
}
