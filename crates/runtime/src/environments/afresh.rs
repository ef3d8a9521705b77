//! What a template names and the project keeps: uploaded files and stored skills are looked up for each session
//! anew. A session then keeps what was found, whatever becomes of it.

use serde::de::DeserializeOwned;
use tenure_journal::{
    EnvironmentFile, FileId, Follows, HostedSettings, InstalledSkill, ProjectId, SkillVersion, StoredFile,
    StoredSkill, StoredSkillVersion, Timestamp,
};
use tenure_store::{DocumentKind, Store};

use super::templates::TemplateError;
use super::wanted::{EnvironmentRefusal, WantedError};

/// A template's settings with everything that it names as that is now.
///
/// # Errors
/// `Refused`: something is gone, or two skills have one name now. `Template`: the store cannot be read.
pub(super) async fn resolve(
    store: &dyn Store,
    project: ProjectId,
    now: Timestamp,
    mut settings: HostedSettings,
) -> Result<HostedSettings, WantedError> {
    for file in settings.files.iter_mut().flatten() {
        if let Some(id) = file.file_id {
            *file = placed(store, project, now, id, file.path.clone()).await?;
        }
    }
    for skill in settings.skills.iter_mut().flatten() {
        if let Some(stored) = skill.stored {
            *skill = installed(store, project, stored, skill.follows).await?;
        }
    }
    if let Some(name) = settings.skills.as_deref().and_then(twice) {
        let message = format!("Two skills of the environment's template are named '{name}' now.");
        return Err(gone("skills", "invalid_value", message));
    }
    Ok(settings)
}

async fn placed(
    store: &dyn Store,
    project: ProjectId,
    now: Timestamp,
    id: FileId,
    path: String,
) -> Result<EnvironmentFile, WantedError> {
    let found: Option<StoredFile> = read(store, project, DocumentKind::File, &id.to_string()).await?;
    let found = found.filter(|file| file.expires_at.is_none_or(|at| at > now));
    let pieces = found.as_ref().and_then(|file| file.pieces.split_first());
    let (first, rest) = pieces.ok_or_else(|| {
        gone("files", "file_not_found", format!("The file '{id}' of the environment's template is gone."))
    })?;
    Ok(EnvironmentFile { path, blob: *first, rest: rest.to_vec(), file_id: Some(id) })
}

async fn installed(
    store: &dyn Store,
    project: ProjectId,
    SkillVersion { skill_id, number }: SkillVersion,
    follows: Option<Follows>,
) -> Result<InstalledSkill, WantedError> {
    let lost = || {
        let message =
            format!("The skill '{skill_id}' of the environment's template is gone, or its version is.");
        gone("skills", "skill_not_found", message)
    };
    let skill: Option<StoredSkill> = read(store, project, DocumentKind::Skill, &skill_id.to_string()).await?;
    let skill = skill.ok_or_else(lost)?;
    let number = match follows {
        None => number,
        Some(Follows::Default) => skill.default_version,
        Some(Follows::Latest) => skill.latest_version,
    };
    let id = SkillVersion { skill_id, number }.to_string();
    let found: Option<StoredSkillVersion> = read(store, project, DocumentKind::SkillVersion, &id).await?;
    let StoredSkillVersion { version, name, description, archive } = found.ok_or_else(lost)?;
    Ok(InstalledSkill { name, description, archive, stored: Some(version), follows })
}

/// A document that is not deleted.
async fn read<T: DeserializeOwned>(
    store: &dyn Store,
    project: ProjectId,
    kind: DocumentKind,
    id: &str,
) -> Result<Option<T>, WantedError> {
    let found = store.document(project, kind, id, None).await.map_err(TemplateError::from)?;
    let body = found.map(|document| T::deserialize(&document.body)).transpose();
    body.map_err(|error| WantedError::Template(TemplateError::Damaged(error)))
}

fn twice(skills: &[InstalledSkill]) -> Option<&str> {
    let mut names: Vec<&str> = skills.iter().map(|skill| skill.name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn gone(member: &'static str, code: &'static str, message: String) -> WantedError {
    WantedError::Refused(EnvironmentRefusal { member, code, message })
}
