//! The command line: one file per command, a few shared by all.
//!
//! Payload goes to standard output, progress and errors to standard error. What a command may ask of the
//! process is in [`World`], read once in `main`. Commands talk to a server through its HTTP API alone.

mod agents;
mod artifacts;
mod audit;
mod automations;
mod bench;
mod budgets;
mod check;
mod client;
mod context;
mod contracts;
mod decide;
mod demo;
mod diff;
mod doctor;
mod environment;
mod error;
mod exec_server;
mod find;
mod forget;
mod forks;
mod freeze;
mod init;
mod keys;
mod labels;
mod login;
mod memory;
mod migrate;
mod mock;
mod output;
mod policy;
mod run;
mod secret;
mod serve;
mod sessions;
mod sign_in;
mod talk;
mod target;
mod transcript;
mod vaults;
mod webhooks;
mod world;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use client::Client;
use error::{CODE_PIPE_CLOSED, CliError, Exit};
use output::Format;
pub(crate) use world::World;

/// A stateful runtime for AI agents.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// The project directory
    #[arg(long, short = 'C', global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Where durable state is [env: TENURE_DATA_DIR] [default: .tenure in the project directory]
    #[arg(long, alias = "data", global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server [env: TENURE_URL] [default: the one of the data directory, else http://127.0.0.1:7878]
    #[arg(long, global = true)]
    url: Option<String>,
    /// The API key [env: TENURE_API_KEY, preferred: flags are visible to other users]
    #[arg(long, global = true, value_name = "KEY")]
    api_key: Option<String>,
    /// How payload is written
    #[arg(long, short = 'o', global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not found, 4 someone must act first,
5 no server answers, 6 the server refuses the key.";

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: an agent, two kill -9, one approval, exactly one refund
    Demo(demo::DemoArgs),
    /// Write a small project that works offline
    Init(init::InitArgs),
    /// Serve the project and follow its agents as their files are saved
    Up(serve::ServeArgs),
    /// Serve the project as it is
    Serve(serve::ServeArgs),
    /// Check the project directory
    Check(check::CheckArgs),
    /// Talk to an agent in a new session
    Chat(talk::ChatArgs),
    /// Give an agent one prompt and print its answer
    Run(run::RunArgs),
    /// List sessions
    Ps(sessions::PsArgs),
    /// Print a session's items
    Logs(sessions::LogsArgs),
    /// Join a session: watch it and talk to it
    Attach(talk::AttachArgs),
    /// List what waits for a person or a client
    Inbox(decide::InboxArgs),
    /// Approve a tool call that waits
    Approve(decide::DecideArgs),
    /// Deny a tool call that waits
    Deny(decide::DecideArgs),
    /// Schedules: list, show, pause, resume, run, delete
    Automations(automations::AutomationsArgs),
    /// See agents and their versions, go back to one, split new sessions between two
    Agents(agents::AgentsArgs),
    /// Find what an agent's earlier sessions said
    Memory(memory::MemoryArgs),
    /// See who allowed what, export it, and check that nobody changed it
    Audit(audit::AuditArgs),
    /// Check contracts about routes to models, and ask what others would have changed
    Contracts(contracts::ContractsArgs),
    /// Check policies, and publish them
    Policy(policy::PolicyArgs),
    /// Do something about a session: end its quarantine
    Sessions(sessions::SessionsArgs),
    /// Manage API keys
    Keys(keys::KeysArgs),
    /// Sign in as a person, at the server's identity provider
    Login(login::LoginArgs),
    /// Forget the sign-in
    Logout,
    /// Say who the server takes you for, and what you may do
    Whoami,
    /// List who has signed in
    People,
    /// Stop an agent, a tool or everything from beginning anything, until it is unfrozen
    Freeze(freeze::FreezeArgs),
    /// End a freeze: what waited goes on
    Unfreeze(freeze::UnfreezeArgs),
    /// Limit money, tokens, calls and time of sessions, agents and the project, and see what was used
    Budgets(budgets::BudgetsArgs),
    /// Run the commands of a self-hosted environment on this machine
    ExecServer(exec_server::ExecServerArgs),
    /// Move everything from the data directory into a database that several nodes share
    Migrate(migrate::MigrateArgs),
    /// Open a new session with another's conversation and files, as they are or were
    Fork(forks::ForkArgs),
    /// Take a session back to what it was
    Rewind(forks::RewindArgs),
    /// List the moments of a session, to fork it at or go back to
    History(forks::HistoryArgs),
    /// See what flowed into a session, and what it was granted
    Labels(labels::LabelsArgs),
    /// Remove stored files that no session refers to
    Gc(forks::GcArgs),
    /// Keep what authenticates at tool servers and hosts: create, add, rotate, sign in
    Vaults(vaults::VaultsArgs),
    /// Manage addresses that are told of what happens to sessions
    Webhooks(webhooks::WebhooksArgs),
    /// Check this machine, the project and its server
    Doctor(doctor::DoctorArgs),
    /// Serve what demos and tests talk to
    Mock(mock::MockArgs),
    /// Measure this machine: appends, turns, recovery, start
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What every command is given.
pub(crate) struct Context {
    pub(crate) world: World,
    pub(crate) format: Format,
    /// The project directory, absolute.
    pub(crate) project: PathBuf,
    /// The data directory, absolute.
    pub(crate) data: PathBuf,
    url: Option<String>,
    api_key: Option<String>,
}

