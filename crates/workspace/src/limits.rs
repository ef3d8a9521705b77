//! How large a workspace may be.

/// Bytes of a link's target, as Linux has it.
pub const LINK_BYTES_MAX: usize = 4095;

/// Bytes of one node of a manifest: some 400,000 files in one directory.
pub const NODE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a snapshot, a restore, a walk or an archive may come to. Beyond it, it is refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files, links and directories together.
    pub entries_max: u64,
    /// Bytes of all files together, holes included.
    pub bytes_max: u64,
    /// Bytes of one file, holes included.
    pub file_bytes_max: u64,
    /// Names in a path. A walk keeps one open directory for each of them, so this must stay well below the
    /// limit on open files.
    pub depth_max: usize,
}

impl Default for Limits {
    /// A million entries, 16 GiB, 4 GiB in one file, 256 names deep.
    fn default() -> Self {
        Self { entries_max: 1_000_000, bytes_max: 16 << 30, file_bytes_max: 4 << 30, depth_max: 256 }
    }
}

/// Adds up entries and bytes and refuses what is beyond the limits.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    limits: Limits,
    pub(crate) entries: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Which limit was passed, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::entries_max`].
    Entries(u64),
    /// [`Limits::bytes_max`].
    Bytes(u64),
    /// [`Limits::file_bytes_max`], or what a single read was allowed.
    FileBytes(u64),
    /// [`Limits::depth_max`].
    Depth(usize),
    /// [`NODE_BYTES_MAX`].
    NodeBytes(usize),
    /// An archive that unpacks to more than this many times its size.
    Ratio(u64),
}

impl Tally {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, entries: 0, files: 0, bytes: 0 }
    }

    pub(crate) fn file_bytes_max(&self) -> u64 {
        self.limits.file_bytes_max
    }

    /// Counts an entry of whatever kind.
    pub(crate) fn entry(&mut self) -> Result<(), Limit> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.limits.entries_max {
            return Err(Limit::Entries(self.limits.entries_max));
        }
        Ok(())
    }

    /// Counts the bytes of a file, the entry of which was counted before.
    pub(crate) fn file(&mut self, bytes: u64) -> Result<(), Limit> {
        self.files += 1;
        if bytes > self.limits.file_bytes_max {
            return Err(Limit::FileBytes(self.limits.file_bytes_max));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes_max {
            return Err(Limit::Bytes(self.limits.bytes_max));
        }
        Ok(())
    }

    /// Whether a path of `depth` names is allowed.
    pub(crate) fn depth(&self, depth: usize) -> Result<(), Limit> {
        if depth > self.limits.depth_max { Err(Limit::Depth(self.limits.depth_max)) } else { Ok(()) }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entries(most) => write!(f, "more than {most} files, links and directories"),
            Self::Bytes(most) => write!(f, "more than {most} bytes together"),
            Self::FileBytes(most) => write!(f, "larger than {most} bytes"),
            Self::Depth(most) => write!(f, "deeper than {most} directories"),
            Self::NodeBytes(most) => write!(f, "a directory whose list takes more than {most} bytes"),
            Self::Ratio(most) => write!(f, "an archive that unpacks to more than {most} times its size"),
        }
    }
}
