//! Stored skills: one document for each skill and one for each of its versions, which never change.
//!
//! Whatever changes a skill's versions writes the skill's own document with them, at the version it was read at, so
//! that of two changes at once one sees the other.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize as _;
use tenure_journal::{
    BlobRef, Follows, InstalledSkill, ProjectId, SkillId, SkillVersion, StoredSkill, StoredSkillVersion,
    Timestamp,
};
use tenure_skill::Manifest;
use tenure_store::{Document, DocumentKind, Order, Page, Receipt, Store, StoreError, StoreErrorKind};

use crate::error::{ApiError, undecodable};

/// Tries of a change that meets another.
const CHANGE_ATTEMPTS: u32 = 4;

/// A skill and its document.
pub(crate) struct Saved {
    pub(crate) id: SkillId,
    pub(crate) document: Document,
    pub(crate) skill: StoredSkill,
}

/// A version of a skill and its document.
pub(crate) struct SavedVersion {
    pub(crate) document: Document,
    pub(crate) version: StoredSkillVersion,
}

/// Which version is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selector {
    /// The one that the skill says.
    Default,
    /// The highest.
    Latest,
    /// This one.
    Number(u32),
}

impl Selector {
    /// `latest` or a positive whole number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        is_plain.then(|| text.parse().ok().map(Self::Number)).flatten()
    }

    fn of(self, skill: &StoredSkill) -> u32 {
        match self {
            Self::Default => skill.default_version,
            Self::Latest => skill.latest_version,
            Self::Number(number) => number,
        }
    }
}

/// Why a change was not made.
pub(crate) enum ChangeError {
    /// The idempotency key was used before.
    ReceiptExists,
    Refused(ApiError),
}

impl From<ApiError> for ChangeError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        if error.kind() == StoreErrorKind::ReceiptExists {
            Self::ReceiptExists
        } else {
            Self::Refused(error.into())
        }
    }
}

impl Saved {
    pub(crate) fn from_document(document: Document) -> Result<Self, ApiError> {
        let skill =
            StoredSkill::deserialize(&document.body).map_err(|error| undecodable("stored skill", &error))?;
        let id = document.id.parse().map_err(|_| ApiError::not_found("skill"))?;
        Ok(Self { id, document, skill })
    }

    /// The next version of the document.
    fn next(&self, now: Timestamp, skill: StoredSkill) -> Self {
        let document = Document {
            version: self.document.version + 1,
            name: Some(skill.name.clone()),
            body: serde_json::to_value(&skill).unwrap_or_default(),
            updated_at: now,
            ..self.document.clone()
        };
        Self { id: self.id, document, skill }
    }
}

impl SavedVersion {
    pub(crate) fn from_document(document: Document) -> Result<Self, ApiError> {
        let version = StoredSkillVersion::deserialize(&document.body)
            .map_err(|error| undecodable("stored skill", &error))?;
        Ok(Self { document, version })
    }

    fn new(project: ProjectId, now: Timestamp, version: StoredSkillVersion) -> Self {
        let document = Document {
            project,
            kind: DocumentKind::SkillVersion,
            id: version.version.to_string(),
            version: 1,
            name: Some(version.version.skill_id.to_string()),
            body: serde_json::to_value(&version).unwrap_or_default(),
            created_at: now,
            updated_at: now,
            wake_at: None,
            deleted: false,
        };
        Self { document, version }
    }
}

/// The skill with that id.
pub(crate) async fn by_id(
    store: &Arc<dyn Store>,
    project: ProjectId,
    id: SkillId,
) -> Result<Option<Saved>, ApiError> {
    let found = store.document(project, DocumentKind::Skill, &id.to_string(), None).await?;
    found.map(Saved::from_document).transpose()
}

/// A version of a skill; nothing if it has none like that.
pub(crate) async fn version(
    store: &Arc<dyn Store>,
    project: ProjectId,
    saved: &Saved,
    selector: Selector,
) -> Result<Option<SavedVersion>, ApiError> {
    let id = SkillVersion { skill_id: saved.id, number: selector.of(&saved.skill) }.to_string();
    let found = store.document(project, DocumentKind::SkillVersion, &id, None).await?;
    found.map(SavedVersion::from_document).transpose()
}

