//! `config.json`: how large the encoder is, and whether it is one that is run here.

use serde::Deserialize;

use crate::error::Flaw;

/// Sizes beyond these are no small sentence encoder, and would cost seconds for each text.
const HIDDEN_MAX: usize = 4_096;
const LAYERS_MAX: usize = 48;
const INTERMEDIATE_MAX: usize = 16_384;
const VOCABULARY_MAX: usize = 1 << 20;
const POSITIONS_MAX: usize = 8_192;

/// What `config.json` says, as far as it matters here; what else it says is not looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Config {
    model_type: String,
    #[serde(rename = "hidden_size")]
    pub(crate) hidden: usize,
    #[serde(rename = "num_hidden_layers")]
    pub(crate) layers: usize,
    #[serde(rename = "num_attention_heads")]
    pub(crate) heads: usize,
    #[serde(rename = "intermediate_size")]
    pub(crate) intermediate: usize,
    #[serde(rename = "vocab_size")]
    pub(crate) vocabulary: usize,
    #[serde(rename = "max_position_embeddings")]
    pub(crate) positions: usize,
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    pub(crate) layer_norm_eps: f32,
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl Config {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let config: Self =
            serde_json::from_slice(bytes).map_err(|error| Flaw::malformed(error.to_string()))?;
        for (field, value, expected) in [
            ("model_type", &config.model_type, "bert"),
            ("hidden_act", &config.hidden_act, "gelu"),
            ("position_embedding_type", &config.position_embedding_type, "absolute"),
        ] {
            if value != expected {
                let what = format!("`{field}` is `{value}`; only `{expected}` is run here");
                return Err(Flaw::unsupported(what));
            }
        }
        for (field, value, max) in [
            ("hidden_size", config.hidden, HIDDEN_MAX),
            ("num_hidden_layers", config.layers, LAYERS_MAX),
            ("num_attention_heads", config.heads, config.hidden),
            ("intermediate_size", config.intermediate, INTERMEDIATE_MAX),
            ("vocab_size", config.vocabulary, VOCABULARY_MAX),
            ("max_position_embeddings", config.positions, POSITIONS_MAX),
        ] {
            if value == 0 || value > max {
                return Err(Flaw::unsupported(format!("`{field}` is {value}; it must be 1 to {max}")));
            }
        }
        if !config.hidden.is_multiple_of(config.heads) {
            let (hidden, heads) = (config.hidden, config.heads);
            let what = format!("`hidden_size` {hidden} is no multiple of `num_attention_heads` {heads}");
            return Err(Flaw::malformed(what));
        }
        if !(config.layer_norm_eps > 0.0 && config.layer_norm_eps < 1.0) {
            return Err(Flaw::malformed("`layer_norm_eps` must be a small positive number"));
        }
        Ok(config)
    }
}

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    First,
}

#[derive(Deserialize)]
struct PoolingFile {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
}

impl Pooling {
    /// Reads `1_Pooling/config.json`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let file: PoolingFile =
            serde_json::from_slice(bytes).map_err(|error| Flaw::malformed(error.to_string()))?;
        match file {
            PoolingFile {
                pooling_mode_cls_token: false,
                pooling_mode_mean_tokens: true,
                pooling_mode_max_tokens: false,
                pooling_mode_mean_sqrt_len_tokens: false,
            } => Ok(Self::Mean),
            PoolingFile {
                pooling_mode_cls_token: true,
                pooling_mode_mean_tokens: false,
                pooling_mode_max_tokens: false,
                pooling_mode_mean_sqrt_len_tokens: false,
            } => Ok(Self::First),
            PoolingFile { .. } => Err(Flaw::unsupported(
                "only one of `pooling_mode_mean_tokens` and `pooling_mode_cls_token` may be true, and no other mode",
            )),
        }
    }
}

#[derive(Deserialize)]
struct SentenceFile {
    max_seq_length: usize,
}

/// Reads how many tokens of a text count from `sentence_bert_config.json`.
pub(crate) fn tokens_max(bytes: &[u8]) -> Result<usize, Flaw> {
    let file: SentenceFile =
        serde_json::from_slice(bytes).map_err(|error| Flaw::malformed(error.to_string()))?;
    match file.max_seq_length {
        0..=2 => Err(Flaw::malformed("`max_seq_length` leaves no room for a text")),
        length => Ok(length),
    }
}
