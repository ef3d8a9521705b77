//! A host with everything planted that a hostile program could want, and a way to run one in each tier.
#![allow(dead_code)]

pub(crate) mod wait;

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use tenure_sandbox::{
    Backend, Command, End, LauncherPath, Limits, Report, Running, Stream, Survey, Tier, survey,
    survey_bubblewrap, survey_gvisor,
};

/// An ordinary user that owns nothing.
const NOBODY: u32 = 65_534;
/// Another one for what bubblewrap builds: without namespaces all that a user runs shares one limit of processes.
const SOMEBODY: u32 = 65_533;
/// And one for gVisor.
const ANYBODY: u32 = 65_532;
/// Says to a test that it was started again as an ordinary user.
const AGAIN: &str = "TENURE_SANDBOX_TEST_DIRECTORY";
/// Says to a test that bubblewrap is to build its namespaces, and which.
const BY_BUBBLEWRAP: &str = "TENURE_SANDBOX_TEST_BUBBLEWRAP";
/// Names a bubblewrap to test with in place of the one in `PATH`.
const BUBBLEWRAP: &str = "TENURE_TEST_BWRAP";
/// Says to a test that it is about gVisor.
const BY_GVISOR: &str = "TENURE_SANDBOX_TEST_GVISOR";
const MIB: u64 = 1 << 20;

/// Small, so that a bomb is over soon; but for time, which is for tests that hang.
pub(crate) const LIMITS: Limits = Limits {
    wall: Duration::from_secs(60),
    cpu: Duration::from_secs(60),
    memory_bytes: 64 * MIB,
    processes: 32,
    file_bytes: 8 * MIB,
    disk_bytes: 32 * MIB,
    tmp_bytes: 16 * MIB,
    open_files: 64,
    output_bytes: MIB,
};

pub(crate) struct Lab {
    pub(crate) directory: TempDir,
    survey: Survey,
    /// Looked for when a test wants it: most do not.
    gvisor: OnceLock<Survey>,
    launcher: LauncherPath,
    pub(crate) port: u16,
    victim: Child,
    tcp: TcpListener,
    stream: UnixListener,
    datagram: UnixDatagram,
    by_name: UnixListener,
    count: AtomicU32,
    /// What builds the namespaces, if not this crate.
    pub(crate) bubblewrap: Option<PathBuf>,
}

