//! What a sandbox costs: how long `true` takes from its start to its reported end, in each tier, beside a
//! plain fork and exec of the same program in the same run, and beside bubblewrap where it is installed.
//!
//! ```sh
//! cargo bench -p tenure-sandbox            # rounds may be given: -- 500
//! ```
//!
//! Nothing here passes or fails. The goals are for the difference of the medians.

use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use tenure_sandbox::{Backend, Command, LauncherPath, Tier, survey, survey_gvisor};

const PROGRAM: &str = "/bin/true";
const ROUNDS: usize = 200;
const BUBBLEWRAP: &[&str] = &[
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--ro-bind",
    "/usr",
    "/usr",
    "--symlink",
    "usr/bin",
    "/bin",
    "--symlink",
    "usr/lib",
    "/lib",
    "--symlink",
    "usr/lib64",
    "/lib64",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "--clearenv",
    PROGRAM,
];

/// One thing that is measured.
struct Contender<'a> {
    name: String,
    goal: &'static str,
    run: Box<dyn FnMut() + 'a>,
    took: Vec<Duration>,
}

fn main() {
    // Cargo adds an argument of its own.
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    if cfg!(debug_assertions) {
        println!("This is a debug build: its numbers say little.");
    }
    let launcher = LauncherPath {
        program: PathBuf::from(env!("CARGO_BIN_EXE_tenure-sandbox")),
        args: vec!["supervise".to_owned()],
    };
    let survey = survey(&launcher);
    let gvisor = survey_gvisor(&launcher);
    gvisor.findings().iter().for_each(|finding| print!("{finding}"));
    print!("{survey}");
    let workspace = std::env::temp_dir().join(format!("tenure-sandbox-bench-{}", std::process::id()));
    std::fs::create_dir(&workspace).expect("a workspace");
    let command = Command::new(vec![PROGRAM.to_owned()], workspace.clone());

    let mut contenders = vec![Contender::new("fork and exec", "", || plain(PROGRAM, &[]))];
    let watched = survey.without_cgroups();
    let backends = [(Tier::Namespaces, "5 ms more"), (Tier::Landlock, "3 ms more")]
        .into_iter()
        .flat_map(|(tier, goal)| [(survey.exactly(tier), goal), (watched.exactly(tier), goal)])
        .chain([(gvisor.exactly(Tier::Gvisor), "")]);
    for (backend, goal) in backends {
        let Ok(backend) = backend else { continue };
        let name = backend.isolation().to_string();
        let command = &command;
        contenders.push(Contender::new(name, goal, move || sandboxed(&*backend, command)));
    }
    if Process::new("bwrap").arg("--version").stdout(Stdio::null()).status().is_ok() {
        contenders.push(Contender::new("bubblewrap", "", || plain("bwrap", BUBBLEWRAP)));
    }
    // In turns, so that whatever else the machine does meets all of them.
    for _ in 0..rounds {
        contenders.iter_mut().for_each(Contender::measure);
    }
    report(&mut contenders, rounds);
    let _ = std::fs::remove_dir_all(workspace);
}

impl<'a> Contender<'a> {
    fn new(name: impl Into<String>, goal: &'static str, run: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), goal, run: Box::new(run), took: Vec::new() }
    }

    fn measure(&mut self) {
        let began = Instant::now();
        (self.run)();
        self.took.push(began.elapsed());
    }

    fn quantile(&mut self, of_hundred: usize) -> f64 {
        self.took.sort();
        let place = (self.took.len() * of_hundred / 100).min(self.took.len().saturating_sub(1));
        self.took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
    }
}

fn report(contenders: &mut [Contender<'_>], rounds: usize) {
    let plain = contenders[0].quantile(50);
    println!("\n{rounds} rounds of {PROGRAM}, in milliseconds");
    println!("{:>8} {:>8} {:>8} {:>8}  {:<10} what", "median", "90 %", "99 %", "more", "goal");
    for contender in contenders {
        let [median, most, nearly_all] = [50, 90, 99].map(|of_hundred| contender.quantile(of_hundred));
        let (more, goal, name) = (median - plain, contender.goal, &contender.name);
        println!("{median:>8.2} {most:>8.2} {nearly_all:>8.2} {more:>8.2}  {goal:<10} {name}");
    }
}

fn plain(program: &str, args: &[&str]) {
    let output = Process::new(program).args(args).stdin(Stdio::null()).output().expect("runs");
    assert!(output.status.success());
}

fn sandboxed(backend: &dyn Backend, command: &Command) {
    let report = backend.start(command, Box::new(|_, _| ())).expect("starts").wait();
    assert_eq!(report.end.exit_code(), 0, "{}", report.end);
}
