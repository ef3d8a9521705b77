//! The encoder: embeddings of pieces and places, then layers of attention and two products each.
//!
//! Devlin et al., 2018; the arrangement of the layers is that of `BertModel` in the reference implementation. Several
//! texts go through the products together, one row for each of their tokens, and attend to themselves alone; nothing
//! is padded.

use pulp::Simd;

use crate::config::Config;
use crate::error::Flaw;
use crate::kernel::{self, Linear};
use crate::safetensors::Tensors;

/// The weights.
#[derive(Debug)]
pub(crate) struct Encoder {
    hidden: usize,
    heads: usize,
    epsilon: f32,
    /// A row for each piece.
    pieces: Vec<f32>,
    /// A row for each place, with what every text's tokens have in common.
    places: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// Query, key and value, side by side.
    asked: Linear,
    attended: Linear,
    attended_norm: Norm,
    widened: Linear,
    narrowed: Linear,
    norm: Norm,
}

#[derive(Debug)]
struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Encoder {
    pub(crate) fn read(config: &Config, tensors: &Tensors<'_>) -> Result<Self, Flaw> {
        let is_nested = tensors.names().any(|name| name.starts_with("bert."));
        let weights = Weights { tensors, prefix: if is_nested { "bert." } else { "" } };
        let Config { hidden, layers, heads, intermediate, vocabulary, positions, layer_norm_eps, .. } =
            *config;
        let mut places = weights.numbers("embeddings.position_embeddings.weight", &[positions, hidden])?;
        let common = weights.table("embeddings.token_type_embeddings.weight", hidden)?;
        for row in places.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&common).for_each(|(place, common)| *place += common);
        }
        let layer = |number: usize| {
            let name = |part: &str| format!("encoder.layer.{number}.{part}");
            Ok(Layer {
                asked: weights.side_by_side(&name("attention.self"), ["query", "key", "value"], hidden)?,
                attended: weights.linear(&name("attention.output.dense"), hidden, hidden)?,
                attended_norm: weights.norm(&name("attention.output.LayerNorm"), hidden)?,
                widened: weights.linear(&name("intermediate.dense"), hidden, intermediate)?,
                narrowed: weights.linear(&name("output.dense"), intermediate, hidden)?,
                norm: weights.norm(&name("output.LayerNorm"), hidden)?,
            })
        };
        Ok(Self {
            hidden,
            heads,
            epsilon: layer_norm_eps,
            pieces: weights.numbers("embeddings.word_embeddings.weight", &[vocabulary, hidden])?,
            places,
            norm: weights.norm("embeddings.LayerNorm", hidden)?,
            layers: (0..layers).map(layer).collect::<Result<_, Flaw>>()?,
        })
    }

    /// Numbers of one row.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// The rows of all tokens of some texts, one text after the other. No text has more tokens than places.
    #[inline(always)]
    pub(crate) fn forward<S: Simd>(&self, simd: S, texts: &[Vec<u32>]) -> Vec<f32> {
        let mut rows = Vec::new();
        for text in texts {
            for (piece, place) in text.iter().zip(self.places.chunks_exact(self.hidden)) {
                let piece = &self.pieces[*piece as usize * self.hidden..][..self.hidden];
                rows.extend(piece.iter().zip(place).map(|(piece, place)| piece + place));
            }
        }
        self.norm.apply(&mut rows, self.epsilon);
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let mut scratch = Scratch::default();
        for layer in &self.layers {
            self.layer(simd, layer, &lengths, &mut rows, &mut scratch);
        }
        rows
    }

    #[inline(always)]
    fn layer<S: Simd>(
        &self,
        simd: S,
        layer: &Layer,
        lengths: &[usize],
        rows: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Scratch { asked, attended, wide, result, head } = scratch;
        layer.asked.apply(simd, rows, asked);
        attended.clear();
        attended.resize(rows.len(), 0.0);
        let mut first = 0;
        for length in lengths {
            let asked = &asked[first * 3 * self.hidden..][..length * 3 * self.hidden];
            let to = &mut attended[first * self.hidden..][..length * self.hidden];
            for number in 0..self.heads {
                self.attend(simd, number, *length, asked, to, head);
            }
            first += length;
        }
        layer.attended.apply(simd, attended, result);
        add(rows, result);
        layer.attended_norm.apply(rows, self.epsilon);
        layer.widened.apply(simd, rows, wide);
        kernel::gelu(wide);
        layer.narrowed.apply(simd, wide, result);
        add(rows, result);
        layer.norm.apply(rows, self.epsilon);
    }

    /// One head of one text: every token takes of every token's value as much as its key answers the query.
    #[inline(always)]
    fn attend<S: Simd>(
        &self,
        simd: S,
        number: usize,
        length: usize,
        asked: &[f32],
        to: &mut [f32],
        head: &mut Head,
    ) {
        let (hidden, size) = (self.hidden, self.hidden / self.heads);
        let part = |token: usize, part: usize| &asked[(token * 3 + part) * hidden + number * size..][..size];
        let Head { keys, scores } = head;
        keys.clear();
        keys.resize(size * length, 0.0);
        for token in 0..length {
            for (row, value) in keys.chunks_exact_mut(length).zip(part(token, 1)) {
                row[token] = *value;
            }
        }
        scores.clear();
        scores.resize(length * length, 0.0);
        let scale = 1.0 / (size as f32).sqrt();
        for (token, scores) in scores.chunks_exact_mut(length).enumerate() {
            for (query, keys) in part(token, 0).iter().zip(keys.chunks_exact(length)) {
                kernel::add_scaled(simd, scores, keys, query * scale);
            }
        }
        kernel::softmax(scores, length);
        for (token, scores) in scores.chunks_exact(length).enumerate() {
            let to = &mut to[token * hidden + number * size..][..size];
            for (other, score) in scores.iter().enumerate() {
                kernel::add_scaled(simd, to, part(other, 2), *score);
            }
        }
    }
}

