//! What a command may use up, in each tier, with control groups where they can be made and without.

mod lab;

use std::sync::Arc;
use std::time::Duration;

use lab::wait::Stretch;
use lab::{LIMITS, Lab, Outcome, again_as_ordinary_user, again_in_bubblewrap, finish};
use tenure_sandbox::{Backend, Command, End, Tier};

const MIB: u64 = 1 << 20;
/// How long after its limit a command may live on.
const LATE: Duration = Duration::from_secs(1);
/// What a watchdog may see too late: it looks every ten milliseconds, and memory is written at a few
/// gigabytes a second.
const OVERSHOOT: u64 = 160 * MIB;
/// What is written in a millisecond in which the watchdog should have looked and had no processor.
const WRITTEN_PER_MILLI: u64 = 4 * MIB;

struct Bench<'a> {
    lab: &'a Lab,
    tier: Tier,
    backend: Arc<dyn Backend>,
}

impl Bench<'_> {
    fn command(&self, args: &[&str]) -> Command {
        self.lab.probe(self.tier, args)
    }

    fn run(&self, args: &[&str], change: impl FnOnce(&mut Command)) -> Outcome {
        let mut command = self.command(args);
        change(&mut command);
        finish(&*self.backend, &command)
    }

    /// Whether temporary files lie in a directory of the host's, which is watched.
    fn is_tmp_watched(&self) -> bool {
        self.tier == Tier::Landlock || self.lab.bubblewrap.is_some()
    }

    /// Where temporary files go.
    fn tmp(&self) -> String {
        let mut command = self.command(&["environment"]);
        command.argv = ["sh", "-c", "echo $TMPDIR"].map(str::to_owned).into();
        finish(&*self.backend, &command).out
    }
}

