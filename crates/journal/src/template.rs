//! What clients ask of hosted environments before one exists: templates, as documents, and what is asked for
//! beside or instead of one. Each session's journal holds what came of it.

use serde::{Deserialize, Serialize};

use crate::{
    ContainerSize, EnvironmentFile, HostedEnvironment, InstalledPlugin, InstalledSkill, Network, Packages,
    Secret, SetupCommand, TemplateId,
};

/// A reusable configuration of hosted environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says about environments.
    pub settings: HostedSettings,
}

/// A hosted environment as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedEnvironment {
    /// The template whose settings hold where `settings` says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateId>,
    /// What is asked for beside it.
    #[serde(default)]
    pub settings: HostedSettings,
}

/// Settings of a hosted environment, each of which may be left open. Uploaded files and stored skills are those that
/// they named when they were written down: what is uploaded never changes, and a template is not left behind by what
/// is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostedSettings {
    /// What its commands may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// How much of the machine its commands may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ContainerSize>,
    /// Files that are there before anything runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<EnvironmentFile>>,
    /// Skills that are installed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skills: Option<Vec<InstalledSkill>>,
    /// Plugins that are installed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<InstalledPlugin>>,
    /// Directories that are searched for more skills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directories: Option<Vec<String>>,
    /// Packages that are installed before anything else runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
    /// Commands that make it ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Vec<SetupCommand>>,
    /// Variables of its commands, sealed: clients never read their values back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Secret>,
}

impl HostedSettings {
    /// These settings, and where they say nothing those of `base`.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        let Self { network, size, files, skills, plugins, directories, packages, setup, variables } = self;
        Self {
            network: network.or_else(|| base.network.clone()),
            size: size.or(base.size),
            files: files.or_else(|| base.files.clone()),
            skills: skills.or_else(|| base.skills.clone()),
            plugins: plugins.or_else(|| base.plugins.clone()),
            directories: directories.or_else(|| base.directories.clone()),
            packages: packages.or_else(|| base.packages.clone()),
            setup: setup.or_else(|| base.setup.clone()),
            variables: variables.or(base.variables),
        }
    }
}

/// Where commands and files of a session that is yet to be opened will live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetEnvironment {
    /// Nowhere.
    None,
    /// In an environment that is made for it.
    Hosted(Box<WantedEnvironment>),
}

/// The first event of an environment that is made ready before it has a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentOpened {
    /// The project it belongs to.
    pub project_id: crate::ProjectId,
    /// Its settings.
    pub environment: HostedEnvironment,
    /// When it expires, if no session was opened in it.
    pub expires_at: crate::Timestamp,
    /// Vaults whose variables it has, beside those of the session that is opened in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vault_ids: Vec<String>,
    /// What the digests in its audit records are keyed with, and in those of a session that is opened in it; absent
    /// in journals of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_key: Option<crate::DigestKey>,
}