/// What is computed on the way, kept so that it is allocated once.
#[derive(Default)]
struct Scratch {
    asked: Vec<f32>,
    attended: Vec<f32>,
    wide: Vec<f32>,
    result: Vec<f32>,
    head: Head,
}

#[derive(Default)]
struct Head {
    /// A row for each number of a key, so that all tokens of one stand side by side.
    keys: Vec<f32>,
    /// A row for each token, of what it takes from each.
    scores: Vec<f32>,
}

#[inline(always)]
fn add(rows: &mut [f32], more: &[f32]) {
    for (value, more) in rows.iter_mut().zip(more) {
        *value += more;
    }
}

impl Norm {
    #[inline(always)]
    fn apply(&self, rows: &mut [f32], epsilon: f32) {
        kernel::layer_norm(rows, &self.scale, &self.shift, epsilon);
    }
}

/// Tensors by the names of the reference implementation, with the shape they must have.
struct Weights<'a> {
    tensors: &'a Tensors<'a>,
    prefix: &'static str,
}

impl Weights<'_> {
    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Flaw> {
        let name = format!("{}{name}", self.prefix);
        let missing = || Flaw::malformed(format!("there is no tensor `{name}`"));
        let tensor = self.tensors.tensor(&name).ok_or_else(missing)?;
        if tensor.shape != shape {
            let what = format!("tensor `{name}` is {:?}, and by `config.json` {shape:?}", tensor.shape);
            return Err(Flaw::malformed(what));
        }
        let numbers = tensor.numbers();
        let numbers =
            numbers.ok_or_else(|| Flaw::unsupported(format!("tensor `{name}` is not F32, F16 or BF16")))?;
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(Flaw::malformed(format!("tensor `{name}` holds what is no number"))),
        }
    }

    /// The first row of a table of however many.
    fn table(&self, name: &str, columns: usize) -> Result<Vec<f32>, Flaw> {
        let rows =
            self.tensors.tensor(&format!("{}{name}", self.prefix)).and_then(|tensor| tensor.shape.first());
        let mut numbers = self.numbers(name, &[rows.copied().unwrap_or(1).max(1), columns])?;
        numbers.truncate(columns);
        Ok(numbers)
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, Flaw> {
        let weights = self.numbers(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Linear::new(inputs, &weights, self.numbers(&format!("{name}.bias"), &[outputs])?))
    }

    fn side_by_side(&self, name: &str, parts: [&str; 3], size: usize) -> Result<Linear, Flaw> {
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for part in parts {
            weights.extend(self.numbers(&format!("{name}.{part}.weight"), &[size, size])?);
            bias.extend(self.numbers(&format!("{name}.{part}.bias"), &[size])?);
        }
        Ok(Linear::new(size, &weights, bias))
    }

    fn norm(&self, name: &str, size: usize) -> Result<Norm, Flaw> {
        let scale = self.numbers(&format!("{name}.weight"), &[size])?;
        Ok(Norm { scale, shift: self.numbers(&format!("{name}.bias"), &[size])? })
    }
}
