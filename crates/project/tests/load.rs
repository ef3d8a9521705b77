//! Whole directories: what they mean together, and what is wrong only together.

use std::fs;
use std::path::Path;

use tenure_journal::{AgentId, ApprovalMode, Fresh, McpTransport, Timestamp, Tool};
use tenure_project::{Env, Project, ProjectError, ProjectNetwork, Provider, Reach, Unset, parse_agent_file};

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("inside the root")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    root
}

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(root: &Path, env: &Env) -> Result<Project, ProjectError> {
    Project::load(root, env, Unset::Error)
}

const YAML: &str = "\
providers:
  main: {type: openai, base_url: 'https://${HOST}/v1/', api_key: '${KEY}'}
  offline: {type: scripted, script: scripts/a.yaml}
models:
  fast:
    provider: main
    model: gpt-mini
    price_usd_per_million: {input: 0.25, cached_input: 0.025, output: 2}
    context_tokens: 400_000
default_model: fast
server: {port: 0, allowed_hosts: [agents.example], allowed_origins: ['https://app.example:8443']}
";
const MCP: &str = r#"{"mcpServers": {
  "payments": {"command": "pay", "args": ["--x"], "env": {"TOKEN": "${KEY}"}, "autoApprove": [],
               "tenure": {"keyed": true, "destructive": ["refund"], "timeout_ms": 5000}},
  "orders": {"type": "streamable-http", "url": "http://127.0.0.1:1/mcp", "headers": {"X-Key": "a ${KEY}"}},
  "old": {"command": "old", "disabled": true, "env": {"X": "${NOT_SET}"}}}}"#;
const REFUNDS: &str = "\
---
description: Gives money back.
model: fast
mcp:
  - orders
  - {server: payments, allowed_tools: [refund], required: true}
functions:
  - name: ask_manager
    description: Asks.
approval: writes
metadata: {team: billing}
---

You give money back.
";

#[test]
fn an_environment_names_files_of_the_project() {
    let agent =
        "---\nenvironment: {files: data, setup: [make], network: {allowed_domains: [a.example]}}\n---\nHi.\n";
    let tenure = "providers: {main: {type: openai}}\ndefault_model: m\n";
    let root = directory(&[("agents/a.md", agent), ("tenure.yaml", tenure), ("data/x", "")]);
    let project = load(root.path(), &Env::default()).expect("in order");
    let environment = project.agents.values().next().and_then(|agent| agent.environment.as_ref());
    let environment = environment.expect("an environment");
    assert_eq!(environment.network, ProjectNetwork::Restricted(vec!["a.example".to_owned()]));
    assert_eq!((environment.files.as_deref(), environment.size.as_deref()), (Some("data"), None));
    assert_eq!(environment.setup, ["make"]);

    fs::remove_dir_all(root.path().join("data")).expect("removed");
    let error = load(root.path(), &Env::default()).expect_err("no such directory");
    assert_eq!(
        error.to_string(),
        "error[reference]: there is no directory `data` for the environment's files\n\
         \x20 --> agents/a.md:2:22\n\
         \x20 hint: make it in the project directory, or leave `files` out"
    );
}

