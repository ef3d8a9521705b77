//! How the ranker's weights were found: one weight after the other, as far as recall on the tuning half grows.
//!
//! With the directory of a model, weights beside its vectors: each of the talks is left out once, and the mean of what
//! the others lead to is taken, because one weight after the other alone learns the talks by heart.
//!
//! ```sh
//! cargo run -p tenure-memory --example tune -- path/to/locomo10.json ROUNDS [path/to/model]
//! ```

use std::num::NonZeroUsize;
use std::path::Path;

use tenure_embed::Model;
use tenure_memory::bench::{Conversation, Measure, Prepared, locomo, measure};
use tenure_memory::rank::{FEATURES, Weights};

fn main() {
    let path = std::env::args().nth(1).expect("the path of locomo10.json");
    let rounds: usize = std::env::args().nth(2).map_or(2, |rounds| rounds.parse().expect("a number"));
    let model = std::env::args().nth(3).map(|path| Model::open(Path::new(&path)).expect("a model"));
    let bytes = std::fs::read(path).expect("the file is there");
    let all = locomo::read(&bytes).expect("the file is LoCoMo");
    let is_tuning = |talk: &Conversation| locomo::TUNING.contains(&talk.name.as_str());
    let (tuning, held_out): (Vec<_>, Vec<_>) = all.into_iter().partition(is_tuning);
    let tuning: Vec<_> = tuning.iter().map(|talk| prepared(talk, model.as_ref())).collect();
    let held_out: Vec<_> = held_out.iter().map(|talk| prepared(talk, model.as_ref())).collect();
    let weights = if model.is_some() { Weights::with_vectors() } else { Weights::default() };
    show("tuning, as it is", &measure(&tuning, &weights));
    show("held out, as it is", &measure(&held_out, &weights));
    if rounds == 0 {
        return;
    }
    let weights = match &model {
        None => tuned(&weights, &tuning.iter().collect::<Vec<_>>(), rounds),
        Some(_) => mean((0..tuning.len()).map(|left_out| {
            let others = tuning.iter().enumerate().filter(|(number, _)| *number != left_out);
            tuned(&weights, &others.map(|(_, talk)| talk).collect::<Vec<_>>(), rounds)
        })),
    };
    println!("{weights:?}");
    for (name, weight) in FEATURES.iter().zip(&weights.features) {
        println!("{name:>16} {weight:.3}");
    }
    show("tuning", &measure(&tuning, &weights));
}

fn prepared<'a>(talk: &'a Conversation, model: Option<&Model>) -> Prepared<'a> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    match model {
        Some(model) => Prepared::embedded(talk, &|texts| model.encode(texts, threads)).expect("vectors"),
        None => Prepared::new(talk),
    }
}

const KNOBS: usize = 6 + FEATURES.len();

/// What is made as large as possible.
fn goal(measure: &Measure) -> f64 {
    measure.recall_10 + 0.5 * measure.recall_5 + 0.25 * measure.reciprocal_rank + 0.25 * measure.multi_hop_10
}

fn tuned(weights: &Weights, talks: &[&Prepared<'_>], rounds: usize) -> Weights {
    let mut weights = weights.clone();
    let mut best = goal(&measure(talks.iter().copied(), &weights));
    for round in 0..rounds {
        for knob in 0..KNOBS {
            best = turn(knob, &mut weights, talks, best);
        }
        println!("round {round}: {best:.2}");
    }
    weights
}

fn turn(knob: usize, weights: &mut Weights, talks: &[&Prepared<'_>], mut best: f64) -> f64 {
    for change in [0.7, 1.4, 0.9, 1.1, -0.05, 0.05] {
        let mut tried = weights.clone();
        let value = at(&mut tried, knob);
        *value = if f32::abs(change) < 0.5 { *value + change } else { *value * change };
        let found = goal(&measure(talks.iter().copied(), &tried));
        if found > best + 0.05 {
            best = found;
            *weights = tried;
        }
    }
    best
}

fn mean(all: impl Iterator<Item = Weights>) -> Weights {
    let mut all: Vec<Weights> = all.collect();
    let mut mean = all[0].clone();
    for knob in 0..KNOBS {
        let sum: f32 = all.iter_mut().map(|weights| *at(weights, knob)).sum();
        *at(&mut mean, knob) = sum / all.len() as f32;
    }
    mean
}

fn at(weights: &mut Weights, knob: usize) -> &mut f32 {
    match knob {
        0 => &mut weights.saturation,
        1 => &mut weights.length,
        2 => &mut weights.before,
        3 => &mut weights.behind,
        4 => &mut weights.farther,
        5 => &mut weights.borrow_terms,
        feature => &mut weights.features[feature - 6],
    }
}

fn show(what: &str, m: &Measure) {
    println!(
        "{what:>20}: {} questions, R@5 {:.1}, R@10 {:.1}, R@20 {:.1}, MRR {:.1}, multi-hop R@10 {:.1}",
        m.questions, m.recall_5, m.recall_10, m.recall_20, m.reciprocal_rank, m.multi_hop_10
    );
}