impl Context {
    /// A line of progress on standard error.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), CliError> {
        let text = self.world.err.tone(world::Tone::Dim, &world::plain(text));
        Ok(self.world.err.line(&text)?)
    }

    /// A client of the server that flags, environment and data directory point at.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        self.client_of(self.url.as_deref())
    }

    /// A client of the server at `url`.
    pub(crate) fn client_of(&self, url: Option<&str>) -> Result<Client, CliError> {
        Client::new(target::resolve(&self.world, &self.data, url, self.api_key.as_deref())?)
    }

    /// The address of the server that flags, environment and data directory point at.
    pub(crate) fn base(&self) -> Result<String, CliError> {
        target::base(&self.world, &self.data, self.url.as_deref())
    }

    /// Whether a flag names a server.
    pub(crate) fn names_a_server(&self) -> bool {
        self.url.is_some()
    }
}

/// Parses `arguments` and runs the command.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>, world: World) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are payload; clap prints each where it belongs. Nothing is left to do if
            // even that fails.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(world, &CliError::from(error)),
    };
    // Whoever speaks TLS relies on it, and nobody brings one along.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (command, mut cx) = context(cli, world);
    let outcome = runtime.block_on(dispatch(&mut cx, command));
    // A thread that reads standard input cannot be joined.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => failure(cx.world, &error),
    }
}

fn failure(mut world: World, error: &CliError) -> ExitCode {
    if error.code != CODE_PIPE_CLOSED {
        let text = error.render(&world.err);
        // Standard error is the last resort: if it is gone, the exit code still tells.
        let _ = world.err.line(&text);
    }
    ExitCode::from(error.exit.code())
}

fn context(cli: Cli, world: World) -> (Command, Context) {
    let project = match &cli.project {
        Some(project) => world.directory.join(project),
        None => world.directory.clone(),
    };
    let data = target::data_directory(&world, cli.data_dir.as_deref(), &project);
    let cx = Context { world, format: cli.output, project, data, url: cli.url, api_key: cli.api_key };
    (cli.command, cx)
}

