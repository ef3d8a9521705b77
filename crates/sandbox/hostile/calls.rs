//! Calls that must not exist. Arguments are empty: without a filter the kernel would complain about them,
//! with another errno, or about a missing capability, which is why the driver also checks `seccomp`.

use std::collections::BTreeMap;

use crate::answer;

fn call(number: i64) -> String {
    // SAFETY: null pointers and zeros are safe for every call; what it would do is refused.
    answer(unsafe { libc::syscall(number, 0usize, 0usize, 0usize, 0usize, 0usize, 0usize) })
}

/// Every answer, with the calls that gave it unless it is the expected one.
pub(crate) fn forbidden() -> String {
    let mut answers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, number) in FORBIDDEN {
        answers.entry(call(*number)).or_default().push(name);
    }
    #[cfg(target_arch = "x86_64")]
    for (name, number) in FORBIDDEN_X86 {
        answers.entry(call(*number)).or_default().push(name);
    }
    let show = |(answer, names): (String, Vec<&str>)| match answer.as_str() {
        "EPERM" => answer,
        _ => format!("{answer}: {}", names.join(" ")),
    };
    answers.into_iter().map(show).collect::<Vec<_>>().join("; ")
}

const FORBIDDEN: &[(&str, i64)] = &[
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("setns", libc::SYS_setns),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("kexec_load", libc::SYS_kexec_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("reboot", libc::SYS_reboot),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("acct", libc::SYS_acct),
    ("quotactl", libc::SYS_quotactl),
    ("syslog", libc::SYS_syslog),
    ("clock_settime", libc::SYS_clock_settime),
    ("clock_adjtime", libc::SYS_clock_adjtime),
    ("settimeofday", libc::SYS_settimeofday),
    ("adjtimex", libc::SYS_adjtimex),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("memfd_secret", libc::SYS_memfd_secret),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("process_madvise", libc::SYS_process_madvise),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("kcmp", libc::SYS_kcmp),
    ("move_pages", libc::SYS_move_pages),
    ("migrate_pages", libc::SYS_migrate_pages),
    ("sched_setattr", libc::SYS_sched_setattr),
    ("ioprio_set", libc::SYS_ioprio_set),
    ("shmget", libc::SYS_shmget),
    ("shmat", libc::SYS_shmat),
    ("semget", libc::SYS_semget),
    ("msgget", libc::SYS_msgget),
    ("mq_open", libc::SYS_mq_open),
    ("mlock", libc::SYS_mlock),
    ("mlockall", libc::SYS_mlockall),
    ("vhangup", libc::SYS_vhangup),
    ("a call of tomorrow", 999),
];

#[cfg(target_arch = "x86_64")]
const FORBIDDEN_X86: &[(&str, i64)] = &[
    ("iopl", libc::SYS_iopl),
    ("ioperm", libc::SYS_ioperm),
    ("modify_ldt", libc::SYS_modify_ldt),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("uselib", libc::SYS_uselib),
    ("ustat", libc::SYS_ustat),
    ("sysfs", libc::SYS_sysfs),
];

/// Each namespace, by `unshare` and by `clone`.
pub(crate) fn namespaces() -> String {
    let flags = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    let unshare = |flag: i32| {
        // SAFETY: takes a number.
        answer(unsafe { libc::unshare(flag) }.into())
    };
    let clone = |flag: i32| {
        let flags = i64::from(flag | libc::SIGCHLD);
        // SAFETY: without a stack this is `fork`; a child ends at once.
        let made = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) };
        if made == 0 {
            std::process::exit(0);
        }
        answer(made)
    };
    crate::distinct(flags.into_iter().flat_map(|flag| [unshare(flag), clone(flag)]))
}

/// `clone3` with a user namespace, and with nothing.
pub(crate) fn clone3() -> String {
    let ask = |flags: u64| {
        let mut request = [0u64; 8];
        request[0] = flags;
        request[4] = libc::SIGCHLD as u64;
        // SAFETY: the request has the size that is told and outlives the call; a child ends at once.
        let made = unsafe { libc::syscall(libc::SYS_clone3, request.as_ptr(), size_of_val(&request)) };
        if made == 0 {
            std::process::exit(0);
        }
        answer(made)
    };
    format!("{} {}", ask(libc::CLONE_NEWUSER as u64), ask(0))
}

/// A call with the bit of the x32 interface.
pub(crate) fn x32() -> String {
    call(0x4000_0000 | libc::SYS_getpid)
}

/// `getpid` through the 32-bit entry.
pub(crate) fn int80() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let result: i32;
        // SAFETY: the call takes nothing and changes one register.
        unsafe { std::arch::asm!("int 0x80", inlateout("eax") 20 => result) };
        format!("{result}")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // There is no such entry.
        processes_without_entry()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processes_without_entry() -> String {
    // SAFETY: takes a number.
    unsafe { libc::raise(libc::SIGSYS) };
    String::new()
}
