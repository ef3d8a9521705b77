//! A request in the words of the schema: everything that a policy can see of it, and nothing else.
//!
//! INVARIANT: what Cedar is given is made from a [`Question`] alone. So a kept answer can be wrong only if two
//! different questions are equal.

use tenure_journal::ProjectId;

use crate::Request;
use crate::arguments::{Seen, Shapes, Unfit};
use crate::facts::{Facts, LevelFacts};
use crate::resource::{
    AUDIT_LOG, Action, DatasetFacts, EnvironmentFacts, HostFacts, MemoryFacts, ModelCall, POLICIES,
    SecretFacts, SessionFacts, TicketFacts, ToolFacts,
};
use crate::value::{Members, Name, Thing, Value, members};

/// A request as Cedar sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    pub(crate) principal: Thing,
    /// The action's name without the tool's.
    pub(crate) action: &'static str,
    pub(crate) resource: Thing,
    pub(crate) context: Members,
    /// Set where an action of the tool's own may be asked for.
    pub(crate) tool: Option<Typed>,
}

/// What is known of a tool's arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Typed {
    pub(crate) shapes: Shapes,
    pub(crate) seen: Result<Seen, Unfit>,
}

/// Whether any policy looks at arguments of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Arguments,
    NoArguments,
}

impl Question {
    pub(crate) fn of(request: &Request<'_>, sight: Sight) -> Self {
        let project = request.project;
        let mut context = Members::new();
        let facts = &request.facts;
        let mut tool = None;
        let resource = match request.action {
            Action::ModelCall(call) => {
                context = of_model(&call, facts);
                plain("Model", call.model)
            }
            Action::ToolsList { server } => {
                context = of_agent(facts);
                plain("Server", server)
            }
            Action::ToolCall { tool: called, mode } => {
                context = of_agent(facts);
                of_effect(&mut context, facts);
                of_spend(&mut context, facts);
                context.insert("approval_mode".into(), Value::text(mode.as_str()));
                let parameters = called.parameters.filter(|_| sight == Sight::Arguments);
                tool = parameters.map(|schema| {
                    let shapes = Shapes::of(schema);
                    Typed { seen: shapes.see(request.arguments), shapes }
                });
                called.to_thing(project)
            }
            Action::DataRead { dataset, purpose } => {
                context = of_agent(facts);
                context.insert("purpose".into(), Value::text(purpose));
                dataset.to_thing(project)
            }
            Action::MemoryRead(memory) | Action::MemoryWrite(memory) => {
                context = of_agent(facts);
                if matches!(request.action, Action::MemoryWrite(_)) {
                    of_quarantine(&mut context, facts);
                }
                memory.to_thing(project)
            }
            Action::CommandRun { environment, tool, command } => {
                context = of_agent(facts);
                of_effect(&mut context, facts);
                context.insert("tool".into(), Value::text(tool));
                context.insert("command".into(), Value::text(command));
                environment.to_thing(project)
            }
            Action::Connect { host, from_sandbox } => {
                context = of_agent(facts);
                of_quarantine(&mut context, facts);
                context.insert("from_sandbox".into(), Value::Bool(from_sandbox));
                host.to_thing(request.action.resource(), project)
            }
            Action::SecretUse { secret, host } => {
                context = of_agent(facts);
                of_quarantine(&mut context, facts);
                context.insert("host".into(), Value::text(host));
                secret.to_thing(project)
            }
            Action::SessionCreate { agent } => agent.to_thing(),
            Action::Session { verb: _, session } => session.to_thing(project),
            Action::ApprovalDecide { ticket, approve, now } => {
                context =
                    members([("approve", Value::Bool(approve)), ("now", Value::Moment(now.as_millis()))]);
                ticket.to_thing(project)
            }
            Action::PolicyPublish => owned("PolicySet", POLICIES, project),
            Action::AuditRead => owned("AuditLog", AUDIT_LOG, project),
        };
        let action = request.action.name();
        Self { principal: request.principal.to_thing(), action, resource, context, tool }
    }

