//! The attack table of `docs/sandbox.md`, row by row, in each tier, as whoever runs the tests and, if that
//! is root, as an ordinary user too. The expected answer is exact: a probe that fails for another reason
//! proves nothing.

mod lab;

use lab::{Lab, again_as_ordinary_user, again_in_bubblewrap};
use tenure_sandbox::Tier;

/// A row: what is run, then what it says in namespaces and under Landlock alone.
type Row<'a> = (&'a str, Vec<&'a str>, &'a str, &'a str);

fn rows<'a>(paths: &'a Paths) -> Vec<Row<'a>> {
    let Paths { secret, workspace, stream, datagram, name, port, victim } = paths;
    vec![
        ("16", vec!["raise-limits"], "EPERM", "EPERM"),
        ("17, 18", vec!["priority"], "EPERM EACCES EPERM", "EPERM EACCES EPERM"),
        ("21", there("read", &["/etc/shadow", "/root"]), "ENOENT", "EACCES"),
        ("22", there("read", &[secret, workspace, "/etc/passwd-", "/etc/hostname"]), "ENOENT", "EACCES"),
        ("23", vec!["create", "/usr/x", "/x", "/etc/x"], "EROFS", "EACCES"),
        ("24", vec!["links", secret], "ENOENT ENOENT EACCES ENOENT", "EACCES EACCES EACCES EACCES"),
        // Who does not own a file may not link to it even where it can be seen; who does meets Landlock.
        ("26", vec!["hard-links", secret, "/usr/bin/env"], "ENOENT EXDEV", "EPERM EPERM|EXDEV EPERM"),
        ("27", there("read", &ONE), "EACCES", "EACCES"),
        ("27", vec!["read", "/proc/self/root/etc/shadow"], "ENOENT", "EACCES"),
        ("28", vec!["listed"], "2", "EACCES"),
        ("29", there("open", &["/proc/sys/kernel/hostname", "/proc/sysrq-trigger"]), "ENOENT", "EACCES"),
        ("30", there("read", &MACHINE), "ENOENT", "EACCES"),
        ("31", vec!["devices"], "EACCES false EACCES false", "EACCES false EACCES false"),
        ("32", there("open", &DEVICES), "ENOENT", "EACCES"),
        ("20, 33, 36-40, 43", vec!["calls"], "EPERM", "EPERM"),
        ("34", vec!["namespaces"], "EPERM", "EPERM"),
        ("35", vec!["clone3"], "ENOSYS ENOSYS", "ENOSYS ENOSYS"),
        ("41", vec!["x32"], "EPERM", "EPERM"),
        ("42", vec!["int80"], "[ended by signal 31]", "[ended by signal 31]"),
        (
            "43",
            vec!["trace", victim],
            "EPERM EPERM EPERM EPERM ENOENT ENOENT",
            "EPERM EPERM EPERM EPERM EACCES EACCES",
        ),
        (
            "44",
            vec!["kill", victim],
            "ESRCH ESRCH ESRCH ESRCH ESRCH ESRCH",
            "EPERM EPERM EPERM EPERM EPERM EPERM",
        ),
        ("45", vec!["kill-all"], "alive", "alive"),
        ("46", vec!["kill-parent"], "alive", "alive"),
        ("47", vec!["kill-self"], "[ended by signal 9]", "[ended by signal 9]"),
        ("50", vec!["set-id"], "ENOSYS EPERM EPERM", "ENOSYS EPERM EPERM"),
        ("50, 51", vec!["privileges"], "EINVAL EPERM EINVAL", "EPERM EPERM EPERM"),
        ("55", vec!["terminal"], "EPERM EPERM EPERM true ENOENT", "EPERM EPERM EPERM true EACCES"),
        ("56", vec!["outside"], "ENETUNREACH", "EPERM"),
        ("57", vec!["tcp", port], "ECONNREFUSED ECONNREFUSED", "EPERM EPERM"),
        (
            "58-60",
            vec!["unix", stream, datagram, name],
            "ENOENT ENOENT ENOENT ENOENT ECONNREFUSED",
            "EPERM EPERM EPERM EPERM EPERM",
        ),
        ("61", vec!["families"], "EPERM", "EPERM"),
        ("62", vec!["bind", port], "ok", "EPERM"),
        ("63", vec!["odd"], "made", "made"),
        ("64", vec!["memfd-exec", "read", secret], "ENOENT", "EACCES"),
        ("64", vec!["memfd-exec", "namespaces"], "EPERM", "EPERM"),
        ("64", vec!["loader-exec", "read", secret], "ENOENT", "EACCES"),
        // The session is as usable as before.
        ("47", vec!["whoami"], "1000 1000", ""),
    ]
}

