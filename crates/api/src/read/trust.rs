//! The member `tenure` of a request that opens a session: what is trusted in it, and what is granted.

use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::{
    Confidentiality, GRANT_PINS_MAX, GRANT_USES_MAX, GRANTS_MAX, Grant, GrantSource, Integrity, Labels,
    Timestamp, Trust,
};

use super::reader::{Field, Reader};
use crate::error::ApiError;

/// Characters of the name of a tool, of an argument, of a category or of a region.
const NAME_CHARS_MAX: usize = 256;
/// Categories and regions that one label names.
const WORDS_MAX: usize = 64;
/// Seconds since the epoch beyond which no time makes sense: the end of the year 9999.
const EXPIRES_AT_MAX: u64 = 253_402_300_799;

const INTEGRITIES: &[&str] = &["untrusted", "partner", "internal", "operator"];
const CONFIDENTIALITIES: &[&str] = &["public", "internal", "confidential", "restricted"];

/// What is trusted, with what holds where nothing is said.
pub(super) fn read_trust(field: Field<'_>) -> Result<Trust, ApiError> {
    let mut trust = Trust::of_clients();
    let mut reader = field.object()?;
    if let Some(labels) = reader.optional_or_null("labels") {
        let mut labels = labels.object()?;
        for (name, place) in [
            ("messages", &mut trust.messages),
            ("files", &mut trust.files),
            ("functions", &mut trust.functions),
        ] {
            if let Some(field) = labels.optional_or_null(name) {
                *place = read_labels(field)?;
            }
        }
        labels.finish()?;
    }
    if let Some(grants) = reader.optional_or_null("grants") {
        trust.grants = grants.array(GRANTS_MAX)?.into_iter().map(read_grant).collect::<Result<_, _>>()?;
    }
    reader.finish()?;
    Ok(trust)
}

pub(crate) fn read_labels(field: Field<'_>) -> Result<Labels, ApiError> {
    let mut reader = field.object()?;
    let mut labels = Labels::NEUTRAL;
    if let Some(word) = reader.optional_or_null("integrity") {
        let level = |word: &str| Integrity::ALL.into_iter().find(|level| level.as_str() == word);
        labels.integrity = word.word(INTEGRITIES, level)?;
    }
    if let Some(word) = reader.optional_or_null("confidentiality") {
        let level = |word: &str| Confidentiality::ALL.into_iter().find(|level| level.as_str() == word);
        labels.confidentiality = word.word(CONFIDENTIALITIES, level)?;
    }
    if let Some(words) = reader.optional_or_null("categories") {
        labels.categories = read_words(&words)?;
    }
    if let Some(words) = reader.optional_or_null("regions") {
        labels.regions = Some(read_words(&words)?);
    }
    reader.finish()?;
    Ok(labels)
}

fn read_words(field: &Field<'_>) -> Result<BTreeSet<String>, ApiError> {
    field.array(WORDS_MAX)?.iter().map(|word| word.text(NAME_CHARS_MAX).map(str::to_owned)).collect()
}

/// A grant that a caller gives.
pub(crate) fn read_grant(field: Field<'_>) -> Result<Grant, ApiError> {
    let mut reader = field.object()?;
    let tool = reader.required("tool")?;
    let name = tool.text(NAME_CHARS_MAX)?;
    let is_whole = name.split_once('/').is_some_and(|(server, name)| !server.is_empty() && !name.is_empty());
    if !is_whole {
        let message = format!("Invalid '{}': expected `<server>/<tool>`.", tool.path());
        return Err(tool.refuse("invalid_value", message));
    }
    let arguments = reader.optional_or_null("arguments").map(|field| read_pins(&field)).transpose()?;
    let uses_max = read_uses(&mut reader)?;
    let expires_at = read_expiry(&mut reader)?;
    reader.finish()?;
    let (tool, arguments) = (name.to_owned(), arguments.unwrap_or_default());
    Ok(Grant { tool, arguments, uses_max, expires_at, by: GrantSource::Caller })
}

