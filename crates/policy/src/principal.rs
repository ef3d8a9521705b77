//! Who asks.

use tenure_journal::{AgentId, ProjectId};

use crate::value::{Members, Name, Thing, Value, members};

/// Who asks: an agent, a person or a key, in a project.
#[derive(Debug, Clone, Copy)]
pub enum Principal<'a> {
    /// An agent at work in a session.
    Agent(AgentFacts<'a>),
    /// A person.
    User(PartyFacts<'a>),
    /// A program with a key.
    Service(PartyFacts<'a>),
}

/// An agent as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct AgentFacts<'a> {
    /// The project.
    pub project: ProjectId,
    /// The agent.
    pub agent_id: AgentId,
    /// Its name, where it has one.
    pub agent_name: Option<&'a str>,
    /// The version of the saved agent that is at work; absent for one that is not saved.
    pub version: Option<u64>,
    /// Whether it was stopped by its owner.
    pub frozen: bool,
}

/// A person or a key as policies see them.
#[derive(Debug, Clone, Copy)]
pub struct PartyFacts<'a> {
    /// The project.
    pub project: ProjectId,
    /// Its id.
    pub id: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// Whether it may do anything at all.
    pub active: bool,
    /// The groups it belongs to.
    pub groups: &'a [String],
}

impl Principal<'_> {
    pub(crate) fn to_thing(self) -> Thing {
        match self {
            Self::Agent(agent) => agent.to_thing(),
            Self::User(party) => party.to_thing("User"),
            Self::Service(party) => party.to_thing("Service"),
        }
    }
}

impl AgentFacts<'_> {
    /// Its name in policies.
    pub(crate) fn name(&self) -> String {
        self.agent_name.map_or_else(|| self.agent_id.to_string(), ToOwned::to_owned)
    }

    pub(crate) fn to_thing(self) -> Thing {
        let name = self.name();
        let attributes = members([
            ("name", Value::text(name.as_str())),
            ("project", Value::text(self.project.to_string())),
            ("version", Value::count(self.version.unwrap_or(0))),
            ("frozen", Value::Bool(self.frozen)),
        ]);
        Thing { name: Name::new("Agent", name), attributes, parents: Vec::new() }
    }
}

impl PartyFacts<'_> {
    fn to_thing(self, kind: &'static str) -> Thing {
        let attributes: Members = members([
            ("id", Value::text(self.id)),
            ("name", Value::text(self.name)),
            ("project", Value::text(self.project.to_string())),
            ("active", Value::Bool(self.active)),
            ("groups", Value::texts(self.groups)),
        ]);
        let parents = self.groups.iter().map(|group| Name::new("Group", group.as_str())).collect();
        Thing { name: Name::new(kind, self.id), attributes, parents }
    }
}
