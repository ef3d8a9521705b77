//! What this machine can keep apart, found by trying.

use std::fmt;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::backend::{Backend, Local, Plan, launch};
use crate::command::{Command, Limits};
use crate::error::{Error, ErrorKind};
use crate::launcher::canary::NOTE;
use crate::launcher::held::{self, CANARY, Held};
use crate::launcher::{bubblewrap, cgroup, gvisor, landlock};
use crate::report::{End, Isolation, Platform, Tier};
use crate::spec::{Bait, Bubblewrap, CgroupPlan, Gvisor};
use crate::sys;

/// Where bubblewrap is: packages and AppArmor profiles know the first place.
const BUBBLEWRAP: &[&str] = &["/usr/bin/bwrap", "/usr/local/bin/bwrap"];
/// How long a canary may take.
const CANARY_TIME_MAX: Duration = Duration::from_secs(10);
/// How gVisor may come by system calls, best first.
const PLATFORMS: [Platform; 2] = [Platform::Systrap, Platform::Ptrace];

/// A program whose `main` calls [`crate::launcher::main`] when it is given these arguments.
#[derive(Debug, Clone)]
pub struct LauncherPath {
    /// The program; `/proc/self/exe` for the one that runs.
    pub program: PathBuf,
    /// What makes it a supervisor.
    pub args: Vec<String>,
}

/// What was found of one tier.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which.
    pub tier: Tier,
    /// What a canary ran in, or why it did not.
    pub outcome: Result<Isolation, Refused>,
    /// What it met there that programs may stumble over.
    pub note: Option<String>,
}

/// Why a tier is not used here.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What the canary met, or reached though it must not.
    pub what: String,
    /// What to change.
    pub remedy: String,
}

/// What this machine can do. It stays true for as long as the process runs; keep it.
pub struct Survey {
    findings: Vec<Finding>,
    backends: Vec<Arc<Local>>,
    /// Why no control group can be made, if none can.
    cgroup: Result<CgroupPlan, String>,
}

/// Runs a canary in each tier: a program that tries to reach a file, a socket, a port and a process that
/// were planted for it. Takes some ten milliseconds for each tier. Where this crate may not make namespaces,
/// bubblewrap is tried, if there is one that can be trusted with it.
#[must_use]
pub fn survey(launcher: &LauncherPath) -> Survey {
    survey_with(launcher, |launcher, plan| {
        let refused = match try_namespaces(launcher, plan.clone()) {
            Ok(tried) => return Ok(tried),
            Err(refused) => refused,
        };
        // Root may make namespaces; what keeps it from that keeps bubblewrap from it too.
        if rustix::process::geteuid().is_root() {
            return Err(refused);
        }
        let found: Vec<_> = BUBBLEWRAP
            .iter()
            .map(Path::new)
            .filter_map(|program| Some((program, bubblewrap::version(program)?)))
            .collect();
        let fits = found.iter().find(|(_, version)| bubblewrap::obstacle(Some(*version)).is_none());
        let Some((program, _)) = fits else {
            let best = found.iter().map(|(_, version)| *version).max();
            let remedy = bubblewrap::obstacle(best).unwrap_or_default();
            return Err(Refused { remedy: format!("{}; or {remedy}", refused.remedy), ..refused });
        };
        by_bubblewrap(launcher, plan, program.to_path_buf()).map_err(|second| Refused {
            what: format!("{}; with bubblewrap: {}", refused.what, second.what),
            ..refused
        })
    })
}

/// The same with the bubblewrap at `program`, whatever its version, for namespaces; what this crate could do
/// itself is not tried.
#[must_use]
pub fn survey_bubblewrap(launcher: &LauncherPath, program: &Path) -> Survey {
    survey_with(launcher, |launcher, plan| by_bubblewrap(launcher, plan, program.to_owned()))
}

/// What gVisor can do here, and nothing of the other tiers. Takes some hundred milliseconds.
#[must_use]
pub fn survey_gvisor(launcher: &LauncherPath) -> Survey {
    survey_gvisor_with(launcher, |plan| {
        match gvisor::PROGRAMS.iter().map(Path::new).find(|program| program.is_file()) {
            Some(program) => by_gvisor(launcher, &plan, program),
            None => Err(Refused {
                what: format!("there is no `runsc` at {}", gvisor::PROGRAMS.join(" or ")),
                remedy: "install gVisor: Debian's package is `runsc`, others are at gvisor.dev".to_owned(),
            }),
        }
    })
}

