//! Who a command is on the host.
//!
//! A server that is root gives each command a user of its own, so that no two share a limit of processes or
//! can signal each other, and the command owns nothing on the host. Files keep their owner on disk: the
//! workspace is shown through a mount that maps the owner (Linux 5.12 and a file system that can). Where
//! that is refused, and in the tier without mounts, the workspace is given to the command's user; a later
//! command recognises such a workspace by its owner and is the same user again.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chownat, openat, statat};
use rustix::process::{Gid, Uid};

use super::failure::{Failure, Or as _};
use super::mounts::USER;
use crate::report::Tier;
use crate::sys::{self, Side};

/// The users of commands whose files keep their owner: this and the number of a process, of which Linux has
/// at most 2^22.
const PASSING: u32 = 0x6000_0000;
const PIDS_MAX: u32 = 1 << 22;
/// The users that workspaces are given to: this and a random number below the bound.
const LASTING: u32 = 0x6800_0000;
const LASTING_COUNT: u32 = 1 << 26;
/// The users that gVisor's own processes are: as for commands, this and the number of a process.
const KEEPING: u32 = PASSING + PIDS_MAX;
/// Levels of directories that are given to another user. Paths of 4096 bytes end long before.
const DEPTH_MAX: usize = 4096;

/// Root of a namespace.
pub(crate) const ROOT: u32 = 0;

/// A user and a group of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) source: Source,
    /// Who gVisor is, which makes the command's files and gives them to it; nobody beside the command where
    /// there is no gVisor, or no user to give.
    pub(crate) keeper: Option<u32>,
}

/// Where a command's identity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is the server's own user: not root, or the root of a container that has no others.
    Server,
    /// A user of the command's own; the workspace is someone else's.
    Passing,
    /// The user that the workspace was given to.
    Lasting,
}