    /// The same with the tool's arguments in sight. What cannot be seen of them is not trusted.
    ///
    /// # Errors
    /// Arguments that no policy could see as they are.
    pub(crate) fn with_arguments(mut self) -> Result<Self, Unfit> {
        let Seen { members, whole } = match self.tool.take() {
            Some(typed) => typed.seen?,
            None => Seen { members: Members::new(), whole: true },
        };
        self.context.insert("args".into(), Value::Record(members));
        if !whole {
            self.context.insert("untrusted_arguments".into(), Value::Bool(true));
        }
        Ok(self)
    }

    /// The same, had so many people approved it.
    pub(crate) fn approved_by(mut self, approvers: u32) -> Self {
        // The digest itself was compared before; policies only need to know that it is there.
        let approval =
            Value::record([("digest", Value::text("bound")), ("approvers", Value::count(approvers.into()))]);
        self.context.insert("approval".into(), approval);
        self
    }

    /// The same, asked by whoever stands behind the agent.
    pub(crate) fn asked_by(mut self, principal: &Thing) -> Self {
        self.principal = principal.clone();
        self
    }
}

/// What every request of an agent says.
fn of_agent(facts: &Facts<'_>) -> Members {
    let flow = facts.flow;
    let regions = flow.regions.iter().flatten();
    members([
        (
            "flow",
            Value::record([
                ("integrity", Value::Long(flow.integrity.rank().into())),
                ("confidentiality", Value::Long(flow.confidentiality.rank().into())),
                ("categories", Value::texts(&flow.categories)),
                ("region_bound", Value::Bool(flow.regions.is_some())),
                ("regions", Value::texts(regions)),
            ]),
        ),
        (
            "chain",
            Value::record([
                ("on_behalf_of", Value::Bool(facts.chain.on_behalf_of)),
                ("depth", Value::Long(facts.chain.depth.into())),
            ]),
        ),
        ("calls_so_far", Value::count(facts.calls_so_far)),
    ])
}

fn of_effect(context: &mut Members, facts: &Facts<'_>) {
    context.insert("untrusted_arguments".into(), Value::Bool(facts.untrusted_arguments));
    context.insert("grant_matches".into(), Value::Bool(facts.grant_matches));
    of_quarantine(context, facts);
}

fn of_quarantine(context: &mut Members, facts: &Facts<'_>) {
    context.insert("quarantined".into(), Value::Bool(facts.quarantined));
}

fn of_spend(context: &mut Members, facts: &Facts<'_>) {
    let Some(spend) = facts.spend else { return };
    let mut told = left(&spend.left);
    told.insert("reserve_micros".into(), Value::count(spend.reserve_micros));
    told.insert("reserve_tokens".into(), Value::count(spend.reserve_tokens));
    for (name, level) in [("session", &spend.session), ("agent", &spend.agent), ("project", &spend.project)] {
        told.insert(name.into(), Value::Record(left(level)));
    }
    context.insert("spend".into(), Value::Record(told));
}

fn left(level: &LevelFacts) -> Members {
    members([
        ("remaining_micros", Value::count(level.remaining_micros)),
        ("remaining_tokens", Value::count(level.remaining_tokens)),
        ("calls_left", Value::count(level.calls_left)),
        ("seconds_left", Value::count(level.seconds_left)),
    ])
}

fn of_model(call: &ModelCall<'_>, facts: &Facts<'_>) -> Members {
    let route = call.route;
    let mut context = of_agent(facts);
    of_spend(&mut context, facts);
    context.insert("now".into(), Value::Moment(call.now.as_millis()));
    context.insert("class".into(), Value::text(call.class.as_str()));
    context.insert("stateless".into(), Value::Bool(call.class.is_stateless()));
    context.insert(
        "route".into(),
        Value::record([
            ("name", Value::text(route.name)),
            ("vendor", Value::text(route.vendor)),
            ("provider", Value::text(route.provider)),
            ("region", Value::text(route.region)),
            ("deployment", Value::text(route.deployment)),
            ("account", Value::text(route.account)),
            ("retention_days", Value::Long(route.retention_days.into())),
            ("trains_on_data", Value::Bool(route.trains_on_data)),
            ("labels", Value::texts(route.labels)),
        ]),
    );
    context
}