/// What came of one program.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) out: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("sandbox-lab-").tempdir_in("/tmp").expect("a directory");
        let path = directory.path();
        open_up(path);
        let bin = path.join("bin");
        fs::create_dir(&bin).expect("made");
        open_up(&bin);
        for (name, from) in [
            ("tenure-sandbox", env!("CARGO_BIN_EXE_tenure-sandbox")),
            ("hostile", env!("CARGO_BIN_EXE_tenure-sandbox-hostile")),
        ] {
            // Where an ordinary user may not reach the build, the first of the two copied it.
            let from =
                std::env::var_os(AGAIN).map_or(PathBuf::from(from), |first| Path::new(&first).join(name));
            // By another process: a copy that this one has open for writing is busy in whatever a test beside it
            // forks just then.
            let copied = Process::new("cp").arg("--").args([from, bin.join(name)]).status().expect("cp runs");
            assert!(copied.success(), "copied");
            open_up(&bin.join(name));
        }
        let secret = path.join("secret");
        fs::write(&secret, "secret").expect("written");
        fs::set_permissions(&secret, Permissions::from_mode(0o644)).expect("set");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = UnixListener::bind(path.join("stream")).expect("a socket");
        let datagram = UnixDatagram::bind(path.join("datagram")).expect("a socket");
        let name = SocketAddr::from_abstract_name(abstract_name()).expect("a name");
        let by_name = UnixListener::bind_addr(&name).expect("a socket");
        for socket in ["stream", "datagram"] {
            fs::set_permissions(path.join(socket), Permissions::from_mode(0o777)).expect("set");
        }
        tcp.set_nonblocking(true).expect("set");
        stream.set_nonblocking(true).expect("set");
        datagram.set_nonblocking(true).expect("set");
        by_name.set_nonblocking(true).expect("set");
        let victim =
            Process::new(bin.join("hostile")).arg("sleep").process_group(0).spawn().expect("a victim");
        let launcher =
            LauncherPath { program: bin.join("tenure-sandbox"), args: vec!["supervise".to_owned()] };
        let bubblewrap = std::env::var_os(BY_BUBBLEWRAP).map(PathBuf::from);
        let survey = match &bubblewrap {
            None => survey(&launcher),
            Some(program) => survey_bubblewrap(&launcher, program),
        };
        Self {
            survey,
            gvisor: OnceLock::new(),
            launcher,
            bubblewrap,
            port: tcp.local_addr().expect("bound").port(),
            directory,
            victim,
            tcp,
            stream,
            datagram,
            by_name,
            count: AtomicU32::new(0),
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    pub(crate) fn victim_pid(&self) -> u32 {
        self.victim.id()
    }

    pub(crate) fn victim(&self) -> String {
        self.victim.id().to_string()
    }

    pub(crate) fn launcher(&self) -> &LauncherPath {
        &self.launcher
    }

    /// What was found of this tier, and perhaps of others.
    pub(crate) fn survey(&self, tier: Tier) -> &Survey {
        match tier {
            Tier::Gvisor => self.gvisor.get_or_init(|| survey_gvisor(&self.launcher)),
            Tier::Namespaces | Tier::Landlock => &self.survey,
        }
    }

    pub(crate) fn backend(&self, tier: Tier) -> Arc<dyn Backend> {
        let survey = self.survey(tier);
        survey.exactly(tier).unwrap_or_else(|error| panic!("{error}\n{survey}"))
    }

    /// Who a command is inside, where it has a view of its own.
    pub(crate) fn user_inside(&self, tier: Tier) -> u32 {
        // An ordinary user has nobody else to give to gVisor.
        if tier == Tier::Gvisor && !is_root() { 0 } else { 1000 }
    }

    /// A command that runs a probe in a workspace of its own.
    pub(crate) fn probe(&self, tier: Tier, args: &[&str]) -> Command {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let workspace = self.directory.path().join(format!("workspace-{number}"));
        fs::create_dir(&workspace).expect("made");
        let bin = self.directory.path().join("bin");
        let inside = match tier {
            Tier::Gvisor | Tier::Namespaces => PathBuf::from("/probe"),
            Tier::Landlock => bin.clone(),
        };
        let program = inside.join("hostile").display().to_string();
        let argv = std::iter::once(program).chain(args.iter().map(|arg| (*arg).to_owned())).collect();
        let mut command = Command::new(argv, workspace);
        command.files.read_only.push((bin, inside));
        command.limits = LIMITS;
        command
    }

    pub(crate) fn run(&self, tier: Tier, args: &[&str]) -> Outcome {
        finish(&*self.backend(tier), &self.probe(tier, args))
    }

    /// Nothing that was planted was touched.
    pub(crate) fn assert_untouched(&mut self, row: &str) {
        assert!(self.victim.try_wait().expect("waited").is_none(), "{row}: the victim is dead");
        for (what, reached) in [
            ("port", self.tcp.accept().map(drop)),
            ("stream", self.stream.accept().map(drop)),
            ("datagram", self.datagram.recv(&mut [0; 8]).map(drop)),
            ("abstract name", self.by_name.accept().map(drop)),
        ] {
            let error = reached.expect_err(what);
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{row}: {what}");
        }
        assert_eq!(fs::read_to_string(self.path("secret")).expect("read"), "secret", "{row}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        // What a probe closed is opened, so that the directory can go, whatever its owner is.
        for number in 0..self.count.load(Ordering::SeqCst) {
            let closed = self.directory.path().join(format!("workspace-{number}/closed"));
            let _ = fs::set_permissions(closed, Permissions::from_mode(0o700));
        }
    }
}

/// Starts a command and reads it to its end.
pub(crate) fn finish(backend: &dyn Backend, command: &Command) -> Outcome {
    let (running, said) = start(backend, command);
    let report = running.wait();
    let out = said.lock().expect("whole").clone();
    Outcome { report, out: String::from_utf8_lossy(&out).trim_end().to_owned() }
}

pub(crate) type Said = Arc<Mutex<Vec<u8>>>;

pub(crate) fn start(backend: &dyn Backend, command: &Command) -> (Running, Said) {
    let said = Said::default();
    let heard = Arc::clone(&said);
    let output = move |_: Stream, bytes: &[u8]| heard.lock().expect("whole").extend_from_slice(bytes);
    let running = backend.start(command, Box::new(output));
    (running.unwrap_or_else(|error| panic!("{error}")), said)
}

impl Outcome {
    /// What it said and how it ended, in one line.
    pub(crate) fn line(&self) -> String {
        let out = self.out.replace('\n', " / ");
        let end = &self.report.end;
        match (*end == End::Exited(0), out.is_empty()) {
            (true, _) => out,
            (false, true) => format!("[{end}]"),
            (false, false) => format!("{out} [{end}]"),
        }
    }

    /// The first number it said.
    pub(crate) fn number(&self) -> u64 {
        let word = self.out.split_whitespace().next().unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("no number: {}", self.line()))
    }
}

