//! The fields that both forms share: how each is written and read.

use serde_json::{Value, json};
use tenure_journal::{Confidence, Timestamp};

use super::FactRecord;
use crate::time;

/// Fields of a fact beside its scope, subject, statement and standing, in the order in which they are written.
pub(super) const FIELDS: [&str; 9] =
    ["valid_from", "valid_to", "confidence", "learned_at", "closed_at", "reason", "labels", "source", "id"];

/// Every field that is set, with its value.
pub(super) fn written(record: &FactRecord) -> Vec<(&'static str, Value)> {
    let value = |field: &'static str| {
        let moment = |at: Option<Timestamp>| at.map(|at| json!(precise(at)));
        let value = match field {
            "valid_from" => moment(record.valid_from),
            "valid_to" => moment(record.valid_to),
            "learned_at" => moment(record.learned_at),
            "closed_at" => moment(record.closed_at),
            "confidence" => {
                (record.confidence != Confidence::FULL).then(|| json!(record.confidence.as_percent()))
            }
            "reason" => record.reason.as_ref().map(|reason| json!(reason)),
            "labels" => (!record.labels.is_neutral()).then(|| json!(record.labels)),
            "source" => record.source.as_ref().map(|source| json!(source)),
            _ => record.id.map(|id| json!(id)),
        };
        value.map(|value| (field, value))
    };
    FIELDS.into_iter().filter_map(value).collect()
}

/// A moment to the millisecond, so that it is read back as it was.
fn precise(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map_or_else(|_| at.as_millis().to_string(), |moment| moment.to_string())
}

/// Sets a field; says what is wrong otherwise. A number may be written as text.
pub(super) fn set(record: &mut FactRecord, field: &str, value: &Value) -> Result<(), String> {
    let moment = || {
        let at = value.as_str().and_then(time::moment);
        at.map(Some).ok_or_else(|| {
            "expected a date as 2030-01-31, or a moment as 2030-01-31T09:00:00Z, before the year 10000"
                .to_owned()
        })
    };
    match field {
        "valid_from" => record.valid_from = moment()?,
        "valid_to" => record.valid_to = moment()?,
        "learned_at" => record.learned_at = moment()?,
        "closed_at" => record.closed_at = moment()?,
        "confidence" => {
            let percent = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
            let expected = || "expected a whole number from 1 to 100".to_owned();
            record.confidence = percent.and_then(Confidence::percent).ok_or_else(expected)?;
        }
        "reason" => record.reason = Some(line(value)?),
        "source" => record.source = Some(line(value)?),
        "labels" => {
            let labels = match value.as_str() {
                Some(text) => serde_json::from_str(text),
                None => serde_json::from_value(value.clone()),
            };
            let expected = r#"expected labels as JSON, for example {"integrity":"untrusted"}"#;
            record.labels = labels.map_err(|_| expected.to_owned())?;
        }
        "id" => {
            let id = value.as_str().and_then(|text| text.parse().ok());
            record.id = Some(id.ok_or_else(|| "expected the id of a fact".to_owned())?);
        }
        _ => return Err(format!("is not known; known are {}", FIELDS.join(", "))),
    }
    Ok(())
}

/// A text that is one line and not empty.
pub(super) fn line(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    let text = text.filter(|text| !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| "expected a text on one line that is not empty".to_owned())
}
