//! A second look: passages that talk about the same as those at the top.
//!
//! A question that takes several passages shares words with the first of them and not with the others; what the
//! others share with the first is what the first says besides.

use std::collections::{HashMap, HashSet};

use crate::cue::Cues;
use crate::passage::Passage;

/// Passages at the top that are taken to answer the question.
const TRUSTED: usize = 20;
/// What a passage's own weight is taken for at least, so that one shared word does not make a short turn a relative.
const NORM_MIN: f32 = 6.0;

/// How much each of `ranked`, best first with its score, says of what those at the top say besides the question's own
/// words: from 0 to about 1.
pub(crate) fn kin(cues: &Cues, ranked: &[(&Passage, f32)]) -> Vec<f32> {
    let distinct: Vec<HashSet<&str>> =
        ranked.iter().map(|(passage, _)| passage.stems.iter().map(String::as_str).collect()).collect();
    let mut having: HashMap<&str, f32> = HashMap::new();
    for stem in distinct.iter().flatten() {
        *having.entry(stem).or_default() += 1.0;
    }
    let all = ranked.len() as f32;
    let rarity = |stem: &str| (all / having.get(stem).copied().unwrap_or(1.0)).ln();
    let is_asked = |stem: &str| cues.terms.iter().chain(&cues.name_terms).any(|term| term == stem);
    let mut besides: HashMap<&str, f32> = HashMap::new();
    for ((_, score), stems) in ranked.iter().zip(&distinct).take(TRUSTED) {
        for stem in stems.iter().filter(|stem| !is_asked(stem)) {
            *besides.entry(stem).or_default() += rarity(stem) * score.max(0.0);
        }
    }
    let norm = norm(besides.values().copied());
    let shared = |stems: &HashSet<&str>| {
        let own = self::norm(stems.iter().map(|stem| rarity(stem))).max(NORM_MIN);
        let dot: f32 =
            stems.iter().filter_map(|stem| besides.get(stem).map(|weight| weight * rarity(stem))).sum();
        dot / norm / own
    };
    distinct.iter().map(shared).collect()
}

fn norm(weights: impl Iterator<Item = f32>) -> f32 {
    weights.map(|weight| weight * weight).sum::<f32>().sqrt().max(f32::EPSILON)
}
