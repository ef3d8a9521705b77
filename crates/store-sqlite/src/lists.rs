//! Which episodes of a space have the terms of a question: of rare terms all of them, of frequent ones what matters.
//!
//! A question is rarely about its most frequent word, and reading a million entries to learn so takes longer than
//! anything else. So of each term the newest [`LISTED_MAX`] are read; a term that has no more is known whole. Of a term
//! that has more, those are read as well that have a rarer term of the question too: the index skips along both lists,
//! and what is old and shares two words with the question is found as what is new. How many have a frequent term is
//! reckoned from how far back its newest reach.

use tenure_store::recall::{COUNTED_MAX, Listed};

use crate::index::{Having, Index};

/// Episodes of a term that are read whatever else the question says; one that more have is frequent.
const LISTED_MAX: usize = 2_000;
/// Frequent terms, the rarest of them, that are looked for beside rarer ones: what is still more frequent tells little.
const FREQUENT_MAX: usize = 6;

/// The lists of the terms, in their order, of a space that has so many `episodes`.
pub(crate) fn listed(index: &Index<'_>, terms: &[String], episodes: u64) -> rusqlite::Result<Vec<Listed>> {
    let mut lists = Vec::with_capacity(terms.len());
    for term in terms {
        lists.push(Listed::whole(index.having(&Having::term(term), LISTED_MAX)?));
    }
    if lists.iter().any(is_frequent) {
        let mut newest = index.latest(COUNTED_MAX)?;
        newest.sort_unstable();
        for list in lists.iter_mut().filter(|list| is_frequent(list)) {
            list.having = reckoned(&list.newest, &newest, episodes);
        }
    }
    beside_rarer(index, terms, &mut lists)?;
    Ok(lists)
}

/// Whether there may be more than were read.
fn is_frequent(list: &Listed) -> bool {
    list.newest.len() >= LISTED_MAX
}

/// How many of a space's `episodes` have a term, if these `having` it are the newest that do: as many as if it were as
/// frequent among all of them as among those that are as new. Of the `newest` of the space, ascending, all count.
fn reckoned(having: &[u64], newest: &[u64], episodes: u64) -> u64 {
    let count = having.len() as u64;
    let Some(last) = having.last() else { return 0 };
    let as_new = (newest.len() - newest.partition_point(|number| number < last)) as u64;
    // A sample that does not reach so far back tells nothing less than that all have it.
    (count * episodes / as_new.max(count)).clamp(count.min(episodes), episodes)
}

