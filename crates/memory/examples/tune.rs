//! How the ranker's weights were found: by the likelihood of the evidence among what a store would pick, on the
//! tuning half. Each of its talks is left out once, and the mean of what the others lead to is taken, because a fit
//! learns the talks by heart. Every step away from the weights that it begins with costs something: those that were
//! found one after the other, and beside the vectors of a model those that are in force. Of each talk it prints what
//! the weights that the others lead to are worth on it.
//!
//! With the word `held-out`, the other half is measured as well.
//!
//! ```sh
//! cargo run -p tenure-memory --release --example tune -- path/to/locomo10.json ROUNDS [path/to/model] [held-out]
//! ```

use std::num::NonZeroUsize;
use std::path::Path;

use tenure_embed::Model;
use tenure_memory::bench::{Conversation, Example, Measure, Prepared, locomo, measure};
use tenure_memory::rank::{FEATURES, Features, Weights};

fn main() {
    let (options, arguments): (Vec<_>, Vec<_>) = std::env::args().partition(|one| one == "held-out");
    let path = arguments.get(1).expect("the path of locomo10.json");
    let rounds: usize = arguments.get(2).map_or(2, |rounds| rounds.parse().expect("a number"));
    let model = arguments.get(3).map(|path| Model::open(Path::new(path)).expect("a model"));
    let bytes = std::fs::read(path).expect("the file is there");
    let all = locomo::read(&bytes).expect("the file is LoCoMo");
    let is_tuning = |talk: &Conversation| locomo::TUNING.contains(&talk.name.as_str());
    let (tuning, held_out): (Vec<_>, Vec<_>) = all.into_iter().partition(is_tuning);
    let tuning: Vec<_> = tuning.iter().map(|talk| prepared(talk, model.as_ref())).collect();
    let weights = if model.is_some() { Weights::with_vectors() } else { Weights::default() };
    show("tuning, as it is", &measure(&tuning, &weights));
    if !options.is_empty() {
        let held_out: Vec<_> = held_out.iter().map(|talk| prepared(talk, model.as_ref())).collect();
        show("held out, as it is", &measure(&held_out, &weights));
    }
    let begin = if model.is_some() { weights.features } else { BEGIN };
    let mut weights = Weights { features: begin, ..weights };
    // What passages have in common with the best depends on the weights, so that it is fitted again.
    for _ in 0..rounds {
        weights.features = left_out(&tuning, &weights, &begin);
        for (name, weight) in FEATURES.iter().zip(&weights.features) {
            println!("{name:>16} {weight:.3}");
        }
        show("tuning", &measure(&tuning, &weights));
    }
}

fn prepared<'a>(talk: &'a Conversation, model: Option<&Model>) -> Prepared<'a> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    match model {
        Some(model) => Prepared::embedded(talk, &|texts| model.encode(texts, threads)).expect("vectors"),
        None => Prepared::new(talk),
    }
}

