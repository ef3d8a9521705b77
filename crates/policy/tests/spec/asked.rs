//! Asking again: what was asked is kept as text, and whoever reads it gets the same answer from the same set.

use serde_json::{Value, json};
use tenure_journal::{
    ApprovalMode, Asked, Confidentiality, Integrity, Labels, PolicyText, Timestamp, ToolEffect,
};
use tenure_policy::{
    Action, Approved, CallClass, Chain, EnvironmentFacts, Facts, HostFacts, Hosting, MemoryFacts, ModelCall,
    PolicySet, Principal, Reach, Request, RouteFacts, SecretFacts, Verdict, kept_questions,
};

use crate::support::{agent, groups, party, project, said, source, tool};

/// A set with every layer, arguments in sight, people named and arithmetic of every kind.
const OWN: &str = r#"
@id("limit") @ask("finance")
forbid (principal, action == Action::"tool.call:payments/transfer", resource)
when { context.args.amount.greaterThan(decimal("50.0")) }
unless { context has approval && context.approval.approvers >= 2 };
@id("interns") forbid (principal in Group::"interns", action == Action::"tool.call", resource)
when { resource.effect == "pay" };
@id("office-hours") forbid (principal, action == Action::"model.call", resource)
when { context.now < datetime("1970-01-01T00:01:00Z") };
@id("eu") forbid (principal, action == Action::"model.call", resource)
when { context.flow.confidentiality > 1 } unless { context.route.region == "eu" };
@id("odd") forbid (principal, action == Action::"command.run", resource)
when { context.command like "*rm -rf*" };
"#;

const DECISIONS: usize = 10_000;

/// Requests of every kind, by chance.
struct Chance(fastrand::Rng);

impl Chance {
    fn labels(&mut self) -> Labels {
        Labels {
            integrity: *self.0.choice(&Integrity::ALL).expect("some"),
            confidentiality: *self.0.choice(&Confidentiality::ALL).expect("some"),
            categories: if self.0.bool() { ["phi".to_owned()].into() } else { [].into() },
            regions: self.0.bool().then(|| ["eu".to_owned()].into()),
        }
    }

    fn arguments(&mut self) -> Value {
        json!({
            "amount": f64::from(self.0.u32(..10_000)) / 100.0,
            "to": if self.0.bool() { "ann" } else { "$moment" },
            "tags": (0..self.0.usize(..3)).map(|tag| format!("t{tag}")).collect::<Vec<_>>(),
            "more": {"deep": self.0.bool(), "$decimal": "1"},
        })
    }
}

fn parameters() -> Value {
    json!({"properties": {
        "amount": {"type": "number"}, "to": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "more": {"type": "object", "properties": {"deep": {"type": "boolean"}, "$decimal": {"type": "string"}}},
    }, "required": ["amount"]})
}

/// The questions of a verdict, as they are kept and read back.
fn kept(verdict: &Verdict) -> Vec<Asked> {
    let kept = match verdict {
        Verdict::Allow(permit) => permit.clone().into_record().asked,
        Verdict::Ask(hold) => kept_questions(&hold.asked),
        Verdict::Deny(denial) => kept_questions(&denial.asked),
    };
    let text = serde_json::to_string(&kept).expect("JSON");
    serde_json::from_str(&text).expect("as it was written")
}

/// A verdict in words, with the digest that it binds.
fn words(verdict: &Verdict) -> String {
    let digest = match verdict {
        Verdict::Allow(permit) => permit.clone().into_record().arguments_digest,
        Verdict::Ask(hold) => hold.digest.clone(),
        Verdict::Deny(_) => String::new(),
    };
    format!("{} {digest}", said(verdict))
}

