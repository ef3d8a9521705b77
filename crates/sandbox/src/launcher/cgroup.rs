//! A control group for one command, where one can be made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::random_name;
use crate::command::Limits;
use crate::report::Group;
use crate::spec::CgroupPlan;

/// A control group that goes away with this value. Whoever finds one of that name that is empty may
/// remove it: its supervisor was killed.
pub(crate) struct Cgroup {
    plan: CgroupPlan,
    paths: Vec<PathBuf>,
}

const PREFIX: &str = "tenure-sandbox-";
/// Beside the command: init, and what is being born or buried.
const PROCESSES_EXTRA: u32 = 2;

impl Cgroup {
    /// Makes one with these limits.
    pub(crate) fn make(plan: &CgroupPlan, limits: &Limits) -> io::Result<Self> {
        // The process tells whoever sweeps whether it is still needed; numbers of processes come again.
        let random = random_name().map_err(|failure| io::Error::from_raw_os_error(failure.errno))?;
        let name = format!("{PREFIX}{}-{random}", std::process::id());
        let mut made = Self { plan: plan.clone(), paths: Vec::new() };
        let memory = limits.memory_bytes.to_string();
        let processes = (limits.processes + PROCESSES_EXTRA).to_string();
        match plan {
            // Each hierarchy costs milliseconds to enter, and processes are limited by rlimits as well: of a
            // user namespace, or of a user of the command's own.
            CgroupPlan::V1 { memory: parent } => {
                let path = made.create(parent.join(&name))?;
                fs::write(path.join("memory.limit_in_bytes"), &memory)?;
                // Absent in kernels that do not account for swap; then there is none to be had.
                let _ = fs::write(path.join("memory.memsw.limit_in_bytes"), &memory);
            }
            CgroupPlan::V2 { parent } => {
                let path = made.create(parent.join(&name))?;
                fs::write(path.join("memory.max"), &memory)?;
                let _ = fs::write(path.join("memory.swap.max"), "0");
                let _ = fs::write(path.join("memory.oom.group"), "1");
                let _ = fs::write(path.join("pids.max"), processes);
            }
        }
        Ok(made)
    }

    fn create(&mut self, path: PathBuf) -> io::Result<PathBuf> {
        fs::create_dir(&path)?;
        self.paths.push(path.clone());
        Ok(path)
    }

    /// Takes a process in, and with it all it will start.
    pub(crate) fn take(&self, pid: i32) -> io::Result<()> {
        self.paths.iter().try_for_each(|path| fs::write(path.join("cgroup.procs"), pid.to_string()))
    }

    pub(crate) fn group(&self) -> Group {
        match self.plan {
            CgroupPlan::V1 { .. } => Group::CgroupV1,
            CgroupPlan::V2 { .. } => Group::CgroupV2,
        }
    }

    /// Whether something in it was killed because memory ran out.
    pub(crate) fn ran_out(&self) -> bool {
        let file = match self.plan {
            CgroupPlan::V1 { .. } => "memory.oom_control",
            CgroupPlan::V2 { .. } => "memory.events",
        };
        self.read(file).is_some_and(|text| {
            text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
        })
    }

    /// The most memory it had.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        let file = match self.plan {
            CgroupPlan::V1 { .. } => "memory.max_usage_in_bytes",
            CgroupPlan::V2 { .. } => "memory.peak",
        };
        self.read(file).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.paths.first()?.join(file)).ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        /// A process that is dead leaves its group a moment later.
        const TRIES: u32 = 50;
        const PAUSE: Duration = Duration::from_millis(2);
        for path in &self.paths {
            for _ in 0..TRIES {
                match fs::remove_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(PAUSE),
                    Ok(()) | Err(_) => break,
                }
            }
        }
    }
}

/// Removes groups whose supervisors were killed. Those in use cannot be removed.
pub(crate) fn sweep(plan: &CgroupPlan) {
    let (CgroupPlan::V1 { memory: parent } | CgroupPlan::V2 { parent }) = plan;
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some((pid, _)) = rest.and_then(|rest| rest.split_once('-')) else { continue };
        // Its supervisor may be alive and about to use it.
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Where groups can be made, found by making one; or why not.
pub(crate) fn find() -> Result<CgroupPlan, String> {
    let own =
        fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("mountinfo: {error}"))?;
    let mut findings = Vec::new();
    for plan in candidates(&own, &mounts) {
        match Cgroup::make(&plan, &Limits::default()) {
            Ok(_) => {
                sweep(&plan);
                return Ok(plan);
            }
            Err(error) => {
                let (CgroupPlan::V1 { memory: path } | CgroupPlan::V2 { parent: path }) = &plan;
                findings.push(format!("{}: {error}", path.display()));
            }
        }
    }
    if findings.is_empty() {
        findings.push("no memory controller is mounted".to_owned());
    }
    Err(findings.join("; "))
}

/// Places to try, best first.
fn candidates(own: &str, mounts: &str) -> Vec<CgroupPlan> {
    let mut found = Vec::new();
    if let Some(path) = place(own, mounts, "") {
        // The group of the server holds the server, so it can have no children with controllers; its parent
        // can, where systemd delegates with a group for the server below.
        let above = path.parent().map(Path::to_path_buf);
        found.extend([Some(path), above].into_iter().flatten().filter(|parent| has_memory(parent)));
    }
    let mut plans: Vec<_> = found.into_iter().map(|parent| CgroupPlan::V2 { parent }).collect();
    if let Some(memory) = place(own, mounts, "memory") {
        plans.push(CgroupPlan::V1 { memory });
    }
    plans
}

fn has_memory(parent: &Path) -> bool {
    fs::read_to_string(parent.join("cgroup.subtree_control"))
        .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "memory"))
}

/// The directory of this process's group of a controller, or with an empty name that of version 2.
fn place(own: &str, mounts: &str, controller: &str) -> Option<PathBuf> {
    let group = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then_some(group)
    })?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let is_it = match (right.next()?, controller) {
            ("cgroup2", "") => true,
            ("cgroup", name) => right.nth(1)?.split(',').any(|option| option == name && !name.is_empty()),
            (_, _) => false,
        };
        let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
        is_it.then(|| Path::new(point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "9:name=systemd:/\n8:pids:/a\n4:memory:/process_api/8f\n0::/sys/unit\n";
    const MOUNTS: &str = "25 20 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        30 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        31 25 0:28 /a /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        34 25 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn finds_its_own_groups() {
        let place = |name| place(OWN, MOUNTS, name).map(|path| path.display().to_string());
        assert_eq!(place("memory").as_deref(), Some("/sys/fs/cgroup/memory/process_api/8f"));
        // A container sees its group as the root.
        assert_eq!(place("pids").as_deref(), Some("/sys/fs/cgroup/pids/"));
        assert_eq!(place("").as_deref(), Some("/sys/fs/cgroup/unified/sys/unit"));
        assert_eq!(place("cpu"), None);
    }
}
