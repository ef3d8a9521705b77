//! A client's key-value pairs, and the few keys that Tenure gives a meaning.

use std::collections::BTreeMap;

use tenure_journal::{ApprovalMode, MEMORY_TIME_KEY};
use tenure_runtime::moment;

use super::reader::{Field, unsupported_value};
use crate::error::ApiError;

/// Pairs of one resource.
pub(crate) const PAIRS_MAX: usize = 16;
/// Characters of a key.
pub(crate) const KEY_CHARS_MAX: usize = 64;
/// Characters of a value.
pub(crate) const VALUE_CHARS_MAX: usize = 512;
/// The key whose value says which tool calls wait for a person.
pub(crate) const APPROVAL_KEY: &str = "tenure.approval";

/// Metadata; a null is no pairs.
pub(crate) fn read_metadata(field: Field<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(field) = field.nullable() else { return Ok(BTreeMap::new()) };
    let mut pairs = BTreeMap::new();
    for (key, value) in field.strings(PAIRS_MAX, VALUE_CHARS_MAX)? {
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            let message =
                format!("Invalid '{}': a key must have 1 to {KEY_CHARS_MAX} characters.", field.path());
            return Err(field.refuse("invalid_metadata_key", message));
        }
        pairs.insert(key.to_owned(), value.to_owned());
    }
    approval_of(&pairs, field.path())?;
    if let Some(text) = pairs.get(MEMORY_TIME_KEY).filter(|text| moment(text).is_none()) {
        let path = format!("{}.{MEMORY_TIME_KEY}", field.path());
        let message = format!(
            "Invalid '{path}': expected a date as 2030-01-31 or a moment as 2030-01-31T09:00:00Z, but got '{text}'."
        );
        return Err(ApiError::invalid(message).code("invalid_value").param(path));
    }
    Ok(pairs)
}

/// The approval mode that metadata asks for, if it does.
pub(crate) fn approval_of(
    pairs: &BTreeMap<String, String>,
    path: &str,
) -> Result<Option<ApprovalMode>, ApiError> {
    let Some(word) = pairs.get(APPROVAL_KEY) else { return Ok(None) };
    match ApprovalMode::from_word(word) {
        Some(mode) => Ok(Some(mode)),
        None => Err(unsupported_value(&format!("{path}.{APPROVAL_KEY}"), word, ApprovalMode::WORDS)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::read::Reader;
    use crate::read::tests::refusal;

    fn read(metadata: &Value) -> Result<BTreeMap<String, String>, ApiError> {
        let body = json!({"metadata": metadata});
        read_metadata(Reader::new("", &body)?.required("metadata")?)
    }

    #[track_caller]
    fn refused(metadata: &Value, message: &str, param: &str) {
        assert_eq!(refusal(read(metadata)), (message.to_owned(), Some(param.to_owned())));
    }

    #[test]
    fn takes_up_to_sixteen_pairs_of_strings() {
        let pairs: serde_json::Map<_, _> = (0..16).map(|n| (format!("k{n}"), json!("v"))).collect();
        assert_eq!(read(&Value::Object(pairs.clone())).expect("accepted").len(), 16);
        assert!(read(&Value::Null).expect("a null clears").is_empty());
        let mut more = pairs;
        more.insert("k16".into(), json!("v"));
        refused(&Value::Object(more), "Invalid 'metadata': expected at most 16 properties.", "metadata");
        let long = "Invalid 'metadata': a key must have 1 to 64 characters.";
        refused(&json!({"k".repeat(65): "v"}), long, "metadata");
        let value = "Invalid 'metadata.k': string too long. Expected at most 512 characters.";
        refused(&json!({"k": "v".repeat(513)}), value, "metadata.k");
        let number = "Invalid type for 'metadata.k': expected a string, but got an integer instead.";
        refused(&json!({"k": 1}), number, "metadata.k");
        assert!(read(&json!({"é".repeat(64): "é".repeat(512)})).is_ok());
    }

    #[test]
    fn says_when_something_was_said_by_a_moment() {
        for text in ["2023-05-08", "2023-05-08T13:56:00Z", "2023-05-08T13:56:00+02:00"] {
            assert!(read(&json!({"tenure.said_at": text})).is_ok(), "{text}");
        }
        refused(
            &json!({"tenure.said_at": "last May"}),
            "Invalid 'metadata.tenure.said_at': expected a date as 2030-01-31 or a moment as 2030-01-31T09:00:00Z, but got 'last May'.",
            "metadata.tenure.said_at",
        );
    }

    #[test]
    fn knows_the_words_of_approval() {
        let pairs = read(&json!({"tenure.approval": "always"})).expect("accepted");
        assert_eq!(approval_of(&pairs, "metadata").expect("known"), Some(ApprovalMode::Always));
        refused(
            &json!({"tenure.approval": "sometimes"}),
            "Invalid value: 'sometimes'. Supported values are: 'never', 'destructive', 'writes', and 'always'.",
            "metadata.tenure.approval",
        );
    }
}
