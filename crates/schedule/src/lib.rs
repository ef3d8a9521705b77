//! When a schedule is due: cron expressions in time zones, as pure functions of a moment.
//!
//! ```text
//!   "30 9 * * MON-FRI"  ──parse──▶ Cron ─┐
//!   "Europe/Berlin"     ──parse──▶ Zone ─┴▶ Periodic ── next_after(t) ──▶ the next occurrence
//! ```
//!
//! An expression says what a wall clock shows; a time zone says when it shows that. Twice a year in many
//! places a wall clock skips some times and shows others twice. The rule here:
//!
//! - a local time that does not exist is due at the first instant after the gap;
//! - a local time that exists twice is due once, the first time;
//! - occurrences that meet at one instant are one occurrence.
//!
//! The time zone database is part of the binary, so that a schedule means the same on every node. What this
//! crate deliberately has not: a clock, seconds, years, and the extensions of single cron implementations
//! (`L`, `W`, `#`, `?`, `@daily`). An expression that needs them is refused with its place.

mod cron;
mod error;
mod zone;

pub use cron::Cron;
pub use error::{CronError, CronErrorKind, Field, ZoneError};
pub use zone::{Periodic, Zone};
