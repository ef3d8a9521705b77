//! What follows when a person signed in, or put tokens where a server of the session asks for them.

use tenure_journal::{Effect, EffectKind, Event, ItemStatus, ServerRef};
use tenure_policy::Verdict;

use super::Draft;
use super::permission::Asking;
use super::turn::NO_ARGUMENTS;
use crate::catalogue;

impl Draft<'_> {
    /// A person signed in, or nobody can any more: what waits for that asks again. An attempt that runs may be about to
    /// say that it waits, so it counts as well.
    pub(super) fn signed_in(&mut self) {
        if self.state.awaits_sign_in() || self.state.may_await_sign_in() {
            self.push(Event::SignedIn);
            self.tick();
        }
    }

    /// A credential came to lie in one of the session's vaults: servers at its address that have none get it. An attempt
    /// that runs may be about to say that it waits for it, so it counts as well.
    pub(super) fn bind_credential(&mut self, server_url: &str, credential_id: &str) {
        let (bound, unbound): (Vec<_>, Vec<_>) =
            self.state.servers_asked_at(server_url).cloned().partition(|mcp| mcp.credential_id.is_some());
        let unbound: Vec<String> = unbound.into_iter().map(|mcp| mcp.server_label).collect();
        if !bound.is_empty() && self.state.awaits_sign_in() {
            // It got one in another way since: what waits finds out.
            self.signed_in();
        }
        if unbound.is_empty() {
            return;
        }
        for server_label in unbound {
            self.push(Event::CredentialBound { server_label, credential_id: credential_id.to_owned() });
        }
        self.tick();
    }

    /// Whether an effect may show its server the credential that it got since the effect was allowed. If not, it is
    /// over as if it had been refused at first: a call with an error, a listing with its turn.
    pub(super) fn may_show_credential(&mut self, effect: &Effect) -> bool {
        let (label, arguments) = match &effect.kind {
            EffectKind::ListTools { server_label, .. } => (server_label, NO_ARGUMENTS),
            EffectKind::ToolCall { server: ServerRef::Mcp { server_label }, arguments, .. } => {
                (server_label, arguments)
            }
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
            | EffectKind::PublishArtifacts => return true,
        };
        // A server that was taken away, or has a secret of its own by now, is shown no credential.
        let Some((id, host)) = catalogue::secret_of(&self.state, label) else { return true };
        let (credential_id, audiences) = (id.to_owned(), [host.clone()]);
        let action = catalogue::secret_action(id, &host, &audiences);
        let judgement = self.judge(action, arguments, None, Asking::Impossible);
        let why = match self.pronounce(judgement) {
            Verdict::Allow(permit) => {
                let permit = Box::new(permit.into_record());
                self.push(Event::SecretPermitted { effect_id: effect.id, credential_id, permit });
                return true;
            }
            // Made again it is a call like any, and people are asked about it.
            Verdict::Ask(_) => {
                "The call needs approval, because a person signed in at its server since. It was not made; make it again."
            }
            Verdict::Deny(_) => {
                "Policy does not allow the credential that the tool server asks for. The call was not made."
            }
        };
        if let EffectKind::ToolCall { item_id, .. } = effect.kind {
            self.push(Event::EffectAbandoned { effect_id: effect.id });
            let error = Some(why.to_owned());
            self.push(Event::ItemClosed { item_id, status: ItemStatus::Failed, error });
        } else {
            self.fail_turn("invalid_request", format!("policy does not allow the tool server `{label}`"));
        }
        false
    }
}
