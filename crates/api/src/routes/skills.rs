//! `/v1/skills`: stored skills and their versions.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use tenure_journal::{SkillId, SkillVersion, StoredSkillVersion};
use tenure_skill::{BUNDLE_BYTES_MAX, Bundle, Kind, Manifest};
use tenure_store::DocumentKind;

use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::form::unknown;
use crate::idempotency::{self, Begin, Ticket};
use crate::query::{self, Limit};
use crate::read::{Reader, bundle_error, missing};
use crate::skills::{self, ChangeError, Saved, SavedVersion, Selector};

/// What the form around the files may take: five hundred heads.
const FORM_BYTES_MAX: u64 = 1024 * 1024;
/// Characters of a version in a request.
const VERSION_CHARS_MAX: usize = 16;
/// What to do about a skill that is too large.
const SMALLER: &str = "Leave out what the skill does not need, or let it fetch large files when it is used.";

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let Sent { manifest, zip, default } = Sent::read(&mut call).await?;
    if default.is_some() {
        return Err(unknown("default"));
    }
    let ticket = match idempotency::begin(&call, &json!({"files": digest(&zip)})).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let now = call.app.runtime.now();
    let id = SkillId::fresh(&call.app.runtime.fresh());
    let receipt = |saved: &Saved| {
        ticket.as_ref().map(|ticket| ticket.receipt(StatusCode::OK, shown(saved).to_string(), now))
    };
    let made = skills::create(call.store(), call.project(), now, id, (&manifest, zip), receipt).await;
    answer(&call, ticket.as_ref(), made.map(|saved| shown(&saved))).await
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<SkillId>().is_err()) {
        return Err(bad_cursor());
    }
    let mut found = call.store().documents(call.project(), DocumentKind::Skill, None, &page).await?;
    let has_more = query::cut(&mut found, &page);
    let found: Result<Vec<Saved>, _> = found.into_iter().map(Saved::from_document).collect();
    Ok(query::list(found?.iter().map(shown).collect(), has_more))
}

async fn one(call: &Call) -> Result<Saved, ApiError> {
    let id: SkillId = call.id("skill", "skill")?;
    let found = skills::by_id(call.store(), call.project(), id).await?;
    found.ok_or_else(|| ApiError::not_found("skill"))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    Ok(Json(shown(&one(&call).await?)).into_response())
}

pub(super) async fn update(mut call: Call) -> Result<Response, ApiError> {
    let id: SkillId = call.id("skill", "skill")?;
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let field = reader.required("default_version")?;
    let selector = Selector::parse(field.text(VERSION_CHARS_MAX)?).ok_or_else(|| {
        field.refuse("invalid_value", "Invalid 'default_version': expected a positive integer or 'latest'.")
    })?;
    reader.finish()?;
    let now = call.app.runtime.now();
    let receipt = |saved: &Saved| {
        ticket.as_ref().map(|ticket| ticket.receipt(StatusCode::OK, shown(saved).to_string(), now))
    };
    let made = skills::set_default(call.store(), call.project(), now, (id, selector), receipt).await;
    answer(&call, ticket.as_ref(), made.map(|saved| shown(&saved))).await
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let id: SkillId = call.id("skill", "skill")?;
    skills::delete(call.store(), call.project(), call.app.runtime.now(), id).await?;
    Ok(Json(json!({"id": id, "object": "skill.deleted", "deleted": true})).into_response())
}

/// The default version as a zip.
pub(super) async fn content(call: Call) -> Result<Response, ApiError> {
    let saved = one(&call).await?;
    let found = skills::version(call.store(), call.project(), &saved, Selector::Default).await?;
    zip_of(&call, &found.ok_or_else(|| ApiError::not_found("version"))?).await
}

pub(super) async fn create_version(mut call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    // Before anything is read: an unknown skill is the first thing to know.
    let id = one(&call).await?.id;
    let Sent { manifest, zip, default } = Sent::read(&mut call).await?;
    let is_default = default.unwrap_or(false);
    let sent = json!({"files": digest(&zip), "default": is_default});
    let ticket = match idempotency::begin(&call, &sent).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let now = call.app.runtime.now();
    let receipt = |added: &SavedVersion| {
        ticket.as_ref().map(|ticket| ticket.receipt(StatusCode::OK, shown_version(added).to_string(), now))
    };
    let added = (&manifest, zip, is_default);
    let made = skills::add(call.store(), call.project(), now, id, added, receipt).await;
    answer(&call, ticket.as_ref(), made.map(|added| shown_version(&added))).await
}

pub(super) async fn versions(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let saved = one(&call).await?;
    let page = call.query.page(Limit::Clamped)?;
    let is_foreign =
        |after: &String| after.parse::<SkillVersion>().map_or(true, |version| version.skill_id != saved.id);
    if page.after.as_ref().is_some_and(is_foreign) {
        return Err(bad_cursor());
    }
    let mut found = skills::versions(call.store(), call.project(), saved.id, &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(shown_version).collect(), has_more))
}

/// What the path says of a version: a number, or `latest`.
fn selector(call: &Call) -> Result<Selector, ApiError> {
    let text: String = call.id("version", "version")?;
    Selector::parse(&text).ok_or_else(|| ApiError::not_found("version"))
}

