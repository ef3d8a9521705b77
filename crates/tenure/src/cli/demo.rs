//! `tenure demo`: the promise, measured. An agent refunds an order through real servers, its own server is
//! killed twice at bad moments, a person approves, and the payment service's ledger is counted at the end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tenure_project::Redacted;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::Context;
use super::client::Client;
use super::decide::{self, Answer};
use super::error::{CliError, Exit};
use super::find::SESSIONS;
use super::output::text;
use super::target::Target;
use super::transcript;
use super::world::{Tone, plain};

/// The order that is refunded.
const ORDER: &str = "ord_1042";
/// How long anything may take before the demonstration gives up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often something is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Approve the refund without asking
    #[arg(long, short)]
    yes: bool,
    /// Keep the demonstration's directory and say where it is
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn demo(cx: &mut Context, args: &DemoArgs) -> Result<Exit, CliError> {
    let ask = !args.yes && cx.world.stdin_is_terminal;
    if !args.yes && !ask {
        let error = CliError::usage("the demonstration asks for an approval, and nobody is at the terminal");
        return Err(error.fix("tenure demo --yes"));
    }
    let directory = tempfile::Builder::new().prefix("tenure-demo-").tempdir()?;
    let outcome = Demo::prepare(directory.path()).await?.play(cx, ask).await;
    if args.keep || outcome.is_err() {
        let kept = directory.keep();
        cx.note(&format!("The demonstration's files are in {}", kept.display()))?;
    }
    outcome
}

struct Demo {
    root: PathBuf,
    key: String,
    began: Instant,
    /// Ended with the demonstration.
    services: Vec<Process>,
}

/// A process of this same binary that said where it listens.
struct Process {
    child: Child,
    address: String,
    /// Kept open: a closed pipe would end a process that prints.
    _output: BufReader<ChildStdout>,
}

