//! Each guard rail is there for something: without it, or turned round, a request of this table is decided
//! otherwise.

use tenure_journal::{Confidentiality, Integrity, Labels, Timestamp, ToolEffect};
use tenure_policy::{
    Action, AgentFacts, Chain, EnvironmentFacts, Facts, HostFacts, Hosting, LevelFacts, MemoryFacts,
    ModelCall, PartyFacts, PolicySet, Principal, Reach, Request, RouteFacts, SecretFacts, SessionFacts,
    SessionVerb, SpendFacts, TicketFacts, ToolFacts, Verdict,
};

use crate::support::{
    NULL, agent, call, flowing, groups, party, project, request, said, source, tool, verdict,
};

/// A project that permits whatever it can.
const EVERYTHING: &str = r#"@id("all") permit (principal, action, resource);"#;

struct Table<'a> {
    cases: Vec<(String, String)>,
    policies: PolicySet,
    /// What is to be found otherwise; once it was, nothing more is asked.
    sound: Option<&'a [String]>,
}

impl Table<'_> {
    fn ask(&mut self, name: &str, request: &Request<'_>) {
        self.ask_approved(name, request, 0);
    }

    fn ask_approved(&mut self, name: &str, request: &Request<'_>, approvers: u32) {
        if self.differs() {
            return;
        }
        let verdict = verdict(&self.policies, request, approvers);
        let said = match &verdict {
            // Which permits there are besides does not matter here.
            Verdict::Allow(_) => "allow".to_owned(),
            Verdict::Ask(hold) => format!("ask {}", hold.groups.join(",")),
            Verdict::Deny(_) => said(&verdict),
        };
        self.cases.push((name.to_owned(), said));
    }

    fn differs(&self) -> bool {
        let last = self.cases.len().checked_sub(1);
        let sound = last.and_then(|last| self.sound?.get(last));
        last.is_some_and(|last| sound.is_some_and(|sound| outcome(&self.cases[last].1) != sound))
    }
}

fn host(name: &'static str, private: bool, clearance: Confidentiality) -> Action<'static> {
    Action::Connect { host: HostFacts { name, port: 443, private, clearance }, from_sandbox: true }
}

fn memory(min_write_integrity: Integrity, confidentiality: Confidentiality) -> Action<'static> {
    Action::MemoryWrite(MemoryFacts { id: "project", scope: "project", confidentiality, min_write_integrity })
}

fn command(hosting: Hosting, network: Reach) -> Action<'static> {
    let environment = EnvironmentFacts { id: "environment", hosting, network };
    Action::CommandRun { environment, tool: "shell", command: "ls" }
}

/// Every request of the table, in a fixed order.
fn ask_everything(table: &mut Table<'_>) {
    of_principals(table);
    of_models(table);
    of_memory_and_network(table);
    of_approvals(table);
    // The most of them, and the last: most mutants were found out by now.
    of_tools(table);
}

