//! `/v1/tenure/policies`: what is published in the project beside the server's files.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure_journal::{PolicySource, ProofRecord, ProofResult, Timestamp};
use tenure_policy::PolicySet;
use tenure_runtime::{Candidate, POLICY_BYTES_MAX, POLICY_FILES_MAX, Publication, Published};
use tenure_store::StoreErrorKind;

use super::tenure::version_of;
use crate::call::{Call, Caller};
use crate::error::{ApiError, bad_cursor};
use crate::idempotency::{self, Begin, Ticket};
use crate::keys::{self, Scope};
use crate::query::{self, Limit};
use crate::read::{Reader, read_name};
use crate::verbs;

/// Characters of a note.
const NOTE_CHARS_MAX: usize = 1_024;
/// Characters of why policies are published although something of them is refuted.
const OVERRIDE_CHARS_MAX: usize = 1_024;
/// Refuted invariants that a refusal tells of; all of them are in the answer to a dry run.
const REFUTED_SHOWN: usize = 3;
/// Characters that it tells of each.
const REFUTED_CHARS_MAX: usize = 2_000;
/// Characters of a file's name.
const NAME_CHARS_MAX: usize = 256;
/// Counting publications ends here.
const VERSION_MAX: u64 = 1 << 53;

/// What is in force, and what of it was published.
pub(super) async fn current(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let runtime = &call.app.runtime;
    let set = runtime.policies(call.project()).await?;
    let published = runtime.published(call.project(), None).await?.ok_or_else(unknown)?;
    let mut answer = shown(&published, Texts::Whole);
    answer["in_force"] = json!(set.digest());
    answer["unusable"] = json!(set.closed());
    let files = runtime.file_policies();
    answer["server_files"] = json!({
        "digest": files.digest(),
        "names": files.text().sources.iter().map(|source| &source.name).collect::<Vec<_>>(),
    });
    Ok(Json(answer).into_response())
}

/// Publications, newest first.
pub(super) async fn history(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &["limit", "after"])?;
    let page = call.query.page(Limit::Strict)?;
    let runtime = &call.app.runtime;
    let newest = runtime.published(call.project(), None).await?.map_or(0, |published| published.version);
    let first = match page.after.as_deref().map(version_of).transpose()? {
        Some(after) if after > newest || after == 0 => return Err(bad_cursor()),
        Some(after) => after - 1,
        None => newest,
    };
    let mut found = Vec::new();
    for version in (1..=first).rev().take(page.limit) {
        let published = runtime.published(call.project(), Some(version)).await?.ok_or_else(unknown)?;
        found.push(shown(&published, Texts::Sizes));
    }
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found, has_more))
}

/// One publication.
pub(super) async fn version(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let version: u64 = call.id("version", "version")?;
    let published = call.app.runtime.published(call.project(), Some(version)).await?;
    Ok(Json(shown(&published.ok_or_else(unknown)?, Texts::Whole)).into_response())
}

/// What the set with a digest was made from: for whoever decides again what was decided with it.
pub(super) async fn set(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let digest: String = call.id("digest", "policy set")?;
    let text = call.app.runtime.policy_text(call.project(), &digest).await?;
    let text = text.ok_or_else(|| ApiError::not_found("policy set"))?;
    Ok(Json(json!({"id": digest, "object": "tenure.policy_set", "text": text})).into_response())
}

/// Publishes policies in place of those that were published before. No node decides by those once this is answered.
pub(super) async fn publish(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let mut sources: Vec<PolicySource> = Vec::new();
    let files = reader.required("files")?;
    for file in files.array(POLICY_FILES_MAX)? {
        let mut reader = file.object()?;
        let name = reader.required("name")?;
        if sources.iter().any(|source| Some(source.name.as_str()) == name.value().as_str()) {
            return Err(name.refuse("duplicate_name", "Two files have the same name."));
        }
        let text = reader.required("text")?.any_text(POLICY_BYTES_MAX)?.to_owned();
        sources.push(PolicySource { name: read_name(&name, NAME_CHARS_MAX)?.to_owned(), text });
        reader.finish()?;
    }
    let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
    if bytes > POLICY_BYTES_MAX {
        let message = format!("Invalid 'files': expected at most {POLICY_BYTES_MAX} bytes in all.");
        return Err(files.refuse("files_too_large", message));
    }
    let wanted = Wanted::read(&mut reader)?;
    let dry_run = flag(&mut reader, "dry_run")?;
    reader.finish()?;
    let candidate = candidate(&call, sources, "files").await?;
    if dry_run {
        call.caller.log.settle();
        wanted.check(&call, &candidate.set).await?;
        let answer = json!({
            "object": "tenure.policies.checked",
            "digest": candidate.set.digest(),
            "findings": findings(&candidate),
            "proof": prove(&call, &candidate.set).await,
        });
        return Ok(Json(answer).into_response());
    }
    wanted.publish(&call, &body, ticket.as_ref(), &candidate, None).await
}

