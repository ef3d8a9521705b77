//! A skill's or a plugin's files, read from what somebody sent.

use std::collections::BTreeMap;

use tenure_workspace::archive::{self, EntryKind, Format};
use tenure_workspace::{FilePath, Limits};

use crate::manifest::{read_plugin, read_skill};
use crate::{
    BUNDLE_BYTES_MAX, DEPTH_MAX, Error, ErrorKind, FILE_BYTES_MAX, FILES_MAX, Manifest, PATH_BYTES_MAX, zip,
};

/// What some programs put beside the files that people mean to pack.
const LITTER_DIRECTORY: &[u8] = b"__MACOSX";
const LITTER_FILE: &[u8] = b".DS_Store";

/// What a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder with a `SKILL.md`.
    Skill,
    /// A folder with a `.codex-plugin/plugin.json`.
    Plugin,
}

impl Kind {
    /// The file that says what it is, below its folder.
    #[must_use]
    pub fn manifest_path(self) -> &'static str {
        match self {
            Self::Skill => "SKILL.md",
            Self::Plugin => ".codex-plugin/plugin.json",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Skill => "skill",
            Self::Plugin => "plugin",
        }
    }

    fn read(self, text: &[u8]) -> Result<Manifest, Error> {
        match self {
            Self::Skill => read_skill(text),
            Self::Plugin => read_plugin(text),
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BundleFile {
    pub(crate) executable: bool,
    pub(crate) bytes: Vec<u8>,
}

/// A skill or a plugin in memory.
///
/// INVARIANT: its manifest is one of its files; its paths are relative to its folder, stay within it, are UTF-8, and
/// none is beneath a file; everything is within the limits of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    manifest: Manifest,
    files: BTreeMap<FilePath, BundleFile>,
}

impl Bundle {
    /// Reads a zip whose folder is its only one at the top, or which is the folder itself. Links are refused, and so
    /// is everything that [`archive`] refuses.
    ///
    /// # Errors
    /// Any kind.
    pub fn from_zip(kind: Kind, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(too_large());
        }
        let limits = Limits {
            // Directories count as well, and so does the folder itself.
            entries_max: (FILES_MAX * (DEPTH_MAX + 2)) as u64,
            bytes_max: BUNDLE_BYTES_MAX as u64,
            file_bytes_max: FILE_BYTES_MAX as u64,
            depth_max: DEPTH_MAX + 1,
        };
        let mut files = BTreeMap::new();
        let mut link = None;
        archive::read(Format::Zip, bytes, &limits, &mut |entry, reader| {
            match &entry.kind {
                EntryKind::Directory => {}
                EntryKind::Link { .. } => link = link.take().or_else(|| Some(entry.path.clone())),
                EntryKind::File { size } => {
                    let mut bytes =
                        Vec::with_capacity(usize::try_from(*size).unwrap_or(0).min(FILE_BYTES_MAX));
                    // To its end and not beyond: only then are its length and sum known to be right.
                    reader.read_to_end(&mut bytes)?;
                    files.insert(
                        entry.path.clone(),
                        BundleFile { executable: entry.mode & 0o100 != 0, bytes },
                    );
                }
            }
            Ok(())
        })
        .map_err(|error| of_archive(&error))?;
        if let Some(path) = link {
            return Err(Error::new(
                ErrorKind::Archive,
                format!("`{path}` is a link; put the file itself into the archive"),
            ));
        }
        Self::of(kind, files)
    }

    /// Takes files with their paths, all of them in one folder at the top, or none in any but the folder's own.
    ///
    /// # Errors
    /// Any kind.
    pub fn from_files(kind: Kind, given: Vec<(String, Vec<u8>)>) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for (name, bytes) in given {
            let refused = |why: &str| Error::new(ErrorKind::Archive, format!("`{name}`: {why}"));
            let path = FilePath::parse(name.as_bytes()).map_err(|error| refused(&error.to_string()))?;
            if path.is_root() {
                return Err(refused("a file needs a name"));
            }
            let file = BundleFile { executable: bytes.starts_with(b"#!"), bytes };
            if files.insert(path, file).is_some() {
                return Err(refused("two files have this name"));
            }
        }
        Self::of(kind, files)
    }

    fn of(kind: Kind, mut files: BTreeMap<FilePath, BundleFile>) -> Result<Self, Error> {
        files.retain(|path, _| !is_litter(path));
        let files = within_folder(kind, files)?;
        check(&files)?;
        let manifest =
            FilePath::parse(kind.manifest_path().as_bytes()).ok().and_then(|path| files.get(&path));
        let manifest = kind.read(&manifest.ok_or_else(|| without_manifest(kind))?.bytes)?;
        Ok(Self { manifest, files })
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of all its files together.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.files.values().map(|file| file.bytes.len()).sum()
    }

    /// Its one canonical zip: its files in the order of their paths, in a folder named like it, without times.
    #[must_use]
    pub fn to_zip(&self) -> Vec<u8> {
        zip::write(self.manifest.name(), &self.files)
    }
}

