//! What keeping a command apart costs: `true` in each tier beside a plain fork and exec of it, and the first
//! command of an environment that did not exist before.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure_sandbox::{Backend, Command, Tier};

use super::lab::{Served, Site, directory};
use super::server::millis;
use super::{Benchmark, Row, failed, median};
use crate::cli::error::CliError;
use crate::cli::find::SESSIONS;
use crate::cli::output::text;
use crate::server::survey;

const PROGRAM: &str = "/bin/true";
/// The same program in bubblewrap, with what a command here has too.
const BUBBLEWRAP: &[&str] = &[
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "--clearenv",
    PROGRAM,
];
/// Environments that are made, of which the middle one counts.
const ENVIRONMENTS: usize = 9;
/// Every message is answered with one command.
const SCRIPT: &str = r"
rules:
  - when: { no_result: true }
    reply: [{ call: { tool: shell, arguments: { command: 'true' } } }]
  - reply: [{ text: ok }]
";

/// Something that runs the program once.
struct Contender<'a> {
    name: String,
    goal: Option<&'static str>,
    run: Box<dyn FnMut() -> Result<(), CliError> + 'a>,
    took: Vec<f64>,
}

/// Runs everything in turns for `each` of them, so that whatever else the machine does meets all. Blocks.
pub(super) fn overhead(parent: &Path, each: Duration) -> Result<Vec<Row>, CliError> {
    let survey = survey();
    let workspace = directory(parent)?;
    let command = &Command::new(vec![PROGRAM.to_owned()], workspace.path().to_owned());
    let mut contenders = vec![Contender::new("fork and exec", None, || plain(PROGRAM, &[]))];
    let has_bubblewrap = plain("bwrap", BUBBLEWRAP).is_ok();
    if has_bubblewrap {
        contenders.push(Contender::new("bubblewrap", None, || plain("bwrap", BUBBLEWRAP)));
    }
    let watched = survey.without_cgroups();
    for (tier, goal) in [(Tier::Namespaces, "5 ms"), (Tier::Landlock, "3 ms")] {
        for survey in [&survey, &watched] {
            let Ok(backend) = survey.exactly(tier) else { continue };
            let isolation = backend.isolation();
            let name = format!("{}, {}", isolation.tier, isolation.group);
            // Without control groups both surveys find the same.
            if contenders.iter().all(|contender| contender.name != name) {
                contenders.push(Contender::new(name, Some(goal), move || sandboxed(&*backend, command)));
            }
        }
    }
    let end = Instant::now() + each * u32::try_from(contenders.len()).unwrap_or(1);
    while Instant::now() < end {
        contenders.iter_mut().try_for_each(Contender::measure)?;
    }
    let mut medians = contenders.iter().map(|contender| median(contender.took.clone()));
    let bare = medians.next().unwrap_or(0.0);
    let bubblewrap = if has_bubblewrap { medians.next().map(|median| median - bare) } else { None };
    let mut rows = vec![Row::new(Benchmark::Sandbox, "true by fork and exec, median", bare, "ms")];
    for (contender, median) in contenders.iter().skip(1 + usize::from(has_bubblewrap)).zip(medians) {
        let what = format!("more than that in a sandbox ({}), median", contender.name);
        let mut row = Row::new(Benchmark::Sandbox, what, median - bare, "ms");
        if let Some(bubblewrap) = bubblewrap {
            row = row.beside("ms more in bubblewrap, without limits or seccomp", bubblewrap);
        }
        rows.push(match contender.goal {
            Some(goal) => row.goal(goal),
            None => row,
        });
    }
    Ok(rows)
}

impl<'a> Contender<'a> {
    fn new(
        name: impl Into<String>,
        goal: Option<&'static str>,
        run: impl FnMut() -> Result<(), CliError> + 'a,
    ) -> Self {
        Self { name: name.into(), goal, run: Box::new(run), took: Vec::new() }
    }

    fn measure(&mut self) -> Result<(), CliError> {
        let began = Instant::now();
        (self.run)()?;
        self.took.push(millis(began.elapsed()));
        Ok(())
    }
}

fn plain(program: &str, arguments: &[&str]) -> Result<(), CliError> {
    let output = Process::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() { Ok(()) } else { Err(failed(program, output.status)) }
}

fn sandboxed(backend: &dyn Backend, command: &Command) -> Result<(), CliError> {
    let running = backend.start(command, Box::new(|_, _| ())).map_err(|error| failed("a command", error))?;
    match running.wait().end.exit_code() {
        0 => Ok(()),
        code => Err(failed("a command", format!("it ended with {code}"))),
    }
}

/// From the request that opens a session to the end of its first command, and of its second one for
/// comparison.
pub(super) async fn first_command(parent: &Path) -> Result<Vec<Row>, CliError> {
    let site = Site::scripted(parent, SCRIPT)?;
    let server = site.serve().await?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..ENVIRONMENTS {
        let (session, took) = open(&server).await?;
        first.push(millis(took));
        second.push(millis(again(&server, &session).await?));
    }
    server.kill().await?;
    let what = "first command in a new environment, from the request, median";
    let row = Row::new(Benchmark::Sandbox, what, median(first), "ms").goal("50 ms");
    Ok(vec![row.beside("ms of the next command", median(second))])
}

async fn open(server: &Served) -> Result<(String, Duration), CliError> {
    let client = server.client()?;
    let environment = json!({"type": "openai_hosted", "network": {"access": "disabled"}});
    let body = json!({"agent_id": "bench", "environment": environment, "input": "go", "stream": true});
    let began = Instant::now();
    let mut events = client.post_events(SESSIONS, &body).await?;
    let (mut session, mut took) = (String::new(), None);
    while let Some(event) = events.next().await? {
        match text(&event, "/type") {
            "agent.session.created" => text(&event, "/session/id").clone_into(&mut session),
            "agent.session.turn.item.done" if is_command(&event) => took = Some(began.elapsed()),
            "agent.session.turn.completed" => break,
            _ => {}
        }
    }
    Ok((session, took.ok_or_else(|| failed("a command", "it did not run"))?))
}

async fn again(server: &Served, session: &str) -> Result<Duration, CliError> {
    let client = server.client()?;
    let mut events = client.events(session).await?;
    let began = Instant::now();
    crate::cli::decide::post_event(&client, session, crate::cli::talk::message("go")).await?;
    while let Some(event) = events.next().await? {
        if text(&event, "/type") == "agent.session.turn.item.done" && is_command(&event) {
            return Ok(began.elapsed());
        }
    }
    Err(failed("a command", "it did not run"))
}

fn is_command(event: &Value) -> bool {
    text(event, "/item/type") == "command_execution" && text(event, "/item/status") == "completed"
}
