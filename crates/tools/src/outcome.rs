//! A tool's answer as the one text that a session keeps.

use rmcp::model::{CallToolResult, ContentBlock, ErrorData, ResourceContents};
use serde_json::Value;

use crate::CallResult;
use crate::definition::cut;
use crate::http::MESSAGE_BYTES_MAX;

/// Bytes of text kept of one result; the rest is cut and the text says so. A result is held in memory
/// while it is stored, and no model reads this much.
pub const RESULT_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(RESULT_BYTES_MAX < MESSAGE_BYTES_MAX, "a result that can be cut can be received");

/// Bytes of a name, type or address shown for content that is not text.
const LABEL_BYTES_MAX: usize = 256;
/// Bytes kept of the message of a JSON-RPC error.
const ERROR_BYTES_MAX: usize = 8 * 1024;

/// The result of a call that the server completed.
pub(crate) fn of_result(result: &CallToolResult) -> CallResult {
    let mut text = Text::default();
    let mut has_text = false;
    for block in &result.content {
        match block {
            ContentBlock::Text(part) => {
                has_text = true;
                text.push(&part.text);
            }
            ContentBlock::Image(part) => text.push(&binary("image", &part.mime_type, &part.data)),
            ContentBlock::Audio(part) => text.push(&binary("audio", &part.mime_type, &part.data)),
            ContentBlock::ResourceLink(link) => text.push(&format!("[resource: {}]", label(&link.uri))),
            ContentBlock::Resource(embedded) => match &embedded.resource {
                ResourceContents::TextResourceContents { uri, text: contents, .. } => {
                    has_text = true;
                    text.push(&format!("[resource: {}]", label(uri)));
                    text.push(contents);
                }
                ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                    let kind = mime_type.as_deref().unwrap_or("application/octet-stream");
                    text.push(&binary(&format!("resource {}", label(uri)), kind, blob));
                }
                _ => text.push("[resource]"),
            },
            _ => text.push("[content of an unknown kind]"),
        }
    }
    if !has_text && let Some(structured) = &result.structured_content {
        text.push(&structured.to_string());
    }
    CallResult { text: text.finish(), is_error: result.is_error.unwrap_or(false) }
}

/// The result of a call that the server answered with an error of its own.
pub(crate) fn of_error(error: &ErrorData) -> CallResult {
    let mut text = error_text(error);
    if let Some(data) = error.data.as_ref().filter(|data| **data != Value::Null) {
        let data = data.to_string();
        text.push('\n');
        text.push_str(cut(&data, ERROR_BYTES_MAX));
    }
    CallResult { text, is_error: true }
}

/// The server's words about an error, bounded, or its code when it has none.
pub(crate) fn error_text(error: &ErrorData) -> String {
    let message = error.message.trim();
    if message.is_empty() {
        return format!("error {}", error.code.0);
    }
    cut(message, ERROR_BYTES_MAX).to_owned()
}

fn binary(what: &str, mime_type: &str, base64: &str) -> String {
    format!("[{what}: {}, {} bytes]", label(mime_type), base64.trim_end_matches('=').len() * 3 / 4)
}

fn label(text: &str) -> String {
    cut(text, LABEL_BYTES_MAX).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Parts joined by line ends, up to the limit.
#[derive(Default)]
struct Text {
    joined: String,
    parts: usize,
    bytes_cut: usize,
}

impl Text {
    fn push(&mut self, part: &str) {
        if self.parts > 0 {
            self.append("\n");
        }
        self.parts += 1;
        self.append(part);
    }

    fn append(&mut self, text: &str) {
        // Once something was cut nothing may follow, or the text would have a hole in it.
        let room = if self.bytes_cut > 0 { 0 } else { RESULT_BYTES_MAX - self.joined.len() };
        let kept = cut(text, room);
        self.joined.push_str(kept);
        self.bytes_cut += text.len() - kept.len();
    }

    fn finish(mut self) -> String {
        if self.bytes_cut > 0 {
            let note = format!("\n[cut here: {} more bytes]", self.bytes_cut);
            self.joined.push_str(&note);
        }
        self.joined
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text_of(result: Value) -> (String, bool) {
        let result = serde_json::from_value(result).expect("a result");
        let result = of_result(&result);
        (result.text, result.is_error)
    }

    #[test]
    fn results_become_text() {
        let text = json!({"type": "text", "text": "one"});
        let cases = [
            (json!({"content": []}), "", false),
            (json!({"content": [text, text]}), "one\none", false),
            (json!({"content": [text], "isError": true}), "one", true),
            (json!({"content": [text], "structuredContent": {"a": 1}}), "one", false),
            (json!({"content": [], "structuredContent": {"a": 1}}), r#"{"a":1}"#, false),
            (json!({"structuredContent": null}), "null", false),
            (
                json!({"content": [{"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}]}),
                "[image: image/png, 5 bytes]",
                false,
            ),
            (
                json!({"content": [{"type": "audio", "data": "aGVsbG8h", "mimeType": "audio/wav\n"}]}),
                "[audio: audio/wav , 6 bytes]",
                false,
            ),
            (
                json!({"content": [
                    {"type": "resource_link", "uri": "file:///a", "name": "a"},
                    {"type": "resource", "resource": {"uri": "file:///b", "text": "b's text"}},
                    {"type": "resource", "resource": {"uri": "file:///c", "blob": "aGVsbG8="}},
                ]}),
                "[resource: file:///a]\n[resource: file:///b]\nb's text\n[resource file:///c: application/octet-stream, 5 bytes]",
                false,
            ),
        ];
        for (result, text, is_error) in cases {
            assert_eq!(text_of(result.clone()), (text.to_owned(), is_error), "{result}");
        }
    }

    #[test]
    fn a_long_result_is_cut_and_says_so() {
        let block = json!({"type": "text", "text": "é".repeat(RESULT_BYTES_MAX / 2 - 1)});
        let (text, _) = text_of(json!({"content": [block, block, {"type": "text", "text": "end"}]}));
        let bytes = 2 * (RESULT_BYTES_MAX - 2) + "\n\nend".len();
        let (kept, note) = text.rsplit_once('\n').expect("a note");
        assert_eq!(note, format!("[cut here: {} more bytes]", bytes - kept.len()));
        assert!(kept.len() <= RESULT_BYTES_MAX && kept.len() > RESULT_BYTES_MAX - 4);
    }

    #[test]
    fn errors_become_text() {
        let cases = [
            (json!({"code": -32000, "message": "no such order"}), "no such order"),
            (json!({"code": -32000, "message": " "}), "error -32000"),
            (json!({"code": 1, "message": "m", "data": {"a": 1}}), "m\n{\"a\":1}"),
        ];
        for (error, text) in cases {
            let error = serde_json::from_value(error).expect("an error");
            assert_eq!(of_error(&error), CallResult { text: text.to_owned(), is_error: true });
        }
    }
}
