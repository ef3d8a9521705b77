//! What an environment brings along for its agent: skills, plugins, and directories that hold more of them.

use serde::{Deserialize, Serialize};

use crate::{BlobRef, McpTool, SkillId};

/// What is installed in an environment before its setup commands run, and where more is looked for after them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Skills, in the order they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<InstalledSkill>,
    /// Plugins, in the order they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<InstalledPlugin>,
    /// Directories that hold skills, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
    /// The skills that are there from the beginning, where the environment continues another: nothing is
    /// prepared then, and nothing looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<SkillEntry>,
    /// The tool servers that are there from the beginning, in the same case.
    #[serde(default, skip_serializing_if = "PluginServers::is_empty")]
    pub servers: PluginServers,
}

impl Capabilities {
    /// Adds an agent's own skills, but those whose names are taken.
    pub fn add(&mut self, of_agent: &[InstalledSkill]) {
        for skill in of_agent {
            if self.skills.iter().all(|known| known.name != skill.name) {
                self.skills.push(skill.clone());
            }
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { skills, plugins, directories, found, servers } = self;
        skills.is_empty()
            && plugins.is_empty()
            && directories.is_empty()
            && found.is_empty()
            && servers.is_empty()
    }
}

/// A skill of an environment, as it was when the session was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledSkill {
    /// Its name, unique among the environment's.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its files as a zip: one directory, named like the skill.
    pub archive: BlobRef,
    /// Which stored skill it is; absent for one that came with the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<SkillVersion>,
    /// How a template means it, whose sessions each begin with what that is then; absent for one version, and in a
    /// session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
}

/// Which version of a stored skill is meant, where it is not a certain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// The one that the skill says.
    Default,
    /// The highest.
    Latest,
}

/// One version of a stored skill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillVersion {
    /// The skill.
    pub skill_id: SkillId,
    /// Its version, from 1.
    pub number: u32,
}

/// A plugin of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledPlugin {
    /// Its name, unique among the environment's.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its files as a zip: one directory, named like the plugin.
    pub archive: BlobRef,
}

/// A skill that was found in an environment: what the model is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillEntry {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its `SKILL.md`, absolute.
    pub path: String,
}

/// What the plugins of an environment bring along of tool servers, as it was when the environment was made ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginServers {
    /// Programs that can be started in the environment, each under a label of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<McpTool>,
    /// What is not started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedServer>,
}

impl PluginServers {
    /// Whether nothing was found, and nothing refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { servers, refused } = self;
        servers.is_empty() && refused.is_empty()
    }
}

/// A tool server of a plugin that is not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedServer {
    /// The plugin's directory, absolute in the environment.
    pub plugin: String,
    /// What the plugin calls the server; absent where nothing of the plugin could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why, for whoever can correct it.
    pub reason: String,
}
