//! Patches in the format that coding models are trained to write.
//!
//! ```text
//!   *** Begin Patch
//!   *** Add File: path            every line begins with `+`
//!   *** Delete File: path
//!   *** Update File: path
//!   *** Move to: path             at most once, first
//!   @@ a line above the change    any number, to find the place; alone it only separates hunks
//!    context, -removed, +added
//!   *** End of File               this hunk reaches the end
//!   *** End Patch
//! ```
//!
//! [`parse`] reads a patch, [`apply_hunks`] makes a new text of an old one; both are pure. [`apply`] changes a
//! workspace: every file is read and every hunk placed before anything is written, so a patch that does not
//! fit changes nothing.
//!
//! There are no line numbers, so a hunk is placed by what it removes and keeps: after the hunk before it,
//! first exactly, then without regard to white space at the ends of lines, then at both ends, then to
//! typographic variants of quotes, dashes and spaces. Lines that only give context stay as the file has them.
//! Errors say which hunk, which line was not found and what comes nearest, because a model reads them.

mod apply;
mod parse;
mod place;

pub use apply::{Applied, PatchFailure, apply};
pub use parse::{FileChange, Hunk, Line, ParseError, Patch, parse};
pub use place::{HunkError, apply_hunks};

/// Bytes of a patch.
pub const PATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