/// Adds to the lists of frequent terms what has a rare term as well, or one that is less frequent. They are asked for
/// apart: what is rare would be lost behind what is not.
fn beside_rarer(index: &Index<'_>, terms: &[String], lists: &mut [Listed]) -> rusqlite::Result<()> {
    let mut by_rarity: Vec<usize> = (0..lists.len()).collect();
    by_rarity.sort_by_key(|term| lists[*term].having);
    let (mut frequent, rare): (Vec<usize>, Vec<usize>) =
        by_rarity.into_iter().partition(|term| is_frequent(&lists[*term]));
    frequent.truncate(FREQUENT_MAX);
    for (place, term) in frequent.iter().enumerate() {
        let list = &mut lists[*term].newest;
        for others in [&rare[..], &frequent[..place]].into_iter().filter(|others| !others.is_empty()) {
            let others = others.iter().map(|other| terms[*other].as_str());
            list.extend(index.having(&Having::beside(&terms[*term], others), LISTED_MAX)?);
        }
        list.sort_unstable_by(|one, other| other.cmp(one));
        list.dedup();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{index, schema};

    /// Episodes of the space `m`, and after each as many of another as `between` says. Of all of them the last are not
    /// indexed, as many as `unindexed` says.
    fn space(episodes: u64, between: u64, unindexed: u64, terms: &dyn Fn(u64) -> String) -> Connection {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::migrate(&mut connection).expect("a schema");
        let row = "INSERT INTO episodes (project_id, session_id, ordinal, item_id, space, agent_id, at, speaker, text, terms)
                   VALUES ('p', 's', ?1, 'i', ?2, 'a', ?3, 'user', '', ?4)";
        let indexed = (episodes * (1 + between)).saturating_sub(unindexed) as i64;
        let mut number = 0_i64;
        let mut put = |space: &str, place: u64, terms: &str| {
            number += 1;
            // The later half tells of what was before the first.
            let at = (place as i64 + episodes as i64 / 2) % (episodes as i64 + 1);
            connection.execute(row, (number, space, at, terms)).expect("a row");
            if number == indexed {
                index::fill(&connection).expect("indexes");
            }
        };
        for place in 1..=episodes {
            put("m", place, &terms(place));
            (0..between).for_each(|_| put("n", place, "often"));
        }
        connection
    }

    /// `often` is in all, `second` in every second, `rare` in the first ten.
    fn rarer_and_rarer(place: u64) -> String {
        let second = if place.is_multiple_of(2) { " second" } else { "" };
        format!("often{second}{}", if place <= 10 { " rare" } else { "" })
    }

    const ASKED: [&str; 4] = ["often", "second", "rare", "never"];

    #[test]
    fn what_is_old_and_shares_two_terms_is_found_as_what_is_new() {
        for (between, unindexed) in [(0, 0), (3, 0), (0, 1_500), (3, 12_000), (0, 5_000)] {
            let connection = space(5_000, between, unindexed, &rarer_and_rarer);
            let asked = ASKED;
            let index = Index::of_space(&connection, "m", asked).expect("reads");
            let episodes = index.count().expect("a count");
            assert_eq!(episodes, 5_000);
            let lists = listed(&index, &ASKED.map(str::to_owned), episodes).expect("lists");
            let lengths: Vec<(u64, usize)> =
                lists.iter().map(|list| (list.having, list.newest.len())).collect();
            // `often` has the newest, as many of `second`, and what is rare, however old; ...
            assert_eq!(lengths[0], (5_000, 2_000 + 1_000 + 10), "{lengths:?}");
            assert_eq!((lengths[2], lengths[3]), ((10, 10), (0, 0)));
            // ... and of every second one it is known about how many there are, whatever others have.
            assert!((2_490..=2_510).contains(&lengths[1].0), "{lengths:?}");
            assert_eq!(lengths[1].1, 2_005, "the five that are rare are there, however old");
            let old =
                |list: &Listed| list.newest.iter().filter(|number| **number <= 10 * (between + 1)).count();
            assert_eq!(old(&lists[1]), 5);
            assert!(lists.iter().all(|list| list.newest.is_sorted_by(|one, next| one > next)));
        }
    }

    #[test]
    fn what_is_not_indexed_is_found_as_what_is() {
        // Fewer than are read of a term, and more: what is read then ends among those that are indexed or not.
        for episodes in [40, 4_500] {
            let mut expected = None;
            for unindexed in [0, 1, 7, 39, 40, 2_000, 2_001, 4_499, 4_500] {
                let connection = space(episodes, 0, unindexed, &rarer_and_rarer);
                let asked = ["often", "second", "rare", "never", "seconds"];
                let index = Index::of_space(&connection, "m", asked).expect("reads");
                let other = Index::of_space(&connection, "n", asked).expect("reads");
                assert!(other.having(&Having::term("often"), 9).expect("reads").is_empty());
                let having = [
                    Having::term("second"),
                    Having::term("seconds"),
                    Having::any(["rare", "never"]),
                    Having::any(["second", "rare"]),
                    Having::beside("often", ["rare", "second"]),
                    Having::beside("never", ["often"]),
                ];
                let mut found = Vec::new();
                for limit in [0, 1, 5, 30, 2_000] {
                    for asked in &having {
                        found.push(index.having(asked, limit).expect("reads"));
                    }
                    found.push(index.latest(limit).expect("reads"));
                    found.push(index.within(3, 4_000, limit).expect("reads"));
                    found.push(index.within(i64::MIN, 8, limit).expect("reads"));
                }
                let lists = listed(&index, &ASKED.map(str::to_owned), episodes).expect("lists");
                let found = (found, lists, index.count().expect("counts"));
                assert_eq!(*expected.get_or_insert_with(|| found.clone()), found, "{episodes}, {unindexed}");
            }
        }
    }

    #[test]
    fn what_is_frequent_is_reckoned_among_the_spaces_own() {
        let newest: Vec<u64> = (1..=100).map(|place| place * 7).collect();
        for (having, episodes, expected) in [
            (vec![700, 686, 672, 658], 100, 4 * 100 / 7),
            (vec![700, 693, 686], 100, 100),
            // More than were counted, and a term that reaches further back than the sample.
            (vec![700, 686], 20_000, 2 * 20_000 / 3),
            (vec![700, 1], 100, 2),
            (vec![700, 693], 1, 1),
        ] {
            assert_eq!(reckoned(&having, &newest, episodes), expected, "{having:?}");
        }
    }
}