/// Asks `count` random questions, gives each with its answer.
fn decide(policies: &PolicySet, count: usize) -> Vec<(Asked, String)> {
    let mut chance = Chance(fastrand::Rng::with_seed(11));
    let (interns, hosts, parameters) = (groups(&["interns"]), groups(&["a.example"]), parameters());
    let mut decided = Vec::new();
    for _ in 0..count {
        let (flow, arguments) = (chance.labels(), chance.arguments());
        let rng = &mut chance.0;
        let effect = *rng.choice(&ToolEffect::ALL).expect("some");
        let called = tenure_policy::ToolFacts {
            parameters: rng.bool().then_some(&parameters),
            ..tool(if rng.bool() { "transfer" } else { "list" }, effect)
        };
        let model = ModelCall::new("m", Timestamp::from_millis(rng.i64(..120_000)));
        let route = RouteFacts {
            region: if rng.bool() { "eu" } else { "us" },
            trains_on_data: rng.bool(),
            ..model.route
        };
        let memory = MemoryFacts {
            id: "agent/a",
            scope: "agent",
            confidentiality: flow.confidentiality,
            min_write_integrity: Integrity::Internal,
        };
        let action = match rng.u8(..8) {
            0 => Action::ModelCall(model.through(route).of_class(CallClass::Reviewer)),
            1 => Action::ToolsList { server: "payments" },
            2 => Action::CommandRun {
                environment: EnvironmentFacts {
                    id: "e",
                    hosting: Hosting::SelfHosted,
                    network: Reach::Enabled,
                },
                tool: "shell",
                command: if rng.bool() { "rm -rf /" } else { "ls" },
            },
            3 => Action::Connect {
                host: HostFacts {
                    name: "h",
                    port: 443,
                    private: rng.bool(),
                    clearance: Confidentiality::Internal,
                },
                from_sandbox: true,
            },
            4 => Action::SecretUse {
                secret: SecretFacts { id: "k", audiences: &hosts },
                host: if rng.bool() { "a.example" } else { "b.example" },
            },
            5 => Action::MemoryWrite(memory),
            _ => Action::ToolCall { tool: called, mode: ApprovalMode::Destructive },
        };
        let facts = Facts {
            flow: &flow,
            untrusted_arguments: rng.bool(),
            grant_matches: rng.bool(),
            quarantined: rng.u8(..8) == 0,
            calls_so_far: rng.u64(..5),
            chain: Chain { on_behalf_of: true, depth: rng.u32(..6) },
            ..Facts::neutral()
        };
        let behind =
            rng.bool().then(|| Principal::Service(party("key_1", if rng.bool() { &interns } else { &[] })));
        let approvers = rng.u32(..3);
        let principal = Principal::Agent(agent());
        let request =
            Request { project: project(1), principal, behind, action, arguments: &arguments, facts };
        let digest = tenure_journal::json::digest(&arguments);
        let id = tenure_journal::ApprovalId::fresh(&tenure_journal::Fresh::new(Timestamp::from_millis(1), 3));
        let approved = (approvers > 0).then_some(Approved { id, digest: &digest, approvers });
        let verdict = policies.decide(&request, approved);
        let [asked] = kept(&verdict).try_into().unwrap_or_else(|_| panic!("one question of {request:?}"));
        decided.push((asked, words(&verdict)));
    }
    decided
}

#[test]
fn ten_thousand_decisions_come_to_the_same_answer() {
    let policies = PolicySet::new(&[source(OWN)]).expect("valid");
    let decided = decide(&policies, DECISIONS);
    let stored = serde_json::to_string(policies.text()).expect("JSON");
    let text: PolicyText = serde_json::from_str(&stored).expect("a text");
    let again = PolicySet::of_text(&text).expect("valid");
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    for (asked, words_then) in &decided {
        let verdict = again.decide_again(asked).expect("readable");
        assert_eq!(words(&verdict), *words_then, "{asked:?}");
        *verdicts.entry(words_then.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let counts = ["allow", "ask", "deny"].map(|word| verdicts.get(word).copied().unwrap_or(0));
    assert!(counts.iter().all(|count| *count > DECISIONS / 50), "each kind of answer: {verdicts:?}");
}

#[test]
fn another_set_or_another_question_answers_otherwise() {
    let policies = PolicySet::new(&[source(OWN)]).expect("valid");
    let decided = decide(&policies, 500);
    let others = PolicySet::new(&[source(&OWN.replace("50.0", "0.0").replace("\"pay\"", "\"read\""))]);
    let others = others.expect("valid");
    let differ = |set: &PolicySet, asked: &Asked, then: &str| match set.decide_again(asked) {
        Ok(verdict) => words(&verdict) != then,
        Err(_) => true,
    };
    assert!(decided.iter().any(|(asked, then)| differ(&others, asked, then)));
    // Every part of a question that some policy reads counts.
    let mut changed = 0;
    for (asked, then) in &decided {
        let mut other = asked.read().expect("JSON");
        if let Some(flow) = other["context"].get_mut("flow") {
            let low = flow["integrity"] == 0;
            flow["integrity"] = json!(if low { 3 } else { 0 });
            flow["confidentiality"] = json!(3);
        }
        changed += usize::from(differ(&policies, &Asked::new(&other), then));
    }
    assert!(changed > 50, "{changed}");
}

#[test]
fn what_is_no_question_is_not_read() {
    let policies = PolicySet::defaults();
    let (asked, _) = decide(&policies, 1).remove(0);
    policies.decide_again(&asked).expect("as it was written");
    let change = |path: &str, value: Value| {
        let mut other = asked.read().expect("JSON");
        *other.pointer_mut(path).expect("there") = value;
        Asked::new(&other)
    };
    for other in [
        Asked::new(&Value::Null),
        Asked::new(&json!({})),
        change("/action", json!("no.such")),
        change("/principal/name/0", json!("Robot")),
        change("/principal", json!({"name": ["Agent"]})),
        change("/context", json!([])),
        change("/arguments", json!(1)),
        Asked::new(&json!({"principal": asked.read().expect("JSON")["principal"], "further": 1})),
    ] {
        assert!(policies.decide_again(&other).is_err(), "{other:?}");
    }
}
