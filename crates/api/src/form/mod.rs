//! Requests that are forms: files with a few words beside them, read while they come.

pub(crate) mod multipart;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use tenure_runtime::Share;

use crate::body::{Paced, check_encoding, declared_length};
use crate::error::ApiError;
use multipart::{Event, Head, Parser};

/// Parts of one form.
const PARTS_MAX: usize = 1_024;
/// Bytes of a member that is a word or a number.
const WORD_BYTES_MAX: usize = 1_024;
/// How long an upload may take altogether: the largest file at one and a half megabits a second.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(3_600);

/// A form that is being read.
pub(crate) struct Form {
    body: Paced,
    parser: Parser,
    /// Whether the head of a part was read and not all of its content.
    in_part: bool,
    parts: usize,
    left: u64,
    bytes_max: u64,
    hint: &'static str,
}

impl Form {
    /// A form of up to `bytes_max` bytes; `hint` says what to do about a larger one.
    ///
    /// # Errors
    /// 413 for one that is declared to be larger, 415 for what is no form.
    pub(crate) fn new(
        headers: &HeaderMap,
        body: Body,
        window: Duration,
        bytes_max: u64,
        hint: &'static str,
    ) -> Result<Self, ApiError> {
        if declared_length(headers).is_some_and(|length| length > bytes_max) {
            return Err(too_large(bytes_max, hint));
        }
        check_encoding(headers)?;
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let boundary = match (types.next(), types.next()) {
            (Some(content_type), None) => content_type.to_str().ok().and_then(multipart::boundary),
            (_, _) => None,
        };
        let boundary = boundary.ok_or_else(|| {
            let message =
                "Send the body as a form, with 'Content-Type: multipart/form-data' and its boundary.";
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).code("content_type")
        })?;
        Ok(Self {
            body: Paced::new(body, window, UPLOAD_TIME_MAX),
            parser: Parser::new(&boundary),
            in_part: false,
            parts: 0,
            left: bytes_max,
            bytes_max,
            hint,
        })
    }

    /// The next part, once the content of the one before was read; nothing at the end.
    pub(crate) async fn part(&mut self) -> Result<Option<Head>, ApiError> {
        loop {
            match self.event().await? {
                Event::Part(head) => {
                    self.in_part = true;
                    self.parts += 1;
                    if self.parts > PARTS_MAX {
                        let message = format!("The form has more than {PARTS_MAX} parts.");
                        return Err(ApiError::invalid(message).code("too_many_parts").closing());
                    }
                    return Ok(Some(head));
                }
                // What was not asked for is passed over.
                Event::Content(_) | Event::PartEnd => {}
                Event::End => return Ok(None),
            }
        }
    }

    /// The next bytes of the part; nothing at its end.
    pub(crate) async fn content(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        if !self.in_part {
            return Ok(None);
        }
        match self.event().await? {
            Event::Content(bytes) => Ok(Some(bytes)),
            Event::PartEnd => {
                self.in_part = false;
                Ok(None)
            }
            // A part ends before the next one begins.
            Event::Part(_) | Event::End => Ok(None),
        }
    }

    /// The whole content of a part that is a word or a number.
    pub(crate) async fn word(&mut self, name: &str) -> Result<String, ApiError> {
        let mut bytes = Vec::new();
        while let Some(more) = self.content().await? {
            bytes.extend(more);
            if bytes.len() > WORD_BYTES_MAX {
                let message = format!("Invalid '{name}': expected at most {WORD_BYTES_MAX} bytes.");
                return Err(ApiError::invalid(message).code("string_above_max_length").param(name).closing());
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            ApiError::invalid(format!("Invalid '{name}': it is not UTF-8 text."))
                .code("invalid_value")
                .param(name)
        })
    }

    /// The whole content of a part that is a file of up to `bytes_max` bytes, counted in `share` while it is in
    /// memory.
    pub(crate) async fn file(
        &mut self,
        name: &str,
        bytes_max: usize,
        share: &mut Share,
    ) -> Result<Bytes, ApiError> {
        let mut bytes = BytesMut::new();
        while let Some(more) = self.content().await? {
            if bytes.len() + more.len() > bytes_max {
                let message = format!("Invalid '{name}': it is larger than {bytes_max} bytes. {}", self.hint);
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
                    .code("file_too_large")
                    .param(name)
                    .closing());
            }
            share.grow(more.len() as u64).map_err(|full| ApiError::from(full).closing())?;
            bytes.extend_from_slice(&more);
        }
        Ok(bytes.freeze())
    }

    async fn event(&mut self) -> Result<Event, ApiError> {
        loop {
            if self.parser.is_done() {
                return Ok(Event::End);
            }
            if let Some(event) = self.parser.next().map_err(malformed)? {
                return Ok(event);
            }
            let bytes = self.body.next().await?.ok_or_else(|| malformed("ends too early"))?;
            self.left = self
                .left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| too_large(self.bytes_max, self.hint))?;
            self.parser.push(&bytes);
        }
    }
}

fn malformed(mistake: &str) -> ApiError {
    ApiError::invalid(format!("We could not read the request body: the form {mistake}."))
        .code("bad_form")
        .closing()
}

fn too_large(bytes_max: u64, hint: &str) -> ApiError {
    let message = format!("The request body is larger than {bytes_max} bytes. {hint}");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).code("body_too_large").closing()
}

/// The mistake of a part that no member has.
pub(crate) fn unknown(name: &str) -> ApiError {
    let name = crate::read::shortened(name);
    ApiError::invalid(format!("Unknown parameter: '{name}'.")).code("unknown_parameter").param(name).closing()
}