async fn dispatch(cx: &mut Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Demo(args) => demo::demo(cx, &args).await,
        Command::Init(args) => init::init(cx, &args),
        Command::Up(args) => serve::up(cx, &args).await,
        Command::Serve(args) => serve::serve(cx, &args).await,
        Command::Check(args) => check::check(cx, &args),
        Command::Chat(args) => talk::chat(cx, &args).await,
        Command::Run(args) => run::run(cx, &args).await,
        Command::Ps(args) => sessions::ps(cx, &args).await,
        Command::Logs(args) => sessions::logs(cx, &args).await,
        Command::Attach(args) => talk::attach(cx, &args).await,
        Command::Inbox(args) => decide::inbox(cx, &args).await,
        Command::Approve(args) => decide::decide(cx, &args, decide::Answer::Approve).await,
        Command::Deny(args) => decide::decide(cx, &args, decide::Answer::Deny).await,
        Command::Automations(args) => automations::automations(cx, &args).await,
        Command::Agents(args) => agents::agents(cx, &args).await,
        Command::Contracts(args) => contracts::contracts(cx, &args).await,
        Command::Policy(args) => policy::policy(cx, &args).await,
        Command::Sessions(args) => sessions::sessions(cx, &args).await,
        Command::Keys(args) => keys::keys(cx, &args).await,
        Command::Login(args) => login::login(cx, &args).await,
        Command::Logout => login::logout(cx),
        Command::Whoami => login::whoami(cx).await,
        Command::People => login::people(cx).await,
        Command::Freeze(args) => freeze::freeze(cx, &args).await,
        Command::Unfreeze(args) => freeze::unfreeze(cx, &args).await,
        Command::Budgets(args) => budgets::budgets(cx, &args).await,
        Command::ExecServer(args) => exec_server::exec_server(cx, &args).await,
        Command::Migrate(args) => migrate::migrate(cx, &args).await,
        Command::Audit(args) => audit::audit(cx, &args).await,
        Command::Memory(args) => memory::memory(cx, &args).await,
        Command::Fork(args) => forks::fork(cx, &args).await,
        Command::Rewind(args) => forks::rewind(cx, &args).await,
        Command::History(args) => forks::history(cx, &args).await,
        Command::Labels(args) => labels::labels(cx, &args).await,
        Command::Gc(args) => forks::gc(cx, &args).await,
        Command::Vaults(args) => vaults::vaults(cx, &args).await,
        Command::Webhooks(args) => webhooks::webhooks(cx, &args).await,
        Command::Doctor(args) => doctor::doctor(cx, &args).await,
        Command::Mock(args) => mock::mock(cx, &args).await,
        Command::Bench(args) => bench::bench(cx, &args).await,
        Command::Completions { shell } => completions(cx, shell),
    }
}

