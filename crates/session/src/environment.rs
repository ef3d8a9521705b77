//! What a session knows of its environment: how far it is, its files, and what was published of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tenure_journal::{
    Artifact, ArtifactId, EffectId, EffectKind, Environment, EnvironmentStatus, HostedEnvironment,
    PluginServers, Rewound, SkillEntry, WorkspaceRoot, limit,
};

use crate::Session;

/// The directory that commands of a hosted environment run in where the model names none.
pub(crate) const HOSTED_DIRECTORY: &str = "/workspace";

/// The files of a session's environment, as its journal knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workspace {
    /// The files after everything that is settled; absent until the environment was prepared.
    root: Option<WorkspaceRoot>,
    /// Why it could not be prepared.
    failed: Option<String>,
    /// The command whose outcome is not known and whose files were left as they were.
    left_by: Option<EffectId>,
    /// The files that were looked at when something was last published.
    published: Option<WorkspaceRoot>,
    /// What was published and not deleted, oldest first.
    artifacts: Vec<Artifact>,
    /// The skills that were found when it was prepared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skills: Vec<SkillEntry>,
    /// What plugins brought along of tool servers when it was prepared.
    #[serde(default, skip_serializing_if = "brought_nothing")]
    servers: Arc<PluginServers>,
    /// Whether nothing was done there for long.
    #[serde(default)]
    suspended: bool,
    /// Whether skills were looked for in an environment of the customer's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    looked: bool,
    /// How often its files were lost and it was made ready anew.
    #[serde(default)]
    resets: u64,
}

fn brought_nothing(servers: &Arc<PluginServers>) -> bool {
    servers.is_empty()
}

impl Workspace {
    pub(crate) fn new(environment: &Environment) -> Self {
        let root = environment.hosted().and_then(|hosted| hosted.base);
        // What another environment left was published there.
        let (skills, servers) = match environment {
            Environment::None => (Vec::new(), PluginServers::default()),
            Environment::Hosted(hosted) => {
                (hosted.capabilities.found.clone(), hosted.capabilities.servers.clone())
            }
            Environment::SelfHosted(own) => (own.found.clone(), own.servers.clone()),
        };
        Self { root, published: root, skills, servers: Arc::new(servers), ..Self::default() }
    }

    pub(crate) fn place(&mut self, root: WorkspaceRoot) {
        self.root = Some(root);
        self.left_by = None;
    }

    pub(crate) fn find(&mut self, skills: &[SkillEntry], servers: &PluginServers) {
        self.skills = skills.to_vec();
        self.servers = Arc::new(servers.clone());
    }

    /// Takes note that skills were looked for on the customer's machine.
    pub(crate) fn look(&mut self) {
        self.looked = true;
    }

    /// Takes the files that a command or a call left, if they are others.
    pub(crate) fn ran(&mut self, root: Option<WorkspaceRoot>) {
        self.root = root.or(self.root);
        self.left_by = None;
    }

    pub(crate) fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    pub(crate) fn fail(&mut self, message: &str) {
        self.failed = Some(message.to_owned());
    }

    pub(crate) fn leave(&mut self, effect: EffectId) {
        self.left_by = Some(effect);
    }

    pub(crate) fn publish(&mut self, artifacts: &[Artifact]) {
        self.published = self.root;
        let room = limit::ARTIFACTS_MAX.saturating_sub(self.artifacts.len());
        self.artifacts.extend(artifacts.iter().take(room).cloned());
    }

    /// Takes over what was published where its files come from.
    pub(crate) fn fork(&mut self, artifacts: &[Artifact], published: Option<WorkspaceRoot>) {
        self.artifacts.extend(artifacts.iter().cloned());
        self.published = published.or(self.published);
    }

    /// Gives up files that are lost. What was published of them stays listed.
    pub(crate) fn reset(&mut self) {
        (self.root, self.published, self.left_by) = (None, None, None);
        self.skills.clear();
        self.servers = Arc::default();
        self.resets += 1;
    }

    /// Goes back to earlier files. What a command left since is given up.
    pub(crate) fn rewind(&mut self, rewound: &Rewound) {
        self.root = rewound.root;
        self.published = rewound.published;
        self.left_by = None;
        self.artifacts.retain(|artifact| !rewound.gone_artifacts.contains(&artifact.id));
        self.artifacts.extend(rewound.artifacts.iter().cloned());
    }

