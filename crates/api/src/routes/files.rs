//! `/v1/files`: uploaded files.

use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tenure_journal::{BlobRef, FileId, FilePurpose, StoredFile, Timestamp};
use tenure_store::StoreErrorKind;

use crate::call::Call;
use crate::error::{ApiError, bad_cursor};
use crate::files::{self, Uploaded};
use crate::form::{Form, unknown};
use crate::idempotency::{self, Begin};
use crate::query::{self, Limit};
use crate::read::{missing, unsupported_value};

/// Bytes of one file, as the API documents them.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// What the form around a file may take.
const FORM_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a piece of a file: what an upload or a download keeps in memory.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// Characters of a file's name.
const NAME_CHARS_MAX: usize = 512;
/// How long a file may be kept that is to expire, in seconds: an hour to thirty days.
const EXPIRES_SECONDS: std::ops::RangeInclusive<i64> = 3_600..=2_592_000;
/// What to do about a file that is too large.
const SPLIT: &str = "Split the file, and put its parts together in the environment.";

pub(super) async fn create(mut call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let form = call.form(FILE_BYTES_MAX + FORM_BYTES_MAX, SPLIT)?;
    let upload = Upload::read(&call, form).await?;
    let now = call.app.runtime.now();
    let digest = json!({"file": upload.digest, "filename": upload.filename, "purpose": upload.purpose.as_str(),
        "expires_after": upload.expires_seconds});
    let ticket = match idempotency::begin(&call, &digest).await? {
        Begin::Run(ticket) => ticket,
        Begin::Replay(response) => return Ok(response),
    };
    let file = StoredFile {
        filename: upload.filename,
        purpose: upload.purpose,
        pieces: upload.pieces,
        expires_at: upload.expires_seconds.map(|seconds| {
            Timestamp::from_millis(now.as_millis().saturating_add(seconds.saturating_mul(1_000)))
        }),
    };
    let id = FileId::fresh(&call.app.runtime.fresh());
    let receipt = |uploaded: &Uploaded| {
        ticket.as_ref().map(|ticket| ticket.receipt(StatusCode::OK, shown(uploaded).to_string(), now))
    };
    match files::create(call.store(), call.project(), now, (id, file), receipt).await {
        Ok(uploaded) => Ok(Json(shown(&uploaded)).into_response()),
        Err(error) => {
            if let (StoreErrorKind::ReceiptExists, Some(ticket)) = (error.kind(), &ticket)
                && let Some(response) = ticket.replay(&call).await?
            {
                return Ok(response);
            }
            Err(error.into())
        }
    }
}

/// A file that was sent, its pieces in the store. If nothing more comes of it they are just payloads, which another
/// upload of the same file uses again.
struct Upload {
    filename: String,
    purpose: FilePurpose,
    pieces: Vec<BlobRef>,
    digest: String,
    expires_seconds: Option<i64>,
}

impl Upload {
    async fn read(call: &Call, mut form: Form) -> Result<Self, ApiError> {
        let (mut file, mut purpose, mut anchor, mut seconds) = (None, None, None, None);
        while let Some(head) = form.part().await? {
            let is_repeated = match head.name.as_str() {
                "file" if file.is_none() => {
                    file = Some(read_file(call, &mut form, head.file_name).await?);
                    false
                }
                "purpose" => purpose.replace(form.word("purpose").await?).is_some(),
                "expires_after[anchor]" => anchor.replace(form.word("expires_after.anchor").await?).is_some(),
                "expires_after[seconds]" => {
                    seconds.replace(form.word("expires_after.seconds").await?).is_some()
                }
                "file" => true,
                other => return Err(unknown(other)),
            };
            if is_repeated {
                let message = format!("Invalid '{}': it is given more than once.", head.name);
                return Err(ApiError::invalid(message).code("bad_parameter").param(head.name).closing());
            }
        }
        let (filename, pieces, digest) = file.ok_or_else(|| missing("file"))?;
        let purpose = read_purpose(&purpose.ok_or_else(|| missing("purpose"))?)?;
        let expires_seconds = read_expiry(anchor.as_deref(), seconds.as_deref())?;
        Ok(Self { filename, purpose, pieces, digest, expires_seconds })
    }
}