#[test]
fn reads_a_whole_directory() {
    let root = directory(&[
        ("tenure.yaml", YAML),
        ("mcp.json", MCP),
        (".env", "KEY=from-file\nHOST=models.example\n"),
        ("agents/refunds.md", REFUNDS),
        ("agents/helper/agent.md", "Help.\n"),
        ("agents/notes.txt", "not an agent"),
        ("scripts/a.yaml", ""),
        ("policies/a.cedar", "permit(principal, action, resource);"),
    ]);
    let project = load(root.path(), &env(&[("KEY", "from-env")])).expect("a good project");
    assert_eq!(project.warnings, []);

    let Provider::OpenAi { base_url, api_key, .. } = &project.settings.providers["main"] else {
        panic!("an openai provider")
    };
    assert_eq!(base_url, "https://models.example/v1");
    assert_eq!(api_key.as_ref().map(|key| key.expose()), Some("from-env"));
    let fast = project.settings.model("fast");
    assert_eq!(fast.routes[0].context_tokens, Some(400_000));
    let price = fast.routes[0].price.expect("a price");
    assert_eq!((price.input, price.cached_input, price.output), (250_000, 25_000, 2_000_000));
    assert_eq!(project.settings.default_provider(), Some("main"));
    assert_eq!(project.settings.model("gpt-other").routes[0].model, "gpt-other");

    let names: Vec<_> = project.agents.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["helper", "refunds"]);
    let agent = &project.agents["refunds"];
    assert_eq!(agent.instructions.as_deref(), Some("You give money back."));
    assert_eq!(agent.approval, ApprovalMode::Writes);
    let labels: Vec<_> = agent.tools.iter().map(label).collect();
    assert_eq!(labels, ["ask_manager()", "orders", "payments[\"refund\"] required"]);

    let Reach::Stdio { env, .. } = &project.servers["payments"].reach else { panic!("a process") };
    assert_eq!(env["TOKEN"].expose(), "from-env");
    assert_eq!(project.servers["payments"].hints.keyed, ["*"]);
    let Reach::Http { headers, .. } = &project.servers["orders"].reach else { panic!("over HTTP") };
    assert_eq!(headers["X-Key"].expose(), "a from-env");
    assert_eq!(project.servers.len(), 2);
    assert_eq!(project.policies[0].path, "policies/a.cedar");
    assert!(!format!("{project:?}").contains("from-env"), "secrets print as nothing");
}

fn label(tool: &Tool) -> String {
    if let Tool::Function(function) = tool {
        return format!("{}()", function.name);
    }
    let Tool::Mcp(mcp) = tool else { panic!("{tool:?}") };
    assert_eq!(mcp.transport, McpTransport::Project);
    let allowed = mcp.allowed_tools.as_ref().map(|tools| format!("{tools:?}")).unwrap_or_default();
    let required = if mcp.required { " required" } else { "" };
    format!("{}{allowed}{required}", mcp.server_label)
}

#[track_caller]
fn refuses(files: &[(&str, &str)], expected: &str) {
    let root = directory(files);
    let error = load(root.path(), &Env::default()).expect_err("a bad project");
    assert_eq!(error.to_string(), expected);
}

/// A server without agents of its own serves those that clients bring.
#[test]
fn an_empty_directory_is_a_project_with_a_warning() {
    let root = directory(&[]);
    let project = load(root.path(), &Env::default()).expect("a project");
    assert_eq!(
        project.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["warning[missing]: there is no `agents` directory\n  --> agents\n\
          \x20 hint: run `tenure init`, or write `agents/assistant.md`"]
    );
}

#[test]
fn tells_what_is_wrong_only_together() {
    refuses(
        &[("agents/a.md", "Help.")],
        "error[missing]: the agent names no model and there is no default\n  --> agents/a.md\n\
         \x20 hint: write `model: …` in the front matter, or `default_model: …` in `tenure.yaml`",
    );
    refuses(
        &[("agents/A b.md", "---\nmodel: m\n---\nHelp.")],
        "error[name]: `A b` cannot name an agent\n  --> agents/A b.md\n\
         \x20 hint: rename it to `a-b`: lower-case letters, digits and hyphens, at most 63, beginning with a \
         letter or digit",
    );
    refuses(
        &[("agents/a.md", "---\nmodel: m\n---\nx"), ("agents/a/agent.md", "---\nmodel: m\n---\nx")],
        "error[duplicate]: the agent `a` is also in `agents/a/agent.md`\n  --> agents/a.md\n\
         \x20 hint: keep one of the two files",
    );
    refuses(
        &[
            ("agents/a.md", "---\nmodel: m\nmcp: [paymets, old]\n---\nx"),
            (
                "mcp.json",
                r#"{"mcpServers": {"payments": {"command": "p"}, "old": {"command": "o", "disabled": true}}}"#,
            ),
        ],
        "error[reference]: `mcp.json` has no server `paymets`\n  --> agents/a.md:3:7\n\
         \x20 hint: did you mean `payments`?\n\n\
         error[reference]: the server `old` is disabled in `mcp.json`\n  --> agents/a.md:3:16\n\
         \x20 hint: enable it there, or remove it here",
    );
    refuses(
        &[("agents/a.md", "---\nmodel: m\nmcp: [x]\n---\nx"), ("mcp.json", "{")],
        "error[json]: invalid JSON: EOF while parsing an object\n  --> mcp.json:1:1",
    );
    refuses(
        &[
            ("agents/a.md", "---\nmodel: fats\n---\nx"),
            (
                "tenure.yaml",
                "providers:\n  a: {type: openai}\n  b: {type: scripted, script: s.yaml}\nmodels:\n  fast: {provider: a, model: m}\n",
            ),
        ],
        "error[reference]: the script `s.yaml` of provider `b` does not exist\n  --> tenure.yaml\n\n\
         error[reference]: no provider is known for the model `fats`\n  --> agents/a.md:2:8\n\
         \x20 hint: did you mean `fast`?",
    );
}

