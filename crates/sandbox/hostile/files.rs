//! Files, links, devices, privileges, and what a process is born with.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::{answer, said};

/// Reads the first byte of a file, or the names in a directory.
fn touch(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return fs::read_dir(path).map(|_| ());
    }
    File::open(path)?.read(&mut [0; 1]).map(|_| ())
}

pub(crate) fn read(paths: &[&str]) -> String {
    crate::distinct(paths.iter().map(|path| said(touch(Path::new(path)))))
}

pub(crate) fn create(paths: &[&str]) -> String {
    crate::distinct(paths.iter().map(|path| said(File::create(path))))
}

/// Opens for writing, or where that is refused for reading, without creating.
pub(crate) fn open(paths: &[&str]) -> String {
    let open = |path: &&str| {
        let write = OpenOptions::new().write(true).open(path);
        said(write.or_else(|_| File::open(path)))
    };
    crate::distinct(paths.iter().map(open))
}

/// Links to a file of the host, read through.
pub(crate) fn links(secret: &str) -> String {
    let up = format!("{}{}", "../".repeat(40), secret.trim_start_matches('/'));
    let targets =
        [secret.to_owned(), up, format!("/proc/1/root{secret}"), format!("/proc/self/root{secret}")];
    let mut answers = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let link = format!("link-{index}");
        symlink(target, &link).unwrap();
        answers.push(said(touch(Path::new(&link))));
    }
    answers.join(" ")
}

pub(crate) fn hard_links(paths: &[&str]) -> String {
    let link = |(index, path): (usize, &&str)| said(fs::hard_link(path, format!("hard-{index}")));
    paths.iter().enumerate().map(link).collect::<Vec<_>>().join(" ")
}

/// Makes devices. Nothing may be there afterwards.
pub(crate) fn devices() -> String {
    let make = |kind: libc::mode_t, name: &str| {
        let path = CString::new(name).unwrap();
        // SAFETY: the path outlives the call.
        let said = answer(unsafe { libc::mknod(path.as_ptr(), kind | 0o600, libc::makedev(1, 1)) }.into());
        format!("{said} {}", Path::new(name).symlink_metadata().is_ok())
    };
    format!("{} {}", make(libc::S_IFCHR, "character"), make(libc::S_IFBLK, "block"))
}

/// Everything that makes a file hard to handle for whoever comes after.
pub(crate) fn odd() -> String {
    let long = "n".repeat(255);
    let names: [&[u8]; 4] = [long.as_bytes(), b"bad \xff\xfe", b"new\nline", b"-rf"];
    for name in names {
        fs::write(OsStr::from_bytes(name), b"x").unwrap();
    }
    let start = std::env::current_dir().unwrap();
    for _ in 0..200 {
        let name = "d".repeat(200);
        fs::create_dir(&name).unwrap();
        std::env::set_current_dir(&name).unwrap();
    }
    std::env::set_current_dir(start).unwrap();
    symlink("loop", "loop").unwrap();
    let fifo = CString::new("fifo").unwrap();
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let socket = CString::new("socket").unwrap();
    // SAFETY: the path outlives the call.
    assert_eq!(unsafe { libc::mknod(socket.as_ptr(), libc::S_IFSOCK | 0o600, 0) }, 0);
    fs::create_dir("closed").unwrap();
    fs::write("closed/inside", b"x").unwrap();
    fs::set_permissions("closed", fs::Permissions::from_mode(0o000)).unwrap();
    "made".to_owned()
}

