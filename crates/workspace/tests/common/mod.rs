//! A workspace to test with, and a second opinion on what is in a directory.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tenure_workspace::{
    Chunks, Digest, Directory, Error, FilePath, Limits, MemoryChunks, Place, Restored, Snapshot, StatCache,
    restore, snapshot,
};

pub(crate) struct Workspace {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) place: Place,
    pub(crate) chunks: MemoryChunks,
    pub(crate) cache: StatCache,
    pub(crate) base: Option<Digest>,
    pub(crate) limits: Limits,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let place = Place::open(&temp.path().join("place")).expect("a place");
        Self {
            temp,
            place,
            chunks: MemoryChunks::new(),
            cache: StatCache::default(),
            base: None,
            limits: Limits::default(),
        }
    }

    /// The workspace as a plain directory, for changing it behind the crate's back as a sandbox does.
    pub(crate) fn plain(&self) -> PathBuf {
        self.temp.path().join("place/files")
    }

    /// A directory beside the place that nothing may reach from inside.
    pub(crate) fn outside(&self) -> PathBuf {
        let outside = self.temp.path().join("outside");
        fs::create_dir_all(&outside).expect("created");
        fs::write(outside.join("secret"), "do not touch").expect("written");
        outside
    }

    pub(crate) fn files(&self) -> Directory {
        self.place.files().expect("the files")
    }

    pub(crate) fn try_snapshot(&mut self) -> Result<Snapshot, Error> {
        let hold = self.chunks.hold()?;
        let directory = self.files();
        snapshot(&directory, &self.chunks, &hold, self.base.as_ref(), &mut self.cache, &self.limits)
    }

    /// Takes a snapshot, checks that a cache made no difference, and commits it.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let taken = self.try_snapshot().expect("a snapshot");
        let hold = self.chunks.hold().expect("a hold");
        let fresh = snapshot(
            &self.files(),
            &self.chunks,
            &hold,
            self.base.as_ref(),
            &mut StatCache::default(),
            &self.limits,
        )
        .expect("a snapshot without a cache");
        assert_eq!(fresh.root, taken.root, "the cache hid a change");
        assert!(fresh.new.is_empty(), "not everything was written");
        self.cache = StatCache::from_bytes(&self.cache.to_bytes()).expect("a cache reads back");
        self.base = Some(taken.root);
        taken
    }

    pub(crate) fn restore(&mut self, root: &Digest) -> Restored {
        self.try_restore(root).expect("restored")
    }

    pub(crate) fn try_restore(&mut self, root: &Digest) -> Result<Restored, Error> {
        let restored = restore(root, &self.chunks, &self.place, &self.limits)?;
        self.base = Some(*root);
        Ok(restored)
    }

    pub(crate) fn tree(&self) -> Tree {
        tree(&self.plain())
    }
}

pub(crate) fn path(text: &str) -> FilePath {
    FilePath::parse(text.as_bytes()).expect("a path")
}

/// Each path with what is there, as the standard library sees it.
pub(crate) type Tree = BTreeMap<Vec<u8>, String>;

pub(crate) fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    visit(root, root, &mut tree);
    tree
}

fn visit(root: &Path, directory: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let mode = meta.permissions().mode() & 0o777;
        let what = if meta.is_dir() {
            visit(root, &path, tree);
            format!("directory {mode:o}")
        } else if meta.is_symlink() {
            format!(
                "link {}",
                fs::read_link(&path).expect("a link").into_os_string().into_vec().escape_ascii()
            )
        } else if meta.is_file() {
            let bytes = fs::read(&path).expect("a file");
            let time = (meta.mtime(), meta.mtime_nsec());
            format!("file {mode:o} {} {} {time:?}", bytes.len(), Digest::of(&bytes))
        } else {
            "special".to_owned()
        };
        let name = path.strip_prefix(root).expect("beneath").as_os_str().as_bytes().to_vec();
        tree.insert(name, what);
    }
}