fn plain(kind: &'static str, id: &str) -> Thing {
    Thing { name: Name::new(kind, id), attributes: Members::new(), parents: Vec::new() }
}

fn of(project: ProjectId) -> Value {
    Value::text(project.to_string())
}

fn owned(kind: &'static str, id: &str, project: ProjectId) -> Thing {
    Thing { attributes: members([("project", of(project))]), ..plain(kind, id) }
}

impl ToolFacts<'_> {
    fn to_thing(self, project: ProjectId) -> Thing {
        let attributes = members([
            ("server", Value::text(self.server)),
            ("name", Value::text(self.name)),
            ("project", of(project)),
            ("builtin", Value::Bool(self.builtin)),
            ("read_only", Value::Bool(self.read_only)),
            ("destructive", Value::Bool(self.destructive)),
            ("effect", Value::text(self.labels.effect.as_str())),
            ("clearance", Value::Long(self.labels.clearance.rank().into())),
            ("pinned", Value::Bool(self.labels.pinned)),
        ]);
        let parents = vec![Name::new("Server", self.server)];
        Thing { name: Name::new("Tool", self.id()), attributes, parents }
    }
}

impl DatasetFacts<'_> {
    fn to_thing(self, project: ProjectId) -> Thing {
        let attributes = members([
            ("project", of(project)),
            ("confidentiality", Value::Long(self.confidentiality.rank().into())),
            ("categories", Value::texts(self.categories)),
            ("readers", Value::texts(self.readers)),
        ]);
        let name = Name::new("Dataset", format!("{}/{}", self.server, self.name));
        Thing { name, attributes, parents: vec![Name::new("Server", self.server)] }
    }
}

impl MemoryFacts<'_> {
    fn to_thing(self, project: ProjectId) -> Thing {
        let attributes = members([
            ("project", of(project)),
            ("scope", Value::text(self.scope)),
            ("confidentiality", Value::Long(self.confidentiality.rank().into())),
            ("min_write_integrity", Value::Long(self.min_write_integrity.rank().into())),
        ]);
        Thing { attributes, ..plain("MemoryStore", self.id) }
    }
}

impl EnvironmentFacts<'_> {
    fn to_thing(self, project: ProjectId) -> Thing {
        let attributes = members([
            ("project", of(project)),
            ("hosting", Value::text(self.hosting.as_str())),
            ("network", Value::text(self.network.as_str())),
        ]);
        Thing { attributes, ..plain("Environment", self.id) }
    }
}

impl HostFacts<'_> {
    fn to_thing(self, id: String, project: ProjectId) -> Thing {
        let attributes = members([
            ("project", of(project)),
            ("name", Value::text(self.name)),
            ("port", Value::Long(self.port.into())),
            ("private", Value::Bool(self.private)),
            ("clearance", Value::Long(self.clearance.rank().into())),
        ]);
        Thing { name: Name::new("Host", id), attributes, parents: Vec::new() }
    }
}

impl SecretFacts<'_> {
    fn to_thing(self, project: ProjectId) -> Thing {
        let attributes = members([("project", of(project)), ("audiences", Value::texts(self.audiences))]);
        Thing { attributes, ..plain("Secret", self.id) }
    }
}

impl SessionFacts<'_> {
    fn to_thing(self, project: ProjectId) -> Thing {
        let attributes = members([
            ("project", of(project)),
            ("agent", Value::text(self.agent)),
            ("owner", Value::text(self.owner)),
        ]);
        Thing { attributes, ..plain("Session", self.id) }
    }
}

impl TicketFacts<'_> {
    fn to_thing(self, project: ProjectId) -> Thing {
        let attributes = members([
            ("project", of(project)),
            ("action", Value::text(self.action)),
            ("resource", Value::text(self.resource)),
            ("requester", Value::text(self.requester)),
            ("groups", Value::texts(self.groups)),
        ]);
        Thing { attributes, ..plain("Ticket", self.id) }
    }
}
