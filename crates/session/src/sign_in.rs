//! Effects that wait until a person has signed in somewhere.
//!
//! Such a wait has no deadline of its own and costs nothing: the session is not due, nobody holds it, and its actor
//! leaves. [`Event::SignedIn`](tenure_journal::Event::SignedIn) ends it.

use std::collections::BTreeSet;

use tenure_journal::{EffectId, EffectKind, ServerRef};

use crate::state::Pending;
use crate::{RequiredAction, Session};

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