impl Identity {
    pub(crate) fn of(workspace: &Path, tier: Tier) -> Result<Self, Failure> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // The root of a container may have no users to give.
        if uid != 0 || !has_users(&std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default()) {
            return Ok(Self { uid, gid, source: Source::Server, keeper: None });
        }
        let keeper = match tier {
            Tier::Gvisor => Some(KEEPING + std::process::id() % PIDS_MAX),
            Tier::Namespaces | Tier::Landlock => None,
        };
        let owner = std::fs::metadata(workspace).failed("looking at the workspace")?.uid();
        if (LASTING..LASTING + LASTING_COUNT).contains(&owner) {
            return Ok(Self { uid: owner, gid: owner, source: Source::Lasting, keeper });
        }
        let own = PASSING + std::process::id() % PIDS_MAX;
        Ok(Self { uid: own, gid: own, source: Source::Passing, keeper })
    }

    /// Gives a workspace to a fresh user, which the identity becomes; nothing where it needs no giving.
    pub(crate) fn take_over(self, workspace: &Path) -> Result<Self, Failure> {
        match self.source {
            Source::Server | Source::Lasting => return Ok(self),
            Source::Passing => {}
        }
        let mut random = [0; 4];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .failed("choosing a user")?;
        let user = LASTING + u32::from_le_bytes(random) % LASTING_COUNT;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(workspace, flags, Mode::empty()).failed("opening the workspace")?;
        give(&root, user, 0).failed("giving the workspace to the command's user")?;
        // Last: a workspace that was given half is not taken for one that was given whole.
        rustix::fs::fchown(&root, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))
            .failed("giving the workspace to the command's user")?;
        Ok(Self { uid: user, gid: user, source: Source::Lasting, ..self })
    }

    /// A user namespace through which files of the owner of `path` are seen as the command's; none where
    /// they are already.
    pub(crate) fn owner_map(self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let metadata = std::fs::metadata(path)?;
        match self.source {
            Source::Server => return Ok(None),
            Source::Passing | Source::Lasting if metadata.uid() == self.uid => return Ok(None),
            Source::Passing | Source::Lasting => {}
        }
        let (wait, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        match sys::clone(libc::CLONE_NEWUSER)? {
            Side::Child => {
                drop(go);
                // Until the other end is closed: by then someone else holds the namespace, or nobody wants it.
                let _ = rustix::io::read(&wait, &mut [0; 1]);
                sys::exit_at_once(0)
            }
            Side::Parent(child) => {
                // Files are made by their keeper before they are given to the command.
                let keeper = self.keeper.map(|keeper| (keeper, keeper));
                let users = [Some((metadata.uid(), self.uid)), keeper];
                let groups = [Some((metadata.gid(), self.gid)), keeper];
                let made = map(child.pid, "uid_map", users)
                    .and_then(|()| map(child.pid, "gid_map", groups))
                    .and_then(|()| std::fs::File::open(format!("/proc/{}/ns/user", child.pid)));
                drop(go);
                sys::reap(Some(child.pid), sys::Block::Yes);
                made.map(|file| Some(file.into()))
            }
        }
    }

    /// Says in the namespace of `pid` who its user is on the host.
    pub(crate) fn map_user(self, pid: i32, tier: Tier) -> Result<(), Failure> {
        let written = match self.source {
            // An ordinary user may map its group only where groups can no longer be given up.
            Source::Server => std::fs::write(format!("/proc/{pid}/setgroups"), "deny"),
            Source::Passing | Source::Lasting => Ok(()),
        };
        let keeper = self.keeper.map(|keeper| (ROOT, keeper));
        let user = self.inside(tier);
        written
            .and_then(|()| map(pid, "uid_map", [Some((user, self.uid)), keeper]))
            .and_then(|()| map(pid, "gid_map", [Some((user, self.gid)), keeper]))
            .failed("mapping the command's user")
    }

    /// Who the command is inside. gVisor has to be root in its namespace, and an ordinary user has nobody
    /// else to be the command there: it is a root without a single capability.
    pub(crate) fn inside(self, tier: Tier) -> u32 {
        match (tier, self.keeper) {
            (Tier::Gvisor, None) => ROOT,
            (Tier::Gvisor, Some(_)) | (Tier::Namespaces | Tier::Landlock, _) => USER,
        }
    }

    /// Gives the standard streams to the command's user, or it could not open them again by name.
    pub(crate) fn own_streams(self, tier: Tier) {
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let Ok(found) = rustix::fs::fstat(stream) else { continue };
            let kind = FileType::from_raw_mode(found.st_mode);
            // Made for this command alone; anything else is the host's.
            if kind == FileType::Fifo || (kind.is_file() && found.st_nlink == 0) {
                match self.source {
                    Source::Server => {}
                    Source::Passing | Source::Lasting => {
                        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                        let _ = rustix::fs::fchown(stream, Some(uid), Some(gid));
                    }
                }
                match tier {
                    // It looks at owners from a namespace in which nobody is anybody.
                    Tier::Gvisor => drop(rustix::fs::fchmod(stream, Mode::from_raw_mode(0o666))),
                    Tier::Namespaces | Tier::Landlock => {}
                }
            }
        }
    }

    /// What becomes of the groups of the process that takes it on.
    pub(crate) fn groups(self) -> sys::Groups {
        match self.source {
            Source::Server => sys::Groups::Keep,
            Source::Passing | Source::Lasting => sys::Groups::Drop,
        }
    }
}

/// Whether a map of users holds those that commands are given.
fn has_users(map: &str) -> bool {
    let holds = |line: &str| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [first, _, count] = numbers[..] else { return false };
        first <= PASSING.into() && first + count >= u64::from(LASTING + LASTING_COUNT)
    };
    map.lines().any(holds)
}

/// Each pair is who someone is in the namespace of `pid`, and who that is on the host.
fn map(pid: i32, file: &str, pairs: [Option<(u32, u32)>; 2]) -> io::Result<()> {
    let lines = pairs.into_iter().flatten().map(|(inside, outside)| format!("{inside} {outside} 1\n"));
    std::fs::write(format!("/proc/{pid}/{file}"), lines.collect::<String>())
}

/// Gives everything below `directory`, without following a link.
fn give(directory: &OwnedFd, user: u32, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(rustix::io::Errno::LOOP.into());
    }
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // A file with another name elsewhere may be someone else's.
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind.is_dir() {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            give(&openat(directory.as_fd(), name, flags, Mode::empty())?, user, depth + 1)?;
        } else if found.st_nlink > 1 {
            continue;
        }
        let (uid, gid) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
        chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_whether_there_are_users_to_give() {
        for (map, expected) in [
            ("         0          0 4294967295\n", true),
            ("0 100000 65536\n", false),
            ("0 1000 1\n", false),
            ("0 1000 1\n1 100000 4294867295\n", true),
            ("", false),
        ] {
            assert_eq!(has_users(map), expected, "{map}");
        }
    }
}
