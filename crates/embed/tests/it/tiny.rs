//! A model of a few thousand random weights, as files.

use std::collections::BTreeMap;
use std::path::Path;

use fastrand::Rng;
use serde_json::{Value, json};

pub(crate) const HIDDEN: usize = 12;
pub(crate) const HEADS: usize = 3;
pub(crate) const LAYERS: usize = 2;
pub(crate) const INTERMEDIATE: usize = 20;
pub(crate) const POSITIONS: usize = 16;
pub(crate) const EPSILON: f64 = 1e-12;
pub(crate) const PIECES: [&str; 16] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "dog", "bark", "##s", "##ed", "at", "night", ",", ".", "犬",
    "cat", "##a",
];

/// Tensors by name, with their shapes.
pub(crate) type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(crate) fn weights(seed: u64) -> Weights {
    let mut random = Rng::with_seed(seed);
    let mut weights = Weights::new();
    let mut put = |name: String, shape: &[usize]| {
        let count = shape.iter().product();
        let numbers = (0..count).map(|_| random.f32() - 0.5).collect();
        weights.insert(name, (shape.to_vec(), numbers));
    };
    for (table, rows) in
        [("word_embeddings", PIECES.len()), ("position_embeddings", POSITIONS), ("token_type_embeddings", 2)]
    {
        put(format!("embeddings.{table}.weight"), &[rows, HIDDEN]);
    }
    let mut pairs = vec![("embeddings.LayerNorm".to_owned(), vec![HIDDEN], HIDDEN)];
    for layer in 0..LAYERS {
        for (part, inputs, outputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", HIDDEN, INTERMEDIATE),
            ("output.dense", INTERMEDIATE, HIDDEN),
        ] {
            pairs.push((format!("encoder.layer.{layer}.{part}"), vec![outputs, inputs], outputs));
        }
        for part in ["attention.output.LayerNorm", "output.LayerNorm"] {
            pairs.push((format!("encoder.layer.{layer}.{part}"), vec![HIDDEN], HIDDEN));
        }
    }
    for (name, shape, outputs) in pairs {
        put(format!("{name}.weight"), &shape);
        put(format!("{name}.bias"), &[outputs]);
    }
    weights
}

pub(crate) fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE, "vocab_size": PIECES.len(), "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": EPSILON, "architectures": ["BertModel"],
    })
}

pub(crate) fn safetensors(weights: &Weights) -> Vec<u8> {
    let mut table = serde_json::Map::new();
    table.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut data = Vec::new();
    for (name, (shape, numbers)) in weights {
        let from = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [from, data.len()]});
        table.insert(name.clone(), entry);
    }
    let table = Value::Object(table).to_string();
    let mut file = (table.len() as u64).to_le_bytes().to_vec();
    file.extend(table.as_bytes());
    file.extend(data);
    file
}

pub(crate) fn tokenizer() -> Value {
    let pieces: BTreeMap<&str, usize> =
        PIECES.iter().enumerate().map(|(number, piece)| (*piece, number)).collect();
    json!({
        "version": "1.0",
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": pieces},
    })
}

/// Writes the model of a seed.
pub(crate) fn write(directory: &Path, seed: u64) {
    std::fs::create_dir_all(directory).expect("a directory");
    let files = [
        ("config.json", config().to_string().into_bytes()),
        ("tokenizer.json", tokenizer().to_string().into_bytes()),
        ("model.safetensors", safetensors(&weights(seed))),
    ];
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).expect("writes");
    }
}