/// Versions of a skill in the order of their numbers.
pub(crate) async fn versions(
    store: &Arc<dyn Store>,
    project: ProjectId,
    id: SkillId,
    page: &Page,
) -> Result<Vec<SavedVersion>, ApiError> {
    let name = id.to_string();
    let found = store.documents(project, DocumentKind::SkillVersion, Some(&name), page).await?;
    found.into_iter().map(SavedVersion::from_document).collect()
}

/// Writes a new skill with its first version.
pub(crate) async fn create(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    id: SkillId,
    (manifest, archive): (&Manifest, Bytes),
    receipt: impl FnOnce(&Saved) -> Option<Receipt> + Send,
) -> Result<Saved, ChangeError> {
    let archive = store.put_blob(project, archive).await?;
    let first = StoredSkillVersion {
        version: SkillVersion { skill_id: id, number: 1 },
        name: manifest.name().to_owned(),
        description: manifest.description().to_owned(),
        archive,
    };
    let skill = StoredSkill {
        name: first.name.clone(),
        description: first.description.clone(),
        default_version: 1,
        latest_version: 1,
        last_number: 1,
    };
    let document = Document {
        project,
        kind: DocumentKind::Skill,
        id: id.to_string(),
        version: 1,
        name: Some(skill.name.clone()),
        body: serde_json::to_value(&skill).unwrap_or_default(),
        created_at: now,
        updated_at: now,
        wake_at: None,
        deleted: false,
    };
    let saved = Saved { id, document, skill };
    let receipt = receipt(&saved);
    let first = SavedVersion::new(project, now, first);
    store.put(vec![saved.document.clone(), first.document], receipt).await?;
    Ok(saved)
}

