//! The edge to system calls that have no safe form elsewhere. The only unsafe code of the workspace.
//!
//! Everything here is called by processes of one thread: the supervisor, which is a fresh program, and the
//! children it clones. That is what makes ordinary code after a clone sound, and what makes the change of a
//! thread's identity a change of the process's.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// Which side of a clone this is.
pub(crate) enum Side {
    Child,
    Parent(Child),
}

/// A cloned child.
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) handle: OwnedFd,
}

/// How a process ended, and what it used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    /// As `wait` encodes it.
    pub(crate) status: i32,
    pub(crate) cpu: Duration,
}

/// Clones this process into the namespaces of `flags`, as `fork` does.
///
/// # Errors
/// The kernel's: a namespace that may not be made, or too many processes.
pub(crate) fn clone(flags: i32) -> io::Result<Side> {
    let mut handle: RawFd = -1;
    let flags = (flags | libc::CLONE_PIDFD | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: without a stack of its own and without CLONE_VM the child is a copy of this process, as after
    // `fork`. This process has one thread (see the module), so no lock is held by a thread that the copy
    // lacks. `handle` lives until the call returns; the remaining arguments are unused.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, flags, ptr::null_mut::<u8>(), &raw mut handle, 0usize, 0usize)
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => {
            // SAFETY: CLONE_PIDFD stored a new descriptor there, which nobody else owns.
            let handle = unsafe { OwnedFd::from_raw_fd(handle) };
            Ok(Side::Parent(Child { pid: pid as i32, handle }))
        }
    }
}

/// Copies this process; the child's number, and none in the child. Without a handle, so that every kernel
/// can do it.
///
/// # Errors
/// The kernel's: too many processes.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: this process has one thread (see the module), so no lock is held by a thread the copy lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Begins a session of its own, as far as this process may: whoever leads a group has one. Releases of gVisor
/// answer with a number that is none.
pub(crate) fn begin_session() {
    // SAFETY: takes nothing.
    unsafe { libc::setsid() };
}

/// Becomes the program at `path`; returns only if that fails.
pub(crate) fn execute(path: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
        words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer and, like the strings, outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Changes the attributes of the mount that `tree` refers to, and below it if `recursive`. `owner` is a user
/// namespace that maps the owners on disk to those that are seen.
///
/// # Errors
/// The kernel's; EINVAL where the file system cannot map owners.
pub(crate) fn mount_attributes(
    tree: BorrowedFd<'_>,
    set: u64,
    recursive: bool,
    owner: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let idmap = if owner.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: set | idmap,
        attr_clr: 0,
        propagation: 0,
        userns_fd: owner.map_or(0, |owner| owner.as_raw_fd() as u64),
    };
    let below = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, the structure outlives the call and its size is told.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | below,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Closes every descriptor from `first` on.
///
/// # Errors
/// A kernel before 5.9.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    /// Descriptors are signed; gVisor takes no more for one.
    const LAST: u32 = i32::MAX as u32;
    // SAFETY: called before this process owns a descriptor above the standard ones, or right before it
    // becomes another program, so nothing that is closed here is used again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, LAST, 0u32) })
}

/// The version of Landlock in this kernel; none without it.
pub(crate) fn landlock_version() -> Option<u32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes no attributes and only returns a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0usize, VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Switches the loopback interface of this network namespace on.
///
/// # Errors
/// The kernel's.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: zero bytes are a valid value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}

/// Gives every signal its default meaning and blocks none, as a program expects to find it. Rust's runtime
/// ignores SIGPIPE.
pub(crate) fn default_signals() {
    // SAFETY: the default action runs no code of this process; numbers that may not be changed are refused.
    // `sigset_t` is plain, and `sigemptyset` fills it before it is read.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Gives up every capability for good: also those that a program with file capabilities would get.
///
/// # Errors
/// The kernel's.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    /// Beyond the last capability of any kernel; those it does not know are refused, which is no loss.
    const CAPABILITIES: u64 = 64;
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let none = [0u32; 6];
    // SAFETY: both calls take numbers. The header and the sets have the layout of version 3 (a version and
    // a process, then two times three words), and outlive the call.
    unsafe {
        for capability in 0..CAPABILITIES {
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        check(libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()))
    }
}

/// Becomes another user of one group alone.
///
/// # Errors
/// The kernel's.
pub(crate) fn become_user(uid: u32, gid: u32, groups: Groups) -> io::Result<()> {
    // SAFETY: these calls take numbers, and an empty list of groups has no pointer to follow.
    unsafe {
        match groups {
            Groups::Drop => check(libc::syscall(libc::SYS_setgroups, 0usize, ptr::null::<u32>()))?,
            Groups::Keep => {}
        }
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))
    }
}

/// What becomes of the supplementary groups.
#[derive(Clone, Copy)]
pub(crate) enum Groups {
    Drop,
    /// An ordinary user cannot give them up in a user namespace of its own.
    Keep,
}

/// Waits for a child, or with `None` for any; none if there is none that ended (or none at all).
pub(crate) fn reap(pid: Option<i32>, block: Block) -> Option<Ended> {
    let options = match block {
        Block::No => libc::WNOHANG,
        Block::Yes => 0,
    };
    loop {
        let mut status = 0;
        // SAFETY: zero bytes are a valid `rusage`; both results outlive the call.
        let (ended, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            let ended = libc::wait4(pid.unwrap_or(-1), &raw mut status, options, &raw mut usage);
            (ended, usage)
        };
        if ended > 0 {
            let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
            return Some(Ended { pid: ended, status, cpu });
        }
        if ended == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Whether this process has children, dead ones that were not waited for included.
pub(crate) fn has_children() -> bool {
    // SAFETY: zero bytes are a valid `siginfo_t`, which outlives the call.
    let result = unsafe {
        let mut seen: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut seen, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD)
}

/// Ends this process without a word to anyone: the end of a clone that only held something.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: takes a number.
    unsafe { libc::_exit(code) }
}

/// Whether to wait for what has not happened yet.
#[derive(Clone, Copy)]
pub(crate) enum Block {
    Yes,
    No,
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
