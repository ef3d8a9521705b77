//! Starting, ending, and being ended: what is left over must be nothing.

mod lab;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use lab::wait::{PATIENCE, Stretch, until};
use lab::{
    Lab, again_as_ordinary_user, again_in_bubblewrap, again_in_gvisor, below, finish, processes_with, start,
};
use tenure_sandbox::{Command, End, ErrorKind, Network, Stdin, Tier, WORKSPACE};

/// Everything is dead by then.
const DEAD: Duration = Duration::from_secs(1);

/// Waits until the probe and what it left are there. Those of gVisor are its own, and no processes of the host;
/// what is one of the host's is there when a command has started.
fn await_processes(tier: Tier, token: &str, count: usize) {
    if tier != Tier::Gvisor {
        until(PATIENCE, "processes", || processes_with(token) == count);
    }
}

fn is_alive(process: &lab::HostProcess) -> bool {
    lab::look(process.pid).is_some_and(|now| now.started == process.started)
}

/// Row 48.
fn daemons() {
    let lab = Lab::new();
    for &tier in lab::tiers() {
        let token = format!("token-daemon-{tier}-{}", std::process::id());
        assert_eq!(lab.run(tier, &["daemon", &token]).line(), "left", "{tier}");
        // The report is made when nothing is left.
        assert_eq!(processes_with(&token), 0, "{tier}");
    }
}

/// Row 49: the server is killed, as the program `tenure-sandbox run` is here.
fn server_killed() {
    let lab = Lab::new();
    for &tier in lab::tiers() {
        let token = format!("token-server-{tier}-{}", std::process::id());
        let workspace = lab.path(&format!("server-{tier}"));
        fs::create_dir(&workspace).expect("made");
        let program = lab.path("bin/hostile");
        let mut server = Process::new(lab.path("bin/tenure-sandbox"))
            .args(["run", "--tier", &tier.to_string(), "--workspace", &workspace])
            .args(lab.bubblewrap.iter().flat_map(|program| ["--bubblewrap".as_ref(), program.as_os_str()]))
            .args(["--read-only", &lab.path("bin"), "--", &program, "persist", &token])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut said = [0; 4];
        server.stdout.take().expect("piped").read_exact(&mut said).expect("said");
        assert_eq!(&said, b"left");
        // The program, what it left, and the server whose arguments name them.
        await_processes(tier, &token, 3);
        let before = below(server.id());
        assert!(before.len() >= 2, "{tier}: {before:?}");
        server.kill().expect("killed");
        server.wait().expect("waited");
        until(DEAD, "the end of everything", || processes_with(&token) == 0 && !before.iter().any(is_alive));
    }
}

/// The supervisor is killed, from outside: a command may not.
fn supervisor_killed() {
    let lab = Lab::new();
    let tier = lab::tiers()[0];
    let token = format!("token-supervisor-{}", std::process::id());
    let backend = lab.backend(tier);
    let (running, _) = start(&*backend, &lab.probe(tier, &["persist", &token]));
    await_processes(tier, &token, 2);
    let own = std::process::id();
    let before: Vec<_> = below(own).into_iter().filter(|process| process.pid != lab.victim_pid()).collect();
    let supervisors = fs::read_dir("/proc").expect("listed").flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let words = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()?;
        let is_one = parent == own && words.contains("supervise");
        is_one.then(|| entry.file_name().to_str()?.parse::<i32>().ok())?
    });
    for supervisor in supervisors {
        let pid = rustix::process::Pid::from_raw(supervisor).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    }
    let report = running.wait();
    assert!(matches!(report.end, End::Lost(_)), "{:?}", report.end);
    // Where other tests run beside this one, what is theirs is not looked at.
    let is_left = || tier == Tier::Gvisor && before.iter().any(is_alive);
    until(DEAD, "the end of everything", || processes_with(&token) == 0 && !is_left());
}

fn cancelled_and_dropped() {
    let lab = Lab::new();
    for &tier in lab::tiers() {
        let token = format!("token-cancel-{tier}-{}", std::process::id());
        let backend = lab.backend(tier);
        let (running, _) = start(&*backend, &lab.probe(tier, &["persist", &token]));
        let killer = running.killer();
        await_processes(tier, &token, 2);
        let waiting = std::thread::spawn(move || running.wait());
        let stretch = Stretch::begin();
        killer.kill();
        killer.clone().kill();
        assert_eq!(waiting.join().expect("joined").end, End::Cancelled, "{tier}");
        stretch.assert_within(DEAD, &format!("{tier}: the end after a cancellation"));
        assert_eq!(processes_with(&token), 0, "{tier}");
        killer.kill();

        let (running, _) = start(&*backend, &lab.probe(tier, &["persist", &token]));
        await_processes(tier, &token, 2);
        let kept = running.killer();
        drop(running);
        assert_eq!(processes_with(&token), 0, "{tier}");
        drop(kept);
    }
}