impl Demo {
    async fn prepare(root: &Path) -> Result<Self, CliError> {
        let root = root.to_owned();
        let key = format!("demo-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut demo = Self { root, key, began: Instant::now(), services: Vec::new() };
        std::fs::create_dir_all(demo.root.join("agents"))?;
        let write = |name: &str, text: &str| std::fs::write(demo.root.join(name), text);
        write("script.yaml", include_str!("../../templates/demo/script.yaml"))?;
        write("agents/refunds.md", include_str!("../../templates/demo/agents/refunds.md"))?;
        let model = demo.spawn("model", &["mock", "openai", "--script", "script.yaml"]).await?;
        let orders = demo.spawn("orders", &["mock", "orders", "--port", "0"]).await?;
        let held =
            ["mock", "payments", "--port", "0", "--ledger", "ledger.jsonl", "--hold-after-commit", "hold"];
        let payments = demo.spawn("payments", &held).await?;
        let servers = json!({"mcpServers": {
            "orders": {"type": "http", "url": orders.address},
            "payments": {"type": "http", "url": payments.address, "tenure": {"keyed": ["refund"]}},
        }});
        let settings = json!({"providers": {"scripted-over-http":
            {"type": "openai", "wire": "responses", "base_url": model.address}}});
        std::fs::write(demo.root.join("mcp.json"), servers.to_string())?;
        // JSON is YAML.
        std::fs::write(demo.root.join("tenure.yaml"), settings.to_string())?;
        demo.services.extend([model, orders, payments]);
        Ok(demo)
    }

    async fn play(mut self, cx: &mut Context, ask: bool) -> Result<Exit, CliError> {
        cx.world.out.line(
            "A refund, two kill -9 and one approval. No network, no key, no model: the model is scripted.",
        )?;
        let (mut server, client, _) = self.serve(None).await?;
        self.tell(
            cx,
            "server",
            &format!("pid {} with durable state on disk, three services beside it", pid(&server)),
        )?;

        let prompt = format!("Please refund order {ORDER}, it arrived broken.");
        let opening = json!({"agent_id": "refunds", "environment": {"type": "none"}, "input": prompt});
        let session = client.post(SESSIONS, &opening).await?;
        let id = text(&session, "/id").to_owned();
        let path = format!("{SESSIONS}/{id}");
        self.tell(cx, "user", &prompt)?;
        let mut shown = 1;
        wait_for(&client, &path, "requires_action").await?;
        self.show_items(cx, &client, &path, &mut shown).await?;

        let asked = approval(&client, &path).await?;
        kill(&mut server).await?;
        self.tell(cx, "KILL -9", "while the approval waits")?;
        let (mut server, client, recovery) = self.serve(Some(&path)).await?;
        self.tell(cx, "server", &format!("pid {}, back after {} ms", pid(&server), recovery.as_millis()))?;
        let waiting = approval(&client, &path).await?;
        if waiting.id != asked.id {
            return Err(CliError::failed("lost", "the approval request was lost"));
        }
        self.tell(cx, "inbox", &format!("still there: {} {}", waiting.name, waiting.arguments))?;

        let answer = if ask { self.ask(cx, &waiting).await? } else { Answer::Approve };
        // While this file is there, the service commits a refund and does not answer.
        let hold = self.root.join("hold");
        std::fs::write(&hold, "")?;
        decide::send(&client, &id, &waiting.id, answer).await?;
        self.tell(cx, "person", answer.past())?;
        let expected = usize::from(matches!(answer, Answer::Approve));
        if expected == 1 {
            let held = crate::mock::payments::held_path(&hold);
            poll("the payment service commits the refund", || Ok(held.exists().then_some(()))).await?;
            self.tell(cx, "payments", "the refund is in the ledger; its answer is still on the way")?;
            kill(&mut server).await?;
            self.tell(cx, "KILL -9", "between the payment and the record of its outcome")?;
            std::fs::remove_file(&hold)?;
            let (again, _, recovery) = self.serve(Some(&path)).await?;
            self.tell(cx, "server", &format!("pid {}, back after {} ms", pid(&again), recovery.as_millis()))?;
            server = again;
        }
        let client = self.client(&server.address)?;
        wait_for(&client, &path, "idle").await?;
        self.show_items(cx, &client, &path, &mut shown).await?;
        kill(&mut server).await?;
        self.verdict(cx, expected)
    }

    /// Counts what the payment service wrote. Nothing the server says is believed here.
    fn verdict(&mut self, cx: &mut Context, expected: usize) -> Result<Exit, CliError> {
        let ledger = std::fs::read_to_string(self.root.join("ledger.jsonl")).unwrap_or_default();
        let refunds: Vec<Value> = ledger.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of_order = refunds.iter().filter(|refund| text(refund, "/order_id") == ORDER).count();
        self.tell(cx, "ledger", &format!("{of_order} refund of {ORDER}, {} in all", refunds.len()))?;
        if of_order != expected || refunds.len() != expected {
            let message = format!("the ledger should hold {expected} refund and holds {}", refunds.len());
            return Err(CliError::failed("not_once", message));
        }
        let verdict = match expected {
            1 => "Killed twice, approved once, refunded exactly once.",
            _ => "Killed once, denied, refunded never.",
        };
        let verdict = cx.world.out.tone(Tone::Bold, verdict);
        cx.world.out.line(&format!("\n{verdict}"))?;
        cx.world.out.line("Next: tenure init my-agents && tenure up -C my-agents")?;
        Ok(Exit::Done)
    }

    async fn ask(&self, cx: &mut Context, waiting: &transcript::Waiting) -> Result<Answer, CliError> {
        let question = format!("Approve {} {}? [y/N] ", waiting.name, waiting.arguments);
        cx.world.err.write(&plain(&question))?;
        let mut line = String::new();
        BufReader::new(tokio::io::stdin()).read_line(&mut line).await?;
        let yes = matches!(line.trim().to_lowercase().as_str(), "y" | "yes");
        Ok(if yes { Answer::Approve } else { Answer::Deny })
    }

    /// One line of the timeline.
    fn tell(&self, cx: &mut Context, who: &str, what: &str) -> Result<(), CliError> {
        let at = self.began.elapsed().as_secs_f64();
        let tone = if who.starts_with("KILL") { Tone::Red } else { Tone::Bold };
        let who = cx.world.out.tone(tone, &format!("{who:<9}"));
        Ok(cx.world.out.line(&format!("{at:6.2} s  {who} {}", plain(what)))?)
    }

    async fn show_items(
        &self,
        cx: &mut Context,
        client: &Client,
        path: &str,
        shown: &mut usize,
    ) -> Result<(), CliError> {
        let items = client.list(&format!("{path}/items"), &[("order", "asc")]).await?;
        for item in items.iter().skip(*shown) {
            self.tell(cx, "agent", &transcript::item(item))?;
        }
        *shown = items.len();
        Ok(())
    }

    /// Starts the server; with `session`, gives the time until it answers about that session.
    async fn serve(&self, session: Option<&str>) -> Result<(Process, Client, Duration), CliError> {
        let began = Instant::now();
        let server = self.spawn("server", &["serve", "--port", "0"]).await?;
        let client = self.client(&server.address)?;
        if let Some(path) = session {
            client.get(path, &[]).await?;
        }
        Ok((server, client, began.elapsed()))
    }

    fn client(&self, address: &str) -> Result<Client, CliError> {
        let base = address.trim_end_matches("/v1").to_owned();
        Client::new(Target { base, key: Some(Redacted::new(self.key.clone())) })
    }

    async fn spawn(&self, name: &str, arguments: &[&str]) -> Result<Process, CliError> {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.root.join(format!("{name}.log")))?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .current_dir(&self.root)
            .env("TENURE_API_KEY", &self.key)
            .env_remove("OPENAI_API_KEY")
            .env_remove("TENURE_DATA_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let failed = || CliError::failed("start", format!("the {name} process did not start"));
        let mut output = BufReader::new(child.stdout.take().ok_or_else(failed)?);
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, output.read_line(&mut line)).await;
        read.map_err(|_| failed())??;
        let said: Value = serde_json::from_str(&line).map_err(|_| {
            let log = self.root.join(format!("{name}.log"));
            failed().cause(std::fs::read_to_string(log).unwrap_or_default())
        })?;
        Ok(Process { child, address: text(&said, "/listening").to_owned(), _output: output })
    }
}

fn pid(process: &Process) -> u32 {
    process.child.id().unwrap_or_default()
}

/// SIGKILL: no handler runs, nothing is flushed.
async fn kill(process: &mut Process) -> Result<(), CliError> {
    Ok(process.child.kill().await?)
}

async fn approval(client: &Client, path: &str) -> Result<transcript::Waiting, CliError> {
    let session = client.get(path, &[]).await?;
    let first = transcript::actions(Some(&session)).first().map(transcript::waiting);
    first.ok_or_else(|| CliError::failed("no_approval", "the session waits for no approval"))
}

async fn wait_for(client: &Client, path: &str, status: &str) -> Result<(), CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let session = client.get(path, &[]).await?;
        let found = text(&session, "/status");
        if found == status {
            return Ok(());
        }
        if found == "failed" || Instant::now() > deadline {
            let message = format!("the session is `{found}` and should be `{status}`");
            return Err(CliError::failed("stuck", message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn poll<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, CliError>) -> Result<T, CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(CliError::failed("stuck", format!("it never happened that {what}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