fn completions(cx: &mut Context, shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tenure", &mut script);
    cx.world.out.write(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use output::tests::Captured;

    /// A process without terminals, in a directory that does not exist.
    pub(crate) fn world(env: &[(&str, &str)]) -> World {
        World {
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            directory: PathBuf::from("/nonexistent"),
            now: 1_790_000_000,
            stdin_is_terminal: false,
            out: Captured::default().output(),
            err: Captured::default().output(),
        }
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_exit_code_is_documented() {
        let page = include_str!("../../../../docs/cli.md");
        for command in Cli::command().get_subcommands() {
            let title = format!("\n### {}\n", command.get_name());
            assert!(page.contains(&title), "docs/cli.md has no section on `{}`", command.get_name());
        }
        let exits = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::NeedsAction,
            Exit::Unreachable,
            Exit::Unauthorized,
        ];
        for exit in exits {
            assert!(page.contains(&format!("\n| {} | ", exit.code())), "docs/cli.md lacks {exit:?}");
        }
    }

    #[test]
    fn reads_command_lines() {
        for (line, accepted) in [
            ("tenure ps -n 5 -o json", true),
            ("tenure -o jsonl logs last -f", true),
            ("tenure run refunds go", true),
            ("tenure run --session last go", true),
            ("tenure run --up --save out analyst go", true),
            ("tenure run refunds", false),
            ("tenure run", false),
            ("tenure logs", false),
            ("tenure fork last", true),
            ("tenure fork last --at turn_1", true),
            ("tenure fork", false),
            ("tenure rewind last", false),
            ("tenure rewind last --to 7", true),
            ("tenure history last", true),
            ("tenure gc", true),
            ("tenure gc --grace-hours 0", false),
            ("tenure ps --status busy", false),
            ("tenure ps -o xml", false),
            ("tenure approve apr_1 --session s", true),
            ("tenure automations ls --session last", true),
            ("tenure automations pause daily", true),
            ("tenure automations run", false),
            ("tenure agents", false),
            ("tenure sessions release last", true),
            ("tenure sessions release", false),
            ("tenure sessions context last", true),
            ("tenure sessions context last --step 3", true),
            ("tenure sessions context last --step 0", false),
            ("tenure policy check", true),
            ("tenure policy check rules --tools pay.json --strict", true),
            ("tenure keys create ci --group finance --group board", true),
            ("tenure agents ls", true),
            ("tenure agents show helper 2", true),
            ("tenure agents diff helper", true),
            ("tenure agents diff helper 1 2", true),
            ("tenure agents diff helper one", false),
            ("tenure agents rollback helper", false),
            ("tenure agents rollback helper 0", false),
            ("tenure agents rollback helper 2", true),
            ("tenure agents split helper", true),
            ("tenure agents split helper 1=90 2=10", true),
            ("tenure agents split helper 1=90", false),
            ("tenure agents split helper 1:90 2:10", false),
            ("tenure agents split helper 1=90 2=10 --end", false),
            ("tenure agents split helper --end", true),
            ("tenure contracts check", true),
            ("tenure contracts what-if --contract c.yaml --from 2026-02-27 --to 2026-04-27", true),
            ("tenure contracts what-if --contract c.yaml --from soon", false),
            ("tenure contracts what-if", false),
            ("tenure keys", false),
            ("tenure keys create ci", true),
            ("tenure keys create laptop --executor", true),
            ("tenure exec-server --remote http://127.0.0.1:1/x --environment-id env_1", true),
            ("tenure exec-server --remote u --environment-id e --transport direct --files account", true),
            ("tenure exec-server --remote u", false),
            ("tenure keys rotate-master --stage add", true),
            ("tenure keys rotate-master --stage now", false),
            ("tenure vaults ls", true),
            ("tenure vaults add team crm --server https://crm.example/mcp", true),
            ("tenure vaults add team api --variable API_KEY --host api.example.com", true),
            ("tenure vaults add team api", false),
            ("tenure vaults add team api --server u --variable v", false),
            ("tenure vaults add team crm --server u --secret s3cr3t", false),
            ("tenure vaults rotate team crm --secret-env CRM_TOKEN", true),
            ("tenure vaults sign-in team https://crm.example/mcp", true),
            ("tenure webhooks ls", true),
            ("tenure webhooks add https://crm.example/ --event agent.session.idle", true),
            ("tenure webhooks add", false),
            ("tenure webhooks rotate wh_1 --overlap 0", true),
            ("tenure webhooks redeliver wh_1 dlv_1", true),
            ("tenure mock openai --script script.yaml --port 0", true),
            ("tenure mock bedrock --script script.yaml", true),
            ("tenure mock orders", true),
            ("tenure mock payments", false),
            ("tenure completions bash", true),
            ("tenure serve-nothing", false),
        ] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).is_ok(), accepted, "{line}");
        }
    }

    #[test]
    fn finds_the_data_directory() {
        for (line, env, expected) in [
            ("tenure ps", None, "/nonexistent/.tenure"),
            ("tenure ps -C app", None, "/nonexistent/app/.tenure"),
            ("tenure ps -C app", Some("/state"), "/state"),
            ("tenure ps --data-dir d", Some("/state"), "/nonexistent/d"),
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).expect("a good line");
            let env: Vec<_> = env.map(|value| ("TENURE_DATA_DIR", value)).into_iter().collect();
            assert_eq!(context(cli, world(&env)).1.data, PathBuf::from(expected), "{line}");
        }
    }
}
