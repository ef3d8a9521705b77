//! What a project keeps for its sessions: uploaded files, and skills with their versions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{BlobRef, SkillId, SkillVersion, Timestamp};

/// An uploaded file. Its document's name is its purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Its name, as its client gave it.
    pub filename: String,
    /// What it is for.
    pub purpose: FilePurpose,
    /// Its bytes, in order; at least one piece.
    pub pieces: Vec<BlobRef>,
    /// From when on it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl StoredFile {
    /// How long it is.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.pieces.iter().map(BlobRef::bytes).sum()
    }
}

/// What an uploaded file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilePurpose {
    /// Whatever its user wants.
    UserData,
    /// The same, by an older word.
    Assistants,
    /// The same, for images.
    Vision,
}

impl FilePurpose {
    /// Every word.
    pub const WORDS: &'static [&'static str] = &["user_data", "assistants", "vision"];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserData => "user_data",
            Self::Assistants => "assistants",
            Self::Vision => "vision",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "user_data" => Some(Self::UserData),
            "assistants" => Some(Self::Assistants),
            "vision" => Some(Self::Vision),
            _ => None,
        }
    }
}

/// A stored skill. Every change to its versions changes it too, so that two changes at once meet here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSkill {
    /// The name of its default version.
    pub name: String,
    /// The description of its default version.
    pub description: String,
    /// The version that is used where none is named.
    pub default_version: u32,
    /// The highest version there is.
    pub latest_version: u32,
    /// The highest version there ever was: a number is not used again.
    pub last_number: u32,
}

/// One version of a stored skill. It never changes. Its document's name is the skill's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSkillVersion {
    /// Which skill and which version.
    pub version: SkillVersion,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its files as a zip: one directory, named like the skill.
    pub archive: BlobRef,
}

/// What a version's id begins with.
const VERSION_PREFIX: &str = "skillver_";

/// Text that is not the id of a version of a skill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a version of a skill")]
pub struct SkillVersionError;

/// The id of a version: `skillver_`, the digits of its skill and its number. Ids of one skill sort as their numbers.
impl fmt::Display for SkillVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skill = self.skill_id.to_string();
        let digits = skill.rsplit_once('_').map_or("", |(_, digits)| digits);
        write!(f, "{VERSION_PREFIX}{digits}_{:010}", self.number)
    }
}

impl FromStr for SkillVersion {
    type Err = SkillVersionError;

    fn from_str(text: &str) -> Result<Self, SkillVersionError> {
        let rest = text.strip_prefix(VERSION_PREFIX).ok_or(SkillVersionError)?;
        let (digits, number) = rest.split_once('_').ok_or(SkillVersionError)?;
        let skill_id: SkillId =
            format!("{}_{digits}", SkillId::PREFIX).parse().map_err(|_| SkillVersionError)?;
        let number = number.parse().map_err(|_| SkillVersionError)?;
        let version = Self { skill_id, number };
        // One version has one id.
        if version.to_string() == text { Ok(version) } else { Err(SkillVersionError) }
    }
}

#[cfg(test)]
mod tests {
    use crate::Fresh;

    use super::*;

    #[test]
    fn versions_have_ids_that_sort_as_their_numbers() {
        let skill_id = SkillId::fresh(&Fresh::new(Timestamp::from_millis(1_790_000_000_000), 7));
        let id = |number| SkillVersion { skill_id, number }.to_string();
        assert_eq!(id(3).parse(), Ok(SkillVersion { skill_id, number: 3 }));
        assert!(id(9) < id(10) && id(10) < id(u32::MAX) && id(u32::MAX).len() <= 64);
        for wrong in
            ["", "skillver_1_2", &id(3).replace("0000000003", "3"), &id(3).replace("skillver", "skill")]
        {
            assert!(wrong.parse::<SkillVersion>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn purposes_have_one_word_each() {
        for word in FilePurpose::WORDS {
            let purpose = FilePurpose::from_word(word).expect("a purpose");
            assert_eq!(purpose.as_str(), *word);
            assert_eq!(serde_json::to_value(purpose).expect("JSON"), serde_json::json!(word));
        }
    }
}
