//! Skills of a project: which agent gets which, and what is wrong with a folder.

use std::fs;
use std::path::Path;

use tenure_project::{Env, Project, ProjectError, Unset, parse_agent_file};

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    let settings = ("tenure.yaml", "providers: {p: {type: scripted, script: s.yaml}}\ndefault_model: m\n");
    for (path, text) in files.iter().chain(&[settings, ("s.yaml", "")]) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("inside the root")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    root
}

fn load(root: &Path) -> Result<Project, ProjectError> {
    Project::load(root, &Env::default(), Unset::Error)
}

fn skill(name: &str) -> String {
    format!("---\nname: {name}\ndescription: Is {name}.\n---\nBody\n")
}

#[track_caller]
fn refused(files: &[(&str, &str)], expected: &str) {
    let error = load(directory(files).path()).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

const HELPER: &str = "---\nskills: [sum, tax]\n---\nHelp.\n";

#[test]
fn an_agent_has_the_skills_it_names_its_own_before_those_of_all() {
    let (sum, tax) = (skill("sum"), skill("tax"));
    let own = sum.replace("Is sum", "Is its own sum");
    let root = directory(&[
        ("skills/sum/SKILL.md", &sum),
        ("skills/sum/scripts/a.sh", "#!/bin/sh\n"),
        ("skills/tax/SKILL.md", &tax),
        ("skills/.hidden/x", ""),
        ("agents/helper.md", HELPER),
        ("agents/other/agent.md", HELPER),
        ("agents/other/skills/sum/SKILL.md", &own),
        ("agents/plain.md", "Help.\n"),
    ]);
    let project = load(root.path()).expect("a good project");
    assert_eq!(project.warnings, []);
    let told = |name: &str| -> Vec<String> {
        let agent = project.agents.values().find(|agent| agent.name.as_str() == name).expect("an agent");
        agent
            .skills
            .iter()
            .map(|skill| format!("{}: {} ({})", skill.name, skill.description, skill.source))
            .collect()
    };
    assert_eq!(told("helper"), ["sum: Is sum. (skills/sum)", "tax: Is tax. (skills/tax)"]);
    assert_eq!(
        told("other"),
        ["sum: Is its own sum. (agents/other/skills/sum)", "tax: Is tax. (skills/tax)"]
    );
    assert_eq!(told("plain"), [""; 0]);
}

#[test]
fn a_changed_skill_is_a_changed_agent() {
    let digest = |body: &str| {
        let root = directory(&[
            ("skills/sum/SKILL.md", &(skill("sum") + body)),
            ("skills/tax/SKILL.md", &skill("tax")),
            ("agents/helper.md", HELPER),
        ]);
        let project = load(root.path()).expect("a good project");
        let agent = project.agents.values().next().expect("an agent").clone();
        agent.digest("m")
    };
    assert_eq!(digest(""), digest(""));
    assert_ne!(digest(""), digest("More."));
    // What has no skills has the digest that it always had.
    let without = parse_agent_file("helper", "Help.\n").expect("an agent").digest("m");
    assert_eq!(
        without,
        parse_agent_file("helper", "---\nskills: []\n---\nHelp.\n").expect("an agent").digest("m")
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    refused(
        &[
            ("skills/sum/SKILL.md", &skill("sum")),
            ("agents/helper.md", "---\nskills:\n  - sun\n---\nHelp.\n"),
        ],
        "error[reference]: there is no skill `sun`\n  --> agents/helper.md:3:5\n  hint: did you mean `sum`?",
    );
    refused(
        &[("agents/helper.md", "---\nskills: [report]\n---\nHelp.\n")],
        "error[reference]: there is no skill `report`\n  --> agents/helper.md:2:10\n  hint: write it: \
         `skills/report/SKILL.md`",
    );
    refused(
        &[
            ("skills/sum/SKILL.md", &skill("sum")),
            ("agents/helper.md", "---\nskills: [sum, sum]\n---\nHelp.\n"),
        ],
        "error[duplicate]: the skill `sum` is named twice\n  --> agents/helper.md:2:15",
    );
    let helper = ("agents/helper.md", "Help.\n");
    refused(
        &[("skills/add/SKILL.md", &skill("sum")), helper],
        "error[name]: the skill is named `sum` and its folder is not\n  --> skills/add\n  hint: give both the same name",
    );
    refused(
        &[("skills/sum/README.md", "x"), helper],
        "error[front_matter]: a skill is one folder that holds `SKILL.md`, and there is none here\n  --> skills/sum",
    );
    refused(
        &[("skills/sum/SKILL.md", "---\nname: sum\n---\n"), helper],
        "error[front_matter]: the front matter of `SKILL.md` has no `description`\n  --> skills/sum",
    );
    let root = directory(&[("skills/sum/SKILL.md", &skill("sum")), helper]);
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("skills/sum/link")).expect("a link");
    assert_eq!(
        load(root.path()).expect_err("refused").to_string(),
        "error[unsupported]: `link` is a link or no regular file; put the file itself there\n  --> skills/sum"
    );
    let root = directory(&[("skills/notes.md", "x"), helper]);
    let warnings = load(root.path()).expect("a good project").warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().contains("this file is no skill"), "{}", warnings[0]);
}
