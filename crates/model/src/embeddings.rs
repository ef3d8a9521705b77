//! Vectors of texts from a provider, in the shape of OpenAI's `POST /v1/embeddings`, which most servers speak.
//!
//! An answer is taken whole or not at all: a vector for each text, in the order that its `index` says, all of the same
//! length and none of nothing but zeros. Vectors are brought to length one, which not every model does by itself.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tenure_journal::{Failure, FailureKind};
use tenure_vector::VECTOR_NUMBERS_MAX;

use crate::failure::{of_kind, with_message};

/// Texts of one request: what OpenAI and Azure take.
pub const TEXTS_MAX: usize = 2_048;
/// Bytes of one text. A token is a byte at least, and the models of OpenAI read 8,191 tokens of a text.
pub const TEXT_BYTES_MAX: usize = 8_000;
/// Bytes of one response: thousands of vectors as decimal numbers.
pub const BODY_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Where the requests go, behind the address of the API.
pub(crate) const PATH: &str = "embeddings";
/// What stands for a text that says nothing: the endpoint refuses an empty one.
const NOTHING: &str = "-";

/// Texts to make vectors of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedRequest {
    /// The model, as the provider calls it.
    pub model: String,
    /// The texts, 1 to [`TEXTS_MAX`].
    pub texts: Vec<String>,
    /// Numbers of a vector, where the model has a choice.
    pub dimensions: Option<u32>,
}

/// Their vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedAnswer {
    /// One of length one for each text, in their order, all of the same 1 to [`VECTOR_NUMBERS_MAX`] finite numbers.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that were read, where the provider says so.
    pub tokens: Option<u64>,
}

/// A provider that makes vectors of texts.
#[async_trait]
pub trait Embeddings: Send + Sync + 'static {
    /// Makes one attempt. Dropping the future closes the connection.
    ///
    /// # Errors
    /// What kind of failure it was; its message is safe for customers.
    async fn embed(&self, request: &EmbedRequest) -> Result<EmbedAnswer, Failure>;
}

/// The body of a request. A text that is too long is cut, and one that says nothing becomes a sign.
pub(crate) fn encode(request: &EmbedRequest) -> Value {
    let text = |text: &String| {
        let text = text[..text.floor_char_boundary(TEXT_BYTES_MAX)].trim();
        if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() }
    };
    let texts: Vec<String> = request.texts.iter().map(text).collect();
    let mut body = json!({ "model": request.model, "input": texts, "encoding_format": "float" });
    if let Some(dimensions) = request.dimensions {
        body["dimensions"] = dimensions.into();
    }
    body
}

#[derive(Debug, Deserialize)]
struct Body {
    data: Vec<Row>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Row {
    index: usize,
    embedding: Vec<f32>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens: Option<u64>,
}

/// Reads the answer to a request of so many texts.
///
/// # Errors
/// `Protocol`: it is not JSON, or not a vector as described above for each of them.
pub fn decode(bytes: &[u8], texts: usize) -> Result<EmbedAnswer, Failure> {
    let body: Body = serde_json::from_slice(bytes).map_err(|_| of_kind(FailureKind::Protocol))?;
    let strange = || {
        let message = "the model provider did not give a vector of the same length for each text";
        with_message(FailureKind::Protocol, message)
    };
    let mut found: Vec<Option<Vec<f32>>> = vec![None; texts];
    for Row { index, embedding } in body.data {
        let place = found.get_mut(index).filter(|place| place.is_none()).ok_or_else(strange)?;
        *place = Some(unit(embedding).ok_or_else(strange)?);
    }
    let vectors = found.into_iter().collect::<Option<Vec<_>>>().ok_or_else(strange)?;
    if vectors.windows(2).any(|two| two[0].len() != two[1].len()) {
        return Err(strange());
    }
    let tokens = body.usage.and_then(|usage| usage.total_tokens.or(usage.prompt_tokens));
    Ok(EmbedAnswer { vectors, tokens })
}

/// The vector at length one; none where it has no direction, or too many numbers.
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    if !(1..=VECTOR_NUMBERS_MAX).contains(&vector.len()) {
        return None;
    }
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    vector.iter_mut().for_each(|number| *number = (f64::from(*number) / length) as f32);
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(texts: &[&str]) -> EmbedRequest {
        EmbedRequest {
            model: "small".into(),
            texts: texts.iter().map(ToString::to_string).collect(),
            dimensions: None,
        }
    }

