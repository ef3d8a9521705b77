//! What a journal refers to outside itself: payloads and trees of files. Whoever collects what nobody refers
//! to asks here, so a new kind of reference is one more arm and not a search through the code.

use crate::{
    Artifact, BlobRef, Capabilities, Done, EffectKind, Environment, EnvironmentFile, Event,
    HostedEnvironment, InstalledSkill, Item, ItemBody, Outcome, WorkspaceRoot,
};

/// Something that is kept outside the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A payload.
    Blob(BlobRef),
    /// A tree of files: the payload that is its root, and all that this leads to.
    Tree(WorkspaceRoot),
}

impl Event {
    /// Everything the event refers to, with repetitions.
    pub fn references(&self, found: &mut impl FnMut(Reference)) {
        match self {
            Self::SessionOpened(opened) => {
                environment(&opened.environment, found);
                installed(&opened.agent.skills, found);
            }
            Self::EnvironmentOpened(opened) => hosted(&opened.environment, found),
            Self::ItemAdded { item } => of_item(item, found),
            Self::EffectRequested { effect } => match &effect.kind {
                EffectKind::PlaceFiles { files } => placed(files, found),
                EffectKind::ModelCall { .. }
                | EffectKind::Compact { .. }
                | EffectKind::ListTools { .. }
                | EffectKind::ToolCall { .. }
                | EffectKind::PrepareEnvironment
                | EffectKind::Command { .. }
                | EffectKind::PublishArtifacts
                | EffectKind::Review { .. }
                | EffectKind::Extract { .. }
                | EffectKind::Subagent { .. }
                | EffectKind::EndSubagents { .. } => {}
            },
            Self::AttemptEnded { outcome, .. } => of_outcome(outcome, found),
            Self::Forked(forked) => {
                forked.items.iter().for_each(|item| of_item(item, found));
                forked.artifacts.iter().for_each(|artifact| of_artifact(artifact, found));
                forked.published.into_iter().for_each(|root| found(Reference::Tree(root)));
            }
            Self::Rewound(rewound) => {
                rewound.items.iter().for_each(|placed| of_item(&placed.item, found));
                rewound.artifacts.iter().for_each(|artifact| of_artifact(artifact, found));
                let roots = rewound.root.into_iter().chain(rewound.published);
                roots.for_each(|root| found(Reference::Tree(root)));
            }
            Self::SessionUpdated { .. }
            | Self::SessionFailed { .. }
            | Self::SessionDeleted
            | Self::InputAccepted { .. }
            | Self::InputJoined { .. }
            | Self::TurnCreated { .. }
            | Self::TurnStarted { .. }
            | Self::TurnEnded { .. }
            | Self::ItemClosed { .. }
            | Self::FunctionsLoaded { .. }
            | Self::AttemptStarted { .. }
            | Self::EffectAbandoned { .. }
            | Self::ApprovalRequested { .. }
            | Self::ApprovalDecided { .. }
            | Self::FunctionReturned { .. }
            | Self::SubagentOpened { .. }
            | Self::SubagentClosed { .. }
            | Self::SubagentResumed { .. }
            | Self::PolicyRefused { .. }
            | Self::Governed { .. }
            | Self::ArtifactDeleted { .. }
            | Self::EnvironmentExpired
            | Self::EnvironmentSuspended
            | Self::EnvironmentResumed
            | Self::EnvironmentReset
            | Self::EnvironmentConnected
            | Self::EnvironmentDisconnected
            | Self::SignedIn
            | Self::CredentialBound { .. }
            | Self::SecretPermitted { .. }
            | Self::ConnectionAwaited { .. }
            | Self::ConnectionLapsed
            | Self::ContextCompacted(_)
            | Self::ContextTrimmed { .. }
            | Self::ExtractionSkipped { .. }
            | Self::OutputsShortened { .. }
            | Self::BlocksTaken { .. }
            | Self::ProceduresTaken { .. }
            | Self::Granted { .. } => {}
        }
    }
}

fn environment(environment: &Environment, found: &mut impl FnMut(Reference)) {
    match environment {
        Environment::None | Environment::SelfHosted(_) => {}
        Environment::Hosted(settings) => hosted(settings, found),
    }
}

fn hosted(settings: &HostedEnvironment, found: &mut impl FnMut(Reference)) {
    placed(&settings.files, found);
    let Capabilities { skills, plugins, directories: _, found: _, servers: _ } = &settings.capabilities;
    installed(skills, found);
    plugins.iter().for_each(|plugin| found(Reference::Blob(plugin.archive)));
    settings.base.into_iter().for_each(|root| found(Reference::Tree(root)));
}