fn read_pins(field: &Field<'_>) -> Result<BTreeMap<String, serde_json::Value>, ApiError> {
    let pins = field.map()?;
    if pins.len() > GRANT_PINS_MAX {
        let message = format!("Invalid '{}': expected at most {GRANT_PINS_MAX} arguments.", field.path());
        return Err(field.refuse("object_above_max_length", message));
    }
    Ok(pins.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// How many calls; one where nothing is said.
pub(super) fn read_uses(reader: &mut Reader<'_>) -> Result<u32, ApiError> {
    let uses = reader.optional_or_null("uses_max");
    let uses = uses.map(|field| field.integer(1, u64::from(GRANT_USES_MAX))).transpose()?.unwrap_or(1);
    Ok(u32::try_from(uses).unwrap_or(GRANT_USES_MAX))
}

/// From when on there are none; seconds since the epoch.
pub(super) fn read_expiry(reader: &mut Reader<'_>) -> Result<Option<Timestamp>, ApiError> {
    let seconds = reader.optional_or_null("expires_at");
    let seconds = seconds.map(|field| field.integer(0, EXPIRES_AT_MAX)).transpose()?;
    Ok(seconds.map(|seconds| Timestamp::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX) * 1_000)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::read::tests::refusal;

    #[expect(clippy::needless_pass_by_value, reason = "tables of literals read better without borrows")]
    fn read(value: Value) -> Result<Trust, ApiError> {
        let body = json!({"tenure": value});
        read_trust(Reader::new("", &body)?.required("tenure")?)
    }

    #[test]
    fn reads_what_is_trusted_and_granted() {
        assert_eq!(read(json!({})).expect("accepted"), Trust::of_clients());
        let trust = read(json!({
            "labels": {"messages": {"integrity": "untrusted", "categories": ["pii"], "regions": ["eu"]},
                "files": {"confidentiality": "restricted"}},
            "grants": [
                {"tool": "bank/pay", "arguments": {"to": "CH1", "amount": 50}, "uses_max": 2, "expires_at": 7},
                {"tool": "mail/send"},
            ],
        }));
        let trust = trust.expect("accepted");
        assert_eq!(trust.messages.integrity, Integrity::Untrusted);
        assert_eq!(trust.messages.regions, Some(BTreeSet::from(["eu".to_owned()])));
        assert_eq!(trust.files.integrity, Integrity::Operator);
        assert_eq!(trust.functions, Trust::of_clients().functions);
        assert_eq!(
            trust.grants,
            [
                Grant {
                    tool: "bank/pay".into(),
                    arguments: BTreeMap::from([("amount".into(), json!(50)), ("to".into(), json!("CH1"))]),
                    uses_max: 2,
                    expires_at: Some(Timestamp::from_millis(7_000)),
                    by: GrantSource::Caller,
                },
                Grant {
                    tool: "mail/send".into(),
                    arguments: BTreeMap::new(),
                    uses_max: 1,
                    expires_at: None,
                    by: GrantSource::Caller,
                },
            ]
        );
    }

    #[test]
    fn names_the_mistake() {
        let refused = |value: Value, message: &str, param: &str| {
            assert_eq!(refusal(read(value)), (message.to_owned(), Some(param.to_owned())));
        };
        refused(
            json!({"grants": [{"tool": "pay"}]}),
            "Invalid 'tenure.grants[0].tool': expected `<server>/<tool>`.",
            "tenure.grants[0].tool",
        );
        refused(
            json!({"grants": [{"tool": "a/b", "uses_max": 0}]}),
            "Invalid 'tenure.grants[0].uses_max': expected an integer from 1 to 10000.",
            "tenure.grants[0].uses_max",
        );
        refused(
            json!({"labels": {"messages": {"integrity": "high"}}}),
            "Invalid value: 'high'. Supported values are: 'untrusted', 'partner', 'internal', and 'operator'.",
            "tenure.labels.messages.integrity",
        );
        refused(json!({"trust": 1}), "Unknown parameter: 'tenure.trust'.", "tenure.trust");
    }
}
