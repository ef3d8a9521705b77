//! The processes of a test: the server, and the services around it that are never killed.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// How long a process may take to say where it listens, or to end when asked to.
const PATIENCE: Duration = Duration::from_secs(30);
/// The API key of every server here.
pub(crate) const KEY: &str = "key-for-tests";

/// A project directory that is kept when its test fails.
pub(crate) struct Directory(Option<tempfile::TempDir>);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(Some(tempfile::Builder::new().prefix("tenure-kill-").tempdir().expect("a directory")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().expect("kept until it is dropped").path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory");
        std::fs::write(path, text).expect("written");
    }

    /// A project whose models answer over both wire formats at `model`, with `servers` as its tools.
    pub(crate) fn write_project(&self, model: &str, servers: &Value) {
        let provider = |wire: &str| json!({"type": "openai", "wire": wire, "base_url": model});
        let alias = |provider: &str| json!({"provider": provider, "model": "scripted"});
        let settings = json!({
            "providers": {"responses": provider("responses"), "chat": provider("chat")},
            "models": {"over-responses": alias("responses"), "over-chat": alias("chat")},
            "default_model": "over-responses",
            "webhooks": {"allow_loopback": true},
        });
        // JSON is YAML.
        self.write("tenure.yaml", &settings.to_string());
        self.write("mcp.json", &json!({ "mcpServers": servers }).to_string());
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let (true, Some(directory)) = (std::thread::panicking(), self.0.take()) {
            eprintln!("its files are in {}", directory.keep().display());
        }
    }
}

/// A process of the binary under test.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    log: PathBuf,
    /// Where it listens, once it said so.
    pub(crate) address: String,
}

impl Process {
    /// Starts it and waits until it says where it listens.
    pub(crate) async fn listening(directory: &Path, arguments: &[&str]) -> Self {
        let mut process = Self::starting(directory, arguments);
        assert!(process.is_listening().await, "{}", process.log());
        process
    }

    /// The same; nothing if it ended without listening.
    pub(crate) async fn try_listening(directory: &Path, arguments: &[&str]) -> Option<Self> {
        let mut process = Self::starting(directory, arguments);
        process.is_listening().await.then_some(process)
    }

    /// Starts it and does not wait.
    pub(crate) fn starting(directory: &Path, arguments: &[&str]) -> Self {
        let log = directory.join(format!("{}.log", arguments[..2].join("-")));
        let file = OpenOptions::new().append(true).create(true).open(&log).expect("a log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(arguments)
            .current_dir(directory)
            .env("TENURE_API_KEY", KEY)
            .env("TENURE_LOG", "warn")
            .env_remove("OPENAI_API_KEY")
            .env_remove("TENURE_DATA_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output, log, address: String::new() }
    }

    /// Waits until it listens, and gives false if it ended instead.
    async fn is_listening(&mut self) -> bool {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.output.read_line(&mut line)).await;
        if read.expect("in time").expect("readable") == 0 {
            self.child.wait().await.expect("waited for");
            return false;
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", self.log()));
        let address = said["listening"].as_str().expect("an address");
        self.address = address.trim_end_matches("/v1").to_owned();
        true
    }

    /// What it wrote to standard error, and those before it.
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it stands still and does not know.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on as if nothing had happened.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("it runs")).expect("a process id");
        rustix::process::kill_process(Pid::from_raw(pid).expect("not zero"), signal).expect("sent");
    }

    /// Waits until it has ended; gives its exit code and its log.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        (status.expect("in time").expect("waited for").code(), self.log())
    }
}