/// Stores a file piece by piece.
async fn read_file(
    call: &Call,
    form: &mut Form,
    name: Option<String>,
) -> Result<(String, Vec<BlobRef>, String), ApiError> {
    let refused = |message: &str| ApiError::invalid(message).code("invalid_value").param("file").closing();
    let name = name.ok_or_else(|| refused("Invalid 'file': a file needs a file name."))?;
    // Directories are those of the client's machine.
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    if name.is_empty() || name.contains(char::is_control) || name.chars().count() > NAME_CHARS_MAX {
        let message = format!(
            "Invalid 'file': expected a file name of 1 to {NAME_CHARS_MAX} characters without control characters."
        );
        return Err(refused(&message));
    }
    let mut share = call.body_share();
    share.grow(PIECE_BYTES as u64).map_err(|full| ApiError::from(full).closing())?;
    let (mut pieces, mut piece) = (Vec::new(), BytesMut::new());
    let (mut whole, mut total) = (blake3::Hasher::new(), 0);
    while let Some(bytes) = form.content().await? {
        total += bytes.len() as u64;
        if total > FILE_BYTES_MAX {
            let message = format!("Invalid 'file': it is larger than {FILE_BYTES_MAX} bytes. {SPLIT}");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
                .code("file_too_large")
                .param("file")
                .closing());
        }
        whole.update(&bytes);
        piece.extend_from_slice(&bytes);
        while piece.len() >= PIECE_BYTES {
            let full = piece.split_to(PIECE_BYTES).freeze();
            pieces.push(call.store().put_blob(call.project(), full).await?);
        }
    }
    if !piece.is_empty() || pieces.is_empty() {
        pieces.push(call.store().put_blob(call.project(), piece.freeze()).await?);
    }
    Ok((name, pieces, whole.finalize().to_hex().to_string()))
}

fn read_purpose(word: &str) -> Result<FilePurpose, ApiError> {
    let nothing = match word {
        "batch" => "batches",
        "fine-tune" => "fine-tuning",
        "evals" => "evals",
        _ => {
            return FilePurpose::from_word(word)
                .ok_or_else(|| unsupported_value("purpose", word, FilePurpose::WORDS));
        }
    };
    let message = format!("This server has no {nothing}: upload the file with the purpose 'user_data'.");
    Err(ApiError::invalid(message).code("unsupported_feature").param("purpose"))
}

fn read_expiry(anchor: Option<&str>, seconds: Option<&str>) -> Result<Option<i64>, ApiError> {
    let (anchor, seconds) = match (anchor, seconds) {
        (None, None) => return Ok(None),
        (Some(anchor), Some(seconds)) => (anchor, seconds),
        (None, Some(_)) => return Err(missing("expires_after.anchor")),
        (Some(_), None) => return Err(missing("expires_after.seconds")),
    };
    if anchor != "created_at" {
        return Err(unsupported_value("expires_after.anchor", anchor, &["created_at"]));
    }
    let seconds = seconds.parse().ok().filter(|seconds| EXPIRES_SECONDS.contains(seconds));
    seconds.map(Some).ok_or_else(|| {
        let (from, to) = (EXPIRES_SECONDS.start(), EXPIRES_SECONDS.end());
        let message = format!("Invalid 'expires_after.seconds': expected an integer from {from} to {to}.");
        ApiError::invalid(message).code("integer_out_of_range").param("expires_after.seconds")
    })
}

pub(super) async fn list(call: Call) -> Result<Response, ApiError> {
    call.query.check(call.dialect(), &[])?;
    let page = call.query.page(Limit::Clamped)?;
    if page.after.as_ref().is_some_and(|after| after.parse::<FileId>().is_err()) {
        return Err(bad_cursor());
    }
    let purpose = call.query.one("purpose")?;
    let now = call.app.runtime.now();
    let mut found = files::list(call.store(), call.project(), now, purpose, &page).await?;
    let has_more = query::cut(&mut found, &page);
    Ok(query::list(found.iter().map(shown).collect(), has_more))
}

async fn one(call: &Call) -> Result<Uploaded, ApiError> {
    let id: FileId = call.id("file", "file")?;
    let found = files::by_id(call.store(), call.project(), call.app.runtime.now(), id).await?;
    found.ok_or_else(|| ApiError::not_found("file"))
}

