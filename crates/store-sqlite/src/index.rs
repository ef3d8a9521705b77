//! What the episodes of a space are found by: an index, and the terms of what was said too lately to be in it.
//!
//! A commit keeps the terms of what it remembers in the episodes' own rows. To index them there and then would write
//! more pages than all the rest of it, and take as long for two episodes as for fifty. So the writer indexes what waits
//! when enough of it does, after whoever waits for a commit has its answer. Until then a question is asked of the rows
//! too: it is answered as if everything were indexed, right after the commit and after a crash at any moment.

use std::cmp::Reverse;
use std::collections::HashMap;

use rusqlite::Connection;
use tenure_store::recall::COUNTED_MAX;

use crate::read::limit_of;

/// Indexes every episode that waits for it. Half of it would leave episodes that nothing finds: within a transaction.
pub(crate) fn fill(connection: &Connection) -> rusqlite::Result<()> {
    let mut unindexed = connection.prepare_cached(include_str!("../sql/unindexed_episodes.sql"))?;
    let unindexed = unindexed.query_map((), |row| row.try_into())?;
    let unindexed: Vec<(i64, String, String)> = unindexed.collect::<Result<_, _>>()?;
    let (Some((first, ..)), Some((last, ..))) = (unindexed.first(), unindexed.last()) else { return Ok(()) };
    let mut put = connection.prepare_cached(include_str!("../sql/put_episode_terms.sql"))?;
    for (number, mark, terms) in &unindexed {
        let terms: Vec<String> = terms.split_terminator(' ').map(|term| marked(mark, term)).collect();
        put.execute((number, terms.join(" ")))?;
    }
    connection.prepare_cached(include_str!("../sql/index_episodes.sql"))?.execute((first, last))?;
    Ok(())
}

/// A term as it is kept: behind the mark of its space, so that no other space's is ever met.
fn marked(mark: &str, term: &str) -> String {
    format!("{mark}·{term}")
}

/// A term as one token in quotation marks: nothing in it is read as an operator.
fn token(mark: &str, term: &str) -> String {
    format!("\"{}\"", marked(mark, term).replace('"', "\"\""))
}

/// What is asked of the terms of an episode.
pub(crate) struct Having<'t> {
    term: Option<&'t str>,
    any: Vec<&'t str>,
}

impl<'t> Having<'t> {
    pub(crate) fn term(term: &'t str) -> Self {
        Self { term: Some(term), any: Vec::new() }
    }

    pub(crate) fn any(terms: impl IntoIterator<Item = &'t str>) -> Self {
        Self { term: None, any: terms.into_iter().collect() }
    }

    /// The term, and any of others.
    pub(crate) fn beside(term: &'t str, others: impl IntoIterator<Item = &'t str>) -> Self {
        Self { term: Some(term), ..Self::any(others) }
    }

    /// As the index is asked.
    fn expression(&self, mark: &str) -> String {
        let any: Vec<String> = self.any.iter().map(|term| token(mark, term)).collect();
        let any = (!any.is_empty()).then(|| format!("({})", any.join(" OR ")));
        let both: Vec<String> = self.term.map(|term| token(mark, term)).into_iter().chain(any).collect();
        both.join(" AND ")
    }
}

/// The episodes of one space, as they are found by some terms.
pub(crate) struct Index<'c> {
    connection: &'c Connection,
    mark: &'c str,
    /// Times and numbers of those that are not in the index yet, newest first; each is newer than what is.
    unindexed: Vec<(i64, u64)>,
    /// Which of these have each term that is asked for, newest first.
    unindexed_having: HashMap<&'c str, Vec<u64>>,
}

impl<'c> Index<'c> {
    /// `asked` is every term that will be asked for: of what is not indexed, no others are looked at.
    pub(crate) fn of_space(
        connection: &'c Connection,
        mark: &'c str,
        asked: impl IntoIterator<Item = &'c str>,
    ) -> rusqlite::Result<Self> {
        let mut having: HashMap<&str, Vec<u64>> = asked.into_iter().map(|term| (term, Vec::new())).collect();
        let mut unindexed = Vec::new();
        let mut rows = connection.prepare_cached(include_str!("../sql/unindexed_episodes_of_space.sql"))?;
        let mut rows = rows.query((mark,))?;
        while let Some(row) = rows.next()? {
            let number = row.get::<_, i64>(0)?.unsigned_abs();
            unindexed.push((row.get(1)?, number));
            for term in row.get_ref(2)?.as_str()?.split_terminator(' ') {
                if let Some(having) = having.get_mut(term) {
                    having.push(number);
                }
            }
        }
        Ok(Self { connection, mark, unindexed, unindexed_having: having })
    }