/// Rows 47, 52 to 54, and the ordinary things.
fn ordinary() {
    let lab = Lab::new();
    let leaked = fs::File::open("/etc/passwd").expect("opened");
    lab::leak(&leaked);
    for &tier in lab::tiers() {
        let backend = lab.backend(tier);
        let shell = |script: &str, change: &dyn Fn(&mut Command)| {
            let mut command = lab.probe(tier, &[]);
            command.argv = ["sh", "-c", script].map(str::to_owned).into();
            change(&mut command);
            let workspace = command.files.workspace.clone();
            (finish(&*backend, &command), workspace)
        };
        let mut command = lab.probe(tier, &["environment"]);
        command.env.insert("GIVEN".to_owned(), "value".to_owned());
        let words = finish(&*backend, &command).out;
        let names: Vec<_> = words.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert_eq!(names, ["GIVEN", "HOME", "LANG", "PATH", "TMPDIR"], "{tier}");
        assert_eq!(lab.run(tier, &["inherited"]).line(), "0 1 2", "{tier}");

        let dumping = lab.probe(tier, &["abort"]);
        assert_eq!(finish(&*backend, &dumping).report.end, End::Signalled(6));
        assert_eq!(fs::read_dir(&dumping.files.workspace).expect("listed").count(), 0, "{tier}: a dump");

        let (outcome, workspace) = shell("cat > got; echo err >&2; exit 3", &|command| {
            command.stdin = Stdin::Bytes(b"given".to_vec());
        });
        assert_eq!(outcome.line(), "err [exited with 3]");
        assert_eq!(fs::read_to_string(workspace.join("got")).expect("read"), "given");
        assert_eq!(shell("cat", &|_| ()).0.line(), "");
        // They are found through `/proc`.
        if backend.isolation().proc {
            for stream in ["stdout", "stderr"] {
                let (outcome, _) = shell(&format!("echo said > /dev/{stream}"), &|_| ());
                assert_eq!(outcome.line(), "said", "{stream}");
            }
        }
        let (outcome, _) = shell("mkdir below; cd below; pwd", &|_| ());
        assert!(outcome.out.ends_with("/below"), "{tier} {}", outcome.line());

        for (argv, end) in [
            ("no-such-program", "`no-such-program`: no such program in `PATH`"),
            ("/no/such", "`/no/such`: No such file or directory (os error 2)"),
        ] {
            let mut command = lab.probe(tier, &[]);
            command.argv = vec![argv.to_owned()];
            let ended = finish(&*backend, &command).report.end;
            assert_eq!(ended, End::NotExecuted(end.to_owned()), "{tier}");
        }
        let mut command = lab.probe(tier, &["whoami"]);
        command.cwd = PathBuf::from(WORKSPACE).join("absent");
        let end = finish(&*backend, &command).report.end;
        assert!(matches!(&end, End::NotExecuted(why) if why.contains("`cwd`")), "{end:?}");
    }
}

/// A file that root left with the set-user-id bit gives nothing.
fn set_user_id() {
    let lab = Lab::new();
    let copy = lab.path("bin/setuid");
    fs::copy(lab.path("bin/hostile"), &copy).expect("copied");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("set");
    for &tier in lab::tiers() {
        let mut command = lab.probe(tier, &["whoami"]);
        command.argv[0] = command.argv[0].replace("hostile", "setuid");
        let outcome = finish(&*lab.backend(tier), &command);
        let inside = match tier {
            Tier::Gvisor | Tier::Namespaces => lab.user_inside(tier),
            Tier::Landlock => outcome.report.isolation.host_uid,
        };
        assert_eq!(outcome.line(), format!("{inside} {inside}"), "{tier}");
        assert_ne!(outcome.report.isolation.host_uid, 0, "{tier}");
    }
}

