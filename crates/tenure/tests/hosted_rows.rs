//! Rows of the sandbox's attack table that need the whole server: what lies in a workspace runs nothing on the
//! host and in no other session, a model cannot talk its way out, and copies of a session do not share chance.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const SCRIPT: &str = r#"
rules:
  - when: { user: '(?s)^run (?P<command>.+)$', no_result: true }
    reply: [{ call: { tool: shell, arguments: { command: "{{ command }}" } } }]
  - when: { user: '(?s)^ask (?P<arguments>.+)$', no_result: true }
    reply: [{ call: { tool: shell, raw_arguments: "{{ arguments }}" } }]
  - reply: [{ text: "{{ result }}" }]
"#;

/// A project whose agent does what it is told.
struct Server {
    root: tempfile::TempDir,
}

impl Server {
    fn new() -> Self {
        Self::with(&json!({}))
    }

    /// One whose commands are isolated so.
    fn with(environments: &Value) -> Self {
        let root = tempfile::Builder::new().prefix("tenure-rows-").tempdir_in("/tmp").expect("a directory");
        // Everybody may reach what lies here: what keeps commands away has to be the sandbox.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).expect("set");
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("script.yaml", SCRIPT);
        write("agents/worker.md", "---\nenvironment: {}\n---\nDo what you are told.\n");
        let settings = json!({
            "providers": {"model": {"type": "scripted", "script": "script.yaml"}},
            "default_model": "scripted",
            "environments": environments,
        });
        // JSON is YAML.
        write("tenure.yaml", &settings.to_string());
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What the model is told after its one call, and the session. Each time in a process of its own, so that
    /// the files are looked at anew.
    fn say(&self, session: Option<&str>, message: &str) -> (String, String) {
        let mut run = Command::new(env!("CARGO_BIN_EXE_tenure"));
        run.args(["run", "--up", "-o", "json", "-C"]).arg(self.root.path());
        match session {
            Some(session) => run.args(["--session", session, message]),
            None => run.args(["worker", message]),
        };
        let out = run.arg("--save").arg(self.path("saved")).stdin(Stdio::null());
        let output = out.env_remove("TENURE_API_KEY").env_remove("TENURE_URL").output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |name: &str| report[name].as_str().expect("text").to_owned();
        (text("answer"), text("session"))
    }

    fn run(&self, session: Option<&str>, command: &str) -> (String, String) {
        self.say(session, &format!("run {command}"))
    }
}

/// A kernel of its own for who demands it, and files that are kept as from any other.
#[test]
fn a_project_that_demands_gvisor_runs_in_it() {
    let server = Server::with(&json!({"min_isolation": "gvisor"}));
    let kernel = fs::read_to_string("/proc/version").expect("read");
    let (said, session) = server.run(None, "cat /proc/version; id -u; echo kept > file");
    assert!(said.contains("Linux version") && !said.contains(kernel.trim()), "{said}");
    let (said, _) = server.run(Some(&session), "cat file");
    assert!(said.contains("kept"), "{said}");

    let mut doctor = Command::new(env!("CARGO_BIN_EXE_tenure"));
    doctor.args(["doctor", "--offline", "-o", "json", "-C"]).arg(server.root.path());
    let output = doctor.env_remove("TENURE_API_KEY").env_remove("TENURE_URL").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\"gvisor ("), "{said}");
}