fn of_principals(table: &mut Table<'_>) {
    let plain = request(call(tool("list", ToolEffect::Read)), &NULL);
    table.ask("an agent reads", &plain);
    let frozen = Principal::Agent(AgentFacts { frozen: true, ..agent() });
    table.ask("a frozen agent reads", &Request { principal: frozen, ..plain });
    table.ask("an agent of another project reads", &Request { project: project(2), ..plain });
    let deep = |depth| Facts { chain: Chain { on_behalf_of: true, depth }, ..Facts::neutral() };
    table.ask("four agents stand between", &Request { facts: deep(4), ..plain });
    table.ask("five agents stand between", &Request { facts: deep(5), ..plain });
    let ask_model = request(Action::ModelCall(ModelCall::new("m", Timestamp::EPOCH)), &NULL);
    for (name, [reserve_micros, remaining_micros, reserve_tokens, remaining_tokens, calls_left]) in [
        ("the budget just suffices", [5, 5, 7, 7, 1]),
        ("the budget does not suffice", [6, 5, 7, 7, 1]),
        ("more tokens than are left", [5, 5, 8, 7, 1]),
        ("no calls are left", [5, 5, 7, 7, 0]),
    ] {
        let left = LevelFacts { remaining_micros, remaining_tokens, calls_left, seconds_left: 0 };
        let (session, agent, project) = (left, left, left);
        let spend = Some(SpendFacts { reserve_micros, reserve_tokens, left, session, agent, project });
        let facts = Facts { spend, ..Facts::neutral() };
        table.ask(name, &Request { facts, ..ask_model });
        table.ask(&format!("{name} and a tool is called"), &Request { facts, ..plain });
    }
    let session = SessionFacts { id: "sess_1", agent: "refunds", owner: "key_1" };
    let read = Action::Session { verb: SessionVerb::Read, session };
    let create = |frozen| Action::SessionCreate { agent: AgentFacts { frozen, ..agent() } };
    let inactive = |party: PartyFacts<'static>| PartyFacts { active: false, ..party };
    for (name, principal) in [
        ("a person", Principal::User(party("anna", &[]))),
        ("a person who left", Principal::User(inactive(party("anna", &[])))),
        ("a key", Principal::Service(party("key_1", &[]))),
        ("a key that was revoked", Principal::Service(inactive(party("key_1", &[])))),
    ] {
        table.ask(&format!("{name} reads"), &Request { principal, action: read, ..plain });
    }
    let principal = Principal::Service(party("key_1", &[]));
    table.ask("an agent is started", &Request { principal, action: create(false), ..plain });
    table.ask("a frozen agent is started", &Request { principal, action: create(true), ..plain });
}

fn of_models(table: &mut Table<'_>) {
    let model = ModelCall::new("m", Timestamp::EPOCH);
    let by = |region: &'static str, trains_on_data| {
        Action::ModelCall(model.through(RouteFacts { region, trains_on_data, ..model.route }))
    };
    let internal = Labels { confidentiality: Confidentiality::Internal, ..Labels::NEUTRAL };
    let bound = Labels { regions: Some(["eu".to_owned()].into()), ..Labels::NEUTRAL };
    let nowhere = Labels { regions: Some([].into()), ..Labels::NEUTRAL };
    for (name, action, flow) in [
        ("public data is trained on", by("eu", true), &Labels::NEUTRAL),
        ("internal data is trained on", by("eu", true), &internal),
        ("internal data is not trained on", by("eu", false), &internal),
        ("data of the eu stays there", by("eu", false), &bound),
        ("data of the eu leaves", by("us", false), &bound),
        ("data that may be nowhere", by("eu", false), &nowhere),
    ] {
        table.ask(name, &Request { facts: flowing(flow), ..request(action, &NULL) });
    }
}