/// The same with the `runsc` at `program`.
#[must_use]
pub fn survey_gvisor_at(launcher: &LauncherPath, program: &Path) -> Survey {
    survey_gvisor_with(launcher, |plan| by_gvisor(launcher, &plan, program))
}

fn survey_gvisor_with(
    launcher: &LauncherPath,
    try_gvisor: impl FnOnce(Plan) -> Result<Tried, Refused>,
) -> Survey {
    held::sweep();
    let mut survey = Survey { findings: Vec::new(), backends: Vec::new(), cgroup: cgroup::find() };
    survey.look(Tier::Gvisor, launcher, try_gvisor);
    survey
}

fn by_gvisor(launcher: &LauncherPath, plan: &Plan, program: &Path) -> Result<Tried, Refused> {
    let own = own_program(launcher)?;
    let mut met = Vec::new();
    for platform in PLATFORMS {
        let gvisor = Gvisor {
            program: program.to_owned(),
            platform,
            launcher: own.clone(),
            args: launcher.args.clone(),
        };
        // Nothing can be seen of what gVisor uses without a `/proc` of its own.
        match try_plan(launcher, Plan { proc: true, gvisor: Some(gvisor), ..plan.clone() }) {
            Ok(tried) => return Ok(tried),
            Err(refused) => met.push(format!("with {platform}: {}", refused.what)),
        }
    }
    Err(Refused { what: met.join("; "), remedy: remedy(Tier::Gvisor) })
}

fn own_program(launcher: &LauncherPath) -> Result<PathBuf, Refused> {
    fs::canonicalize(&launcher.program).map_err(|error| Refused {
        what: format!("finding `{}`: {error}", launcher.program.display()),
        remedy: "start the server from a program that was not replaced".to_owned(),
    })
}

fn by_bubblewrap(launcher: &LauncherPath, plan: Plan, program: PathBuf) -> Result<Tried, Refused> {
    let own = own_program(launcher)?;
    let bubblewrap = Bubblewrap { program, launcher: own, args: launcher.args.clone() };
    try_plan(launcher, Plan { proc: false, bubblewrap: Some(bubblewrap), ..plan })
}

fn survey_with(
    launcher: &LauncherPath,
    try_namespaces: impl Fn(&LauncherPath, Plan) -> Result<Tried, Refused>,
) -> Survey {
    held::sweep();
    let mut survey = Survey { findings: Vec::new(), backends: Vec::new(), cgroup: cgroup::find() };
    survey.look(Tier::Namespaces, launcher, |plan| try_namespaces(launcher, plan));
    survey.look(Tier::Landlock, launcher, |plan| try_landlock(launcher, plan));
    survey
}

impl Survey {
    /// Tries one more tier, which is weaker than those before.
    fn look(
        &mut self,
        tier: Tier,
        launcher: &LauncherPath,
        try_it: impl FnOnce(Plan) -> Result<Tried, Refused>,
    ) {
        let landlock = match tier {
            // Its processes mount, which Landlock forbids; the command's calls never reach the host.
            Tier::Gvisor => None,
            Tier::Namespaces | Tier::Landlock => {
                sys::landlock_version().map(|version| version.min(landlock::VERSION_MAX))
            }
        };
        let cgroup = self.cgroup.as_ref().ok().cloned();
        let plan = Plan { tier, landlock, proc: false, cgroup, bubblewrap: None, gvisor: None };
        let (outcome, note) = match try_it(plan) {
            Ok(Tried { isolation, plan, note }) => {
                let local = Local { isolation: isolation.clone(), launcher: launcher.clone(), plan };
                self.backends.push(Arc::new(local));
                (Ok(isolation), note)
            }
            Err(refused) => (Err(refused), None),
        };
        self.findings.push(Finding { tier, outcome, note });
    }

