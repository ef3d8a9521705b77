//! Which episodes of a space have the terms of a question: of rare terms all of them, of frequent ones what matters.
//!
//! A question is rarely about its most frequent word, and reading a million entries to learn so takes longer than
//! anything else. So of each term the newest [`LISTED_MAX`] are read; a term that has no more is known whole. Of a term
//! that has more, those are read as well that have a rarer term of the question too: the index skips along both lists,
//! and what is old and shares two words with the question is found as what is new. How many have a frequent term is
//! reckoned from how far back its newest reach.

use rusqlite::{CachedStatement, Connection};
use tenure_store::recall::{COUNTED_MAX, Listed};

use crate::memory::{marked, numbers};
use crate::read::limit_of;

/// Episodes of a term that are read whatever else the question says; one that more have is frequent.
const LISTED_MAX: usize = 2_000;
/// Frequent terms, the rarest of them, that are looked for beside rarer ones: what is still more frequent tells little.
const FREQUENT_MAX: usize = 6;

/// How many episodes a space has, counted to [`COUNTED_MAX`].
pub(crate) fn counted(connection: &Connection, mark: &str) -> rusqlite::Result<u64> {
    let mut counted = connection.prepare_cached(include_str!("../sql/count_episodes.sql"))?;
    counted.query_row((mark, limit_of(COUNTED_MAX)), |row| row.get(0).map(i64::unsigned_abs))
}

/// The lists of the terms, in their order, of a space that has so many `episodes`.
pub(crate) fn listed(
    connection: &Connection,
    mark: &str,
    terms: &[String],
    episodes: u64,
) -> rusqlite::Result<Vec<Listed>> {
    let mut having = connection.prepare_cached(include_str!("../sql/episodes_with_term.sql"))?;
    let tokens: Vec<String> = terms.iter().map(|term| token(mark, term)).collect();
    let mut lists = Vec::with_capacity(tokens.len());
    for token in &tokens {
        lists.push(Listed::whole(numbers(&mut having, (token, limit_of(LISTED_MAX)))?));
    }
    if lists.iter().any(is_frequent) {
        let mut newest = connection.prepare_cached(include_str!("../sql/newest_episodes.sql"))?;
        let mut newest = numbers(&mut newest, (mark, limit_of(COUNTED_MAX)))?;
        newest.sort_unstable();
        for list in lists.iter_mut().filter(|list| is_frequent(list)) {
            list.having = reckoned(&list.newest, &newest, episodes);
        }
    }
    beside_rarer(&mut having, &tokens, &mut lists)?;
    Ok(lists)
}

/// The newest episodes that have any of the terms.
pub(crate) fn with_any(
    connection: &Connection,
    mark: &str,
    terms: &[String],
    limit: usize,
) -> rusqlite::Result<Vec<u64>> {
    let mut having = connection.prepare_cached(include_str!("../sql/episodes_with_term.sql"))?;
    let tokens: Vec<String> = terms.iter().map(|term| token(mark, term)).collect();
    numbers(&mut having, (tokens.join(" OR "), limit_of(limit)))
}

/// A term as one token in quotation marks: nothing in it is read as an operator.
fn token(mark: &str, term: &str) -> String {
    format!("\"{}\"", marked(mark, term).replace('"', "\"\""))
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
fn beside_rarer(
    having: &mut CachedStatement<'_>,
    tokens: &[String],
    lists: &mut [Listed],
) -> rusqlite::Result<()> {
    let mut by_rarity: Vec<usize> = (0..lists.len()).collect();
    by_rarity.sort_by_key(|term| lists[*term].having);
    let (mut frequent, rare): (Vec<usize>, Vec<usize>) =
        by_rarity.into_iter().partition(|term| is_frequent(&lists[*term]));
    frequent.truncate(FREQUENT_MAX);
    for (place, term) in frequent.iter().enumerate() {
        let list = &mut lists[*term].newest;
        for others in [&rare[..], &frequent[..place]].into_iter().filter(|others| !others.is_empty()) {
            let others: Vec<&str> = others.iter().map(|other| tokens[*other].as_str()).collect();
            let both = format!("{} AND ({})", tokens[*term], others.join(" OR "));
            list.extend(numbers(having, (both, limit_of(LISTED_MAX)))?);
        }
        list.sort_unstable_by(|one, other| other.cmp(one));
        list.dedup();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Episodes of the space `m`, and after each as many of another as `between` says.
    fn index(episodes: u64, between: u64, terms: &dyn Fn(u64) -> String) -> Connection {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(include_str!("../migrations/0004_memory.sql")).expect("a table");
        let row = "INSERT INTO episodes (project_id, session_id, ordinal, item_id, space, agent_id, at, speaker, text)
                   VALUES ('p', 's', ?1, 'i', ?2, 'a', ?3, 'user', '')";
        let mut number = 0_i64;
        let mut put = |space: &str, place: u64, terms: &str| {
            number += 1;
            // The later half tells of what was before the first.
            let at = (place as i64 + episodes as i64 / 2) % (episodes as i64 + 1);
            connection.execute(row, (number, space, at)).expect("a row");
            let terms: Vec<String> = terms.split(' ').map(|term| marked(space, term)).collect();
            let put = include_str!("../sql/put_episode_terms.sql");
            connection.execute(put, (number, terms.join(" "))).expect("its terms");
        };
        for place in 1..=episodes {
            put("m", place, &terms(place));
            (0..between).for_each(|_| put("n", place, "often"));
        }
        connection
    }

    #[test]
    fn what_is_old_and_shares_two_terms_is_found_as_what_is_new() {
        // `often` is in all, `second` in every second, `rare` in the first ten.
        let terms = |place: u64| {
            let second = if place.is_multiple_of(2) { " second" } else { "" };
            format!("often{second}{}", if place <= 10 { " rare" } else { "" })
        };
        for between in [0, 3] {
            let connection = index(5_000, between, &terms);
            let episodes = counted(&connection, "m").expect("a count");
            assert_eq!(episodes, 5_000);
            let terms = ["often", "second", "rare", "never"].map(str::to_owned);
            let lists = listed(&connection, "m", &terms, episodes).expect("lists");
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