fn of_tools(table: &mut Table<'_>) {
    let flow = |integrity| Labels { integrity, ..Labels::NEUTRAL };
    for effect in ToolEffect::ALL {
        let also: &[Integrity] =
            if effect == ToolEffect::Send { &[Integrity::Partner, Integrity::Internal] } else { &[] };
        for &integrity in [Integrity::Untrusted].iter().chain(also) {
            let flow = flow(integrity);
            let asked = Request { facts: flowing(&flow), ..request(call(tool("t", effect)), &NULL) };
            let name = format!("{} after {} content", effect.as_str(), integrity.as_str());
            table.ask(&name, &asked);
            table.ask_approved(&format!("{name}, approved"), &asked, 1);
            for (grant_matches, untrusted_arguments) in [(true, false), (true, true), (false, true)] {
                let facts = Facts { grant_matches, untrusted_arguments, ..asked.facts };
                let given = match (grant_matches, untrusted_arguments) {
                    (true, false) => "granted",
                    (true, true) => "granted, with found arguments",
                    (false, _) => "with found arguments",
                };
                table.ask(&format!("{name}, {given}"), &Request { facts, ..asked });
            }
        }
    }
    let quarantined = Facts { quarantined: true, ..Facts::neutral() };
    let audiences = groups(&["a.example"]);
    let secret = SecretFacts { id: "k", audiences: &audiences };
    for (name, action) in [
        ("reads", call(tool("t", ToolEffect::Read))),
        ("writes", call(tool("t", ToolEffect::Write))),
        ("runs a command", command(Hosting::Hosted, Reach::Disabled)),
        ("connects", host("a.example", false, Confidentiality::Internal)),
        ("remembers", memory(Integrity::Untrusted, Confidentiality::Restricted)),
        ("uses a secret", Action::SecretUse { secret, host: "a.example" }),
    ] {
        table.ask(name, &request(action, &NULL));
        let asked = Request { facts: quarantined, ..request(action, &NULL) };
        table.ask(&format!("{name} in quarantine"), &asked);
        table.ask_approved(&format!("{name} in quarantine, approved"), &asked, 3);
    }
    let untrusted = flow(Integrity::Untrusted);
    let builtin = ToolFacts { builtin: true, ..tool("shell", ToolEffect::Exec) };
    let asked = Request { facts: flowing(&untrusted), ..request(call(builtin), &NULL) };
    table.ask("a built-in tool runs after untrusted content", &asked);
    let mut unpinned = tool("t", ToolEffect::Read);
    unpinned.labels.pinned = false;
    table.ask("a tool that nobody reviewed", &request(call(unpinned), &NULL));
    for confidentiality in Confidentiality::ALL {
        let flow = Labels { confidentiality, ..Labels::NEUTRAL };
        let asked = Request { facts: flowing(&flow), ..request(call(tool("t", ToolEffect::Read)), &NULL) };
        let name = format!("{} data reaches a tool for internal data", confidentiality.as_str());
        table.ask(&name, &asked);
        table.ask_approved(&format!("{name}, approved"), &asked, 1);
    }
    for hosting in [Hosting::Hosted, Hosting::SelfHosted] {
        for network in [Reach::Disabled, Reach::Restricted, Reach::Enabled] {
            let asked = Request { facts: flowing(&untrusted), ..request(command(hosting, network), &NULL) };
            let name = format!("a command after untrusted content, {hosting:?} {network:?}");
            table.ask(&name, &asked);
            let found = Facts { untrusted_arguments: true, ..asked.facts };
            let found = Request { facts: found, ..asked };
            table.ask(&format!("{name}, with a found address"), &found);
            table.ask_approved(&format!("{name}, with a found address, approved"), &found, 1);
            let operator = request(command(hosting, network), &NULL);
            let named = Facts { untrusted_arguments: true, ..operator.facts };
            let named = Request { facts: named, ..operator };
            table.ask(&format!("a command with an address, {hosting:?} {network:?}"), &named);
            table.ask(&format!("a command, {hosting:?} {network:?}"), &operator);
        }
    }
}

fn of_memory_and_network(table: &mut Table<'_>) {
    let flow = Labels {
        integrity: Integrity::Partner,
        confidentiality: Confidentiality::Confidential,
        ..Labels::NEUTRAL
    };
    for (name, action) in [
        ("it remembers what is trusted enough", memory(Integrity::Partner, Confidentiality::Restricted)),
        ("it remembers what is not trusted enough", memory(Integrity::Internal, Confidentiality::Restricted)),
        ("it remembers what is too confidential", memory(Integrity::Partner, Confidentiality::Internal)),
        ("a host is sent what it may have", host("a.example", false, Confidentiality::Confidential)),
        ("a host is sent what it may not have", host("a.example", false, Confidentiality::Internal)),
        ("a private host", host("10.0.0.1", true, Confidentiality::Restricted)),
    ] {
        table.ask(name, &Request { facts: flowing(&flow), ..request(action, &NULL) });
    }
    let audiences = groups(&["a.example"]);
    for host in ["a.example", "b.example"] {
        let action = Action::SecretUse { secret: SecretFacts { id: "k", audiences: &audiences }, host };
        table.ask(&format!("a secret of a.example at {host}"), &request(action, &NULL));
    }
}