pub(crate) fn abstract_name() -> String {
    format!("tenure-sandbox-lab-{}-{:?}", std::process::id(), std::thread::current().id())
}

fn open_up(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("set");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a test is about, strongest first.
pub(crate) fn tiers() -> &'static [Tier] {
    match std::env::var_os(BY_GVISOR) {
        None => &[Tier::Namespaces, Tier::Landlock],
        Some(_) => &[Tier::Gvisor],
    }
}

/// Runs a test of this file again as an ordinary user, whole; where the tests are run by one, that is what
/// the test itself already does.
pub(crate) fn again_as_ordinary_user(test: &str) {
    if is_root() {
        again(test, &Again { user: NOBODY, variables: Vec::new() });
    }
}

/// Runs a test of this file again as an ordinary user, whole, with namespaces that bubblewrap builds.
pub(crate) fn again_in_bubblewrap(test: &str) {
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|directory| directory.join("bwrap")).find(|found| found.is_file())
    };
    let program = std::env::var_os(BUBBLEWRAP).map(PathBuf::from).or_else(in_path);
    let program = program.expect("bubblewrap, which `cargo xtask test` installs");
    again(test, &Again { user: SOMEBODY, variables: vec![(BY_BUBBLEWRAP, program.into())] });
}

/// Runs a test of this file again, whole, with gVisor, as root if this is root, and as an ordinary user.
pub(crate) fn again_in_gvisor(test: &str) {
    let users = if is_root() { &[0, ANYBODY][..] } else { &[ANYBODY] };
    for user in users {
        again(test, &Again { user: *user, variables: vec![(BY_GVISOR, "yes".into())] });
    }
}

struct Again {
    user: u32,
    variables: Vec<(&'static str, OsString)>,
}

fn again(test: &str, changed: &Again) {
    let directory =
        tempfile::Builder::new().prefix("sandbox-again-").tempdir_in("/tmp").expect("a directory");
    open_up(directory.path());
    let tests = std::env::current_exe().expect("known");
    for (name, from) in [
        ("tests", tests.as_path()),
        ("tenure-sandbox", Path::new(env!("CARGO_BIN_EXE_tenure-sandbox"))),
        ("hostile", Path::new(env!("CARGO_BIN_EXE_tenure-sandbox-hostile"))),
    ] {
        fs::copy(from, directory.path().join(name)).expect("copied");
        open_up(&directory.path().join(name));
    }
    let mut again = Process::new(directory.path().join("tests"));
    again.args([test, "--exact", "--nocapture"]);
    again.env(AGAIN, directory.path()).current_dir("/").stdin(Stdio::null());
    again.envs(changed.variables.iter().cloned());
    if is_root() {
        again.uid(changed.user).gid(changed.user);
    }
    let output = again.output().expect("runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "as user {}:\n{text}", changed.user);
}

/// Processes of the host whose arguments hold `token`, but for this one.
pub(crate) fn processes_with(token: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("listed").flatten();
    let own = std::process::id().to_string();
    let cmdlines = entries.filter(|entry| *entry.file_name() != *own).filter_map(|entry| {
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    });
    cmdlines.filter(|words| words.contains("hostile") && words.contains(token)).count()
}

/// A process of the host, which no later one with its number is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostProcess {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// In ticks since the host started.
    pub(crate) started: u64,
}

/// A process as it is now; none if it is gone, or dead and not yet buried.
pub(crate) fn look(pid: u32) -> Option<HostProcess> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let is_dead = matches!(fields.first(), Some(&"Z" | &"X"));
    let parent = u32::try_from(number(1)?).ok()?;
    (!is_dead).then_some(HostProcess { pid, parent, started: number(19)? })
}

/// Everything that descends from a process of the host.
pub(crate) fn below(root: u32) -> Vec<HostProcess> {
    let entries = fs::read_dir("/proc").expect("listed").flatten();
    let mut others: Vec<_> =
        entries.filter_map(|entry| look(entry.file_name().to_str()?.parse().ok()?)).collect();
    let mut found: Vec<HostProcess> = Vec::new();
    loop {
        let is_known = |pid: u32| pid == root || found.iter().any(|process| process.pid == pid);
        let (children, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|process| is_known(process.parent));
        if children.is_empty() {
            return found;
        }
        found.extend(children);
        others = rest;
    }
}

/// Lets a descriptor be inherited, as a careless library does.
pub(crate) fn leak(file: &fs::File) {
    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).expect("set");
    assert!(file.as_raw_fd() > 2);
}
