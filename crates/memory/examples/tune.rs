//! How the ranker's weights were found: one weight after the other, as far as recall on the tuning half grows.
//!
//! ```sh
//! cargo run -p tenure-memory --example tune -- path/to/locomo10.json
//! ```

use tenure_memory::bench::{Conversation, Measure, Prepared, locomo, measure};
use tenure_memory::rank::{FEATURES, Weights};

fn main() {
    let path = std::env::args().nth(1).expect("the path of locomo10.json");
    let rounds: usize = std::env::args().nth(2).map_or(2, |rounds| rounds.parse().expect("a number"));
    let bytes = std::fs::read(path).expect("the file is there");
    let all = locomo::read(&bytes).expect("the file is LoCoMo");
    let is_tuning = |talk: &Conversation| locomo::TUNING.contains(&talk.name.as_str());
    let (tuning, held_out): (Vec<_>, Vec<_>) = all.into_iter().partition(is_tuning);
    let tuning: Vec<_> = tuning.iter().map(Prepared::new).collect();
    let held_out: Vec<_> = held_out.iter().map(Prepared::new).collect();
    let mut weights = Weights::default();
    show("tuning, as it is", &measure(&tuning, &weights));
    show("held out, as it is", &measure(&held_out, &weights));
    if rounds == 0 {
        return;
    }
    let mut best = goal(&measure(&tuning, &weights));
    for round in 0..rounds {
        for knob in 0..KNOBS {
            best = turn(knob, &mut weights, &tuning, best);
        }
        println!("round {round}: {best:.2} {weights:?}");
    }
    for (name, weight) in FEATURES.iter().zip(&weights.features) {
        println!("{name:>16} {weight:.3}");
    }
    show("tuning", &measure(&tuning, &weights));
    show("held out", &measure(&held_out, &weights));
}

const KNOBS: usize = 6 + FEATURES.len() - 1;

/// What is made as large as possible.
fn goal(measure: &Measure) -> f64 {
    measure.recall_10 + 0.5 * measure.recall_5 + 0.25 * measure.reciprocal_rank + 0.25 * measure.multi_hop_10
}

fn turn(knob: usize, weights: &mut Weights, tuning: &[Prepared<'_>], mut best: f64) -> f64 {
    for change in [0.7, 1.4, 0.9, 1.1, -0.05, 0.05] {
        let mut tried = weights.clone();
        let value = at(&mut tried, knob);
        *value = if f32::abs(change) < 0.5 { *value + change } else { *value * change };
        let found = goal(&measure(tuning, &tried));
        if found > best + 0.01 {
            best = found;
            *weights = tried;
        }
    }
    best
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
