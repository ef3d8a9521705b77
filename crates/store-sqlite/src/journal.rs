//! Reading journals. Events of all sessions lie in the order in which they were committed, and each row
//! links to the one before it in its session, so a journal is read from its end backwards. A link that does
//! not lead to the event it should is damage and never the end of a journal.

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row};
use tenure_journal::{Recorded, SessionKey, Timestamp, Version};
use tenure_store::{StoreError, StoreErrorKind};

use crate::read::{Read, bytes, damaged, version};
use crate::write::{int, key_text};

/// Up to `limit` events after `after`, in order. Costs what it returns, and less than 64 links more where
/// that does not reach the journal's end.
pub(crate) fn events(
    connection: &Connection,
    key: SessionKey,
    after: Version,
    limit: usize,
) -> Read<Vec<Recorded>> {
    let journal = Journal::new(connection, key);
    let Some(end) = journal.end()? else { return Ok(Vec::new()) };
    let last = end.version.min(Version(after.0.saturating_add(limit as u64)));
    let mut place = if last < end.version { journal.mark(last, end.version)?.unwrap_or(end) } else { end };
    let mut links = connection.prepare_cached(include_str!("../sql/event_previous.sql"))?;
    while place.version > last {
        place = journal.follow(&mut links, place, |row| Ok((row.get(0)?, ())))?.0;
    }
    let mut statement = connection.prepare_cached(include_str!("../sql/event.sql"))?;
    let mut events = Vec::new();
    while place.version > after {
        let (previous, recorded) =
            journal.follow(&mut statement, place, |row| Ok((row.get(3)?, event(row, key, 0)?)))?;
        events.push(recorded);
        place = previous;
    }
    events.reverse();
    Ok(events)
}

/// The event in the columns from `first` on: version, time, bytes.
pub(crate) fn event(row: &Row<'_>, key: SessionKey, first: usize) -> Read<Recorded> {
    let at = Timestamp::from_millis(row.get(first + 1)?);
    let version = version(row, first)?;
    Recorded::decode(version, at, bytes(row, first + 2)?).map_err(|error| {
        let context = format!("reading event {} of session `{}`", version.0, key.session);
        StoreError::new(StoreErrorKind::Corrupt, context).with_source(error).into()
    })
}

/// Where an event should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) version: Version,
    /// Its row. Absent before the first event.
    pub(crate) position: Option<i64>,
}

/// Where a session's journal ends, and who holds the session.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) place: Place,
    pub(crate) holder: Option<String>,
}

impl End {
    /// `None` for a session that does not exist. `statement` is `journal_end.sql`.
    pub(crate) fn read(
        statement: &mut CachedStatement<'_>,
        project: &str,
        session: &str,
    ) -> rusqlite::Result<Option<Self>> {
        let read = |row: &Row<'_>| Ok(Self { place: place_of(row)?, holder: row.get(2)? });
        statement.query_row((project, session), read).optional()
    }
}

/// One session's journal.
struct Journal<'a> {
    connection: &'a Connection,
    project: String,
    session: String,
}

impl<'a> Journal<'a> {
    fn new(connection: &'a Connection, key: SessionKey) -> Self {
        let (project, session) = key_text(key);
        Self { connection, project, session }
    }

    /// Where its last event is, or `None` for a session that does not exist.
    fn end(&self) -> Read<Option<Place>> {
        let mut statement = self.connection.prepare_cached(include_str!("../sql/journal_end.sql"))?;
        Ok(End::read(&mut statement, &self.project, &self.session)?.map(|end| end.place))
    }

    /// Where the first indexed event from version `from` to `to` is, if there is one.
    fn mark(&self, from: Version, to: Version) -> Read<Option<Place>> {
        let mut statement = self.connection.prepare_cached(include_str!("../sql/journal_mark.sql"))?;
        let row = (&self.project, &self.session, int(from.0), int(to.0));
        Ok(statement.query_row(row, place_of).optional()?)
    }

    /// What `read` makes of the event at `place`, and the place before it, whose position it also reads.
    fn follow<T>(
        &self,
        statement: &mut CachedStatement<'_>,
        place: Place,
        read: impl FnOnce(&Row<'_>) -> Read<(Option<i64>, T)>,
    ) -> Read<(Place, T)> {
        let version = place.version.0;
        let mut rows = statement.query((place.position, &self.project, &self.session, int(version)))?;
        let Some(row) = rows.next()? else {
            return Err(damaged(format!("finding event {version} of session `{}`", self.session)).into());
        };
        let (position, value) = read(row)?;
        Ok((Place { version: Version(version.saturating_sub(1)), position }, value))
    }
}

/// The place in the first columns: version, position.
fn place_of(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place { version: version(row, 0)?, position: row.get(1)? })
}