fn network() {
    let mut lab = Lab::new();
    let tier = lab::tiers()[0];
    let backend = lab.backend(tier);
    let socket = lab.path("proxy");
    let proxy = UnixListener::bind(&socket).expect("bound");
    let answering = std::thread::spawn(move || {
        let (mut connection, _) = proxy.accept().expect("accepted");
        let mut said = String::new();
        connection.read_to_string(&mut said).expect("read");
        connection.write_all(format!("{said}, answered").as_bytes()).expect("written");
    });
    let mut command = lab.probe(tier, &["proxy", "asked"]);
    command.network = Network::Restricted { proxy_socket: socket.into() };
    assert_eq!(finish(&*backend, &command).line(), "asked, answered");
    answering.join().expect("joined");
    // Nothing else is there, and without the proxy not even that.
    command.argv = lab.probe(tier, &["outside"]).argv;
    assert_eq!(finish(&*backend, &command).line(), "ENETUNREACH");
    assert_eq!(lab.run(tier, &["proxy", "asked"]).line(), "ECONNREFUSED");
    lab.assert_untouched("restricted");

    // The host's network, with its ports, and yet none of its Unix sockets.
    let paths = [lab.path("stream"), lab.path("datagram"), lab::abstract_name()];
    let mut command = lab.probe(tier, &["unix", &paths[0], &paths[1], &paths[2]]);
    command.network = Network::Enabled;
    // Names without a path belong to a network; gVisor keeps its own of both.
    let by_name = if tier == Tier::Gvisor { "ECONNREFUSED" } else { "EPERM" };
    assert_eq!(finish(&*backend, &command).line(), format!("ENOENT ENOENT ENOENT ENOENT {by_name}"));
    lab.assert_untouched("enabled");
    command.argv = lab.probe(tier, &["bind", &lab.port.to_string()]).argv;
    assert_eq!(finish(&*backend, &command).line(), "EADDRINUSE");

    for network in [Network::Enabled, Network::Restricted { proxy_socket: "/tmp/x".into() }] {
        let mut command = lab.probe(Tier::Landlock, &["whoami"]);
        command.network = network;
        let refused = lab.backend(Tier::Landlock).start(&command, Box::new(|_, _| ()));
        let refused = refused.err().expect("refused");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(refused.to_string(), "tier `landlock` has no network at all");
        assert!(refused.remedy().expect("a remedy").contains("user namespaces"));
    }
}

/// Row 80: inside a sandbox no other can be made, which the canary says.
fn refused() {
    let lab = Lab::new();
    let mut command = lab.probe(Tier::Landlock, &[]);
    command.argv = vec![lab.path("bin/tenure-sandbox"), "survey".to_owned()];
    let said = finish(&*lab.backend(Tier::Landlock), &command).out;
    let line = said.lines().find(|line| line.starts_with("namespaces")).expect("a finding");
    assert!(line.contains("refused: ") && said.contains("remedy: "), "{said}");

    let launcher = tenure_sandbox::LauncherPath { program: "/bin/true".into(), args: Vec::new() };
    let error = tenure_sandbox::survey(&launcher).choose(Tier::Landlock).err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::Isolation);
    assert!(error.to_string().contains("`/bin/true`"), "{error}");
}

