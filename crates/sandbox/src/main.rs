//! The sandbox by itself: says what this machine can do, and runs one command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

#[cfg(target_os = "linux")]
use tenure_sandbox::{
    Command, LauncherPath, Network, Stream, Tier, launcher, survey, survey_bubblewrap, survey_gvisor,
    survey_gvisor_at,
};

const HELP: &str = "\
usage: tenure-sandbox survey
       tenure-sandbox run [options] -- program [arguments]

  survey  runs a canary in each tier and says what it met
  run     runs a program and ends with its exit code; 124 for the time limit, 137 for every other one

options of run:
  --workspace DIR      the directory that can be written to [default: the current one]
  --read-only PATH     shows a file or directory of the host, at the same path; more than once
  --tier TIER          `namespaces` or `landlock` [default: the stronger that works], or `gvisor`
  --bubblewrap PROGRAM lets this bubblewrap build the namespaces
  --runsc PROGRAM      runs it in gVisor by this `runsc`
  --proxy SOCKET       forwards 127.0.0.1:3128 inside to this Unix socket
  --network            the host's network
  --env NAME=VALUE     sets a variable; more than once
  --wall SECONDS       time [default: 60]
  --memory MIB         memory [default: 1024]
  --report             says on standard error what was in force and why it ended
";

/// What makes this program a supervisor.
const SUPERVISE: &str = "supervise";

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some(SUPERVISE) => launcher::main(),
        Some("survey") => {
            survey_gvisor(&own_path()).findings().iter().for_each(|finding| print!("{finding}"));
            print!("{}", survey(&own_path()));
            ExitCode::SUCCESS
        }
        Some("run") => match run(args) {
            Ok(code) => code,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::from(2)
            }
        },
        _ => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("this needs Linux");
    ExitCode::from(2)
}

#[cfg(target_os = "linux")]
fn own_path() -> LauncherPath {
    LauncherPath { program: PathBuf::from("/proc/self/exe"), args: vec![SUPERVISE.to_owned()] }
}

#[cfg(target_os = "linux")]
fn run(args: impl Iterator<Item = String>) -> Result<ExitCode, String> {
    let directory = std::env::current_dir().map_err(|error| format!("the current directory: {error}"))?;
    let mut wanted = Wanted {
        command: Command::new(Vec::new(), directory),
        tier: None,
        bubblewrap: None,
        runsc: None,
        is_reported: false,
    };
    wanted.read(args)?;
    let survey = match (&wanted.runsc, &wanted.bubblewrap) {
        (Some(program), _) => survey_gvisor_at(&own_path(), program),
        (None, _) if wanted.tier == Some(Tier::Gvisor) => survey_gvisor(&own_path()),
        (None, Some(program)) => survey_bubblewrap(&own_path(), program),
        (None, None) => survey(&own_path()),
    };
    let show = |error: tenure_sandbox::Error| match error.remedy() {
        Some(remedy) => format!("{error}\ntry: {remedy}"),
        None => error.to_string(),
    };
    let backend = match wanted.tier {
        Some(tier) => survey.exactly(tier).map_err(show)?,
        None => survey.choose(Tier::Landlock).map_err(show)?,
    };
    // A reader that is gone does not end the command.
    let output = |stream, bytes: &[u8]| {
        let _ = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
    };
    let report = backend.start(&wanted.command, Box::new(output)).map_err(show)?.wait();
    let _ = std::io::stdout().flush();
    if wanted.is_reported {
        eprintln!("{}", report.isolation);
        for limit in &report.limits {
            eprintln!("{:?} {} by {:?}", limit.limit, limit.value, limit.by);
        }
        eprintln!("{} after {:.3} s", report.end, report.wall.as_secs_f64());
    }
    Ok(ExitCode::from(u8::try_from(report.end.exit_code()).unwrap_or(u8::MAX)))
}

#[cfg(target_os = "linux")]
struct Wanted {
    command: Command,
    tier: Option<Tier>,
    bubblewrap: Option<PathBuf>,
    runsc: Option<PathBuf>,
    is_reported: bool,
}

#[cfg(target_os = "linux")]
impl Wanted {
    fn read(&mut self, mut args: impl Iterator<Item = String>) -> Result<(), String> {
        while let Some(option) = args.next() {
            if option == "--" {
                self.command.argv = args.collect();
                return Ok(());
            }
            let is_alone = matches!(option.as_str(), "--network" | "--report");
            let value = match is_alone {
                true => String::new(),
                false => args.next().ok_or_else(|| format!("`{option}` needs a value"))?,
            };
            self.set(&option, &value)?;
        }
        Err("no program: put it after `--`".to_owned())
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let command = &mut self.command;
        match option {
            "--workspace" => command.files.workspace = absolute(value)?,
            "--read-only" => command.files.read_only.push((absolute(value)?, absolute(value)?)),
            "--tier" => self.tier = Some(value.parse()?),
            "--runsc" => {
                self.runsc = Some(absolute(value)?);
                self.tier = Some(Tier::Gvisor);
            }
            "--bubblewrap" => self.bubblewrap = Some(absolute(value)?),
            "--proxy" => command.network = Network::Restricted { proxy_socket: absolute(value)? },
            "--network" => command.network = Network::Enabled,
            "--env" => {
                let (name, value) = value.split_once('=').ok_or("`--env` takes NAME=VALUE")?;
                command.env.insert(name.to_owned(), value.to_owned());
            }
            "--wall" => command.limits.wall = Duration::from_secs(number(option, value)?),
            "--memory" => command.limits.memory_bytes = number::<u64>(option, value)? << 20,
            "--report" => self.is_reported = true,
            _ => return Err(format!("`{option}` is no option of run\n\n{HELP}")),
        }
        Ok(())
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("`{path}`: {error}"))
}

fn number<N: FromStr>(option: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("`{option}` takes a whole number, not `{value}`"))
}
