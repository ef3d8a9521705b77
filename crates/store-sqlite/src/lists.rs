//! Which episodes of a space have the terms of a question: of rare terms all of them, of frequent ones what matters.
//!
//! A question is rarely about its most frequent word, and reading a million entries to learn so takes longer than
//! anything else. So of each term the newest [`LISTED_MAX`] are read; a term that has no more is known whole. Of a term
//! that has more, those are read as well that have a rarer term of the question too: the index skips along both lists,
//! and what is old and shares two words with the question is found as what is new. How many have a frequent term is
//! reckoned from how far back its newest reach.

use rusqlite::{CachedStatement, Connection};
use tenure_store::recall::Listed;

use crate::memory::{marked, numbers};
use crate::read::limit_of;

/// Episodes of a term that are read whatever else the question says; one that more have is frequent.
const LISTED_MAX: usize = 2_000;
/// Frequent terms, the rarest of them, that are looked for beside rarer ones: what is still more frequent tells little.
const FREQUENT_MAX: usize = 6;
/// Episodes of a space that are counted one by one.
const COUNTED_MAX: usize = 4_000;

/// How many episodes a space has, and the numbers between which they lie.
pub(crate) struct Extent {
    pub(crate) episodes: u64,
    newest: u64,
    oldest: u64,
}

impl Extent {
    /// Counts to [`COUNTED_MAX`]; of a larger space it is reckoned from how far back so many reach.
    pub(crate) fn of(connection: &Connection, mark: &str) -> rusqlite::Result<Self> {
        let mut counted = connection.prepare_cached(include_str!("../sql/count_episodes.sql"))?;
        let number = |row: &rusqlite::Row<'_>, place| {
            Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(place)?.unwrap_or(0).unsigned_abs())
        };
        let (episodes, newest, reached) = counted.query_row((mark, limit_of(COUNTED_MAX)), |row| {
            Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?))
        })?;
        if episodes < COUNTED_MAX as u64 {
            return Ok(Self { episodes, newest, oldest: reached });
        }
        let mut first = connection.prepare_cached(include_str!("../sql/oldest_episode.sql"))?;
        let oldest = first.query_row((mark,), |row| number(row, 0))?.min(reached);
        let episodes = reckoned(episodes, newest, reached, oldest);
        Ok(Self { episodes, newest, oldest })
    }
}

/// The lists of the terms, in their order.
pub(crate) fn listed(
    connection: &Connection,
    mark: &str,
    terms: &[String],
    extent: &Extent,
) -> rusqlite::Result<Vec<Listed>> {
    let mut having = connection.prepare_cached(include_str!("../sql/episodes_with_term.sql"))?;
    let tokens: Vec<String> = terms.iter().map(|term| token(mark, term)).collect();
    let mut lists = Vec::with_capacity(tokens.len());
    for token in &tokens {
        let newest = numbers(&mut having, (token, limit_of(LISTED_MAX)))?;
        lists.push(Listed { having: extent.having(&newest), newest });
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

impl Extent {
    fn having(&self, newest: &[u64]) -> u64 {
        let count = newest.len() as u64;
        match (newest.first(), newest.last()) {
            (Some(first), Some(last)) if newest.len() == LISTED_MAX => {
                reckoned(count, (*first).max(self.newest), *last, self.oldest).min(self.episodes)
            }
            (Some(_) | None, _) => count,
        }
    }
}

/// How many there are from `newest` to `oldest` if `count` of them reach back to `reached`.
fn reckoned(count: u64, newest: u64, reached: u64, oldest: u64) -> u64 {
    let looked_at = newest.saturating_sub(reached) as f64 + 1.0;
    let all = newest.saturating_sub(oldest) as f64 + 1.0;
    ((count as f64 * all / looked_at) as u64).max(count)
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
        by_rarity.into_iter().partition(|term| lists[*term].newest.len() == LISTED_MAX);
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

    fn index(episodes: u64, terms: &dyn Fn(u64) -> String) -> Connection {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(include_str!("../migrations/0004_memory.sql")).expect("a table");
        let row = "INSERT INTO episodes (project_id, session_id, ordinal, item_id, space, agent_id, at, speaker, text)
                   VALUES ('p', 's', ?1, 'i', 'm', 'a', ?1, 'user', '')";
        for number in 1..=episodes {
            connection.execute(row, (number as i64,)).expect("a row");
            let terms: Vec<String> = terms(number).split(' ').map(|term| marked("m", term)).collect();
            let put = include_str!("../sql/put_episode_terms.sql");
            connection.execute(put, (number as i64, terms.join(" "))).expect("its terms");
        }
        connection
    }

    #[test]
    fn what_is_old_and_shares_two_terms_is_found_as_what_is_new() {
        // `often` is in all, `second` in every second, `rare` in the first ten.
        let terms = |number: u64| {
            let second = if number.is_multiple_of(2) { " second" } else { "" };
            format!("often{second}{}", if number <= 10 { " rare" } else { "" })
        };
        let connection = index(5_000, &terms);
        let extent = Extent::of(&connection, "m").expect("an extent");
        assert_eq!(extent.episodes, 5_000);
        let terms = ["often", "second", "rare", "never"].map(str::to_owned);
        let lists = listed(&connection, "m", &terms, &extent).expect("lists");
        let lengths: Vec<(u64, usize)> = lists.iter().map(|list| (list.having, list.newest.len())).collect();
        // `often` has the newest, as many of `second`, and what is rare, however old; ...
        assert_eq!(lengths[0], (5_000, 2_000 + 1_000 + 10), "{lengths:?}");
        assert_eq!((lengths[2], lengths[3]), ((10, 10), (0, 0)));
        // ... and of every second one it is known about how many there are.
        assert!((2_490..=2_510).contains(&lengths[1].0), "{lengths:?}");
        assert_eq!(lengths[1].1, 2_005, "the five that are rare are there, however old");
        let old = |list: &Listed| list.newest.iter().filter(|number| **number <= 10).count();
        assert_eq!(old(&lists[1]), 5);
        assert!(lists.iter().all(|list| list.newest.is_sorted_by(|one, next| one > next)));
    }

    #[test]
    fn counts_are_reckoned_from_how_far_they_reach() {
        for (count, newest, reached, oldest, expected) in [
            (20_000, 100_000, 80_001, 1, 100_000),
            (10, 10, 1, 1, 10),
            (5, 5, 5, 5, 5),
            (100, 300, 101, 201, 100),
        ] {
            assert_eq!(reckoned(count, newest, reached, oldest), expected);
        }
    }
}