    #[test]
    fn texts_become_a_request() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        let body = encode(&request(&[" In Lisbon. ", "", "  ", &long]));
        assert_eq!(body["model"], "small");
        assert_eq!(body["encoding_format"], "float");
        assert_eq!(
            (&body["input"][0], &body["input"][1], &body["input"][2]),
            (&json!("In Lisbon."), &json!("-"), &json!("-"))
        );
        assert_eq!(body["input"][3].as_str().map(str::len), Some(TEXT_BYTES_MAX));
        assert_eq!(body.get("dimensions"), None);
        let body = encode(&EmbedRequest { dimensions: Some(256), ..request(&["x"]) });
        assert_eq!(body["dimensions"], 256);
    }

    #[test]
    fn an_answer_is_read_in_the_order_of_its_indexes() {
        let body = r#"{"object":"list","data":[
            {"object":"embedding","index":1,"embedding":[0.0,2.0]},
            {"object":"embedding","index":0,"embedding":[3,4]}],
            "model":"small","usage":{"prompt_tokens":7,"total_tokens":7}}"#;
        let answer = decode(body.as_bytes(), 2).expect("an answer");
        assert_eq!(answer, EmbedAnswer { vectors: vec![vec![0.6, 0.8], vec![0.0, 1.0]], tokens: Some(7) });
        let bare = decode(br#"{"data":[{"index":0,"embedding":[-5.0]}]}"#, 1).expect("an answer");
        assert_eq!(bare, EmbedAnswer { vectors: vec![vec![-1.0]], tokens: None });
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let wide =
            json!({"data": [{"index": 0, "embedding": vec![1.0; VECTOR_NUMBERS_MAX + 1]}]}).to_string();
        for (body, texts) in [
            ("", 1),
            ("[]", 1),
            (r#"{"data":[]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":[1.0]}]}"#, 2),
            (r#"{"data":[{"index":1,"embedding":[1.0]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":[1.0]},{"index":0,"embedding":[1.0]}]}"#, 2),
            (r#"{"data":[{"index":0,"embedding":[1.0]},{"index":1,"embedding":[1.0,0.0]}]}"#, 2),
            (r#"{"data":[{"index":0,"embedding":[]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":[0.0,0.0]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":[1e39]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":["a"]}]}"#, 1),
            (r#"{"data":[{"index":-1,"embedding":[1.0]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":"AACAPw=="}]}"#, 1),
            (&wide, 1),
        ] {
            let failure = decode(body.as_bytes(), texts).expect_err(&body[..body.len().min(80)]);
            assert_eq!(failure.kind, FailureKind::Protocol, "{body}");
        }
    }

    #[test]
    fn whatever_is_sent_is_a_vector_for_each_text_or_a_failure() {
        let sound = r#"{"data":[{"index":1,"embedding":[0.0,2e0,-1]},{"index":0,"embedding":[3,4,0.5]}],"usage":{"total_tokens":7}}"#;
        let mut state = 7_u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let mut read = 0;
        for _ in 0..5_000 {
            let mut bytes = sound.as_bytes().to_vec();
            for _ in 0..random(4) {
                let (place, other) = (random(bytes.len()), random(sound.len()));
                match random(3) {
                    0 => bytes[place] = sound.as_bytes()[other],
                    1 => _ = bytes.remove(place),
                    _ => bytes.insert(place, sound.as_bytes()[other]),
                }
            }
            let Ok(answer) = decode(&bytes, 2) else { continue };
            read += 1;
            assert_eq!(answer.vectors.len(), 2);
            for vector in &answer.vectors {
                assert_eq!(vector.len(), answer.vectors[0].len());
                let length: f64 = vector.iter().map(|number| f64::from(*number).powi(2)).sum();
                assert!((length - 1.0).abs() < 1e-3, "{length}");
            }
        }
        assert!(read > 500, "most of what is hardly changed can be read: {read}");
    }
}