    /// The strongest back end that was looked for here, which is at least as strong as `min`.
    ///
    /// # Errors
    /// [`ErrorKind::Isolation`]: none is; with what the canary of each met, and the remedies.
    pub fn choose(&self, min: Tier) -> Result<Arc<dyn Backend>, Error> {
        // Listed strongest first.
        let found = self.backends.iter().find(|backend| backend.plan.tier >= min);
        found.map(|local| Arc::clone(local) as Arc<dyn Backend>).ok_or_else(|| {
            let refused = self.refused().filter(|(tier, _)| *tier >= min);
            let mut what: Vec<String> =
                refused.clone().map(|(tier, why)| format!("{tier}: {}", why.what)).collect();
            if what.is_empty() {
                what.push("not looked for".to_owned());
            }
            let remedy: Vec<&str> = refused.map(|(_, why)| why.remedy.as_str()).collect();
            Error::new(
                ErrorKind::Isolation,
                format!("no isolation of tier `{min}` or above ({})", what.join("; ")),
            )
            .hint(remedy.join("; or "))
        })
    }

    /// The back end of exactly this tier.
    ///
    /// # Errors
    /// [`ErrorKind::Isolation`], as for [`Self::choose`].
    pub fn exactly(&self, tier: Tier) -> Result<Arc<dyn Backend>, Error> {
        match self.backends.iter().find(|backend| backend.plan.tier == tier) {
            Some(local) => Ok(Arc::clone(local) as Arc<dyn Backend>),
            None => {
                let refused = self.refused().find(|(found, _)| *found == tier);
                let (what, remedy) =
                    refused.map(|(_, why)| (why.what.as_str(), why.remedy.as_str())).unwrap_or_default();
                Err(Error::new(ErrorKind::Isolation, format!("no isolation of tier `{tier}` ({what})"))
                    .hint(remedy))
            }
        }
    }

    /// What was found, strongest tier first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The same machine without control groups: what the supervisor's watchdog does where none can be made.
    #[must_use]
    pub fn without_cgroups(&self) -> Self {
        let mut survey = Self {
            findings: self.findings.clone(),
            backends: Vec::new(),
            cgroup: Err("not used".to_owned()),
        };
        for backend in &self.backends {
            let mut isolation = backend.isolation.clone();
            isolation.group = crate::report::Group::Watchdog;
            let plan = Plan { cgroup: None, ..backend.plan.clone() };
            survey.backends.push(Arc::new(Local { isolation, launcher: backend.launcher.clone(), plan }));
        }
        survey
    }

    fn refused(&self) -> impl Iterator<Item = (Tier, &Refused)> + Clone {
        self.findings.iter().filter_map(|finding| Some((finding.tier, finding.outcome.as_ref().err()?)))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(isolation) => writeln!(f, "{:<11} works: {isolation}", self.tier.to_string())?,
            Err(refused) => {
                writeln!(f, "{:<11} refused: {}", self.tier.to_string(), refused.what)?;
                writeln!(f, "{:<11} remedy: {}", "", refused.remedy)?;
            }
        }
        match &self.note {
            Some(note) => writeln!(f, "{:<11} note: {note}", ""),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            write!(f, "{finding}")?;
        }
        match &self.cgroup {
            Ok(CgroupPlan::V1 { memory }) => {
                writeln!(f, "{:<11} version 1 at {}", "cgroups", memory.display())
            }
            Ok(CgroupPlan::V2 { parent }) => {
                writeln!(f, "{:<11} version 2 at {}", "cgroups", parent.display())
            }
            Err(why) => {
                writeln!(f, "{:<11} none can be made ({why}); a watchdog holds memory instead", "cgroups")
            }
        }
    }
}

/// A plan that keeps apart.
struct Tried {
    isolation: Isolation,
    plan: Plan,
    note: Option<String>,
}

fn try_namespaces(launcher: &LauncherPath, plan: Plan) -> Result<Tried, Refused> {
    try_plan(launcher, Plan { proc: true, ..plan.clone() }).or_else(|refused| {
        // Containers that cover parts of `/proc` may not mount a fresh one.
        if refused.what.contains("/proc") { try_plan(launcher, plan) } else { Err(refused) }
    })
}

fn try_landlock(launcher: &LauncherPath, plan: Plan) -> Result<Tried, Refused> {
    if plan.landlock.is_some_and(|version| version >= landlock::VERSION_SCOPES) {
        return try_plan(launcher, plan);
    }
    Err(Refused {
        what: match sys::landlock_version() {
            Some(version) => format!("Landlock here is version {version}, which lets signals out"),
            None => "this kernel has no Landlock".to_owned(),
        },
        remedy: format!(
            "run Linux 6.12 or newer with Landlock enabled (version {} or above)",
            landlock::VERSION_SCOPES
        ),
    })
}