fn placed(files: &[EnvironmentFile], found: &mut impl FnMut(Reference)) {
    files.iter().flat_map(EnvironmentFile::pieces).for_each(|piece| found(Reference::Blob(piece)));
}

fn installed(skills: &[InstalledSkill], found: &mut impl FnMut(Reference)) {
    skills.iter().for_each(|skill| found(Reference::Blob(skill.archive)));
}

fn of_item(item: &Item, found: &mut impl FnMut(Reference)) {
    match &item.body {
        ItemBody::McpCall { stored, .. } | ItemBody::CommandExecution { stored, .. } => {
            stored.iter().for_each(|blob| found(Reference::Blob(*blob)));
        }
        ItemBody::UserMessage { .. }
        | ItemBody::AssistantMessage { .. }
        | ItemBody::Reasoning { .. }
        | ItemBody::FunctionCall { .. }
        | ItemBody::FunctionCallOutput { .. }
        | ItemBody::SubagentCall { .. }
        | ItemBody::AgentMessage { .. }
        | ItemBody::InternalCall { .. } => {}
    }
}

fn of_outcome(outcome: &Outcome, found: &mut impl FnMut(Reference)) {
    let done = match outcome {
        Outcome::Done { done } => done,
        Outcome::Failed { .. } | Outcome::Unknown => return,
    };
    match done {
        Done::Tool { result } => {
            result.stored.iter().for_each(|blob| found(Reference::Blob(*blob)));
            result.root.iter().for_each(|root| found(Reference::Tree(*root)));
        }
        Done::Placed { root, skills: _, servers: _ } => found(Reference::Tree(*root)),
        Done::Command { result } => {
            result.stored.iter().for_each(|blob| found(Reference::Blob(*blob)));
            result.root.iter().for_each(|root| found(Reference::Tree(*root)));
        }
        Done::Published { artifacts } => {
            artifacts.iter().for_each(|artifact| of_artifact(artifact, found));
        }
        Done::Model { .. }
        | Done::Reviewed { .. }
        | Done::Extracted { .. }
        | Done::Tools { .. }
        | Done::Found { .. }
        | Done::Ended => {}
    }
}

fn of_artifact(artifact: &Artifact, found: &mut impl FnMut(Reference)) {
    // Its own digest is part of the tree.
    found(Reference::Tree(artifact.root));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_says_in_json_is_what_it_refers_to() {
        let blob = BlobRef::of(b"payload");
        let root = WorkspaceRoot::new([7; 32]);
        let event = |json: &str| -> Event {
            let json = json.replace("BLOB", &blob.to_string()).replace("ROOT", &root.to_string());
            serde_json::from_str(&json).expect("an event")
        };
        let effect = "eff_019b7a3c2e007c4a8a9f0123456789ab";
        let ended = |done: &str| {
            format!(
                r#"{{"type":"attempt_ended","effect_id":"{effect}","attempt":1,"next":{{"type":"settled"}},
                   "outcome":{{"type":"done","done":{done}}}}}"#
            )
        };
        for (json, expected) in [
            (ended(r#"{"type":"placed","root":"ROOT"}"#), vec![Reference::Tree(root)]),
            (
                ended(r#"{"type":"tool","result":{"text":"","is_error":false,"stored":"BLOB"}}"#),
                vec![Reference::Blob(blob)],
            ),
            (
                ended(r#"{"type":"tool","result":{"text":"","is_error":false,"root":"ROOT"}}"#),
                vec![Reference::Tree(root)],
            ),
            (
                ended(
                    r#"{"type":"command","result":{"output":"","stored":"BLOB","exit_code":0,"duration_ms":1,
                       "root":"ROOT"}}"#,
                ),
                vec![Reference::Blob(blob), Reference::Tree(root)],
            ),
            (ended(r#"{"type":"ended"}"#), vec![]),
            (r#"{"type":"session_deleted"}"#.to_owned(), vec![]),
            (r#"{"type":"rewound","to":4,"kept":2,"root":"ROOT"}"#.to_owned(), vec![Reference::Tree(root)]),
        ] {
            let mut found = Vec::new();
            event(&json).references(&mut |reference| found.push(reference));
            assert_eq!(found, expected, "{json}");
        }
    }
}