/// The mean of what is found with one talk left out, and what each is worth on that talk.
fn left_out(talks: &[Prepared<'_>], weights: &Weights, begin: &Features) -> Features {
    let examples: Vec<Vec<Example>> = talks.iter().map(|talk| talk.examples(weights)).collect();
    let mut mean = [0.0; FEATURES.len()];
    for (left_out, talk) in talks.iter().enumerate() {
        let others = examples.iter().enumerate().filter(|(number, _)| *number != left_out);
        let others: Vec<&Example> = others.flat_map(|(_, examples)| examples).collect();
        let features = fitted(&others, begin);
        show("left out", &measure([talk], &Weights { features, ..weights.clone() }));
        mean.iter_mut().zip(features).for_each(|(sum, weight)| *sum += weight / talks.len() as f32);
    }
    mean
}

/// Score by which the odds of a passage to be evidence grow to 2.7 times.
const TEMPERATURE: f64 = 0.125;
/// What is given to evidence whatever its score is, so that what nothing tells does not pull at everything.
const UNTOLD: f64 = 0.01;
/// The cost of a step of one deviation of a feature's effect.
const STEP_COST: f64 = 800.0;
/// A feature's deviation is taken for this at least, so that a rare one is not free.
const DEVIATION_MIN: f64 = 0.03;
/// Steps of the ascent, their first length, and how slowly it forgets slopes and their squares.
const STEPS: usize = 200;
const STEP: f64 = 0.05;
const SLOW: f64 = 0.9;
const SLOWER: f64 = 0.99;

/// A number for each feature.
type Each = [f64; FEATURES.len()];

/// The weights under which the evidence of some questions is likely.
fn fitted(examples: &[&Example], begin: &Features) -> Features {
    let deviations = deviations(examples);
    let weights = |steps: &Each| -> Each {
        std::array::from_fn(|at| f64::from(begin[at]) + TEMPERATURE * steps[at] / deviations[at])
    };
    let mut steps: Each = [0.0; FEATURES.len()];
    let (mut slow, mut squares) = (steps, steps);
    let (mut slow_left, mut squares_left) = (1.0, 1.0);
    for step in 0..STEPS {
        let weights = weights(&steps);
        let mut slope: Each = std::array::from_fn(|at| -2.0 * STEP_COST * steps[at]);
        for example in examples {
            let of_example = slope_of(example, &weights);
            slope.iter_mut().enumerate().for_each(|(at, sum)| *sum += of_example[at] / deviations[at]);
        }
        // Adam (Kingma and Ba, 2015), with steps that become shorter.
        slow_left *= SLOW;
        squares_left *= SLOWER;
        let length = STEP * (1.0 - step as f64 / STEPS as f64);
        for (at, slope) in slope.iter().map(|sum| sum / examples.len() as f64).enumerate() {
            slow[at] = SLOW * slow[at] + (1.0 - SLOW) * slope;
            squares[at] = SLOWER * squares[at] + (1.0 - SLOWER) * slope * slope;
            let square = squares[at] / (1.0 - squares_left);
            steps[at] += length * slow[at] / (1.0 - slow_left) / (square.sqrt() + 1e-6);
        }
    }
    weights(&steps).map(|weight| weight as f32)
}

/// How the likelihood of a question's evidence grows with each weight: each passage of it against all that is none.
fn slope_of(example: &Example, weights: &Each) -> Each {
    let score = |features: &Features| -> f64 {
        features.iter().zip(weights).map(|(feature, weight)| f64::from(*feature) * weight).sum()
    };
    let scores: Vec<f64> = example.features.iter().map(score).collect();
    let best = scores.iter().copied().fold(f64::MIN, f64::max);
    let odds: Vec<f64> = scores.iter().map(|score| ((score - best) / TEMPERATURE).exp()).collect();
    let others = || odds.iter().zip(&example.features).zip(&example.is_evidence).filter(|(_, is)| !**is);
    let all: f64 = others().map(|((odds, _), _)| odds).sum();
    let mut mean: Each = [0.0; FEATURES.len()];
    for ((odds, features), _) in others() {
        mean.iter_mut().zip(features).for_each(|(sum, feature)| *sum += odds * f64::from(*feature) / all);
    }
    let mut slope: Each = [0.0; FEATURES.len()];
    for place in (0..odds.len()).filter(|place| example.is_evidence[*place]) {
        let likely = odds[place] / (odds[place] + all);
        let pull = likely * (1.0 - likely) / (likely + UNTOLD);
        for (at, feature) in example.features[place].iter().enumerate() {
            slope[at] += pull * (f64::from(*feature) - mean[at]);
        }
    }
    slope
}

/// How far each feature is from its mean, as passages go.
fn deviations(examples: &[&Example]) -> Each {
    let all = || examples.iter().flat_map(|example| &example.features);
    let count = all().count().max(1) as f64;
    std::array::from_fn(|at| {
        let values = || all().map(|features| f64::from(features[at]));
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        variance.sqrt().max(DEVIATION_MIN)
    })
}

fn show(what: &str, m: &Measure) {
    println!(
        "{what:>20}: {} questions, R@5 {:.1}, R@10 {:.1}, R@20 {:.1}, MRR {:.1}, multi-hop R@10 {:.1}",
        m.questions, m.recall_5, m.recall_10, m.recall_20, m.reciprocal_rank, m.multi_hop_10
    );
}

/// Weights without vectors that were found one after the other, as far as recall on the tuning half grew, before what a
/// sentence says and answers counted among them.
const BEGIN: Features = [
    0.75, 0.231, 0.3, 0.0, 0.35, 0.0, 0.05, -0.127, 0.14, 0.154, 0.3, 0.02, 0.069, 0.2, 0.0405, 0.12, 0.0,
    0.0, 0.2, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0,
];