fn try_plan(launcher: &LauncherPath, plan: Plan) -> Result<Tried, Refused> {
    let remedy = || remedy(plan.tier);
    let refuse = |what: String| Refused { what, remedy: remedy() };
    let planted = Planted::plant().map_err(|error| refuse(format!("planting the canary: {error}")))?;
    let mut command = Command::new(vec!["canary".to_owned()], planted.path("workspace"));
    command.limits = Limits { wall: CANARY_TIME_MAX, cpu: CANARY_TIME_MAX, ..Limits::default() };
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let output = Box::new(move |_, bytes: &[u8]| {
        if let Ok(mut said) = heard.lock() {
            said.extend_from_slice(bytes);
        }
    });
    let running = launch(launcher, &plan, &command, Some(planted.bait()), output)
        .map_err(|error| refuse(error.to_string()))?;
    let report = running.wait();
    let said = said.lock().map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default();
    match report.end {
        End::Exited(0) => {
            let note = said.lines().find_map(|line| line.strip_prefix(NOTE)).map(str::to_owned);
            Ok(Tried { isolation: report.isolation, plan, note })
        }
        End::Exited(_) => Err(refuse(format!("the canary got out: {}", said.trim().replace('\n', ", ")))),
        end @ (End::Signalled(_)
        | End::NotExecuted(_)
        | End::WallLimit
        | End::CpuLimit
        | End::MemoryLimit
        | End::DiskLimit
        | End::Cancelled
        | End::Lost(_)) => Err(refuse(format!("the canary did not come to its end: {end}"))),
    }
}

/// What commonly stands in the way, said so that it can be done.
fn remedy(tier: Tier) -> String {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    match tier {
        Tier::Gvisor if setting("/proc/sys/kernel/yama/ptrace_scope").is_some_and(|scope| scope == "3") => {
            "sysctl -w kernel.yama.ptrace_scope=1, which takes a restart of the host".to_owned()
        }
        Tier::Gvisor => {
            "gVisor needs what `namespaces` needs and to trace its own processes: see what is found \
                         of `namespaces`, and `docs/sandbox.md`"
                .to_owned()
        }
        Tier::Landlock => "see the canary's finding; `docs/sandbox.md` lists what this tier needs".to_owned(),
        Tier::Namespaces => {
            let is = |path, value: &str| setting(path).is_some_and(|found| found == value);
            if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that gives \
                 this binary `userns`"
                    .to_owned()
            } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
                "sysctl -w kernel.unprivileged_userns_clone=1".to_owned()
            } else if is("/proc/sys/user/max_user_namespaces", "0") {
                "sysctl -w user.max_user_namespaces=10000".to_owned()
            } else {
                "allow user namespaces: in a container, a seccomp profile that permits `clone` and `mount`; on \
                 a host, Linux 5.12 or newer"
                    .to_owned()
            }
        }
    }
}

/// What the canary must not reach, and a workspace for it.
struct Planted {
    directory: Held,
    port: TcpListener,
    _socket: UnixListener,
}

impl Planted {
    fn plant() -> io::Result<Self> {
        let directory = Held::make(CANARY)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?;
        let socket = UnixListener::bind(directory.path().join("socket"))?;
        let planted = Self { directory, port, _socket: socket };
        // Everybody may reach them: what keeps the canary away has to be the sandbox.
        for (path, mode) in [(Path::new(""), 0o755), (Path::new("socket"), 0o777)] {
            fs::set_permissions(planted.directory.path().join(path), fs::Permissions::from_mode(mode))?;
        }
        fs::write(planted.path("file"), b"secret")?;
        fs::set_permissions(planted.path("file"), fs::Permissions::from_mode(0o644))?;
        fs::create_dir(planted.path("workspace"))?;
        Ok(planted)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn bait(&self) -> Bait {
        Bait {
            file: self.path("file"),
            socket: self.path("socket"),
            port: self.port.local_addr().map_or(0, |address| address.port()),
            process: i32::try_from(std::process::id()).unwrap_or(i32::MAX),
            kernel: rustix::system::uname().version().to_string_lossy().into_owned(),
        }
    }
}