/// Publishes what was published as an earlier version; 0 stands for the server's files alone.
pub(super) async fn rollback(mut call: Call) -> Result<Response, ApiError> {
    let body = call.read_body().await?;
    let ticket = match idempotency::begin(&call, &body).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let mut reader = Reader::new("", &body)?;
    let version = reader.required("version")?.integer(0, VERSION_MAX)?;
    let wanted = Wanted::read(&mut reader)?;
    reader.finish()?;
    let published = call.app.runtime.published(call.project(), Some(version)).await?;
    let sources = published.ok_or_else(|| unknown().param("version"))?.sources;
    let candidate = candidate(&call, sources, "version").await?;
    wanted.publish(&call, &body, ticket.as_ref(), &candidate, Some(version)).await
}

/// What publications have in common.
struct Wanted {
    note: Option<String>,
    force: bool,
    expected: Option<u64>,
    /// Why it is published although something of it is refuted.
    overriding: Option<String>,
}

impl Wanted {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ApiError> {
        let note = reader.optional_or_null("note");
        let note = note.map(|field| field.text(NOTE_CHARS_MAX).map(str::to_owned)).transpose()?;
        let force = flag(reader, "force")?;
        let expected = reader.optional_or_null("expected_version");
        let expected = expected.map(|field| field.integer(0, VERSION_MAX)).transpose()?;
        let overriding = reader.optional_or_null("override");
        let overriding =
            overriding.map(|field| field.text(OVERRIDE_CHARS_MAX).map(str::to_owned)).transpose()?;
        Ok(Self { note, force, expected, overriding })
    }

    /// Refuses policies under which nobody could publish others.
    async fn check(&self, call: &Call, set: &PolicySet) -> Result<(), ApiError> {
        if self.force || is_open(call, set).await? {
            return Ok(());
        }
        let message = "Under these policies nobody could publish others: no key of the project with the scope \
                       'admin' may, nor may you. Send 'force' to publish them all the same; only who starts the \
                       server can withdraw them then.";
        Err(ApiError::conflict(message).code("policies_lock_out"))
    }

