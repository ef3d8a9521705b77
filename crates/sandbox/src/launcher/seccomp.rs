//! The system calls that exist inside.
//!
//! An allow list: what a kernel gains tomorrow is absent until someone has thought about it. A call that is
//! not listed fails with EPERM and the program goes on. `clone3` and `openat2`, whose arguments lie in memory
//! that a filter cannot read, fail with ENOSYS, and every library falls back to `clone` and `openat`. Calls of another architecture,
//! such as 32-bit ones through `int 0x80`, kill.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::failure::Failure;
use super::landlock::VERSION_SCOPES;
use crate::command::Network;
use crate::report::Tier;
use crate::spec::Spec;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// Both filters of one sandbox, in the order in which they are installed.
pub(crate) struct Filters([BpfProgram; 2]);

/// What is known of the sandbox that decides about calls.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) tier: Tier,
    pub(crate) network: &'a Network,
    /// Whether abstract Unix sockets of the host are out of reach by other means.
    pub(crate) unix_is_scoped: bool,
}

impl Filters {
    /// Compiles them; before the clone, so that both sides share the work.
    pub(crate) fn compile(terms: Terms<'_>) -> Result<Self, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
        #[cfg(target_arch = "x86_64")]
        rules.extend(OLD.iter().map(|call| (*call, Vec::new())));
        conditional(&mut rules)?;
        without_set_id(&mut rules)?;
        match terms.tier {
            Tier::Gvisor | Tier::Namespaces => with_namespaces(&mut rules, terms)?,
            Tier::Landlock => without_namespaces(&mut rules)?,
        }
        let errno = |number: i32| SeccompAction::Errno(number as u32);
        let list = SeccompFilter::new(rules, errno(libc::EPERM), SeccompAction::Allow, ARCH)?;
        let absent = ABSENT.iter().map(|call| (*call, Vec::new())).collect();
        let absent = SeccompFilter::new(absent, SeccompAction::Allow, errno(libc::ENOSYS), ARCH)?;
        Ok(Self([list.try_into()?, absent.try_into()?]))
    }

    /// Those of a specification.
    pub(crate) fn of(spec: &Spec) -> Result<Self, Failure> {
        let is_scoped = spec.landlock.is_some_and(|version| version >= VERSION_SCOPES);
        let terms = Terms { tier: spec.tier, network: &spec.network, unix_is_scoped: is_scoped };
        Self::compile(terms)
            .map_err(|error| Failure::plain(format!("compiling the system call filter ({error})")))
    }

    /// Installs them for this process and all it will start. `no_new_privs` must be set.
    pub(crate) fn install(&self) -> Result<(), seccompiler::Error> {
        self.0.iter().try_for_each(|filter| seccompiler::apply_filter(filter))
    }
}

/// Calls whose arguments lie in memory, where a filter cannot read them. As if the kernel were older: every
/// program that knows them knows what to do then.
const ABSENT: &[i64] = &[libc::SYS_clone3, libc::SYS_openat2];

/// Calls that set a mode, with its place among the arguments.
const MODES: &[(i64, u8)] =
    &[(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (FCHMODAT2, 2), (libc::SYS_mknodat, 2)];
#[cfg(target_arch = "x86_64")]
const MODES_OLD: &[(i64, u8)] = &[(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mknod, 1)];
#[cfg(not(target_arch = "x86_64"))]
const MODES_OLD: &[(i64, u8)] = &[];

/// Calls that set one where they create, with the places of flags and mode.
#[cfg(target_arch = "x86_64")]
const OPENS: &[(i64, u8, u8)] = &[(libc::SYS_openat, 2, 3), (libc::SYS_open, 1, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[(i64, u8, u8)] = &[(libc::SYS_openat, 2, 3)];

/// No file gets a set-user-id or set-group-id bit. Inside it would mean nothing, but a workspace may show
/// its files to the host as the server's own, where anyone who reaches it would become the server.
fn without_set_id(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), BackendError> {
    const SET_ID: u64 = (libc::S_ISUID | libc::S_ISGID) as u64;
    /// With neither, the mode is not looked at and may be anything.
    const CREATES: u64 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u64;
    let plain = |mode: u8| any(arg(mode, Width::Dword, Is::MaskedEq(SET_ID), 0));
    for (call, mode) in MODES.iter().chain(MODES_OLD) {
        rules.insert(*call, vec![plain(*mode)?]);
    }
    for (call, flags, mode) in OPENS {
        let existing = any(arg(*flags, Width::Dword, Is::MaskedEq(CREATES), 0));
        rules.insert(*call, vec![plain(*mode)?, existing?]);
    }
    Ok(())
}

/// Calls that depend on their arguments in both tiers.
fn conditional(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), BackendError> {
    let mask = NAMESPACES as u64;
    rules.insert(libc::SYS_clone, vec![all([arg(0, Width::Qword, Is::MaskedEq(mask), 0)?])?]);
    // Characters that a terminal would believe to be typed; the kernel reads 32 bits of the request.
    let ioctl = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| arg(1, Width::Dword, Is::Ne, request));
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(ioctl.into_iter().collect::<Result<_, _>>()?)?]);
    let personality = [0, 0xffff_ffff].map(|value| any(arg(0, Width::Dword, Is::Eq, value)));
    rules.insert(libc::SYS_personality, personality.into_iter().collect::<Result<_, _>>()?);
    let pair = all([arg(0, Width::Dword, Is::Eq, libc::AF_UNIX as u64)?])?;
    rules.insert(libc::SYS_socketpair, vec![pair]);
    Ok(())
}

