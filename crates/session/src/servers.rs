//! The tool servers of a session: those that its agent names, then those that plugins of its environment bring along.
//!
//! ```text
//!   the agent's settings ───▶ its own, in their order ──────────────┬──▶ asked for their tools, offered, called
//!   the preparation's outcome ──▶ those of plugins ── not: a label ─┘
//!                                                     of the agent's,
//!                                                     no room
//! ```
//!
//! What a plugin brings along is a fact of the preparation, so that a file that changes later changes no session. The
//! agent's settings may change; which of the others count follows from them each time. A server of a plugin is never
//! worth a turn: where policy does not let it be asked, it is down, and the agent goes on without it.

use std::collections::BTreeMap;

use tenure_journal::{McpTool, PluginServers, PolicyRefusal, RefusedServer, Timestamp, limit};
use tenure_policy::Action;

use crate::{Session, catalogue};

/// What became of a tool server that a plugin names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginServerView {
    /// The server.
    pub server: McpTool,
    /// Whether it can be used.
    pub standing: ServerStanding,
}

/// Whether a tool server of a plugin can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStanding {
    /// It was not asked for its tools yet, or has not answered.
    Unasked,
    /// It named so many tools.
    Listed(usize),
    /// It could not be asked for its tools, or policy did not let it be asked.
    Down,
    /// The agent has a server of its own under the same label.
    Shadowed,
    /// The agent's own servers and those before it are as many as run in an environment.
    NoRoom,
}

impl ServerStanding {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "not_asked",
            Self::Listed(_) => "listed",
            Self::Down => "down",
            Self::Shadowed => "shadowed",
            Self::NoRoom => "no_room",
        }
    }
}

/// What plugins brought along of tool servers, as clients see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginServersView {
    /// Those that were found, in the order in which they were.
    pub found: Vec<PluginServerView>,
    /// Those that are not started, and why.
    pub refused: Vec<RefusedServer>,
}

impl Session {
    /// Its tool servers, each label once: the agent's own, then those of plugins.
    pub fn servers(&self) -> impl Iterator<Item = &McpTool> {
        catalogue::servers(&self.agent.tools).chain(self.plugin_servers())
    }

    /// The tool server with this label.
    #[must_use]
    pub fn server(&self, label: &str) -> Option<&McpTool> {
        self.servers().find(|server| server.server_label == label)
    }

    /// The servers of plugins that count: no label of the agent's, and room for them.
    pub(crate) fn plugin_servers(&self) -> impl Iterator<Item = &McpTool> {
        let found = &self.found_servers().servers;
        // Most sessions have none.
        let room = if found.is_empty() { 0 } else { self.room_inside() };
        found.iter().filter(|server| !self.is_own(&server.server_label)).take(room)
    }

    /// What clients see of what plugins brought along.
    pub(crate) fn plugin_servers_view(&self) -> PluginServersView {
        let PluginServers { servers, refused } = self.found_servers();
        let mut room = self.room_inside();
        let view = |server: &McpTool| {
            let label = &server.server_label;
            let standing = if self.is_own(label) {
                ServerStanding::Shadowed
            } else if room == 0 {
                ServerStanding::NoRoom
            } else {
                room -= 1;
                self.standing_of(label)
            };
            PluginServerView { server: server.clone(), standing }
        };
        PluginServersView { found: servers.iter().map(view).collect(), refused: refused.clone() }
    }

    fn standing_of(&self, label: &str) -> ServerStanding {
        match self.listings.get(label).map(|listing| listing.tools.as_ref()) {
            None => ServerStanding::Unasked,
            Some(None) => ServerStanding::Down,
            Some(Some(tools)) => ServerStanding::Listed(tools.len()),
        }
    }

    /// How many programs of plugins can run in the environment beside the agent's own.
    fn room_inside(&self) -> usize {
        let own = catalogue::servers(&self.agent.tools).filter(|server| server.runs_inside()).count();
        limit::SERVERS_INSIDE_MAX.saturating_sub(own)
    }

    fn is_own(&self, label: &str) -> bool {
        catalogue::server(&self.agent.tools, label).is_some()
    }

    /// Whether a server that counts is a plugin's.
    #[must_use]
    pub fn is_of_plugin(&self, label: &str) -> bool {
        self.plugin_servers().any(|server| server.server_label == label)
    }

    /// Folds what may change which servers there are, and forgets what those said that are others now: there may be
    /// another one behind the same label.
    pub(crate) fn change_servers(&mut self, change: impl FnOnce(&mut Self)) {
        let listed = |state: &Self| -> BTreeMap<String, McpTool> {
            let servers = state.servers().filter(|server| state.listings.contains_key(&server.server_label));
            servers.map(|server| (server.server_label.clone(), server.clone())).collect()
        };
        let before = listed(self);
        change(self);
        let now = listed(self);
        self.listings.retain(|label, _| now.get(label).is_some_and(|now| before.get(label) == Some(now)));
    }

    /// Folds a refusal. A server of a plugin that may not be asked for its tools is down until the next turn; one of
    /// the agent's own ends the turn, which is an event of its own.
    pub(crate) fn take_refusal(&mut self, at: Timestamp, refusal: &PolicyRefusal) {
        let listing = Action::ToolsList { server: &refusal.resource };
        if refusal.action == listing.name() && self.is_of_plugin(&refusal.resource) {
            self.list(&refusal.resource, at, None);
        }
    }
}