fn each(tier: Tier, check: impl Fn(&Bench<'_>)) {
    let lab = Lab::new();
    check(&Bench { lab: &lab, tier, backend: lab.backend(tier) });
    let watched = lab.survey(tier).without_cgroups().exactly(tier).expect("the same tier");
    check(&Bench { lab: &lab, tier, backend: watched });
}

/// Rows 1 and 2.
fn processes(bench: &Bench<'_>) {
    for probe in ["forks", "threads"] {
        let outcome = bench.run(&[probe], |_| ());
        assert!(outcome.out.ends_with(" EAGAIN"), "{probe}: {}", outcome.line());
        assert!(outcome.number() <= u64::from(LIMITS.processes), "{probe}: {}", outcome.line());
        // Without namespaces an ordinary user shares the limit with what else it runs.
        if bench.tier != Tier::Landlock || lab::is_root() {
            assert!(outcome.number() >= 20, "{probe}: {}", outcome.line());
        }
    }
}

/// Rows 3 and 4, and files without a name.
fn memory(bench: &Bench<'_>) {
    for args in [&["memory", "1"][..], &["memory", "6"], &["memfds"]] {
        let stretch = Stretch::begin();
        let outcome = bench.run(args, |_| ());
        let late = u64::try_from(stretch.stalled().as_millis()).expect("not that long");
        let shown = format!("{args:?}: {} {}", outcome.line(), outcome.report.memory_peak_bytes / MIB);
        let is_refused = outcome.report.end == End::Exited(0)
            && outcome.out.ends_with("refused")
            && outcome.number() <= 64;
        assert!(outcome.report.end == End::MemoryLimit || is_refused, "{shown}");
        let most = LIMITS.memory_bytes + OVERSHOOT + late * WRITTEN_PER_MILLI;
        assert!(outcome.report.memory_peak_bytes <= most, "{shown}");
    }
}

/// Rows 5 to 9.
fn files(bench: &Bench<'_>) {
    let tmp = if bench.tier != Tier::Landlock { "/tmp".to_owned() } else { bench.tmp() };
    assert!(tmp.starts_with("/tmp"), "{tmp}");
    let unlimited = |command: &mut Command| {
        command.limits.memory_bytes = 512 * MIB;
        command.limits.file_bytes = 1024 * MIB;
        if bench.is_tmp_watched() {
            // Files on a disk take their time to be made.
            command.limits.tmp_bytes = 2 * MIB;
        }
    };
    // Every run has a directory of its own, so there the probe finds it itself.
    let in_tmp = |probe: &str| {
        let mut command = bench.command(&["environment"]);
        unlimited(&mut command);
        let program = command.argv[0].clone();
        command.argv = vec!["sh".into(), "-c".into(), format!("{program} {probe}")];
        finish(&*bench.backend, &command)
    };
    match bench.is_tmp_watched() {
        false => {
            assert_eq!(in_tmp("write $TMPDIR/full").line(), "16 ENOSPC");
            // gVisor takes as many as its memory holds.
            if bench.tier != Tier::Gvisor {
                let littered = in_tmp("many $TMPDIR 60000 0");
                let is_refused = littered.line().ends_with(" ENOSPC") && littered.number() < 20_000;
                assert!(is_refused, "{}", littered.line());
            }
        }
        true => {
            for probe in ["many $TMPDIR 40 1048576", "many $TMPDIR 60000 0"] {
                let outcome = in_tmp(probe);
                assert_eq!(outcome.report.end, End::DiskLimit, "{probe}: {}", outcome.line());
            }
            let is_left = bench.tier == Tier::Landlock && std::path::Path::new(&tmp).exists();
            assert!(!is_left, "temporary files are left behind");
        }
    }
    assert_eq!(bench.run(&["write", "huge"], |_| ()).line(), "8 EFBIG");
    assert_eq!(bench.run(&["sparse", "sparse"], |_| ()).line(), "EFBIG");
    for args in
        [["many", ".", "40", "1048576"], ["many", ".", "20000", "100"], ["unlinked", ".", "40", "1048576"]]
    {
        let outcome = bench.run(&args, |command| {
            command.limits.memory_bytes = 512 * MIB;
            command.limits.disk_bytes = 8 * MIB;
        });
        assert_eq!(outcome.report.end, End::DiskLimit, "{args:?} {}", outcome.line());
    }
}

/// Rows 10 to 13, and processor time.
fn time(bench: &Bench<'_>) {
    let wall = Duration::from_millis(300);
    for probe in ["spin", "sleep", "ignore", "stop"] {
        let stretch = Stretch::begin();
        let outcome = bench.run(&[probe], |command| command.limits.wall = wall);
        assert_eq!(outcome.report.end, End::WallLimit, "{probe}");
        assert!(outcome.report.wall >= wall, "{probe} {:?}", outcome.report.wall);
        stretch.assert_within(wall + LATE, probe);
    }
    for probe in ["spin", "spin-children"] {
        let cpu = Duration::from_millis(400);
        let stretch = Stretch::begin();
        let outcome = bench.run(&[probe], |command| command.limits.cpu = cpu);
        assert_eq!(outcome.report.end, End::CpuLimit, "{probe}");
        let used = outcome.report.cpu;
        // Whoever looks late because others run finds more used.
        assert!(used >= cpu && used < cpu + LATE + stretch.stalled(), "{probe}: {used:?}");
    }
}

/// Rows 14 and 15.
fn streams(bench: &Bench<'_>) {
    let outcome = bench.run(&["output", "197"], |_| ());
    let report = &outcome.report;
    assert_eq!((&report.end, report.output_truncated), (&End::Exited(0), true));
    assert_eq!(report.output_bytes, 197 * MIB + 1);
    assert_eq!(outcome.out.len() as u64, LIMITS.output_bytes);
    let outcome = bench.run(&["descriptors"], |_| ());
    assert_eq!(outcome.line(), format!("{} EMFILE", LIMITS.open_files - 3));
    // Each pipe holds at most a mebibyte, and takes two descriptors.
    let outcome = bench.run(&["pipes"], |_| ());
    assert!(outcome.number() <= u64::from(LIMITS.open_files) / 2, "{}", outcome.line());
}

#[test]
fn processes_in_namespaces() {
    each(Tier::Namespaces, processes);
}

#[test]
fn processes_under_landlock() {
    each(Tier::Landlock, processes);
}

#[test]
fn memory_in_namespaces() {
    each(Tier::Namespaces, memory);
}

#[test]
fn memory_under_landlock() {
    each(Tier::Landlock, memory);
}

#[test]
fn files_in_namespaces() {
    each(Tier::Namespaces, files);
}

#[test]
fn files_under_landlock() {
    each(Tier::Landlock, files);
}

#[test]
fn time_in_namespaces() {
    each(Tier::Namespaces, time);
}

#[test]
fn time_under_landlock() {
    each(Tier::Landlock, time);
}

#[test]
fn streams_in_namespaces() {
    each(Tier::Namespaces, streams);
}

#[test]
fn streams_under_landlock() {
    each(Tier::Landlock, streams);
}

#[test]
fn processes_in_gvisor() {
    each(Tier::Gvisor, processes);
}

#[test]
fn memory_in_gvisor() {
    each(Tier::Gvisor, memory);
}

#[test]
fn files_in_gvisor() {
    each(Tier::Gvisor, files);
}

#[test]
fn time_in_gvisor() {
    each(Tier::Gvisor, time);
}

#[test]
fn streams_in_gvisor() {
    each(Tier::Gvisor, streams);
}

#[test]
fn all_of_them_as_ordinary_user() {
    for test in [
        "processes_in_gvisor",
        "memory_in_gvisor",
        "files_in_gvisor",
        "time_in_gvisor",
        "streams_in_gvisor",
        "processes_in_namespaces",
        "processes_under_landlock",
        "memory_in_namespaces",
        "memory_under_landlock",
        "files_in_namespaces",
        "files_under_landlock",
        "time_in_namespaces",
        "time_under_landlock",
        "streams_in_namespaces",
        "streams_under_landlock",
    ] {
        again_as_ordinary_user(test);
    }
}

#[test]
fn all_of_them_by_bubblewrap() {
    for test in [
        "processes_in_namespaces",
        "memory_in_namespaces",
        "files_in_namespaces",
        "time_in_namespaces",
        "streams_in_namespaces",
    ] {
        again_in_bubblewrap(test);
    }
}
