//! What the file system looks like inside: built from nothing on a small tmpfs, so that what is not put
//! there does not exist.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree, unmount,
};

use super::failure::{Failure, Or as _};
use super::landlock::{DEVICES, ETC, ETC_NETWORK, SYSTEM};
use crate::command::{Network, WORKSPACE};
use crate::spec::Spec;
use crate::sys;

/// Files and directories that fit into `/tmp`.
const TMP_FILES_MAX: u32 = 20_000;
/// Bytes of the root itself: directories, links, and the files below.
const ROOT_BYTES: &str = "1m";
const ROOT_FILES: &str = "512";
/// The directory that is covered while the new root is built. Every Linux has it, and nothing is opened
/// below it from then on.
const STAGE: &str = "/proc";

/// Where this program is inside, in tiers whose first process is another program.
pub(crate) const SUPERVISOR: &str = "/.supervisor";
/// Where gVisor's program is inside, which may come from anywhere.
pub(crate) const RUNSC: &str = "/.runsc";
/// The user inside.
pub(crate) const USER: u32 = 1000;
/// What is made of `/etc` rather than shown.
pub(crate) const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/workspace:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
pub(crate) const GROUP: &str = "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n";
pub(crate) const HOSTS: &str = "127.0.0.1 localhost sandbox\n::1 localhost\n";

const INERT: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
const READ_ONLY: MountAttrFlags = INERT.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// A tree of the host with its place inside, taken before the old root is out of sight.
pub(crate) struct Tree {
    pub(crate) tree: OwnedFd,
    pub(crate) inside: PathBuf,
    pub(crate) is_directory: bool,
}

/// What a tree may be used for.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Read,
    Write,
    Device,
}

/// Who owns what is seen, if not who owns it on disk.
pub(crate) type Owner<'a> = Option<&'a OwnedFd>;

impl Tree {
    /// Takes the tree at `host`, with what is mounted below it.
    ///
    /// # Errors
    /// It does not exist, or the kernel refuses the attributes.
    pub(crate) fn take(host: &Path, inside: &Path, usage: Use, owner: Owner<'_>) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, host, flags | OpenTreeFlags::AT_RECURSIVE)?;
        let attributes = match usage {
            Use::Read => READ_ONLY,
            Use::Write => INERT,
            Use::Device => MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        };
        sys::mount_attributes(tree.as_fd(), attributes.bits().into(), true, None)?;
        if let Some(owner) = owner {
            sys::mount_attributes(tree.as_fd(), 0, false, Some(owner.as_fd()))?;
        }
        let is_directory = rustix::fs::fstat(&tree)
            .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())?;
        Ok(Self { tree, inside: inside.to_owned(), is_directory })
    }
}

/// The trees that a command declares.
pub(crate) fn declared(
    spec: &Spec,
    owner: &dyn Fn(&Path) -> io::Result<Option<OwnedFd>>,
) -> Result<Vec<Tree>, Failure> {
    let mut trees = Vec::new();
    let take = |host: &Path, inside: &Path, usage| -> Result<Tree, Failure> {
        let name = || format!("showing `{}` inside", host.display());
        let owner = owner(host).or_else_failed(name)?;
        Tree::take(host, inside, usage, owner.as_ref()).or_else_failed(name)
    };
    trees.push(take(&spec.workspace, Path::new(WORKSPACE), Use::Write)?);
    for (host, inside) in &spec.read_only {
        trees.push(take(host, inside, Use::Read)?);
    }
    if let Some(gvisor) = &spec.gvisor {
        trees.push(take(&gvisor.launcher, Path::new(SUPERVISOR), Use::Read)?);
        trees.push(take(&gvisor.program, Path::new(RUNSC), Use::Read)?);
    }
    Ok(trees)
}