/// Writes the next version of a skill, which becomes its default if it is to.
pub(crate) async fn add(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    id: SkillId,
    (manifest, archive, is_default): (&Manifest, Bytes, bool),
    receipt: impl Fn(&SavedVersion) -> Option<Receipt> + Send + Sync,
) -> Result<SavedVersion, ChangeError> {
    let archive: BlobRef = store.put_blob(project, archive).await?;
    let mut attempt = 1;
    loop {
        let saved = by_id(store, project, id).await?.ok_or_else(|| ApiError::not_found("skill"))?;
        let number = saved.skill.last_number.checked_add(1);
        let number =
            number.ok_or_else(|| ApiError::conflict("The skill has no numbers left for versions."))?;
        let version = StoredSkillVersion {
            version: SkillVersion { skill_id: id, number },
            name: manifest.name().to_owned(),
            description: manifest.description().to_owned(),
            archive,
        };
        let mut skill = StoredSkill { latest_version: number, last_number: number, ..saved.skill.clone() };
        if is_default {
            make_default(&mut skill, &version);
        }
        let added = SavedVersion::new(project, now, version);
        let documents = vec![saved.next(now, skill).document, added.document.clone()];
        match store.put(documents, receipt(&added)).await {
            Ok(()) => return Ok(added),
            Err(error) if is_conflict(&error) && attempt < CHANGE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes another version the default.
pub(crate) async fn set_default(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    (id, selector): (SkillId, Selector),
    receipt: impl Fn(&Saved) -> Option<Receipt> + Send + Sync,
) -> Result<Saved, ChangeError> {
    let mut attempt = 1;
    loop {
        let saved = by_id(store, project, id).await?.ok_or_else(|| ApiError::not_found("skill"))?;
        let found = version(store, project, &saved, selector).await?;
        let found = found.ok_or_else(|| no_version("default_version"))?;
        let mut skill = saved.skill.clone();
        make_default(&mut skill, &found.version);
        let next = saved.next(now, skill);
        match store.put(vec![next.document.clone()], receipt(&next)).await {
            Ok(()) => return Ok(next),
            Err(error) if is_conflict(&error) && attempt < CHANGE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Deletes a skill. Its versions are found through it alone; sessions that have it keep it.
pub(crate) async fn delete(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    id: SkillId,
) -> Result<(), ApiError> {
    let mut attempt = 1;
    loop {
        let saved = by_id(store, project, id).await?.ok_or_else(|| ApiError::not_found("skill"))?;
        let gone = deleted(saved.next(now, saved.skill.clone()).document);
        match store.put(vec![gone], None).await {
            Ok(()) => return Ok(()),
            Err(error) if is_conflict(&error) && attempt < CHANGE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Deletes a version, and with the last one the skill. The default goes last: somebody relies on it.
pub(crate) async fn delete_version(
    store: &Arc<dyn Store>,
    project: ProjectId,
    now: Timestamp,
    (id, selector): (SkillId, Selector),
) -> Result<SkillVersion, ApiError> {
    let mut attempt = 1;
    loop {
        let saved = by_id(store, project, id).await?.ok_or_else(|| ApiError::not_found("skill"))?;
        let found = version(store, project, &saved, selector).await?;
        let found = found.ok_or_else(|| ApiError::not_found("version"))?;
        let gone = found.version.version;
        // The highest two: one of them is not the one that goes.
        let page = Page { after: None, limit: 2, order: Order::Descending };
        let highest = versions(store, project, id, &page).await?;
        let latest =
            highest.iter().map(|found| found.version.version.number).find(|number| *number != gone.number);
        let next = match latest {
            None => deleted(saved.next(now, saved.skill.clone()).document),
            Some(_) if saved.skill.default_version == gone.number => {
                let message = "This is the skill's default version; make another one the default first.";
                return Err(ApiError::conflict(message));
            }
            Some(latest) => {
                saved.next(now, StoredSkill { latest_version: latest, ..saved.skill.clone() }).document
            }
        };
        let version = Document { version: found.document.version + 1, updated_at: now, ..found.document };
        match store.put(vec![next, deleted(version)], None).await {
            Ok(()) => return Ok(gone),
            Err(error) if is_conflict(&error) && attempt < CHANGE_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// A version as an environment is given it: what it is now, whatever becomes of the skill. `path` is where the
/// request names it.
pub(crate) async fn installed(
    store: &Arc<dyn Store>,
    project: ProjectId,
    (id, selector): (&str, Selector),
    path: &str,
) -> Result<InstalledSkill, ApiError> {
    let unknown = || ApiError::not_found("skill").param(format!("{path}.skill_id"));
    let id: SkillId = id.parse().map_err(|_| unknown())?;
    let saved = by_id(store, project, id).await?.ok_or_else(unknown)?;
    let found = version(store, project, &saved, selector).await?;
    let StoredSkillVersion { version, name, description, archive } =
        found.ok_or_else(|| no_version(&format!("{path}.version")))?.version;
    let follows = match selector {
        Selector::Default => Some(Follows::Default),
        Selector::Latest => Some(Follows::Latest),
        Selector::Number(_) => None,
    };
    Ok(InstalledSkill { name, description, archive, stored: Some(version), follows })
}

fn make_default(skill: &mut StoredSkill, version: &StoredSkillVersion) {
    skill.default_version = version.version.number;
    skill.name.clone_from(&version.name);
    skill.description.clone_from(&version.description);
}

fn deleted(document: Document) -> Document {
    Document { deleted: true, name: None, ..document }
}

fn no_version(param: &str) -> ApiError {
    ApiError::invalid(format!("Invalid '{param}': the skill has no such version."))
        .code("invalid_value")
        .param(param)
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Conflict { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_by_number_or_as_the_latest() {
        for (text, expected) in [
            ("1", Some(Selector::Number(1))),
            ("4294967295", Some(Selector::Number(u32::MAX))),
            ("latest", Some(Selector::Latest)),
            ("4294967296", None),
            ("0", None),
            ("01", None),
            ("+1", None),
            ("", None),
            ("default", None),
        ] {
            assert_eq!(Selector::parse(text), expected, "{text}");
        }
    }
}
