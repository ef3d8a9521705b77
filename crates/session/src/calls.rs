//! How often what was permitted, in the words of policies.

use tenure_journal::{EffectKind, ServerRef};

use crate::catalogue::BUILTIN_LABEL;

/// What a call counts as, in the words of policies.
pub(crate) fn counted(kind: &EffectKind) -> Option<String> {
    let tool = |server: &str, name: &str| Some(count_of("tool.call", &format!("{server}/{name}")));
    match kind {
        EffectKind::ModelCall { model, .. } | EffectKind::Compact { model, .. } => {
            Some(count_of("model.call", model))
        }
        EffectKind::ListTools { server_label, .. } => Some(count_of("tools.list", server_label)),
        EffectKind::ToolCall { server: ServerRef::Builtin, name, .. } => tool(BUILTIN_LABEL, name),
        EffectKind::ToolCall {
            server: ServerRef::Mcp { server_label } | ServerRef::Inside { server_label },
            name,
            ..
        } => tool(server_label, name),
        EffectKind::Command { request, .. } => tool(BUILTIN_LABEL, request.tool()),
        EffectKind::Subagent { request, .. } => tool(BUILTIN_LABEL, request.tool()),
        // It is no call of the agent's.
        EffectKind::Review { .. }
        | EffectKind::Extract { .. }
        | EffectKind::PrepareEnvironment
        | EffectKind::PlaceFiles { .. }
        | EffectKind::PublishArtifacts
        | EffectKind::EndSubagents { .. } => None,
    }
}

/// An action and its resource under one name.
pub(crate) fn count_of(action: &str, resource: &str) -> String {
    format!("{action} {resource}")
}
