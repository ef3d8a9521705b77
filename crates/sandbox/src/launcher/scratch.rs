//! The directory for temporary files of a tier that has no file systems of its own.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::failure::{Failure, Or as _};
use super::held::{Held, SANDBOX};
use super::identity::{Identity, Source};

/// It goes away with this value. The command's is a directory in one of this process's own, so that whoever comes after
/// a process that was killed knows whose it was.
pub(crate) struct Scratch {
    path: PathBuf,
    _held: Held,
}

impl Scratch {
    pub(crate) fn make(identity: Identity) -> Result<Self, Failure> {
        let held = Held::make(SANDBOX).failed("making a temporary directory")?;
        let path = held.path().join("tmp");
        rustix::fs::mkdir(&path, Mode::RWXU).failed("making a temporary directory")?;
        match identity.source {
            Source::Server => {}
            Source::Passing | Source::Lasting => {
                // The command's user may pass through, and see nothing.
                std::fs::set_permissions(held.path(), Permissions::from_mode(0o711))
                    .failed("opening the temporary directory to the command's user")?;
                chown(&path, Some(identity.uid), Some(identity.gid))
                    .failed("giving the temporary directory to the command's user")?;
            }
        }
        Ok(Self { path, _held: held })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
