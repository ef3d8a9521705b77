//! Skills: what is found when an environment is made ready, and who is told of it.

use tenure_journal::{Environment, FailureKind, Network, PluginServers, SkillEntry};
use tenure_session::{Attempted, Command, Input, Session};

use crate::bench::{Bench, Show, agent, call, defaults, exited, failure, hosted, opened, root, self_hosted};

fn skill(name: &str) -> SkillEntry {
    SkillEntry {
        name: name.to_owned(),
        description: format!("Does {name}."),
        path: format!("/workspace/.managed-agents/skills/{name}/SKILL.md"),
    }
}

fn ready(instructions: Option<&str>) -> Bench {
    let mut agent = agent(Vec::new());
    agent.instructions = instructions.map(str::to_owned);
    agent.multi_agent.enabled = true;
    let mut opening = opened(agent);
    opening.environment = hosted(Network::Disabled);
    let mut b = Bench::open(opening, "Go", defaults(), Show::Events);
    b.environment(
        "prepared",
        Attempted::Prepared {
            root: root(1),
            skills: vec![skill("sum"), skill("tax")],
            servers: PluginServers::default(),
        },
    );
    b
}

fn told(session: &Session) -> String {
    session.context().instructions.unwrap_or_default()
}

#[test]
fn the_model_is_told_of_the_skills_that_were_found() {
    let mut b = ready(Some("Be brief."));
    let before = told(&b.session);
    assert!(before.starts_with("Be brief.\n\n## Skills\n"), "{before}");
    assert!(
        before.ends_with(
            "\n- sum: Does sum. (file: /workspace/.managed-agents/skills/sum/SKILL.md)\
             \n- tax: Does tax. (file: /workspace/.managed-agents/skills/tax/SKILL.md)"
        ),
        "{before}"
    );
    assert!(told(&ready(None).session).starts_with("## Skills\n"));
    // The index is part of the prefix that providers keep: nothing that happens changes it.
    b.answer(vec![call("c1", "shell", r#"{"command":"rm -r .managed-agents"}"#)]);
    b.environment("command", Attempted::Ran(exited(0, "", Some(root(2)))));
    assert_eq!(told(&b.session), before);
    assert!(
        b.session.view().agent.instructions.as_deref() == Some("Be brief."),
        "clients see what they sent"
    );
}

#[test]
fn files_that_are_placed_later_change_no_skill() {
    let mut b = ready(None);
    let before = b.session.skills().to_vec();
    let files = vec![crate::bench::file("/workspace/a")];
    b.command("place", Command::PlaceFiles { files }).unwrap();
    b.environment("placed", Attempted::Placed(root(3)));
    assert_eq!(b.session.skills(), before);
}

#[test]
fn the_journal_says_what_was_found() {
    let b = ready(None);
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > prepared
          eff1 attempt 1 placed, with the skills sum, tax, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
    "#,
    );
}

/// A session on a customer's machine, whose executor has just connected.
fn own(directories: &[&str]) -> Bench {
    let mut opening = opened(agent(Vec::new()));
    opening.environment = self_hosted();
    let Environment::SelfHosted(own) = &mut opening.environment else { unreachable!() };
    own.capability_directories = directories.iter().map(|directory| (*directory).to_owned()).collect();
    let mut b = Bench::open(opening, "Go", defaults(), Show::Events);
    b.crank("executor connects", &Input::Connected).unwrap();
    b
}

#[test]
fn on_a_customers_machine_they_are_looked_for_once_its_executor_is_there() {
    let mut b = own(&["/opt/skills"]);
    b.environment(
        "found",
        Attempted::Found { skills: vec![skill("sum")], servers: PluginServers::default() },
    );
    assert!(told(&b.session).contains("- sum: Does sum."));
    b.crank("executor is gone", &Input::Disconnected).unwrap();
    b.crank("executor connects", &Input::Connected).unwrap();
    b.check(
        r#"
        > open "Go"
          session opened for m
          inp1 accepted: "Go"
        > executor connects
          executor connected
          eff1 requested: prepare the environment (freely)
          eff1 attempt 1
        > found
          eff1 attempt 1 found the skills sum, settled
          turn1 created
          inp1 joined turn1 as item1
          turn1 started
          eff2 requested: ask m, step 0 (freely)
          eff2 attempt 1
        > executor is gone
          executor gone
        > executor connects
          executor connected
    "#,
    );
}

#[test]
fn a_machine_that_names_no_directories_is_not_searched() {
    let b = own(&[]);
    assert!(b.session.pending().all(|effect| effect.turn_id.is_some()), "the turn has begun");
}

#[test]
fn a_search_that_fails_stops_nothing_and_one_without_an_executor_is_made_again() {
    for (kind, again) in [(FailureKind::InvalidRequest, false), (FailureKind::NotFound, true)] {
        let mut b = own(&["/opt/skills"]);
        b.environment("search", Attempted::Failed(failure(kind)));
        assert_eq!(told(&b.session), "Be brief.", "{kind:?}");
        assert!(b.session.active_turn().is_some(), "{kind:?}: the turn has begun");
        b.crank("executor is gone", &Input::Disconnected).unwrap();
        b.crank("executor connects", &Input::Connected).unwrap();
        let looks = b.session.pending().any(|effect| effect.turn_id.is_none());
        assert_eq!(looks, again, "{kind:?}");
    }
}
