//! Wall clocks and instants.

use std::str::FromStr;
use std::sync::LazyLock;

use jiff::ToSpan as _;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use tenure_journal::Timestamp;

use crate::cron::minute_from;
use crate::{Cron, ZoneError};

/// Zones that were read once are kept.
static BUNDLED: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
/// Characters of a zone's name; the longest of the database has thirty-two.
const NAME_CHARS_MAX: usize = 64;
/// Matches that one search looks at before it gives up: a day of minutes that the clock shows twice.
const TRIES_MAX: u32 = 2 * 24 * 60;

/// A time zone of the IANA database that is part of the binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        let unknown = || ZoneError { name: name.chars().filter(|c| !c.is_control()).take(64).collect() };
        if name.len() > NAME_CHARS_MAX {
            return Err(unknown());
        }
        BUNDLED.get(name).map(Self).map_err(|_| unknown())
    }
}

impl Zone {
    /// The instant at which a wall clock shows `reading`: the first of two, or the first one after a gap.
    fn instant(&self, reading: jiff::civil::DateTime) -> Option<jiff::Timestamp> {
        match self.0.to_ambiguous_timestamp(reading).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(reading).ok()
            }
            AmbiguousOffset::Gap { after, .. } => {
                // Read with the later offset, a time within the gap is an instant before it.
                let before = after.to_timestamp(reading).ok()?;
                self.0.following(before).next().map(|transition| transition.timestamp())
            }
        }
    }
}

/// An expression in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Periodic {
    cron: Cron,
    zone: Zone,
}

impl Periodic {
    /// The occurrences of `cron` in `zone`.
    #[must_use]
    pub fn new(cron: Cron, zone: Zone) -> Self {
        Self { cron, zone }
    }

    /// The first occurrence strictly after `moment`; `None` where the calendar ends.
    ///
    /// Later moments never have earlier occurrences, and walking from one to the next passes all of them.
    #[must_use]
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment = jiff::Timestamp::from_millisecond(moment.as_millis()).ok()?;
        // An instant's own reading is never later than the reading of the next occurrence: going forward in
        // readings goes forward in instants, except where readings repeat, and those are passed over here.
        let mut reading = minute_from(self.zone.0.to_datetime(moment))?;
        for _ in 0..TRIES_MAX {
            let found = self.cron.at_or_after(reading)?;
            let instant = self.zone.instant(found)?;
            if instant > moment {
                return Some(Timestamp::from_millis(instant.as_millisecond()));
            }
            reading = found.checked_add(1.minute()).ok()?;
        }
        None
    }

    /// The latest occurrence that is after `after` and not after `until`, if there is one.
    #[must_use]
    pub fn latest_within(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let mut latest = None;
        let mut moment = after;
        while let Some(next) = self.next_after(moment).filter(|next| *next <= until) {
            latest = Some(next);
            moment = next;
        }
        latest
    }
}