/// Builds the root, moves into it and lets the old one go. Gives the directory of its own `/proc`, if asked.
///
/// Called by init, with every capability over namespaces of its own and as the user inside.
pub(crate) fn enter(spec: &Spec, declared: &[Tree]) -> Result<Option<OwnedFd>, Failure> {
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .failed("detaching from the host's mounts")?;
    let trees = system(spec.network == Network::Enabled)?;
    let root = fresh("tmpfs", &[("size", ROOT_BYTES), ("nr_inodes", ROOT_FILES), ("mode", "755")], INERT)
        .failed("mounting a root")?;
    let proc = if spec.proc { Some(proc(spec)?) } else { None };
    let tmp_bytes = match spec.gvisor {
        None => spec.limits.tmp_bytes.to_string(),
        // It has one of its own; here are only its own files.
        Some(_) => ROOT_BYTES.to_owned(),
    };
    let tmp_files = TMP_FILES_MAX.to_string();
    let tmp = fresh("tmpfs", &[("size", &tmp_bytes), ("nr_inodes", &tmp_files), ("mode", "1777")], INERT)
        .failed("mounting /tmp")?;
    attach(&root, CWD, Path::new(STAGE)).failed("mounting a root")?;
    rustix::process::fchdir(&root).failed("entering the root")?;

    furnish(&root).failed("filling the root")?;
    put(&root, &tmp, Path::new("/tmp"), true).failed("mounting /tmp")?;
    if let Some(proc) = &proc {
        put(&root, proc, Path::new("/proc"), true).failed("mounting /proc")?;
    }
    for tree in trees.iter().chain(declared) {
        put(&root, &tree.tree, &tree.inside, tree.is_directory)
            .or_else_failed(|| format!("mounting `{}`", tree.inside.display()))?;
    }
    rustix::process::pivot_root(".", ".").failed("changing the root")?;
    unmount(".", UnmountFlags::DETACH).failed("letting the old root go")?;
    rustix::process::chdir("/").failed("entering the root")?;
    sys::mount_attributes(root.as_fd(), READ_ONLY.bits().into(), false, None).failed("closing the root")?;
    Ok(proc)
}

/// Programs, libraries and devices, as the host has them.
fn system(with_network: bool) -> Result<Vec<Tree>, Failure> {
    let mut trees = Vec::new();
    let network = if with_network { ETC_NETWORK } else { &[] };
    let read = SYSTEM.iter().chain(ETC).chain(network).map(|path| (path, Use::Read));
    for (path, usage) in read.chain(DEVICES.iter().map(|path| (path, Use::Device))) {
        let path = Path::new(path);
        // Links such as `/bin` are made anew as links.
        if path.parent() == Some(Path::new("/")) && path.is_symlink() {
            continue;
        }
        match Tree::take(path, path, usage, None) {
            Ok(tree) => trees.push(tree),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Failure::new(format!("showing `{}` inside", path.display()), &error));
            }
        }
    }
    Ok(trees)
}

/// A `/proc` that shows the processes inside and nothing of the machine; but for gVisor, which asks the machine
/// before it shows one of its own.
fn proc(spec: &Spec) -> Result<OwnedFd, Failure> {
    let flags = INERT | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options: &[_] = if spec.gvisor.is_some() { &[] } else { &[("subset", "pid")] };
    fresh("proc", options, flags).failed("mounting a /proc of its own")
}

/// A new file system that is mounted nowhere yet. An option without a value is a flag.
fn fresh(kind: &str, options: &[(&str, &str)], flags: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        match *value {
            "" => fsconfig_set_flag(context.as_fd(), *name)?,
            value => fsconfig_set_string(context.as_fd(), *name, value)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// What is made rather than shown.
fn furnish(root: &OwnedFd) -> io::Result<()> {
    for directory in ["dev", "etc"] {
        mkdirat(root, directory, Mode::from_raw_mode(0o755))?;
    }
    for (path, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/hosts", HOSTS)] {
        let file = openat(
            root,
            path,
            OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o644),
        )?;
        rustix::io::write(&file, text.as_bytes())?;
    }
    for path in SYSTEM {
        if let Ok(target) = std::fs::read_link(path) {
            symlinkat(target, root, path.trim_start_matches('/'))?;
        }
    }
    // Shared memory is a file system in memory, and `/tmp` is one with a limit.
    for (path, target) in [
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
        ("dev/shm", "/tmp"),
    ] {
        symlinkat(target, root, path)?;
    }
    Ok(())
}

/// Makes the place, then mounts there. The root holds no links but those of [`furnish`], and no place leads
/// through one.
fn put(root: &OwnedFd, tree: &OwnedFd, inside: &Path, is_directory: bool) -> io::Result<()> {
    let place = inside.strip_prefix("/").unwrap_or(inside);
    let mut above = PathBuf::new();
    for part in place.parent().into_iter().flat_map(Path::components) {
        above.push(part);
        make_directory(root, &above)?;
    }
    if is_directory {
        make_directory(root, place)?;
    } else {
        openat(root, place, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o444))?;
    }
    attach(tree, root.as_fd(), place)
}

fn make_directory(root: &OwnedFd, path: &Path) -> io::Result<()> {
    match mkdirat(root, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn attach(tree: &OwnedFd, at: impl std::os::fd::AsFd, path: &Path) -> io::Result<()> {
    Ok(move_mount(tree, c"", at, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}