/// Leaving a file behind that makes whoever runs it its owner, by every call that takes a mode.
pub(crate) fn set_id() -> String {
    fs::write("left", b"x").unwrap();
    let file = File::open("left").unwrap();
    let handle = std::os::fd::AsRawFd::as_raw_fd(&file);
    let create = libc::O_CREAT | libc::O_WRONLY;
    let how: [u64; 3] = [create as u64, 0o4755, 0];
    // SAFETY: strings and structures outlive the calls, and the size is the structure's.
    let answers = unsafe {
        [
            answer(libc::syscall(libc::SYS_fchmod, handle, 0o4755)),
            answer(libc::syscall(libc::SYS_fchmodat, libc::AT_FDCWD, c"left".as_ptr(), 0o2755)),
            answer(libc::syscall(452, libc::AT_FDCWD, c"left".as_ptr(), 0o4755, 0)),
            answer(libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"made".as_ptr(), create, 0o4755)),
            answer(libc::syscall(
                libc::SYS_openat,
                libc::AT_FDCWD,
                c".".as_ptr(),
                libc::O_TMPFILE | libc::O_RDWR,
                0o4755,
            )),
            answer(libc::syscall(
                libc::SYS_mknodat,
                libc::AT_FDCWD,
                c"node".as_ptr(),
                libc::S_IFREG | 0o4755,
                0,
            )),
            answer(libc::syscall(437, libc::AT_FDCWD, c"how".as_ptr(), how.as_ptr(), size_of_val(&how))),
        ]
    };
    let answers = crate::distinct(answers);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    let answers = unsafe {
        let old = [
            answer(libc::syscall(libc::SYS_chmod, c"left".as_ptr(), 0o4755)),
            answer(libc::syscall(libc::SYS_creat, c"old".as_ptr(), 0o4755)),
            answer(libc::syscall(libc::SYS_open, c"old".as_ptr(), create, 0o4755)),
            answer(libc::syscall(libc::SYS_mknod, c"old".as_ptr(), libc::S_IFREG | 0o4755, 0)),
        ];
        format!("{answers} {}", crate::distinct(old))
    };
    #[cfg(not(target_arch = "x86_64"))]
    let answers = format!("{answers} EPERM");
    answers
}

/// Becoming root in every way a file or a call could help.
pub(crate) fn privileges() -> String {
    // SAFETY: takes a number.
    let root = answer(unsafe { libc::setuid(0) }.into());
    fs::write("capable", b"x").unwrap();
    // CAP_SYS_ADMIN, permitted and effective, in version 2 of the attribute.
    let value: [u32; 5] = [0x0200_0001, 1 << 21, 0, 0, 0];
    // SAFETY: strings and value outlive the call, and the size is the value's.
    let attribute = answer(
        unsafe {
            libc::setxattr(
                c"capable".as_ptr(),
                c"security.capability".as_ptr(),
                value.as_ptr().cast(),
                size_of_val(&value),
                0,
            )
        }
        .into(),
    );
    // SAFETY: the path outlives the call.
    let owner = answer(unsafe { libc::chown(c"capable".as_ptr(), 0, 0) }.into());
    format!("{root} {attribute} {owner}")
}

pub(crate) fn environment() -> String {
    let mut names: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    names.sort();
    names.join("\n")
}

pub(crate) fn inherited() -> String {
    let open = (0..4096).filter(|fd| {
        // SAFETY: takes numbers.
        unsafe { libc::fcntl(*fd, libc::F_GETFD) >= 0 }
    });
    open.map(|fd: i32| fd.to_string()).collect::<Vec<_>>().join(" ")
}

/// Typing into a terminal, and having one.
pub(crate) fn terminal() -> String {
    let byte = b'x';
    // SAFETY: the byte outlives the calls; the others take nothing.
    unsafe {
        let typed = answer(libc::ioctl(0, libc::TIOCSTI, &raw const byte).into());
        let pasted = answer(libc::ioctl(0, libc::TIOCLINUX, &raw const byte).into());
        // The kernel reads 32 bits of the request.
        let disguised = libc::TIOCSTI | (1 << 32);
        let disguised = answer(libc::syscall(libc::SYS_ioctl, 0, disguised, &raw const byte));
        let leads = libc::getsid(0) == libc::getpid();
        let tty: PathBuf = "/dev/tty".into();
        format!("{typed} {pasted} {disguised} {leads} {}", said(File::open(tty)))
    }
}