/// Row 69. Git, shells, editors and environment managers run such files when somebody works beside them.
#[test]
fn nothing_in_a_workspace_runs_on_the_host() {
    let server = Server::new();
    let bait = server.path("bait");
    let touch = format!("touch {}", bait.display());
    let (_, session) = server.run(
        None,
        &format!(
            "mkdir -p .git/hooks .vscode outputs
printf '[core]\\n\\tfsmonitor = {touch}\\n\\thooksPath = .git/hooks\\n' > .git/config
for hook in post-checkout pre-commit post-index-change fsmonitor-watchman; do
    printf '#!/bin/sh\\n{touch}\\n' > .git/hooks/$hook
    chmod +x .git/hooks/$hook
done
for file in .envrc .bashrc .profile .zshenv outputs/.envrc; do echo '{touch}' > $file; done
echo 'import os; os.system(\"{touch}\")' > sitecustomize.py
echo '{{\"tasks\": [{{\"command\": \"{touch}\", \"runOptions\": {{\"runOn\": \"folderOpen\"}}}}]}}' > .vscode/tasks.json
cp .git/hooks/post-checkout outputs/hook"
        ),
    );
    // Another server compares, restores, keeps and publishes them.
    let (said, _) = server.run(Some(&session), "ls -a; echo more > outputs/more");
    assert!(said.contains(".envrc") && said.contains("sitecustomize.py"), "{said}");
    fs::remove_dir_all(server.path(".tenure/environments")).expect("the copy goes");
    server.run(Some(&session), "git status 2>/dev/null; sh -lc true; cat .git/config");
    assert!(!bait.exists(), "something in the workspace was run on the host");
    // The bait is one: run on the host, it leaves its mark.
    let hook = server.path("saved/hook");
    assert!(Command::new("sh").arg(&hook).status().expect("sh runs").success());
    assert!(bait.exists());
}

/// Row 71. They change how the session's own commands run, which is its own affair, and are files like others.
#[test]
fn planted_start_files_affect_their_session_alone() {
    let server = Server::new();
    let (_, planted) = server.run(None, "echo 'export PLANTED=yes' > .profile");
    let look = "sh -lc 'echo \"[$PLANTED]\"'; ls -A";
    let (same, _) = server.run(Some(&planted), look);
    assert!(same.contains("[yes]") && same.contains(".profile"), "{same}");
    let (other, _) = server.run(None, look);
    assert!(other.contains("[]") && !other.contains(".profile"), "{other}");
}

/// Row 70. What is in force is the operator's; a call cannot ask for less.
#[test]
fn a_model_cannot_ask_for_less() {
    let server = Server::new();
    let secret = server.path("secret");
    fs::write(&secret, "hush").expect("written");
    let read = format!("cat {} || echo out of reach", secret.display());
    for more in [
        json!({}),
        json!({"sandbox": "off"}),
        json!({"isolation": "none", "with_escalated_permissions": true}),
        json!({"writable_roots": ["/"], "network": "enabled"}),
    ] {
        let mut arguments = json!({ "command": read });
        arguments.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        let (said, _) = server.say(None, &format!("ask {arguments}"));
        assert!(!said.contains("hush"), "{arguments}: {said}");
        assert!(said.contains("out of reach"), "{arguments}: {said}");
    }
    for cwd in ["/etc", "/workspace/..", secret.parent().and_then(Path::to_str).expect("a path")] {
        let (said, _) = server.say(None, &format!("ask {}", json!({"command": "ls", "cwd": cwd})));
        assert!(said.contains("`cwd` must be /workspace or below it."), "{cwd}: {said}");
    }
}

/// Row 78, as far as it is the sandbox's: nothing of a generator's state is kept between commands or copied
/// between sessions.
#[test]
fn chance_is_fresh_in_every_command() {
    let server = Server::new();
    let draw = "od -An -N16 -tx1 /dev/urandom";
    let (first, session) = server.run(None, draw);
    let (second, _) = server.run(Some(&session), draw);
    let (third, _) = server.run(None, draw);
    assert!(
        first.lines().any(|line| line.split(' ').filter(|word| word.len() == 2).count() == 16),
        "{first}"
    );
    assert!(first != second && second != third && third != first, "{first} {second} {third}");
}

/// Row 14, as far as it is the server's: what is beyond the limit is read and dropped, and that is said.
#[test]
fn endless_output_is_cut_and_says_so() {
    let server = Server::new();
    let (said, session) = server.run(None, "yes 0123456789abcde | head -c 206569472; echo; echo the end");
    assert!(said.len() < 100_000, "{}", said.len());
    assert!(said.contains("Only the first 4194304 bytes of the output were kept."), "{said}");
    let (next, _) = server.run(Some(&session), "echo goes on");
    assert!(next.contains("goes on"), "{next}");
}
