//! What a skill or a plugin says about itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};

use crate::{DESCRIPTION_CHARS_MAX, Error, MANIFEST_BYTES_MAX, NAME_CHARS_MAX};

/// Nesting of a manifest: the deepest known member is a map.
const DEPTH_MAX: usize = 16;
/// Nodes of a front matter.
const NODES_MAX: usize = 1_000;

/// A name and a description.
///
/// INVARIANT: the name is a plain name of a directory; neither is empty or longer than the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    name: String,
    description: String,
}

impl Manifest {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for, without white space around it.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }
}

/// The members that matter. Others belong to other programs and are left alone.
#[derive(Deserialize)]
struct Written {
    name: Option<String>,
    description: Option<String>,
    /// Also what makes a list of texts no manifest.
    #[serde(flatten)]
    _others: BTreeMap<String, IgnoredAny>,
}

/// Reads the front matter of a `SKILL.md`: YAML between two lines of `---`, the first at the very beginning.
///
/// The name is 1 to 64 lower-case letters, digits and single hyphens between them, the description 1 to 1,024
/// characters, after the specification of Agent Skills. The body is not looked at.
///
/// # Errors
/// `Manifest`.
pub fn read_skill(text: &[u8]) -> Result<Manifest, Error> {
    let front = front_matter(text)?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_documents: 1,
            flow_nesting_limit: DEPTH_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 0,
            max_replay_stack_depth: 0,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let written = serde_saphyr::from_str_with_options::<Option<Written>>(front, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line()).saturating_add(1);
        Error::manifest(format!(
            "the front matter of `SKILL.md` is not valid YAML near line {line}; it needs `name` and `description`, each \
             a text, and a text that holds `: ` or `#` needs quotes"
        ))
    })?;
    let (name, description) = written.map_or((None, None), |written| (written.name, written.description));
    let name = name.ok_or_else(|| missing("the front matter of `SKILL.md`", "name"))?;
    check_skill_name(&name)?;
    let description = description.ok_or_else(|| missing("the front matter of `SKILL.md`", "description"))?;
    let description = described(&description)?;
    Ok(Manifest { name, description })
}

/// Reads a `plugin.json`. The name is 1 to 64 letters, digits, `-` and `_`, beginning with a letter or a digit.
///
/// # Errors
/// `Manifest`.
pub fn read_plugin(text: &[u8]) -> Result<Manifest, Error> {
    const WHERE: &str = "`.codex-plugin/plugin.json`";
    if text.len() > MANIFEST_BYTES_MAX {
        return Err(Error::manifest(format!("{WHERE} is longer than {MANIFEST_BYTES_MAX} bytes")));
    }
    let written: Written = serde_json::from_slice(text).map_err(|error| {
        Error::manifest(format!(
            "{WHERE} is no JSON object with the texts `name` and `description` (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    let name = written.name.ok_or_else(|| missing(WHERE, "name"))?;
    let is_plain = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    let begins = name.starts_with(|char: char| char.is_ascii_alphanumeric());
    if !begins || name.len() > NAME_CHARS_MAX || !name.chars().all(is_plain) {
        return Err(Error::manifest(format!(
            "the plugin's name `{}` must be 1 to {NAME_CHARS_MAX} letters, digits, `-` and `_`, beginning with a \
             letter or a digit",
            shown(&name)
        )));
    }
    let description = written.description.ok_or_else(|| missing(WHERE, "description"))?;
    let description = described(&description)?;
    Ok(Manifest { name, description })
}

/// The lines between the first line and the next `---`.
fn front_matter(text: &[u8]) -> Result<&str, Error> {
    let without = || {
        Error::manifest(
            "`SKILL.md` must begin with front matter: a line `---`, then `name` and `description`, then a line `---`",
        )
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // A front matter ends within the limit, or is too long.
    let head = &text[..text.len().min(MANIFEST_BYTES_MAX + 16)];
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_ascii_end() != b"---" {
        return Err(without());
    }
    let mut length = 0;
    for line in lines {
        if line.trim_ascii_end() == b"---" {
            if length > MANIFEST_BYTES_MAX {
                return Err(too_long());
            }
            let front = &head[first.len()..first.len() + length];
            return std::str::from_utf8(front)
                .map_err(|_| Error::manifest("the front matter of `SKILL.md` is not UTF-8 text"));
        }
        length += line.len();
    }
    if text.len() > head.len() {
        return Err(too_long());
    }
    Err(without())
}

fn too_long() -> Error {
    Error::manifest(format!("the front matter of `SKILL.md` does not end within {MANIFEST_BYTES_MAX} bytes"))
}

fn check_skill_name(name: &str) -> Result<(), Error> {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if name.len() <= NAME_CHARS_MAX && name.split('-').all(is_plain) {
        return Ok(());
    }
    Err(Error::manifest(format!(
        "the skill's name `{}` must be 1 to {NAME_CHARS_MAX} lower-case letters and digits, with single hyphens \
         between them",
        shown(name)
    )))
}

fn described(text: &str) -> Result<String, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::manifest("`description` must not be empty"));
    }
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(Error::manifest(format!(
            "`description` may have at most {DESCRIPTION_CHARS_MAX} characters"
        )));
    }
    if text.contains('\0') {
        return Err(Error::manifest("`description` must not hold a NUL character"));
    }
    Ok(text.to_owned())
}

fn missing(place: &str, member: &str) -> Error {
    Error::manifest(format!("{place} has no `{member}`"))
}

/// A name that someone got wrong, short and harmless.
fn shown(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