/// What a process and network namespace of one's own makes harmless.
fn with_namespaces(
    rules: &mut BTreeMap<i64, Vec<SeccompRule>>,
    terms: Terms<'_>,
) -> Result<(), BackendError> {
    rules.extend(SOCKETS.iter().chain(OTHERS).map(|call| (*call, Vec::new())));
    let mut families = vec![libc::AF_INET, libc::AF_INET6];
    // Abstract sockets live in the network namespace, so the host's are within reach when it is shared.
    let shares_network = match terms.network {
        Network::Enabled => true,
        Network::Disabled | Network::Restricted { .. } => false,
    };
    // gVisor's are its own, whatever the network.
    if !shares_network || terms.unix_is_scoped || terms.tier == Tier::Gvisor {
        families.push(libc::AF_UNIX);
    }
    let allowed = families.iter().map(|family| any(arg(0, Width::Dword, Is::Eq, *family as u64)));
    rules.insert(libc::SYS_socket, allowed.collect::<Result<_, _>>()?);
    Ok(())
}

/// Without namespaces nothing is reached by socket, and nothing is done to a process by its number but what
/// Landlock scopes: signals.
fn without_namespaces(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), BackendError> {
    let itself = || any(arg(0, Width::Dword, Is::Eq, 0));
    for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity] {
        rules.insert(call, vec![itself()?]);
    }
    let niceness =
        all([arg(0, Width::Dword, Is::Eq, libc::PRIO_PROCESS as u64)?, arg(1, Width::Dword, Is::Eq, 0)?])?;
    rules.insert(libc::SYS_setpriority, vec![niceness]);
    // One end of a pair could send to any address; to its other end it needs none. `sendmsg` holds its
    // address in memory, so it stays out.
    rules.insert(libc::SYS_sendto, vec![any(arg(4, Width::Qword, Is::Eq, 0))?]);
    Ok(())
}

fn arg(index: u8, width: Width, is: Is, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, width, is, value)
}

fn all<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into())
}

fn any(condition: Result<SeccompCondition, BackendError>) -> Result<SeccompRule, BackendError> {
    all([condition?])
}

/// Flags of `clone` that make a namespace. That of time namespaces is one of `clone3` and `unshare` alone:
/// here its bit belongs to the number of a signal.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Sockets that reach something; not in [`Tier::Landlock`].
const SOCKETS: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_accept,
];

/// Calls on other processes by number; but for [`Tier::Landlock`] there are only its own.
const OTHERS: &[i64] = &[libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_setpriority];

/// Calls of every architecture.
const ALWAYS: &[i64] = &[
    // Files and directories.
    libc::SYS_chdir,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_flock,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_linkat,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lseek,
    libc::SYS_lsetxattr,
    libc::SYS_memfd_create,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_removexattr,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendfile,
    libc::SYS_setxattr,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_tee,
    libc::SYS_truncate,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_vmsplice,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    FUTEX_WAITV,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_restart_syscall,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    // Memory.
    libc::SYS_brk,
    libc::SYS_get_mempolicy,
    libc::SYS_madvise,
    libc::SYS_mbind,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munmap,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_set_mempolicy,
    // Processes and signals. What the second filter calls absent has to pass the first.
    libc::SYS_clone3,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_get_robust_list,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_kill,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_membarrier,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_prctl,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_seccomp,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setpgid,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_setsid,
    libc::SYS_setuid,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Scheduling, without real-time classes.
    libc::SYS_getcpu,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_sched_yield,
    // Time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getitimer,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_delete,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_gettime,
    libc::SYS_timer_settime,
    libc::SYS_times,
    // The machine, as far as everyone may know it.
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Sockets that are there already; none reach further than a pair.
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Limits of its own.
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
];

/// The same numbers on every architecture since calls are numbered together.
const FCHMODAT2: i64 = 452;
const FUTEX_WAITV: i64 = 449;

/// Calls that newer architectures never had.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_fork,
    libc::SYS_futimesat,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_inotify_init,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_signalfd,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_vfork,
];