fn of_approvals(table: &mut Table<'_>) {
    let everyone = groups(&["approvers"]);
    let finance = groups(&["finance"]);
    let both = groups(&["approvers", "finance"]);
    for (asked_of, ticket_groups) in [("anyone", &everyone), ("finance", &finance)] {
        for (who, id, own) in [
            ("the requester", "key_1", &both),
            ("another of finance", "key_2", &both),
            ("another who is not", "key_3", &everyone),
            ("another of nothing", "key_4", &Vec::new()),
        ] {
            for approve in [true, false] {
                let ticket = TicketFacts {
                    id: "appr_1",
                    action: "tool.call",
                    resource: "payments/refund",
                    requester: "key_1",
                    groups: ticket_groups,
                };
                let action = Action::ApprovalDecide { ticket, approve, now: Timestamp::EPOCH };
                let asked =
                    Request { principal: Principal::Service(party(id, own)), ..request(action, &NULL) };
                let verb = if approve { "approves" } else { "refuses" };
                table.ask(&format!("{who} {verb} what {asked_of} may"), &asked);
            }
        }
    }
}

fn decided(guard_rails: &str) -> Vec<(String, String)> {
    let policies = PolicySet::with_guard_rails(guard_rails, &[source(EVERYTHING)]).expect("valid");
    let mut table = Table { cases: Vec::new(), policies, sound: None };
    ask_everything(&mut table);
    table.cases
}

/// The shipped guard rails, each as its text.
fn rails() -> Vec<String> {
    let mut rails = Vec::new();
    for part in PolicySet::guard_rails().split("\n\n") {
        if let Some(start) = part.find("@id(") {
            rails.push(part[start..].trim().to_owned());
        }
    }
    rails
}

/// Only whether it happens.
fn outcome(said: &str) -> &str {
    said.split(' ').next().unwrap_or_default()
}

fn outcomes(cases: &[(String, String)]) -> Vec<String> {
    cases.iter().map(|(_, said)| outcome(said).to_owned()).collect()
}

#[track_caller]
fn check_caught(what: &str, rails: &[String], sound: &[String]) {
    let policies = PolicySet::with_guard_rails(&rails.join("\n\n"), &[source(EVERYTHING)]).expect("readable");
    let mut table = Table { cases: Vec::new(), policies, sound: Some(sound) };
    ask_everything(&mut table);
    assert!(table.differs(), "{what}: no request of the table tells");
}

#[test]
fn each_guard_rail_is_missed_when_it_is_gone() {
    let rails = rails();
    assert_eq!(rails.len(), 21);
    let sound = outcomes(&decided(&rails.join("\n\n")));
    for gone in 0..rails.len() {
        let mut mutant = rails.clone();
        let name = mutant.remove(gone);
        check_caught(name.lines().next().unwrap_or_default(), &mutant, &sound);
    }
}

#[test]
fn each_guard_rail_is_missed_when_it_is_turned_round() {
    let rails = rails();
    let sound = outcomes(&decided(&rails.join("\n\n")));
    for index in 0..rails.len() {
        let rail = &rails[index];
        let name = rail.lines().next().unwrap_or_default();
        let mut turned: Vec<(String, String)> = Vec::new();
        for (from, to) in [
            ("\nwhen {", "\nunless {"),
            ("\nunless {", "\nwhen {"),
            (" < ", " >= "),
            (" <= ", " > "),
            (" > ", " <= "),
            (" >= ", " < "),
            (" != ", " == "),
            (" == ", " != "),
            ("!context", "context"),
            ("!resource", "resource"),
            (" && ", " || "),
            (" || ", " && "),
        ] {
            // A comparison in the scope cannot be another.
            let body = rail.find("\nwhen {").or_else(|| rail.find("\nunless {")).unwrap_or(rail.len());
            for (at, _) in rail.match_indices(from).filter(|(at, _)| *at >= body) {
                let mutant = format!("{}{to}{}", &rail[..at], &rail[at + from.len()..]);
                turned.push((format!("{name}: {from} at {at} is {to}"), mutant));
            }
        }
        assert!(!turned.is_empty(), "{name}");
        for (what, text) in turned {
            let mut mutant = rails.clone();
            mutant[index] = text;
            check_caught(&what, &mutant, &sound);
        }
    }
}

#[test]
fn what_each_request_of_the_table_comes_to() {
    let found: Vec<String> =
        decided(PolicySet::guard_rails()).into_iter().map(|(name, said)| format!("{name}: {said}")).collect();
    let expected: Vec<&str> = include_str!("guard_rails.txt").lines().collect();
    assert_eq!(found, expected, "\n{}", found.join("\n"));
}