/// Files relative to the folder that holds the manifest: the top itself, or the only folder there.
fn within_folder(
    kind: Kind,
    files: BTreeMap<FilePath, BundleFile>,
) -> Result<BTreeMap<FilePath, BundleFile>, Error> {
    let manifest = FilePath::parse(kind.manifest_path().as_bytes()).unwrap_or_default();
    if files.contains_key(&manifest) {
        return Ok(files);
    }
    let folder = files.keys().next().and_then(|path| path.names().next()).map(<[u8]>::to_vec);
    let folder = folder.ok_or_else(|| without_manifest(kind))?;
    let mut relative = BTreeMap::new();
    for (path, file) in files {
        let names: Vec<&[u8]> = path.names().collect();
        let [first, below @ ..] = names.as_slice() else { return Err(without_manifest(kind)) };
        if *first != folder || below.is_empty() {
            return Err(without_manifest(kind));
        }
        let below = below.join(&b'/');
        let below = FilePath::parse(&below)
            .map_err(|error| Error::new(ErrorKind::Archive, format!("`{path}`: {error}")))?;
        relative.insert(below, file);
    }
    Ok(relative)
}

/// What holds for zips already, for files that came one by one; and what holds for neither yet.
fn check(files: &BTreeMap<FilePath, BundleFile>) -> Result<(), Error> {
    if files.len() > FILES_MAX {
        return Err(Error::new(ErrorKind::TooLarge, format!("more than {FILES_MAX} files")));
    }
    let mut total = 0;
    for (path, file) in files {
        total += file.bytes.len();
        if file.bytes.len() > FILE_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("`{path}` is larger than {FILE_BYTES_MAX} bytes"),
            ));
        }
        if total > BUNDLE_BYTES_MAX {
            return Err(too_large());
        }
        if path.depth() > DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("`{path}` is deeper than {DEPTH_MAX} directories"),
            ));
        }
        if path.as_bytes().len() > PATH_BYTES_MAX {
            let message = format!("a path has more than {PATH_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if std::str::from_utf8(path.as_bytes()).is_err() {
            return Err(Error::new(ErrorKind::Archive, format!("`{path}`: its name is not UTF-8")));
        }
        let mut above = path.split().map(|(parent, _)| parent);
        while let Some(parent) = above.filter(|parent| !parent.is_root()) {
            if files.contains_key(&parent) {
                return Err(Error::new(ErrorKind::Archive, format!("`{path}` is beneath a file")));
            }
            above = parent.split().map(|(parent, _)| parent);
        }
    }
    Ok(())
}

fn is_litter(path: &FilePath) -> bool {
    path.names().any(|name| name == LITTER_DIRECTORY) || path.names().next_back() == Some(LITTER_FILE)
}

fn without_manifest(kind: Kind) -> Error {
    Error::new(
        ErrorKind::Manifest,
        format!(
            "a {} is one folder that holds `{}`, and there is none here",
            kind.noun(),
            kind.manifest_path()
        ),
    )
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, format!("more than {BUNDLE_BYTES_MAX} bytes"))
}

fn of_archive(error: &tenure_workspace::Error) -> Error {
    let is_limit = matches!(error.kind(), tenure_workspace::ErrorKind::Limit(_));
    let kind = if is_limit { ErrorKind::TooLarge } else { ErrorKind::Archive };
    Error::new(kind, format!("in the zip: {error}"))
}
