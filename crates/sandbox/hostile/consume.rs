//! Using things up.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;

use crate::{answer, pause, said};

const MEBIBYTE: usize = 1 << 20;

pub(crate) fn forks() -> String {
    let mut made = 0;
    loop {
        // SAFETY: the child only waits.
        match unsafe { libc::fork() } {
            0 => pause(),
            -1 => return format!("{made} {}", said::<()>(Err(io::Error::last_os_error()))),
            _ => made += 1,
        }
        assert!(made < 100_000, "no limit");
    }
}

pub(crate) fn threads() -> String {
    let mut made = 0;
    loop {
        let started = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| pause());
        match started {
            Ok(_) => made += 1,
            Err(error) => return format!("{made} {}", said::<()>(Err(error))),
        }
        assert!(made < 100_000, "no limit");
    }
}

/// Grows in each of so many processes until someone stops it.
pub(crate) fn memory(processes: usize) -> String {
    for _ in 1..processes {
        // SAFETY: one thread, so the copy is whole.
        if unsafe { libc::fork() } == 0 {
            break;
        }
    }
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(MEBIBYTE).is_err() {
            println!("{} ENOMEM", held.len());
            if processes == 1 {
                return "refused".to_owned();
            }
            pause();
        }
        block.resize(MEBIBYTE, 1);
        held.push(block);
    }
}

/// Memory that is in no process: files without a name.
pub(crate) fn memfds() -> String {
    let mut held = Vec::new();
    loop {
        // SAFETY: the name is a C string; a descriptor that comes back is owned by nobody else.
        let mut file = unsafe {
            let made = libc::memfd_create(c"x".as_ptr(), 0);
            if made < 0 {
                println!("{}", said::<()>(Err(io::Error::last_os_error())));
                pause();
            }
            File::from_raw_fd(made)
        };
        for _ in 0..4 {
            if let Err(error) = file.write_all(&vec![1; MEBIBYTE]) {
                println!("{}", said::<()>(Err(error)));
                pause();
            }
        }
        held.push(file);
    }
}

fn ignore(signal: i32) {
    // SAFETY: ignoring runs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Writes one file without end.
pub(crate) fn write(path: &str) -> String {
    ignore(libc::SIGXFSZ);
    let mut file = File::create(path).unwrap();
    let block = vec![1; 256 * 1024];
    let mut written = 0;
    loop {
        match file.write(&block) {
            Ok(bytes) => written += bytes,
            Err(error) => return format!("{} {}", written / MEBIBYTE, said::<()>(Err(error))),
        }
        assert!(written < 4096 * MEBIBYTE, "no limit");
    }
}

/// Makes many files of so many bytes.
pub(crate) fn many(directory: &str, count: usize, bytes: usize) -> String {
    let block = vec![1; bytes];
    for index in 0..count {
        if let Err(error) = fs::write(Path::new(directory).join(index.to_string()), &block) {
            return format!("{index} {}", said::<()>(Err(error)));
        }
    }
    // Whoever looks must see it while it is there.
    pause()
}

/// Makes files, takes their names away and keeps them open.
pub(crate) fn unlinked(directory: &str, count: usize, bytes: usize) -> String {
    let block = vec![1; bytes];
    let mut held = Vec::new();
    for _ in 0..count {
        let path = Path::new(directory).join("unlinked");
        let mut file = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.write_all(&block).unwrap();
        held.push(file);
    }
    pause()
}

pub(crate) fn sparse(path: &str) -> String {
    ignore(libc::SIGXFSZ);
    said(File::create(path).unwrap().set_len(1 << 40))
}

pub(crate) fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Uses processor time in children that live for a moment each.
pub(crate) fn spin_children() -> ! {
    loop {
        // SAFETY: one thread, so the copy is whole.
        match unsafe { libc::fork() } {
            0 => {
                let began = std::time::Instant::now();
                while began.elapsed().as_millis() < 20 {
                    std::hint::spin_loop();
                }
                std::process::exit(0)
            }
            child => {
                let mut status = 0;
                // SAFETY: the status outlives the call.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
            }
        }
    }
}

pub(crate) fn sleep() -> ! {
    pause()
}

pub(crate) fn ignore_signals() -> ! {
    (1..=64).for_each(ignore);
    spin()
}

pub(crate) fn stop() -> ! {
    // SAFETY: takes a number.
    unsafe { libc::raise(libc::SIGSTOP) };
    spin()
}

pub(crate) fn output(mebibytes: usize) -> String {
    let mut out = io::stdout().lock();
    let block = vec![b'x'; MEBIBYTE];
    for _ in 0..mebibytes {
        out.write_all(&block).unwrap();
    }
    String::new()
}

pub(crate) fn descriptors() -> String {
    let mut held = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => return format!("{} {}", held.len(), said::<()>(Err(error))),
        }
    }
}

/// How much of the kernel's memory pipes can hold.
pub(crate) fn pipes() -> String {
    let mut held = Vec::new();
    let mut bytes = 0;
    while let Ok((reader, writer)) = io::pipe() {
        // SAFETY: takes numbers, and the descriptor is open.
        let grown = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20) };
        bytes += usize::try_from(grown).unwrap_or(64 * 1024);
        held.push((reader, writer));
    }
    format!("{}", bytes / MEBIBYTE)
}

pub(crate) fn raise_limits() -> String {
    let limits = [
        libc::RLIMIT_NPROC,
        libc::RLIMIT_FSIZE,
        libc::RLIMIT_NOFILE,
        libc::RLIMIT_CPU,
        libc::RLIMIT_CORE,
        libc::RLIMIT_MEMLOCK,
        libc::RLIMIT_MSGQUEUE,
        libc::RLIMIT_NICE,
        libc::RLIMIT_RTPRIO,
    ];
    let raise = |resource| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both calls are given a structure that outlives them.
        unsafe {
            libc::getrlimit(resource, &raw mut limit);
            if limit.rlim_max == libc::RLIM_INFINITY {
                return "unlimited".to_owned();
            }
            limit.rlim_max += 1;
            answer(libc::setrlimit(resource, &raw const limit).into())
        }
    };
    crate::distinct(limits.map(raise))
}

pub(crate) fn priority() -> String {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure outlives the call; the others take numbers.
    unsafe {
        let real_time = answer(libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter).into());
        let nice = answer(libc::setpriority(libc::PRIO_PROCESS, 0, -5).into());
        let lock = answer(libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE).into());
        format!("{real_time} {nice} {lock}")
    }
}