    /// How many there are, counted to [`COUNTED_MAX`].
    pub(crate) fn count(&self) -> rusqlite::Result<u64> {
        let limit = COUNTED_MAX.saturating_sub(self.unindexed.len());
        let mut counted = self.connection.prepare_cached(include_str!("../sql/count_episodes.sql"))?;
        let indexed: i64 = counted.query_row((self.mark, limit_of(limit)), |row| row.get(0))?;
        Ok(indexed.unsigned_abs() + self.unindexed.len().min(COUNTED_MAX) as u64)
    }

    /// The newest that have what is asked for, newest first.
    pub(crate) fn having(&self, asked: &Having<'_>, limit: usize) -> rusqlite::Result<Vec<u64>> {
        let mut found = self.unindexed(asked);
        found.truncate(limit);
        let mut indexed = self.connection.prepare_cached(include_str!("../sql/episodes_with_term.sql"))?;
        let row = (asked.expression(self.mark), limit_of(limit - found.len()));
        for number in indexed.query_map(row, |row| row.get::<_, i64>(0))? {
            found.push(number?.unsigned_abs());
        }
        Ok(found)
    }

    /// Those that are not indexed and have what is asked for, newest first.
    fn unindexed(&self, asked: &Having<'_>) -> Vec<u64> {
        let having = |term: &str| self.unindexed_having.get(term).map_or_else(Vec::new, Vec::clone);
        let mut any: Vec<u64> = asked.any.iter().flat_map(|term| having(term)).collect();
        any.sort_unstable_by_key(|number| Reverse(*number));
        any.dedup();
        match asked.term {
            None => any,
            Some(term) if asked.any.is_empty() => having(term),
            Some(term) => {
                let mut both = having(term);
                both.retain(|number| any.binary_search_by(|other| number.cmp(other)).is_ok());
                both
            }
        }
    }

    /// Those of the latest time, latest first.
    pub(crate) fn latest(&self, limit: usize) -> rusqlite::Result<Vec<u64>> {
        let latest = include_str!("../sql/newest_episodes.sql");
        self.in_time(latest, (self.mark, limit_of(limit)), |_| true, limit)
    }

    /// Those of the latest time from one moment to before another, latest first.
    pub(crate) fn within(&self, from: i64, until: i64, limit: usize) -> rusqlite::Result<Vec<u64>> {
        let within = include_str!("../sql/episodes_within.sql");
        self.in_time(within, (self.mark, from, until, limit_of(limit)), |at| from <= at && at < until, limit)
    }

    fn in_time(
        &self,
        sql: &str,
        row: impl rusqlite::Params,
        is_asked: impl Fn(i64) -> bool,
        limit: usize,
    ) -> rusqlite::Result<Vec<u64>> {
        let mut indexed = self.connection.prepare_cached(sql)?;
        let indexed =
            indexed.query_map(row, |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        let mut found: Vec<(i64, u64)> = indexed.collect::<Result<_, _>>()?;
        found.extend(self.unindexed.iter().filter(|(at, _)| is_asked(*at)));
        found.sort_by_key(|place| Reverse(*place));
        found.truncate(limit);
        Ok(found.into_iter().map(|(_, number)| number).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tenure_store::{Store, conformance};

    use crate::SqliteStore;

    /// Whatever is indexed when it is asked for.
    #[tokio::test]
    async fn conforms_however_soon_it_indexes() {
        for unindexed_max in [1, 12] {
            let directories = Mutex::new(Vec::new());
            let open = async || {
                let directory = tempfile::tempdir().expect("a directory");
                let store = SqliteStore::open_indexing(directory.path(), unindexed_max).expect("opens");
                directories.lock().expect("not poisoned").push(directory);
                let store: Arc<dyn Store> = Arc::new(store);
                store
            };
            conformance::run(&open).await;
            for seed in 0..2 {
                conformance::random(&open, seed, 400).await;
            }
        }
    }
}
