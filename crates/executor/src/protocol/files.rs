//! Files. What an absent option means is the executor's: directories are created and removed with what is
//! above and below them, and removing what is not there is fine.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Base64, Nothing};
use crate::location::Location;
use crate::message::Method;

/// Bytes that one [`ReadBlock`] gives at most.
pub const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Declares parameters, all with the confinement that an executor must honour or refuse.
macro_rules! files {
    ($($(#[$doc:meta])* $name:ident = $method:literal, repeatable $repeatable:literal -> $outcome:ty { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $type,)*
                /// What the operation is confined to, in the executor's language.
                #[serde(default)]
                pub sandbox: Option<Box<RawValue>>,
            }

            impl Method for $name {
                const NAME: &'static str = $method;
                type Outcome = $outcome;
                const REPEATABLE: bool = $repeatable;
            }
        )*
    };
}

files! {
    /// Reads a whole file.
    ReadFile = "fs/readFile", repeatable true -> Contents {
        /// Which.
        path: Location,
    }
    /// Opens a file to read it in blocks.
    Open = "fs/open", repeatable false -> Opened {
        /// The name the handle is to have, at most 32 bytes.
        handle_id: String,
        /// Which.
        path: Location,
    }
    /// Writes a whole file, over what was there.
    WriteFile = "fs/writeFile", repeatable true -> Nothing {
        /// Which.
        path: Location,
        /// What.
        data_base64: Base64,
    }
    /// Creates a directory.
    CreateDirectory = "fs/createDirectory", repeatable false -> Nothing {
        /// Which.
        path: Location,
        /// Whether those above it may be created too; yes when absent.
        recursive: Option<bool>,
    }
    /// Asks what is at a path; a link is followed.
    Metadata = "fs/getMetadata", repeatable true -> Found {
        /// Which.
        path: Location,
    }
    /// Asks for a path without links in it.
    Canonicalize = "fs/canonicalize", repeatable true -> Canonical {
        /// Which.
        path: Location,
    }
    /// Lists a directory.
    ReadDirectory = "fs/readDirectory", repeatable true -> Listing {
        /// Which.
        path: Location,
    }
    /// Lists a directory and those below it.
    Walk = "fs/walk", repeatable true -> Walked {
        /// From where.
        path: Location,
        /// How far.
        options: WalkOptions,
    }
    /// Removes a file or directory.
    Remove = "fs/remove", repeatable false -> Nothing {
        /// Which.
        path: Location,
        /// Whether what is below may be removed too; yes when absent.
        recursive: Option<bool>,
        /// Whether it is fine when there is nothing; yes when absent.
        force: Option<bool>,
    }
    /// Copies a file or directory.
    Copy = "fs/copy", repeatable false -> Nothing {
        /// What.
        source_path: Location,
        /// To where.
        destination_path: Location,
        /// Whether what is below is copied too.
        recursive: bool,
    }
}

/// Reads a piece of an open file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBlock {
    /// Of which handle.
    pub handle_id: String,
    /// From which byte.
    pub offset: u64,
    /// How many bytes, at most [`BLOCK_BYTES_MAX`].
    pub len: usize,
}

/// Closes an open file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Close {
    /// Which handle.
    pub handle_id: String,
}

/// A file's bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// All of them.
    pub data_base64: Base64,
}

/// A file is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// As it was asked for.
    pub handle_id: String,
}

/// A piece of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Block {
    /// Its bytes.
    pub chunk: Base64,
    /// Whether the file ends with them.
    pub eof: bool,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// A directory, or a link to one.
    pub is_directory: bool,
    /// A regular file, or a link to one.
    pub is_file: bool,
    /// A link.
    pub is_symlink: bool,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Milliseconds since 1970; 0 where it is not kept.
    pub created_at_ms: i64,
    /// Milliseconds since 1970.
    pub modified_at_ms: i64,
}

/// A path without links in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Canonical {
    /// That path.
    pub path: Location,
}

/// What a directory holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listing {
    /// In no particular order.
    pub entries: Vec<Entry>,
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name; those that are not UTF-8 are given as well as they can be.
    pub file_name: String,
    /// A directory, or a link to one.
    pub is_directory: bool,
    /// A regular file, or a link to one.
    pub is_file: bool,
}

/// How far a walk goes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WalkOptions {
    /// How many levels below the first.
    pub max_depth: usize,
    /// How many directories, the first included.
    pub max_directories: usize,
    /// How many things in them.
    pub max_entries: usize,
    /// Whether links to directories are followed.
    pub follow_directory_symlinks: bool,
}

/// What a walk found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Walked {
    /// In order of depth.
    pub entries: Vec<WalkEntry>,
    /// What could not be looked at.
    pub errors: Vec<WalkError>,
    /// Whether a limit ended it.
    pub truncated: bool,
}

/// One thing that a walk found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkEntry {
    /// Where it is.
    pub path: Location,
    /// What it is.
    pub kind: WalkKind,
}

/// What a walk tells apart. It passes over everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WalkKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// One thing that a walk could not look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WalkError {
    /// Where it is.
    pub path: Location,
    /// Why not.
    pub message: String,
}

impl Method for ReadBlock {
    const NAME: &'static str = "fs/readBlock";
    type Outcome = Block;
}

impl Method for Close {
    const NAME: &'static str = "fs/close";
    type Outcome = Nothing;
}