pub(super) async fn retrieve(call: Call) -> Result<Response, ApiError> {
    Ok(Json(shown(&one(&call).await?)).into_response())
}

pub(super) async fn delete(call: Call) -> Result<Response, ApiError> {
    let uploaded = one(&call).await?;
    let id = uploaded.id;
    match files::delete(call.store(), call.app.runtime.now(), uploaded).await {
        Ok(()) => {}
        // Somebody else deleted it first.
        Err(error) if matches!(error.kind(), StoreErrorKind::Conflict { .. }) => {
            return Err(ApiError::not_found("file"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Json(json!({"id": id, "object": "file", "deleted": true})).into_response())
}

/// The bytes, one piece in memory at a time.
pub(super) async fn content(call: Call) -> Result<Response, ApiError> {
    let file = one(&call).await?.file;
    let (store, project) = (call.store().clone(), call.project());
    let length = file.size_bytes();
    let pieces = stream::iter(file.pieces).then(move |piece| {
        let store = store.clone();
        async move {
            match store.blob(project, piece).await {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => {
                    tracing::error!(%piece, "a piece of an uploaded file is lost");
                    Err(std::io::Error::other("a piece of the file is lost"))
                }
                Err(error) => {
                    tracing::error!(%error, "an uploaded file cannot be read");
                    Err(std::io::Error::other("the file cannot be read now"))
                }
            }
        }
    });
    // A failure that is known before the answer begins gets an answer of its own.
    let mut pieces = Box::pin(pieces);
    let first: Bytes = pieces.next().await.transpose().map_err(|_| unreadable())?.unwrap_or_default();
    let body = Body::from_stream(stream::once(async { Ok(first) }).chain(pieces));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, body).into_response())
}

fn unreadable() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The file cannot be read now.")
}

fn shown(uploaded: &Uploaded) -> Value {
    let file = &uploaded.file;
    json!({
        "id": uploaded.id,
        "object": "file",
        "bytes": file.size_bytes(),
        "created_at": uploaded.document.created_at.as_secs(),
        "expires_at": file.expires_at.map(|at| at.as_secs()),
        "filename": file.filename,
        "purpose": file.purpose.as_str(),
        "status": "processed",
        "status_details": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::refusal;

    #[test]
    fn purposes_are_taken_or_refused_by_name() {
        for word in FilePurpose::WORDS {
            assert_eq!(read_purpose(word).ok().map(FilePurpose::as_str), Some(*word));
        }
        for (word, message) in [
            ("batch", "This server has no batches: upload the file with the purpose 'user_data'."),
            ("fine-tune", "This server has no fine-tuning: upload the file with the purpose 'user_data'."),
            ("evals", "This server has no evals: upload the file with the purpose 'user_data'."),
            ("mine", "Invalid value: 'mine'. Supported values are: 'user_data', 'assistants', and 'vision'."),
        ] {
            assert_eq!(refusal(read_purpose(word)), (message.to_owned(), Some("purpose".to_owned())));
        }
    }

    #[test]
    fn an_expiry_needs_both_of_its_members() {
        let refused = |anchor, seconds| refusal(read_expiry(anchor, seconds));
        assert_eq!(read_expiry(None, None).ok(), Some(None));
        assert_eq!(read_expiry(Some("created_at"), Some("3600")).ok(), Some(Some(3_600)));
        let anchor = (
            "Missing required parameter: 'expires_after.anchor'.".to_owned(),
            Some("expires_after.anchor".to_owned()),
        );
        assert_eq!(refused(None, Some("3600")), anchor);
        let (message, param) = refused(Some("now"), Some("3600"));
        assert_eq!(message, "Invalid value: 'now'. Supported values are: 'created_at'.");
        assert_eq!(param.as_deref(), Some("expires_after.anchor"));
        for wrong in ["", "x", "3599", "2592001", "1e4", "-3600"] {
            let (message, param) = refused(Some("created_at"), Some(wrong));
            assert_eq!(message, "Invalid 'expires_after.seconds': expected an integer from 3600 to 2592000.");
            assert_eq!(param.as_deref(), Some("expires_after.seconds"));
        }
    }
}
