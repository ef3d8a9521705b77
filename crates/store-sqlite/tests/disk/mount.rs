//! The disk as a file system with one directory, mounted through `/dev/fuse`.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tempfile::TempDir;

use super::{Disk, Refusal};

/// How long the kernel may keep what it was told: only the kernel changes it.
const TTL: Duration = Duration::from_secs(3600);

/// Why no file system can be mounted here, if so.
pub(crate) fn unavailable() -> Option<String> {
    if !Path::new("/dev/fuse").exists() {
        return Some("no /dev/fuse".to_owned());
    }
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if let Err(error) = device {
        return Some(format!("/dev/fuse cannot be opened: {error}"));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    let capabilities = effective.and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0);
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    (capabilities & CAP_SYS_ADMIN == 0).then(|| "not root: mounting needs CAP_SYS_ADMIN".to_owned())
}

/// Says that a test proved nothing. Around the test harness, which keeps what a passing test prints to itself;
/// `cargo xtask test` repeats the line in its summary.
pub(crate) fn say_not_run(what: &str, reason: &str) {
    let mut out = std::io::stdout();
    // On a line of its own, whatever the harness has begun to write. Nobody may be there to read it.
    let _ = out.write_all(format!("\nnot run: {what}: {reason}\n").as_bytes()).and_then(|()| out.flush());
}

/// A mounted disk. Dropping it unmounts.
#[derive(Debug)]
pub(crate) struct Mounted {
    session: Option<BackgroundSession>,
    point: TempDir,
}

impl Mounted {
    pub(crate) fn new(disk: &Disk) -> Self {
        let point = tempfile::tempdir().expect("a mount point");
        let session = fuser::spawn_mount(Volume(disk.clone()), point.path(), &Config::default());
        Self { session: Some(session.expect("mounts")), point }
    }

    pub(crate) fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // The kernel ends the connection with ENODEV, or with ECONNABORTED where the unmounting overtakes a request.
            let ended = match session.umount_and_join() {
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => Ok(()),
                other => other,
            };
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            let gone = !mounts.contains(&*self.point.path().to_string_lossy());
            assert!(gone && ended.is_ok() || std::thread::panicking(), "unmounts: {ended:?}, gone: {gone}");
        }
    }
}

struct Volume(Disk);

impl Volume {
    fn attributes(&self, inode: u64) -> Option<FileAttr> {
        let (kind, perm, size) = match inode {
            1 => (FileType::Directory, 0o700, 0),
            _ => (FileType::RegularFile, 0o600, self.0.lock().content(inode)?.len() as u64),
        };
        Some(FileAttr {
            ino: INodeNo(inode),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl From<Refusal> for Errno {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchFile => Self::ENOENT,
            Refusal::Exists => Self::EEXIST,
            Refusal::Full => Self::ENOSPC,
            Refusal::Broken => Self::EIO,
        }
    }
}

fn done(result: Result<(), Refusal>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(refusal.into()),
    }
}

impl Filesystem for Volume {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inode = self.0.lock().inode(&name.to_string_lossy());
        match inode.and_then(|inode| self.attributes(inode)) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode.0) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let resized = match size {
            Some(size) => self.0.lock().resize(inode.0, size as usize),
            None => Ok(()),
        };
        match (resized, self.attributes(inode.0)) {
            (Ok(()), Some(attributes)) => reply.attr(&TTL, &attributes),
            (Ok(()), None) => reply.error(Errno::ENOENT),
            (Err(refusal), _) => reply.error(refusal.into()),
        }
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.0.lock().create(&name.to_string_lossy());
        match created.map(|inode| self.attributes(inode)) {
            Ok(Some(attributes)) => {
                reply.created(&TTL, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
            }
            Ok(None) => reply.error(Errno::EIO),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.0.lock().unlink(&name.to_string_lossy()), reply);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(self.0.lock().rename(&name.to_string_lossy(), &new_name.to_string_lossy()), reply);
    }

    fn link(&self, _: &Request, inode: INodeNo, _: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let linked = self.0.lock().link(inode.0, &new_name.to_string_lossy());
        match linked.map(|()| self.attributes(inode.0)) {
            Ok(Some(attributes)) => reply.entry(&TTL, &attributes, Generation(0)),
            Ok(None) => reply.error(Errno::ENOENT),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    // Reads go on after a cut: a page of a memory map that cannot be read would kill the process.
    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.lock().content(inode.0) {
            Some(content) => {
                let start = content.len().min(offset as usize);
                let end = content.len().min(start + size as usize);
                reply.data(&content[start..end]);
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.lock().write(inode.0, offset as usize, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(refusal) => reply.error(refusal.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        done(self.0.lock().sync(inode.0), reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        done(self.0.lock().sync_names(), reply);
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.0.lock();
        for (index, (name, inode)) in state.names().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*inode), index as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}
