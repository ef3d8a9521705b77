//! The last steps of the process that becomes the command.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::canary;
use super::init::{NONE, Status};
use super::seccomp::Filters;
use crate::command::{Limits, PATH, WORKSPACE};
use crate::report::Tier;
use crate::spec::Spec;
use crate::{sys, wire};

/// Becomes the command. What goes wrong from here on is the command's own: it is told as `NotExecuted`.
pub(crate) fn become_it(spec: &Spec, filters: &Filters, status: impl AsFd) -> ! {
    let why = match prepare(spec, filters) {
        Ok(()) => match &spec.canary {
            Some(bait) => std::process::exit(canary::probe(spec, bait)),
            None => execute(spec),
        },
        Err(why) => why,
    };
    let _ = wire::tell(status, &Status::NotExecuted { why }, NONE);
    std::process::exit(127)
}

/// Gives the standard streams up, so that output ends with the command.
pub(crate) fn release_output() {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

fn prepare(spec: &Spec, filters: &Filters) -> Result<(), String> {
    sys::begin_session();
    sys::default_signals();
    if let Some(user) = spec.user {
        sys::become_user(user, user, sys::Groups::Drop)
            .and_then(|()| sys::drop_capabilities())
            .map_err(|error| format!("becoming the command's user: {error}"))?;
    }
    let cwd = cwd(spec);
    rustix::process::chdir(&cwd).map_err(|error| format!("`cwd` `{}`: {error}", spec.cwd.display()))?;
    limits(spec).map_err(|error| format!("setting limits: {error}"))?;
    filters.install().map_err(|error| format!("installing the system call filter: {error}"))
}

/// Where the workspace is for the command itself.
pub(crate) fn workspace(spec: &Spec) -> &Path {
    match spec.tier {
        Tier::Gvisor | Tier::Namespaces => Path::new(WORKSPACE),
        Tier::Landlock => &spec.workspace,
    }
}

fn cwd(spec: &Spec) -> PathBuf {
    let below = spec.cwd.strip_prefix(WORKSPACE).unwrap_or(Path::new(""));
    if below.as_os_str().is_empty() { workspace(spec).to_owned() } else { workspace(spec).join(below) }
}

/// Resource limits, which nothing inside can raise.
fn limits(spec: &Spec) -> rustix::io::Result<()> {
    let Limits { cpu, memory_bytes, processes, file_bytes, open_files, .. } = spec.limits;
    // Init counts among its own, unless the command became another user.
    let processes = match (spec.tier, spec.user) {
        (Tier::Gvisor | Tier::Namespaces, None) => u64::from(processes) + 1,
        (Tier::Gvisor | Tier::Namespaces, Some(_)) | (Tier::Landlock, _) => u64::from(processes),
    };
    let mut set = vec![
        (Resource::Nproc, processes),
        (Resource::Fsize, file_bytes),
        (Resource::Nofile, u64::from(open_files)),
        // One byte: too little for a file, and the value at which no handler of dumps is run either.
        (Resource::Core, 1),
        (Resource::Memlock, 0),
    ];
    match spec.tier {
        // Nobody may set them inside, so they are part of its bundle.
        // And it counts as used what a process waited for on a busy host.
        Tier::Gvisor => {}
        Tier::Namespaces | Tier::Landlock => {
            set.extend([(Resource::Msgqueue, 0), (Resource::Nice, 0), (Resource::Rtprio, 0)]);
            set.push((Resource::Cpu, cpu.as_secs() + 1));
        }
    }
    if spec.cgroup.is_none() {
        // Reserved address space costs nothing and some language runtimes reserve a lot; this counts what
        // can be written to.
        set.push((Resource::Data, memory_bytes));
    }
    for (resource, value) in set {
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    }
    Ok(())
}

fn execute(spec: &Spec) -> String {
    let env = environment(spec);
    let name = &spec.argv[0];
    let words = |words: &mut dyn Iterator<Item = String>| -> Vec<CString> {
        words.filter_map(|word| CString::new(word).ok()).collect()
    };
    let argv = words(&mut spec.argv.iter().cloned());
    let path = env.get("PATH").map_or(PATH, String::as_str);
    let env = words(&mut env.iter().map(|(name, value)| format!("{name}={value}")));
    let candidates: Vec<PathBuf> = match name.contains('/') {
        true => vec![PathBuf::from(name)],
        false => std::env::split_paths(path).map(|directory| directory.join(name)).collect(),
    };
    for candidate in candidates {
        let is_program = std::fs::metadata(&candidate)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        let Some(candidate) = candidate.to_str().and_then(|path| CString::new(path).ok()) else { continue };
        if is_program || name.contains('/') {
            return format!("`{name}`: {}", sys::execute(&candidate, &argv, &env));
        }
    }
    format!("`{name}`: no such program in `PATH`")
}

fn environment(spec: &Spec) -> BTreeMap<String, String> {
    let home = workspace(spec).display().to_string();
    let tmp = match (spec.tier, &spec.tmp) {
        (Tier::Landlock, Some(tmp)) => tmp.display().to_string(),
        (Tier::Landlock | Tier::Namespaces | Tier::Gvisor, _) => "/tmp".to_owned(),
    };
    let own = [("PATH", PATH.to_owned()), ("HOME", home), ("LANG", "C.UTF-8".to_owned()), ("TMPDIR", tmp)];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    own.into_iter().chain(spec.env.clone()).collect()
}