    /// What is proven of the policies; refuses those of which something is refuted and that nobody answers for.
    async fn prove(&self, call: &Call, set: &Arc<PolicySet>) -> Result<Option<ProofRecord>, ApiError> {
        let Some(proof) = prove(call, set).await else { return Ok(None) };
        let refuted: Vec<String> = proof.refuted().map(shown_refuted).collect();
        if refuted.is_empty() {
            return Ok(Some(proof));
        }
        if self.overriding.is_none() {
            let shown = refuted.iter().take(REFUTED_SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
            let message = format!(
                "These policies allow what must never be allowed: {shown}. Send 'override' with the reason to \
                 publish them all the same."
            );
            return Err(ApiError::conflict(message).code("invariant_refuted"));
        }
        Ok(Some(ProofRecord { overridden: self.overriding.clone(), ..proof }))
    }

    async fn publish(
        self,
        call: &Call,
        body: &Value,
        ticket: Option<&Ticket>,
        candidate: &Candidate,
        restores: Option<u64>,
    ) -> Result<Response, ApiError> {
        self.check(call, &candidate.set).await?;
        let runtime = &call.app.runtime;
        let after = runtime.published(call.project(), None).await?.map_or(0, |published| published.version);
        if self.expected.is_some_and(|expected| expected != after) {
            return Err(faster());
        }
        let proof = self.prove(call, &candidate.set).await?;
        let publication = Publication { after, note: self.note, by: call.principal(), restores, proof };
        let now = runtime.now();
        let receipt = ticket.map(|ticket| {
            let answer = json!({
                "id": (after + 1).to_string(),
                "object": "tenure.policies",
                "version": after + 1,
                "digest": candidate.set.digest(),
            });
            ticket.receipt(StatusCode::CREATED, answer.to_string(), now)
        });
        let mut audit = call.changed("policy.publish", candidate.set.digest(), body);
        if let Some(proof) = &publication.proof {
            // Its arguments are the evidence, which the publication holds.
            let evidence = serde_json::to_value(proof).expect("texts");
            audit.extend(call.changed("policy.prove", candidate.set.digest(), &evidence));
        }
        match runtime.publish_policies(call.project(), candidate, publication, receipt, audit).await {
            Ok(published) => {
                let mut answer = shown(&published, Texts::Sizes);
                answer["findings"] = findings(candidate);
                Ok(super::created(&answer))
            }
            Err(error) => match (error.kind(), ticket) {
                (StoreErrorKind::Conflict { .. }, _) => Err(faster()),
                (StoreErrorKind::ReceiptExists, Some(ticket)) => {
                    ticket.replay(call).await?.ok_or_else(|| error.into())
                }
                _ => Err(error.into()),
            },
        }
    }
}

/// What is proven of a set; nothing where the server proves nothing.
async fn prove(call: &Call, set: &Arc<PolicySet>) -> Option<ProofRecord> {
    let prover = Arc::clone(call.app.config.prover.as_ref()?);
    let set = Arc::clone(set);
    let mut tools = call.app.runtime.described_tools(call.project());
    // Translating a large set takes a second, and the solver its time: not beside what waits for bytes.
    let work = move || {
        // A tool that a policy does not fit is stopped when it is called, and is no reason to prove nothing of others.
        tools.retain(|tool| set.check_tool(&tool.id, &tool.parameters).is_ok());
        prover.prove(&set, &tools)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(proof) => Some(proof),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn shown_refuted(result: &ProofResult) -> String {
    let detail = result.detail.as_deref().unwrap_or_default();
    format!("`{}`: {}", result.invariant, detail.chars().take(REFUTED_CHARS_MAX).collect::<String>())
}

fn flag(reader: &mut Reader<'_>, name: &'static str) -> Result<bool, ApiError> {
    Ok(reader.optional_or_null(name).map(|field| field.bool()).transpose()?.unwrap_or(false))
}

/// Reads policies as they would decide: with the server's files.
async fn candidate(
    call: &Call,
    sources: Vec<PolicySource>,
    param: &'static str,
) -> Result<Candidate, ApiError> {
    let candidate = call.app.runtime.try_policies(sources).await;
    candidate.map_err(|error| {
        ApiError::invalid(format!("The policies cannot be used: {error}."))
            .code("invalid_policies")
            .param(param)
    })
}

/// Whether anybody could publish again: whoever asks, or a key of the project that may do everything.
async fn is_open(call: &Call, set: &PolicySet) -> Result<bool, ApiError> {
    let project = call.project();
    if verbs::may_publish(set, project, &call.caller.party()) {
        return Ok(true);
    }
    let now = call.app.runtime.now();
    let keys = keys::list(call.store(), project, None, usize::MAX).await?;
    let lives = |key: &keys::Key| key.may(Scope::Admin) && key.expires_at.is_none_or(|at| now < at);
    let mut parties = keys.into_iter().filter(lives).map(|key| Caller::of_key(key).party());
    Ok(parties.any(|party| verbs::may_publish(set, project, &party)))
}

/// How much of the files is shown.
#[derive(Clone, Copy)]
enum Texts {
    Whole,
    Sizes,
}

fn shown(published: &Published, texts: Texts) -> Value {
    let file = |source: &PolicySource| match texts {
        Texts::Whole => json!({"name": source.name, "bytes": source.text.len(), "text": source.text}),
        Texts::Sizes => json!({"name": source.name, "bytes": source.text.len()}),
    };
    json!({
        "id": published.version.to_string(),
        "object": "tenure.policies",
        "version": published.version,
        "digest": published.digest,
        "files": published.sources.iter().map(file).collect::<Vec<_>>(),
        "note": published.note,
        "by": published.by,
        "restores": published.restores,
        "proof": published.proof,
        "created_at": published.at.map(Timestamp::as_secs),
    })
}

fn findings(candidate: &Candidate) -> Value {
    let one = |finding: &tenure_policy::Finding| json!({"policy": finding.policy, "message": finding.kind.to_string()});
    candidate.findings.iter().map(one).collect()
}

fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "No version of the policies with that number was found.")
}

fn faster() -> ApiError {
    ApiError::conflict("Other policies were published in the meantime; look at them first.")
        .code("version_conflict")
}