    pub(crate) fn delete_artifact(&mut self, id: ArtifactId) {
        self.artifacts.retain(|artifact| artifact.id != id);
        // What was deleted and is still there is published again by the next turn.
        self.published = None;
    }
}

impl Session {
    /// Its hosted environment's settings, if it has one.
    #[must_use]
    pub fn hosted(&self) -> Option<&HostedEnvironment> {
        self.environment.hosted()
    }

    /// How far its environment is; nothing without one.
    #[must_use]
    pub fn environment_status(&self) -> Option<EnvironmentStatus> {
        if self.self_hosted().is_some() {
            return Some(self.connection.status());
        }
        self.hosted()?;
        if self.is_expired() {
            return Some(EnvironmentStatus::Expired);
        }
        Some(match (&self.workspace.failed, self.workspace.root) {
            (Some(message), _) => EnvironmentStatus::Failed { message: message.clone() },
            (None, Some(_)) if self.awaits_session() => EnvironmentStatus::Ready,
            (None, Some(_)) if self.workspace.suspended => EnvironmentStatus::Suspended,
            (None, Some(_)) => EnvironmentStatus::Connected,
            (None, None) => EnvironmentStatus::Pending,
        })
    }

    /// The files of its environment, after everything that is settled.
    #[must_use]
    pub fn workspace_root(&self) -> Option<WorkspaceRoot> {
        self.workspace.root
    }

    /// How often its environment's files were lost and it was made ready anew.
    #[must_use]
    pub fn environment_resets(&self) -> u64 {
        self.workspace.resets
    }

    /// The command whose outcome is not known and that may have left other files than
    /// [`Session::workspace_root`], which are to be kept where they can be found.
    #[must_use]
    pub fn files_left_by(&self) -> Option<EffectId> {
        self.workspace.left_by
    }

    /// The skills in its environment, in the order in which the model is told of them.
    #[must_use]
    pub fn skills(&self) -> &[SkillEntry] {
        &self.workspace.skills
    }

    /// What plugins of its environment brought along of tool servers, whether they can be used or not.
    #[must_use]
    pub fn found_servers(&self) -> &PluginServers {
        &self.workspace.servers
    }

    /// What was published and not deleted, oldest first.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        &self.workspace.artifacts
    }

    /// The files that were looked at when something was last published.
    pub(crate) fn published(&self) -> Option<WorkspaceRoot> {
        self.workspace.published
    }

    /// Whether the environment is not ready: turns wait for it.
    pub(crate) fn awaits_environment(&self) -> bool {
        if self.self_hosted().is_some() {
            return self.needs_connection() || self.looks_for_skills();
        }
        match self.environment_status() {
            None
            | Some(EnvironmentStatus::Ready | EnvironmentStatus::Connected | EnvironmentStatus::Suspended) => {
                false
            }
            Some(
                EnvironmentStatus::Pending
                | EnvironmentStatus::Disconnected
                | EnvironmentStatus::Failed { .. }
                | EnvironmentStatus::Expired,
            ) => true,
        }
    }

    /// Whether skills are to be looked for on the customer's machine, as soon as its executor is there.
    pub(crate) fn wants_skills(&self) -> bool {
        let own = self.self_hosted().filter(|_| self.connects().is_some() && !self.workspace.looked);
        own.is_some_and(|own| !own.capability_directories.is_empty()) && !self.looks_for_skills()
    }

    /// Whether they are being looked for: the first turn waits for what is found.
    fn looks_for_skills(&self) -> bool {
        self.self_hosted().is_some()
            && self.pending().any(|effect| matches!(effect.kind, EffectKind::PrepareEnvironment))
    }

    /// Whether nothing was done in its environment for long.
    pub(crate) fn is_suspended(&self) -> bool {
        self.workspace.suspended
    }

    /// Whether nothing goes on that may need the environment.
    pub(crate) fn may_suspend(&self) -> bool {
        self.environment_status() == Some(EnvironmentStatus::Connected)
            && !self.deleted
            && self.turn.is_none()
            && self.queue.is_empty()
            && self.effects.is_empty()
    }

    /// Whether files may have to be published before the turn ends. A subagent publishes nothing.
    pub(crate) fn may_publish(&self) -> bool {
        self.parent.is_none()
            && self.workspace.root.is_some()
            && self.workspace.root != self.workspace.published
    }
}
