//! A second look: passages that talk about the same as those at the top.
//!
//! A question that takes several passages shares words with the first of them and not with the others; what the
//! others share with the first is what the first says besides.

use crate::lexicon::StemId;
use crate::passage::{Meant, Passage};

/// Passages at the top that are taken to answer the question.
const TRUSTED: usize = 20;
/// What a passage's own weight is taken for at least, so that one shared word does not make a short turn a relative.
const NORM_MIN: f32 = 6.0;

/// How much each of `ranked`, best first with its score, says of what those at the top say besides the question's own
/// words: from 0 to about 1. `meant` says what each stem is to the question.
pub(crate) fn kin(meant: &[Meant], ranked: &[(&Passage, f32)]) -> Vec<f32> {
    let distinct: Vec<Vec<StemId>> = ranked.iter().map(|(passage, _)| passage.distinct()).collect();
    let mut having = vec![0.0_f32; meant.len()];
    distinct.iter().flatten().for_each(|stem| having[stem.index()] += 1.0);
    let all = ranked.len() as f32;
    let rarity: Vec<f32> = having.into_iter().map(|having| (all / having.max(1.0)).ln()).collect();
    let is_asked = |stem: StemId| meant[stem.index()].place.is_some() || meant[stem.index()].is_name;
    let mut besides = vec![0.0_f32; meant.len()];
    for ((_, score), stems) in ranked.iter().zip(&distinct).take(TRUSTED) {
        for stem in stems.iter().filter(|stem| !is_asked(**stem)) {
            besides[stem.index()] += rarity[stem.index()] * score.max(0.0);
        }
    }
    let norm = norm(besides.iter().copied());
    let shared = |stems: &Vec<StemId>| {
        let own = self::norm(stems.iter().map(|stem| rarity[stem.index()])).max(NORM_MIN);
        let dot: f32 = stems.iter().map(|stem| besides[stem.index()] * rarity[stem.index()]).sum();
        dot / norm / own
    };
    distinct.iter().map(shared).collect()
}

fn norm(weights: impl Iterator<Item = f32>) -> f32 {
    weights.map(|weight| weight * weight).sum::<f32>().sqrt().max(f32::EPSILON)
}