/// Row 79, as far as it is the sandbox's: many at once, each with a user of its own, and nothing left.
fn many() {
    let lab = Lab::new();
    for &tier in lab::tiers() {
        let backend = lab.backend(tier);
        // Each of gVisor's is a kernel that starts.
        let count = if tier == Tier::Gvisor { 8 } else { 24 };
        let users = std::thread::scope(|scope| {
            let one = || {
                let outcome = finish(&*backend, &lab.probe(tier, &["whoami"]));
                assert_eq!(outcome.report.end, End::Exited(0), "{}", outcome.line());
                outcome.report.isolation.host_uid
            };
            let started: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
            let users = started.into_iter().map(|thread| thread.join().expect("joined"));
            users.collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(users.len(), if lab::is_root() { count } else { 1 }, "{tier}");
    }
}

/// Where a part of `/proc` is covered, as containers do, no fresh one may be mounted; the first tier goes on
/// without.
fn without_proc() {
    let lab = Lab::new();
    let token = format!("token-proc-{}", std::process::id());
    let (bin, hostile) = (lab.path("bin"), lab.path("bin/hostile"));
    let run = |name: &str, args: &[&str]| {
        let workspace = lab.path(name);
        fs::create_dir(&workspace).expect("made");
        let mut outside = Process::new("unshare");
        if !lab::is_root() {
            outside.arg("--map-root-user");
        }
        let script = "mount -t tmpfs none /proc/sys && exec \"$@\"";
        outside.args([
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            &lab.path("bin/tenure-sandbox"),
            "run",
            "--report",
        ]);
        outside.args([
            "--tier",
            "namespaces",
            "--workspace",
            &workspace,
            "--read-only",
            &bin,
            "--",
            &hostile,
        ]);
        let output = outside.args(args).output().expect("runs");
        let reported = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(reported.contains(", no /proc, "), "{reported}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(run("listing", &["listed"]), "ENOENT");
    assert_eq!(run("reading", &["read", "/proc/self/status", &lab.path("secret")]), "ENOENT");
    assert_eq!(run("leaving", &["daemon", &token]), "left");
    assert_eq!(processes_with(&token), 0);
}

macro_rules! both {
    ($($name:ident, $again:ident: $check:ident;)*) => { $(
        #[test]
        fn $name() {
            $check();
        }

        #[test]
        fn $again() {
            again_as_ordinary_user(stringify!($name));
        }
    )* };
}

both! {
    daemons_die, daemons_die_as_ordinary_user: daemons;
    all_die_with_the_server, all_die_with_the_server_as_ordinary_user: server_killed;
    all_die_with_the_supervisor, all_die_with_the_supervisor_as_ordinary_user: supervisor_killed;
    all_die_when_cancelled, all_die_when_cancelled_as_ordinary_user: cancelled_and_dropped;
    ordinary_programs_run, ordinary_programs_run_as_ordinary_user: ordinary;
    set_user_id_gives_nothing, set_user_id_gives_nothing_as_ordinary_user: set_user_id;
    network_is_what_is_declared, network_is_what_is_declared_as_ordinary_user: network;
    refusals_say_why, refusals_say_why_as_ordinary_user: refused;
    works_without_proc, works_without_proc_as_ordinary_user: without_proc;
    gvisor_that_never_starts_dies, gvisor_that_never_starts_dies_as_ordinary_user: server_killed_early;
    many_at_once, many_at_once_as_ordinary_user: many;
}

#[test]
fn all_of_them_by_bubblewrap() {
    for test in [
        "daemons_die",
        "all_die_with_the_server",
        "all_die_with_the_supervisor",
        "all_die_when_cancelled",
        "ordinary_programs_run",
        "network_is_what_is_declared",
        "many_at_once",
    ] {
        again_in_bubblewrap(test);
    }
}

#[test]
fn all_of_them_by_gvisor() {
    for test in [
        "daemons_die",
        "all_die_with_the_server",
        "all_die_with_the_supervisor",
        "all_die_when_cancelled",
        "ordinary_programs_run",
        "network_is_what_is_declared",
        "many_at_once",
    ] {
        again_in_gvisor(test);
    }
}

/// The server is killed before gVisor has started, here one that never does.
fn server_killed_early() {
    let lab = Lab::new();
    let (runsc, workspace) = (lab.path("bin/runsc"), lab.path("early"));
    fs::write(&runsc, "#!/bin/sh\nexec sleep 1000\n").expect("written");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&runsc, fs::Permissions::from_mode(0o755)).expect("set");
    fs::create_dir(&workspace).expect("made");
    let mut server = Process::new(lab.path("bin/tenure-sandbox"))
        .args(["run", "--runsc", &runsc, "--workspace", &workspace, "--", "true"])
        .spawn()
        .expect("starts");
    let is_sleep = |process: &lab::HostProcess| {
        fs::read(format!("/proc/{}/cmdline", process.pid)).is_ok_and(|words| words.starts_with(b"sleep"))
    };
    until(PATIENCE, "a gVisor that sleeps", || below(server.id()).iter().any(is_sleep));
    let before = below(server.id());
    server.kill().expect("killed");
    server.wait().expect("waited");
    until(DEAD, "the end of everything", || !before.iter().any(is_alive));
}

/// What its canary meets is said, and it is never the answer to a weaker demand.
#[test]
fn gvisor_is_refused_with_what_it_said() {
    let lab = Lab::new();
    let launcher = lab.launcher();
    let survey = |program: &str| tenure_sandbox::survey_gvisor_at(launcher, program.as_ref());
    for (program, finding) in [
        ("/bin/false", "with ptrace: running gVisor failed"),
        ("/bin/cat", "with ptrace: running gVisor failed: /.runsc: unrecognized option '--root="),
        ("/no/runsc", "showing `/no/runsc` inside failed: No such file or directory"),
    ] {
        let error = survey(program).choose(Tier::Gvisor).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Isolation);
        assert!(error.to_string().contains(finding), "{error}");
        assert!(error.remedy().expect("a remedy").contains("namespaces"));
    }
    let weaker = lab.survey(Tier::Namespaces).choose(Tier::Landlock).expect("some isolation");
    assert_ne!(weaker.isolation().tier, Tier::Gvisor);
    let stronger = lab.survey(Tier::Namespaces).choose(Tier::Gvisor).err().expect("not looked for");
    assert_eq!(stronger.kind(), ErrorKind::Isolation);
}

/// Root makes namespaces itself; what is refused to it is refused to bubblewrap as well.
#[test]
fn bubblewrap_is_for_ordinary_users() {
    let lab = Lab::new();
    let survey = tenure_sandbox::survey_bubblewrap(lab.launcher(), "/bin/false".as_ref());
    let error = survey.exactly(Tier::Namespaces).err().expect("refused").to_string();
    let expected = if lab::is_root() { "being an ordinary user" } else { "waiting for bubblewrap" };
    assert!(error.contains(expected), "{error}");
}
