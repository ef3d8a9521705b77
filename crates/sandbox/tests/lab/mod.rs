//! A host with everything planted that a hostile program could want, and a way to run one in each tier.
#![allow(dead_code)]

pub(crate) mod wait;

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
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tenure_sandbox::{
    Backend, Command, End, LauncherPath, Limits, Report, Running, Stream, Survey, Tier, survey,
    survey_bubblewrap,
};

/// An ordinary user that owns nothing.
const NOBODY: u32 = 65_534;
/// Another one for what bubblewrap builds: without namespaces all that a user runs shares one limit of processes.
const SOMEBODY: u32 = 65_533;
/// Says to a test that it was started again as an ordinary user.
const AGAIN: &str = "TENURE_SANDBOX_TEST_DIRECTORY";
/// Says to a test that bubblewrap is to build its namespaces, and which.
const BY_BUBBLEWRAP: &str = "TENURE_SANDBOX_TEST_BUBBLEWRAP";
/// Names a bubblewrap to test with in place of the one in `PATH`.
const BUBBLEWRAP: &str = "TENURE_TEST_BWRAP";
const MIB: u64 = 1 << 20;

/// Small, so that a bomb is over soon.
pub(crate) const LIMITS: Limits = Limits {
    wall: Duration::from_secs(20),
    cpu: Duration::from_secs(20),
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
    pub(crate) survey: Survey,
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
            fs::copy(from, bin.join(name)).expect("copied");
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

    pub(crate) fn victim(&self) -> String {
        self.victim.id().to_string()
    }

    pub(crate) fn backend(&self, tier: Tier) -> Arc<dyn Backend> {
        self.survey.exactly(tier).unwrap_or_else(|error| panic!("{error}\n{}", self.survey))
    }

    /// A command that runs a probe in a workspace of its own.
    pub(crate) fn probe(&self, tier: Tier, args: &[&str]) -> Command {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let workspace = self.directory.path().join(format!("workspace-{number}"));
        fs::create_dir(&workspace).expect("made");
        let bin = self.directory.path().join("bin");
        let inside = match tier {
            Tier::Namespaces => PathBuf::from("/probe"),
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

/// Runs a test of this file again as an ordinary user, whole; where the tests are run by one, that is what
/// the test itself already does.
pub(crate) fn again_as_ordinary_user(test: &str) {
    if is_root() {
        again(test, None);
    }
}

/// Runs a test of this file again as an ordinary user, whole, with namespaces that bubblewrap builds.
pub(crate) fn again_in_bubblewrap(test: &str) {
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|directory| directory.join("bwrap")).find(|found| found.is_file())
    };
    let program = std::env::var_os(BUBBLEWRAP).map(PathBuf::from).or_else(in_path);
    again(test, Some(&program.expect("bubblewrap, which `cargo xtask test` installs")));
}

fn again(test: &str, bubblewrap: Option<&Path>) {
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
    let user = match bubblewrap {
        None => NOBODY,
        Some(program) => {
            again.env(BY_BUBBLEWRAP, program);
            SOMEBODY
        }
    };
    if is_root() {
        again.uid(user).gid(user);
    }
    let output = again.output().expect("runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "as an ordinary user:\n{text}");
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

/// Lets a descriptor be inherited, as a careless library does.
pub(crate) fn leak(file: &fs::File) {
    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).expect("set");
    assert!(file.as_raw_fd() > 2);
}