async fn one_version(call: &Call) -> Result<SavedVersion, ApiError> {
    let saved = one(call).await?;
    let found = skills::version(call.store(), call.project(), &saved, selector(call)?).await?;
    found.ok_or_else(|| ApiError::not_found("version"))
}

pub(super) async fn version(call: Call) -> Result<Response, ApiError> {
    Ok(Json(shown_version(&one_version(&call).await?)).into_response())
}

pub(super) async fn version_content(call: Call) -> Result<Response, ApiError> {
    zip_of(&call, &one_version(&call).await?).await
}

pub(super) async fn delete_version(call: Call) -> Result<Response, ApiError> {
    let id: SkillId = call.id("skill", "skill")?;
    let which = (id, selector(&call)?);
    let gone = skills::delete_version(call.store(), call.project(), call.app.runtime.now(), which).await?;
    let body = json!({"id": gone.to_string(), "object": "skill.version.deleted", "deleted": true,
        "version": gone.number.to_string()});
    Ok(Json(body).into_response())
}

/// A skill that was sent as a zip or as a folder.
struct Sent {
    manifest: Manifest,
    /// In its one canonical form.
    zip: Bytes,
    /// Whether it is to be the default.
    default: Option<bool>,
}

impl Sent {
    async fn read(call: &mut Call) -> Result<Self, ApiError> {
        let mut form = call.form(BUNDLE_BYTES_MAX as u64 + FORM_BYTES_MAX, SMALLER)?;
        let mut share = call.body_share();
        let (mut files, mut default, mut left) = (Vec::new(), None, BUNDLE_BYTES_MAX);
        while let Some(head) = form.part().await? {
            match head.name.as_str() {
                "files" | "files[]" => {
                    let name = head.file_name.ok_or_else(|| {
                        let message = "Invalid 'files': every part needs a file name, the path in the skill.";
                        ApiError::invalid(message).code("invalid_value").param("files").closing()
                    })?;
                    let bytes = form.file("files", left, &mut share).await?;
                    left -= bytes.len();
                    files.push((name, bytes));
                }
                "default" if default.is_none() => default = Some(read_flag(&form.word("default").await?)?),
                other => return Err(unknown(other)),
            }
        }
        if files.is_empty() {
            return Err(missing("files"));
        }
        let bundled = tokio::task::spawn_blocking(move || {
            let bundle = match files.as_slice() {
                [(_, zip)] if zip.starts_with(b"PK") => Bundle::from_zip(Kind::Skill, zip)?,
                _ => {
                    let files = files.into_iter().map(|(name, bytes)| (name, bytes.to_vec()));
                    Bundle::from_files(Kind::Skill, files.collect())?
                }
            };
            Ok((bundle.manifest().clone(), Bytes::from(bundle.to_zip())))
        });
        let bundled = bundled.await.map_err(|error| {
            tracing::error!(%error, "reading a skill panicked");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The skill could not be read.")
        })?;
        let (manifest, zip) = bundled.map_err(|error| bundle_error(&error, "files"))?;
        Ok(Self { manifest, zip, default })
    }
}

fn read_flag(word: &str) -> Result<bool, ApiError> {
    match word {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" => Ok(false),
        _ => {
            let message = "Invalid 'default': expected 'true' or 'false'.";
            Err(ApiError::invalid(message).code("invalid_value").param("default"))
        }
    }
}

fn digest(zip: &Bytes) -> String {
    blake3::hash(zip).to_hex().to_string()
}

async fn answer(
    call: &Call,
    ticket: Option<&Ticket>,
    made: Result<Value, ChangeError>,
) -> Result<Response, ApiError> {
    match (made, ticket) {
        (Ok(shown), _) => Ok(Json(shown).into_response()),
        (Err(ChangeError::Refused(error)), _) => Err(error),
        (Err(ChangeError::ReceiptExists), Some(ticket)) => {
            ticket.replay(call).await?.ok_or_else(ApiError::still_running)
        }
        (Err(ChangeError::ReceiptExists), None) => Err(ApiError::still_running()),
    }
}

async fn zip_of(call: &Call, found: &SavedVersion) -> Result<Response, ApiError> {
    let zip = call.store().blob(call.project(), found.version.archive).await?;
    let zip = zip.ok_or_else(|| {
        tracing::error!(version = %found.version.version, "the files of a skill are lost");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The files of the skill are lost.")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/zip")], zip).into_response())
}

fn shown(saved: &Saved) -> Value {
    json!({
        "id": saved.id,
        "object": "skill",
        "created_at": saved.document.created_at.as_secs(),
        "name": saved.skill.name,
        "description": saved.skill.description,
        "default_version": saved.skill.default_version.to_string(),
        "latest_version": saved.skill.latest_version.to_string(),
    })
}

fn shown_version(saved: &SavedVersion) -> Value {
    let StoredSkillVersion { version, name, description, archive: _ } = &saved.version;
    json!({
        "id": version.to_string(),
        "object": "skill.version",
        "created_at": saved.document.created_at.as_secs(),
        "skill_id": version.skill_id,
        "version": version.number.to_string(),
        "name": name,
        "description": description,
    })
}
