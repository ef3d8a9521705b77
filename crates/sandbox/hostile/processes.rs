//! Other processes, and staying alive.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::{answer, pause, said};

/// How many processes can be seen.
pub(crate) fn listed() -> String {
    match fs::read_dir("/proc") {
        Ok(entries) => {
            let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
            let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| is_process(name)).count().to_string()
        }
        Err(error) => said::<()>(Err(error)),
    }
}

/// Reading and steering a process of the host, and one of its own.
pub(crate) fn trace(victim: i32) -> String {
    // SAFETY: the child only waits.
    let sibling = unsafe { libc::fork() };
    if sibling == 0 {
        pause();
    }
    let attach = |pid: i32| {
        // SAFETY: attaching takes no memory.
        answer(unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0usize, 0usize) })
    };
    let read = |pid: i32| {
        let mut byte = 0u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: both vectors and what the local one points at outlive the call.
        let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        answer(read as libc::c_long)
    };
    let memory = said(fs::File::open(format!("/proc/{victim}/mem")));
    let words = said(fs::read(format!("/proc/{victim}/environ")));
    let answers = [attach(victim), attach(sibling), read(victim), read(sibling), memory, words].join(" ");
    // SAFETY: takes numbers.
    unsafe { libc::kill(sibling, libc::SIGKILL) };
    answers
}

/// Signals to a process of the host, by every call.
pub(crate) fn kill(victim: i32) -> String {
    // SAFETY: numbers, and a null pointer where no details are given.
    unsafe {
        let plain = answer(libc::kill(victim, libc::SIGTERM).into());
        let thread = answer(libc::syscall(libc::SYS_tkill, victim, libc::SIGTERM));
        let group = answer(libc::kill(-victim, libc::SIGTERM).into());
        let handle = libc::syscall(libc::SYS_pidfd_open, victim, 0);
        let by_handle = match handle {
            -1 => answer(-1),
            handle => answer(libc::syscall(libc::SYS_pidfd_send_signal, handle, libc::SIGTERM, 0usize, 0)),
        };
        let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        let limited =
            answer(libc::prlimit(victim, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()).into());
        let slowed = answer(libc::setpriority(libc::PRIO_PROCESS, victim as libc::id_t, 19).into());
        format!("{plain} {thread} {group} {by_handle} {limited} {slowed}")
    }
}

/// Signals everybody. Survives to say so.
pub(crate) fn kill_all() -> String {
    // SAFETY: takes numbers.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::kill(-1, libc::SIGTERM);
    }
    "alive".to_owned()
}

pub(crate) fn kill_parent() -> String {
    // SAFETY: takes numbers.
    unsafe { libc::kill(libc::getppid(), libc::SIGKILL) };
    "alive".to_owned()
}

pub(crate) fn kill_self() -> ! {
    // SAFETY: takes numbers.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    pause()
}

/// Leaves behind a process that has cut every tie, and ends.
pub(crate) fn daemon() -> String {
    leave();
    "left".to_owned()
}

/// The same, and stays; its own death signal is cleared too.
pub(crate) fn persist() -> ! {
    leave();
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) };
    println!("left");
    let _ = std::io::stdout().flush();
    pause()
}

fn leave() {
    // SAFETY: one thread, so the copies are whole; the other calls take numbers.
    unsafe {
        if libc::fork() != 0 {
            let mut status = 0;
            libc::wait(&raw mut status);
            return;
        }
        libc::setsid();
        if libc::fork() != 0 {
            libc::_exit(0);
        }
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0);
        libc::close_range(0, u32::MAX, 0);
    }
    pause()
}

pub(crate) fn abort() -> ! {
    std::process::abort()
}

/// The user this is, as the kernel sees it.
pub(crate) fn whoami() -> String {
    // SAFETY: takes nothing.
    unsafe { format!("{} {}", libc::getuid(), libc::geteuid()) }
}

/// Runs this program again from memory.
pub(crate) fn memfd_exec(args: &[&str]) -> String {
    let program = fs::read(std::env::args_os().next().unwrap()).unwrap();
    // SAFETY: the name is a C string; the descriptor that comes back is owned by nobody else.
    let mut file = unsafe {
        use std::os::fd::FromRawFd as _;
        fs::File::from_raw_fd(libc::memfd_create(c"program".as_ptr(), 0))
    };
    file.write_all(&program).unwrap();
    let words: Vec<std::ffi::CString> =
        std::iter::once(&"memory").chain(args).map(|word| std::ffi::CString::new(*word).unwrap()).collect();
    let argv: Vec<_> = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    let env = [std::ptr::null::<libc::c_char>()];
    use std::os::fd::AsRawFd as _;
    // SAFETY: the arrays end with null pointers and outlive the call.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    answer(failed)
}

/// Runs a copy of this program in the workspace through the dynamic loader.
pub(crate) fn loader_exec(args: &[&str]) -> String {
    fs::copy(std::env::args_os().next().unwrap(), "copy").unwrap();
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let loader = loaders.iter().find(|path| fs::metadata(path).is_ok()).unwrap();
    said::<()>(Err(Command::new(loader).arg("./copy").args(args).exec()))
}