/// What gVisor's kernel answers where it is another answer than Linux gives in namespaces.
fn in_gvisor(row: &str, probe: &str, user: u32) -> Option<&'static str> {
    Some(match (row, probe, user) {
        // The supervisor alone limits processor time.
        ("16", "raise-limits", _) => "EPERM unlimited",
        // A number that means nothing to the host.
        ("17, 18", "priority", _) => "EPERM ok EPERM",
        // Who may not write is asked before what can be written to.
        ("23", "create", 0) => "EACCES EROFS",
        ("23", "create", _) => "EACCES",
        ("27", "read", _) => "EACCES ok|ENOENT",
        // What there is, is its own, and says of the host how much memory it has.
        ("29", "open", _) => "ok",
        ("30", "read", _) => "ENOENT ok",
        ("31", "devices", _) => "EPERM false EPERM false",
        ("32", "open", _) => "EIO ENOENT ok",
        // As a call of 64 bits, which goes through the list.
        ("42", "int80", _) => "-9",
        ("44", "kill", _) => "ESRCH ESRCH ESRCH ENOSYS ESRCH ESRCH",
        // Of an ordinary user it is a root that can do nothing, and everybody else is nobody to it.
        // Everything inside ends with the first process, perhaps before a word.
        ("46", "kill-parent", 0) => "alive [ended by signal 9]|[ended by signal 9]",
        ("47", "whoami", 0) => "0 0",
        ("50, 51", "privileges", 0) => "ok EOPNOTSUPP ok",
        ("50, 51", "privileges", _) => "EPERM EOPNOTSUPP EPERM",
        ("55", "terminal", _) => "EPERM EPERM EPERM true EIO",
        ("56", "outside", _) => "EHOSTUNREACH",
        (_, _, _) => return None,
    })
}

const ONE: [&str; 5] = ["/proc/1/root", "/proc/1/cwd", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps"];
const MACHINE: [&str; 7] = [
    "/proc/kcore",
    "/proc/kallsyms",
    "/proc/cmdline",
    "/proc/version",
    "/proc/config.gz",
    "/proc/meminfo",
    "/sys",
];
const DEVICES: [&str; 10] = [
    "/dev/mem",
    "/dev/kvm",
    "/dev/vda",
    "/dev/sda",
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/kmsg",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/console",
];

/// A probe of those paths that exist on the host: that others do not exist inside proves nothing.
fn there<'a>(probe: &'a str, paths: &[&'a str]) -> Vec<&'a str> {
    let there: Vec<_> = paths.iter().filter(|path| std::path::Path::new(path).exists()).copied().collect();
    assert!(!there.is_empty(), "the host has none of {paths:?}");
    [vec![probe], there].concat()
}

struct Paths {
    secret: String,
    workspace: String,
    stream: String,
    datagram: String,
    name: String,
    port: String,
    victim: String,
}

/// Every row is tried before the test fails, so that one run shows all that is wrong.
fn table(tier: Tier) {
    let mut lab = Lab::new();
    let paths = Paths {
        secret: lab.path("secret"),
        workspace: lab.path("another"),
        stream: lab.path("stream"),
        datagram: lab.path("datagram"),
        name: lab::abstract_name(),
        port: lab.port.to_string(),
        victim: lab.victim(),
    };
    // The workspace of another session.
    std::fs::create_dir(&paths.workspace).expect("made");
    let mut wrong = Vec::new();
    for (row, args, in_namespaces, under_landlock) in rows(&paths) {
        let said = lab.run(tier, &args).line();
        let expected = match (tier, &lab.bubblewrap, row) {
            // It gives no `/proc` of the sandbox's own, so nothing is there.
            (Tier::Namespaces, Some(_), "24") => "ENOENT ENOENT ENOENT ENOENT",
            (Tier::Namespaces, Some(_), "27" | "28") => "ENOENT",
            (Tier::Namespaces, _, _) => in_namespaces,
            (Tier::Gvisor, _, _) => in_gvisor(row, args[0], lab.user_inside(tier)).unwrap_or(in_namespaces),
            (Tier::Landlock, _, _) => under_landlock,
        };
        if !expected.split('|').any(|expected| said == expected) && !expected.is_empty() {
            wrong.push(format!("{row} {}: `{said}`, expected `{expected}`", args[0]));
        }
        lab.assert_untouched(row);
    }
    assert!(wrong.is_empty(), "{tier}\n{}", wrong.join("\n"));
}

#[test]
fn in_namespaces() {
    table(Tier::Namespaces);
}

#[test]
fn in_namespaces_as_ordinary_user() {
    again_as_ordinary_user("in_namespaces");
}

#[test]
fn in_namespaces_by_bubblewrap() {
    again_in_bubblewrap("in_namespaces");
}

#[test]
fn in_a_kernel_of_its_own() {
    table(Tier::Gvisor);
}

#[test]
fn in_a_kernel_of_its_own_as_ordinary_user() {
    again_as_ordinary_user("in_a_kernel_of_its_own");
}

#[test]
fn under_landlock() {
    table(Tier::Landlock);
}

#[test]
fn under_landlock_as_ordinary_user() {
    again_as_ordinary_user("under_landlock");
}