#[test]
fn refuses_files_nobody_wrote_by_hand() {
    let root = directory(&[("agents/a.md", "x"), ("agents/c.md", "x")]);
    fs::write(root.path().join("agents/a.md"), vec![b'x'; 1024 * 1024 + 1]).expect("a file");
    fs::write(root.path().join("agents/c.md"), b"x\xff").expect("a file");
    let error = load(root.path(), &Env::default()).expect_err("a bad project");
    assert_eq!(
        error.to_string(),
        "error[too_large]: the file has more than 1048576 bytes\n  --> agents/a.md\n\n\
         error[encoding]: the file is not UTF-8: byte 1 is invalid\n  --> agents/c.md"
    );
}

#[test]
fn unset_variables_can_be_warnings() {
    let yaml = "providers:\n  p: {type: openai, api_key: '${KEY}'}\ndefault_model: m\n";
    let root = directory(&[("agents/a.md", "x"), ("tenure.yaml", yaml)]);
    assert!(load(root.path(), &Env::default()).is_err());
    let project = Project::load(root.path(), &Env::default(), Unset::Warning).expect("a good project");
    assert_eq!(
        project.warnings[0].to_string(),
        "warning[env]: `api_key` refers to `KEY`, which is not set\n  --> tenure.yaml:2:30\n\
         \x20 hint: export `KEY`, or add a line `KEY=…` to `.env`"
    );
}

#[test]
fn a_digest_follows_the_meaning_and_not_the_spelling() {
    let digest = |text: &str, default: &str| parse_agent_file("a", text).expect("good").digest(default);
    let plain = digest("---\nmodel: m\napproval: writes\n---\nHelp.\n", "d");
    assert_eq!(plain, digest("---\n# why\napproval: 'writes'\nmodel: m\n---\n\nHelp.\n\n", "other"));
    assert_ne!(plain, digest("---\nmodel: m\napproval: writes\n---\nHelp!\n", "d"));
    assert_ne!(digest("Help.", "d"), digest("Help.", "other"));
}

#[test]
fn becomes_the_configuration_of_a_saved_agent() {
    let agent = parse_agent_file("a", "---\r\nreasoning: {effort: low}\r\n---\r\nHelp.\r\n").expect("good");
    let id = AgentId::fresh(&Fresh::new(Timestamp::from_millis(0), 1));
    let config = agent.config(id, 3, "fallback");
    assert_eq!((config.id, config.version, config.name.as_deref()), (id, Some(3), Some("a")));
    assert_eq!((config.model.as_str(), config.instructions.as_deref()), ("fallback", Some("Help.")));
    assert_eq!(config.approval, ApprovalMode::Destructive);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(---\n)?[ -~\n]{0,200}(---\n)?.{0,20}") {
        let _ = parse_agent_file("a", &text);
    }
}
