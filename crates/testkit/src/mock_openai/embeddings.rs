//! Vectors of texts that need no model: the same text has the same vector everywhere, and texts that share runs of
//! three letters are alike.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};

use super::REQUEST_BYTES_MAX;
use super::log::{Received, RequestLog};

/// Numbers of a vector where the request does not say.
const DIMENSIONS: usize = 64;
/// The most that a request may say.
const DIMENSIONS_MAX: u64 = 4_096;
/// Texts of one request, as at OpenAI.
const TEXTS_MAX: usize = 2_048;

pub(super) async fn answer(log: &RequestLog, request: Request) -> Response {
    let Ok(body) = to_bytes(request.into_body(), REQUEST_BYTES_MAX).await else {
        return refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let read = read(&body);
    let violations = read.as_ref().err().map(|why| vec![why.clone()]).unwrap_or_default();
    log.add(Received { wire: "embeddings", violations, rule: None, body: body.clone() });
    let (texts, dimensions) = match read {
        Ok(read) => read,
        Err(why) => return refused(StatusCode::BAD_REQUEST, &why),
    };
    let row = |(index, text): (usize, &String)| json!({"object": "embedding", "index": index, "embedding": vector(text, dimensions)});
    let tokens: usize = texts.iter().map(|text| text.len().div_ceil(4)).sum();
    Json(json!({
        "object": "list",
        "data": texts.iter().enumerate().map(row).collect::<Vec<_>>(),
        "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
    .into_response()
}

/// The texts of a request and how long their vectors are to be, or what OpenAI would say of it.
fn read(body: &Value) -> Result<(Vec<String>, usize), String> {
    let object = body.as_object().ok_or("the body is not an object")?;
    let known = ["model", "input", "encoding_format", "dimensions", "user"];
    if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("unknown parameter: `{key}`"));
    }
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err("`model` must be a text".to_owned());
    }
    if !matches!(body["encoding_format"].as_str(), None | Some("float")) {
        return Err("`encoding_format` must be `float`".to_owned());
    }
    let texts = match &body["input"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => {
            let texts = texts.iter().map(|text| text.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or("`input` must be texts")?
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return Err("`input` must be a text or a list of texts".to_owned());
        }
    };
    if texts.is_empty() || texts.len() > TEXTS_MAX || texts.iter().any(String::is_empty) {
        return Err(format!("`input` must have 1 to {TEXTS_MAX} texts, none of them empty"));
    }
    let given = object.get("dimensions").map(|given| given.as_u64().unwrap_or(0));
    let dimensions = match given {
        None => DIMENSIONS,
        Some(count) if (1..=DIMENSIONS_MAX).contains(&count) => usize::try_from(count).unwrap_or(DIMENSIONS),
        Some(_) => return Err("`dimensions` is out of range".to_owned()),
    };
    Ok((texts, dimensions))
}

/// Counts runs of three letters by their hash (FNV-1a), at length one.
fn vector(text: &str, dimensions: usize) -> Vec<f64> {
    let letters: Vec<char> = format!("  {}  ", text.to_lowercase()).chars().collect();
    let mut counts = vec![0.0_f64; dimensions];
    for run in letters.windows(3) {
        let run: String = run.iter().collect();
        let hash = run.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let place = usize::try_from(hash % dimensions as u64).unwrap_or_default();
        counts[place] += if hash & (1 << 40) == 0 { 1.0 } else { -1.0 };
    }
    let length = counts.iter().map(|count| count * count).sum::<f64>().sqrt();
    if length == 0.0 {
        counts[0] = 1.0;
        return counts;
    }
    counts.iter().map(|count| count / length).collect()
}

fn refused(status: StatusCode, message: &str) -> Response {
    let error = json!({"message": message, "type": "invalid_request_error", "code": null, "param": null});
    (status, Json(json!({ "error": error }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_letters_is_alike() {
        let cosine = |one: &str, other: &str| -> f64 {
            vector(one, 256).iter().zip(vector(other, 256)).map(|(one, other)| one * other).sum()
        };
        assert!((cosine("Lisbon", "Lisbon") - 1.0).abs() < 1e-9);
        assert!(
            cosine("walking in Lisbon", "we walked in Lisbon") > cosine("walking in Lisbon", "a blue car")
        );
        assert_eq!(vector("", 8).len(), 8);
    }

    #[test]
    fn what_openai_would_refuse_is_refused() {
        let sound = json!({"model": "m", "input": ["a", "b"], "encoding_format": "float", "dimensions": 8});
        assert_eq!(read(&sound), Ok((vec!["a".to_owned(), "b".to_owned()], 8)));
        for (key, value) in [
            ("model", json!("")),
            ("input", json!([])),
            ("input", json!([""])),
            ("input", json!([1])),
            ("input", json!(5)),
            ("encoding_format", json!("base64")),
            ("dimensions", json!(0)),
            ("dimensions", json!(5_000)),
            ("texts", json!([])),
        ] {
            let mut body = sound.clone();
            body[key] = value;
            assert!(read(&body).is_err(), "{body}");
        }
    }
}
