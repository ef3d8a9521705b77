//! Five-field cron expressions: reading them, and which wall-clock minutes they match.

use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime, Time};

use crate::{CronError, CronErrorKind, Field};

/// Characters of an expression: room for every value of every field, listed.
const CHARS_MAX: usize = 512;
/// Days that are looked through for the next match. The rarest match, the 29th of February on one weekday,
/// comes after at most forty years: a century that is no leap year doubles the usual twenty-eight, less some.
const DAYS_MAX: u32 = 41 * 366;

/// An expression: the wall-clock minutes it matches.
///
/// `minute hour day-of-month month day-of-week`, separated by blanks. Each field is a list of `*`, a value, or
/// a range `a-b`; `*` and ranges take a step `/n`. Months and weekdays have their English three-letter names,
/// in any case; Sunday is 0 and 7.
///
/// **Days.** If neither day field begins with `*`, a date matches that either of them matches; otherwise a date
/// has to match both. So `0 0 13 * 5` is every 13th and every Friday, and `0 0 13 * *` every 13th.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

impl Cron {
    /// The first wall-clock minute at or after `from` that matches; seconds of `from` are rounded up by the
    /// caller. `None` where the calendar ends.
    pub(crate) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        if let Some(time) = self.time_from(from.time()).filter(|_| self.has_date(from.date())) {
            return Some(from.date().to_datetime(time));
        }
        let first = self.time_from(Time::midnight())?;
        let mut date = from.date();
        for _ in 0..DAYS_MAX {
            date = date.tomorrow().ok()?;
            if !has(self.months, date.month()) {
                // On to the month's last day, from which the next step leads out.
                date = date.last_of_month();
            } else if self.has_date(date) {
                return Some(date.to_datetime(first));
            }
        }
        None
    }

    fn has_date(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    /// The first matching time of day at or after `from`.
    fn time_from(&self, from: Time) -> Option<Time> {
        let (hour, minute) = (from.hour(), from.minute());
        if has(self.hours, hour)
            && let Some(minute) = first(self.minutes, minute)
        {
            return Time::new(hour, minute, 0, 0).ok();
        }
        Time::new(first(self.hours, hour + 1)?, first(self.minutes, 0)?, 0, 0).ok()
    }
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).ok().and_then(|value| set.checked_shr(value)).is_some_and(|rest| rest & 1 == 1)
}

/// The smallest member that is at least `from`.
fn first(set: u64, from: i8) -> Option<i8> {
    let from = u32::try_from(from).ok()?;
    let rest = set.checked_shr(from)?;
    if rest == 0 { None } else { i8::try_from(from + rest.trailing_zeros()).ok() }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let whole = |at: usize, kind| CronError { at, field: None, kind };
        let length = text.chars().count();
        if length > CHARS_MAX {
            return Err(whole(CHARS_MAX + 1, CronErrorKind::TooLong(CHARS_MAX)));
        }
        let words = words(text);
        if let Some((at, _)) = words.first().filter(|(_, word)| word.starts_with('@')) {
            return Err(whole(*at, CronErrorKind::Nickname));
        }
        if words.len() != Field::ALL.len() {
            let at = words.get(Field::ALL.len()).map_or(length + 1, |(at, _)| *at);
            return Err(whole(at, CronErrorKind::Fields(words.len())));
        }
        let mut sets = [0; 5];
        for ((set, field), (at, word)) in sets.iter_mut().zip(Field::ALL).zip(&words) {
            *set = read_field(field, *at, word)?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let is_bound = |index: usize| !words[index].1.starts_with('*');
        let cron = Self {
            minutes,
            hours,
            days,
            months,
            // Sunday's other number.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: is_bound(2) && is_bound(4),
        };
        // Any year will do to see whether one exists at all.
        match cron.at_or_after(jiff::civil::date(2000, 1, 1).to_datetime(Time::midnight())) {
            Some(_) => Ok(cron),
            None => {
                let kind = CronErrorKind::Never;
                Err(CronError { at: words[2].0, field: Some(Field::DayOfMonth), kind })
            }
        }
    }
}

/// Words between blanks, each with the character it begins at, counted from 1.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (at, c) in (1..).zip(text.chars()) {
        let blank = c == ' ' || c == '\t';
        match words.last_mut().filter(|_| inside) {
            Some((_, word)) if !blank => word.push(c),
            None if !blank => words.push((at, c.to_string())),
            Some(_) | None => {}
        }
        inside = !blank;
    }
    words
}

fn read_field(field: Field, at: usize, word: &str) -> Result<u64, CronError> {
    let mut set = 0;
    let mut begin = at;
    for item in word.split(',') {
        set |= read_item(field, begin, item)?;
        begin += item.chars().count() + 1;
    }
    Ok(set)
}

/// One item of a list: `*`, a value or a range, perhaps with a step.
fn read_item(field: Field, at: usize, item: &str) -> Result<u64, CronError> {
    let wrong = |at, kind| Err(CronError { at, field: Some(field), kind });
    let (range, step) = match item.split_once('/') {
        None => (item, None),
        Some((range, step)) => (range, Some((at + range.chars().count() + 1, step))),
    };
    let (min, max) = field.bounds();
    let (from, to, is_one) = if range == "*" {
        // Both of Sunday's numbers would count Sunday twice when stepping.
        (min, if field == Field::DayOfWeek { 6 } else { max }, false)
    } else if let Some((low, high)) = range.split_once('-') {
        let from = read_value(field, at, low)?;
        let to = read_value(field, at + low.chars().count() + 1, high)?;
        let is_sunday = field == Field::DayOfWeek && high.eq_ignore_ascii_case("SUN") && from > 0;
        let to = if is_sunday { 7 } else { to };
        if to < from {
            return wrong(at, CronErrorKind::Descending);
        }
        (from, to, false)
    } else {
        let value = read_value(field, at, range)?;
        (value, value, true)
    };
    let step = match step {
        None => 1,
        Some((at, _)) if is_one => return wrong(at - 1, CronErrorKind::StepOfOne),
        Some((at, "")) => return wrong(at, CronErrorKind::Missing),
        Some((at, text)) => match number(text) {
            None => return wrong(at, CronErrorKind::Word(shortened(text))),
            Some(step) if (1..=u32::from(max)).contains(&step) => step,
            Some(_) => return wrong(at, CronErrorKind::Step(shortened(text))),
        },
    };
    let values = (u32::from(from)..=u32::from(to)).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    Ok(values.fold(0, |set, value| set | 1 << value))
}

fn read_value(field: Field, at: usize, text: &str) -> Result<u8, CronError> {
    let wrong = |kind| CronError { at, field: Some(field), kind };
    if text.is_empty() {
        return Err(wrong(CronErrorKind::Missing));
    }
    let names = (field.names_from()..).zip(field.names());
    if let Some((value, _)) = names.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
        return Ok(value);
    }
    let (min, max) = field.bounds();
    match number(text) {
        None => Err(wrong(CronErrorKind::Word(shortened(text)))),
        Some(value) => u8::try_from(value)
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| wrong(CronErrorKind::Range(shortened(text)))),
    }
}

/// A number of digits alone; one that is too large for any field is as good as another.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(16).collect()
}

/// The minute that begins at or after `reading`.
pub(crate) fn minute_from(reading: DateTime) -> Option<DateTime> {
    let whole = reading.date().to_datetime(Time::new(reading.hour(), reading.minute(), 0, 0).ok()?);
    if whole == reading { Some(whole) } else { whole.checked_add(1.minute()).ok() }
}
