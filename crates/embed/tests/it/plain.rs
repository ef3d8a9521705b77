//! The encoder once more, as the paper says it: matrices of 64-bit numbers, one token after the other, nothing
//! arranged for speed.

use crate::tiny::{EPSILON, HEADS, HIDDEN, LAYERS, Weights};

type Rows = Vec<Vec<f64>>;

/// The vector of a text's tokens.
pub(crate) fn vector(weights: &Weights, tokens: &[u32]) -> Vec<f64> {
    let table = |name: &str, row: usize| -> Vec<f64> {
        weights[name].1[row * HIDDEN..][..HIDDEN].iter().map(|number| f64::from(*number)).collect()
    };
    let embedded = |(place, token): (usize, &u32)| {
        let piece = table("embeddings.word_embeddings.weight", *token as usize);
        let place = table("embeddings.position_embeddings.weight", place);
        let common = table("embeddings.token_type_embeddings.weight", 0);
        (0..HIDDEN).map(|column| piece[column] + place[column] + common[column]).collect::<Vec<f64>>()
    };
    let rows: Rows = tokens.iter().enumerate().map(embedded).collect();
    let mut rows = norm(weights, "embeddings.LayerNorm", &rows);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let attended = attention(weights, &name("attention.self"), &rows);
        let attended = sum(&rows, &linear(weights, &name("attention.output.dense"), &attended));
        let attended = norm(weights, &name("attention.output.LayerNorm"), &attended);
        let mut wide = linear(weights, &name("intermediate.dense"), &attended);
        wide.iter_mut().flatten().for_each(|value| *value = gelu(*value));
        let narrow = sum(&attended, &linear(weights, &name("output.dense"), &wide));
        rows = norm(weights, &name("output.LayerNorm"), &narrow);
    }
    let mean = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64;
    let mean: Vec<f64> = (0..HIDDEN).map(mean).collect();
    let length = mean.iter().map(|value| value * value).sum::<f64>().sqrt();
    mean.into_iter().map(|value| value / length).collect()
}

fn linear(weights: &Weights, name: &str, rows: &Rows) -> Rows {
    let (shape, matrix) = &weights[&format!("{name}.weight")];
    let bias = &weights[&format!("{name}.bias")].1;
    let output = |row: &Vec<f64>, output: usize| {
        let products = (0..shape[1]).map(|input| row[input] * f64::from(matrix[output * shape[1] + input]));
        products.sum::<f64>() + f64::from(bias[output])
    };
    rows.iter().map(|row| (0..shape[0]).map(|number| output(row, number)).collect()).collect()
}

fn norm(weights: &Weights, name: &str, rows: &Rows) -> Rows {
    let (scale, shift) = (&weights[&format!("{name}.weight")].1, &weights[&format!("{name}.bias")].1);
    let one = |row: &Vec<f64>| {
        let mean = row.iter().sum::<f64>() / HIDDEN as f64;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / HIDDEN as f64;
        let value = |column: usize| {
            (row[column] - mean) / (variance + EPSILON).sqrt() * f64::from(scale[column])
                + f64::from(shift[column])
        };
        (0..HIDDEN).map(value).collect()
    };
    rows.iter().map(one).collect()
}

fn attention(weights: &Weights, name: &str, rows: &Rows) -> Rows {
    let [queries, keys, values] =
        ["query", "key", "value"].map(|part| linear(weights, &format!("{name}.{part}"), rows));
    let size = HIDDEN / HEADS;
    let mut attended = vec![vec![0.0; HIDDEN]; rows.len()];
    for head in 0..HEADS {
        let columns = head * size..(head + 1) * size;
        for (token, query) in queries.iter().enumerate() {
            let score = |key: &Vec<f64>| {
                let product: f64 = columns.clone().map(|column| query[column] * key[column]).sum();
                (product / (size as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = keys.iter().map(score).collect();
            let whole: f64 = scores.iter().sum();
            for (score, value) in scores.iter().zip(&values) {
                for column in columns.clone() {
                    attended[token][column] += score / whole * value[column];
                }
            }
        }
    }
    attended
}

fn sum(one: &Rows, other: &Rows) -> Rows {
    let row = |(one, other): (&Vec<f64>, &Vec<f64>)| {
        one.iter().zip(other).map(|(one, other)| one + other).collect()
    };
    one.iter().zip(other).map(row).collect()
}

/// With the error function as the series of its definition.
fn gelu(x: f64) -> f64 {
    let z = x / 2_f64.sqrt();
    let (mut term, mut series) = (z, z);
    for n in 1..200 {
        term *= -z * z / f64::from(n);
        series += term / f64::from(2 * n + 1);
    }
    0.5 * x * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * series)
}
