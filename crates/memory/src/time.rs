//! Time expressions: `last May`, `vor zwei Wochen`, `el 8 de mayo`, `上个月`, `before the move`.
//!
//! Days are days of UTC: a memory does not know where its user lives, and who is a few hours off ranks a little
//! lower and is not lost. What is read here is a cue for ranking and never a filter.

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use tenure_journal::Timestamp;
use unicode_normalization::UnicodeNormalization as _;

use crate::words::{
    AFTER, AGO_BEHIND, AGO_IN_FRONT, BEFORE, DAYS, FILLERS, HAN, IN, LAST, MONTHS, NUMBERS, SEASONS, THIS,
    UNITS, Unit, VERBS, WEEKDAYS, of,
};

/// A stretch of time, from its first moment to the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// Which side of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Earlier.
    Before,
    /// Later.
    After,
}

/// What a text says about time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// When.
    pub(crate) window: Option<Window>,
    /// Before or after what.
    pub(crate) anchor: Option<(Relation, String)>,
    /// The text without the words that say when.
    pub(crate) rest: String,
}

impl Window {
    /// Everything on one side of it.
    #[must_use]
    pub fn side(self, relation: Relation) -> Self {
        match relation {
            Relation::Before => Self { from: Timestamp::from_millis(i64::MIN), until: self.from },
            Relation::After => Self { from: self.until, until: Timestamp::from_millis(i64::MAX) },
        }
    }

    /// How near a moment is: 1 inside, less and less with the distance, as compared with the window's own length.
    #[must_use]
    pub fn nearness(&self, at: Timestamp) -> f32 {
        if (self.from..self.until).contains(&at) {
            return 1.0;
        }
        let distance = at.millis_until(self.from).max(self.until.millis_until(at)) as f32;
        let length = self.from.millis_until(self.until).clamp(LENGTH_MS_MIN, LENGTH_MS_MAX) as f32;
        0.5 * (-distance / length).exp()
    }
}

/// What a window's length is taken for at least and at most where nearness is measured: a day, a quarter.
const LENGTH_MS_MIN: u64 = DAY_MS;
const LENGTH_MS_MAX: u64 = 92 * DAY_MS;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Lower case, without accents and punctuation, words parted by single spaces.
pub(crate) fn folded(text: &str) -> String {
    let parted = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    let spaced: String = if text.is_ascii() {
        text.chars().map(|c| parted(c.to_ascii_lowercase())).collect()
    } else {
        let bare = text.nfkd().filter(|c| !('\u{300}'..='\u{36f}').contains(c)).nfc();
        bare.flat_map(char::to_lowercase).map(parted).collect()
    };
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads what `text` says about time, at `now`.
pub(crate) fn find(text: &str, now: Timestamp) -> Found {
    let today = date_of(now);
    let folded = folded(text);
    let words: Vec<&str> = folded.split(' ').filter(|word| !word.is_empty()).collect();
    let Some(today) = today else { return Found { rest: text.to_owned(), ..Found::default() } };
    for start in 0..words.len() {
        let behind = start.checked_sub(1).map(|before| words[before]);
        if let Some((length, days)) = phrase(behind, &words[start..], today) {
            return placed(&words, start, length, days);
        }
    }
    if let Some((said, days)) = han(&folded, today) {
        return Found { window: window(days), anchor: None, rest: folded.replace(&said, " ") };
    }
    let anchor = anchor(&words);
    Found { window: None, anchor, rest: text.to_owned() }
}

/// Whether a text says when something happens, in any of the ways that are known here.
pub(crate) fn mentions(text: &str, now: Timestamp) -> bool {
    let found = find(text, now);
    found.window.is_some()
}

/// Days from the first to the one after the last.
type Days = (Date, Date);

fn placed(words: &[&str], start: usize, length: usize, days: Days) -> Found {
    let before = words[..start].iter().rev().find(|word| !FILLERS.contains(word));
    let relation = before.and_then(|word| relation(word));
    let whole = window(days);
    let window = match relation {
        Some(relation) => whole.map(|whole| whole.side(relation)),
        None => whole,
    };
    let rest: Vec<&str> = words[..start].iter().chain(&words[start + length..]).copied().collect();
    Found { window, anchor: None, rest: rest.join(" ") }
}

fn relation(word: &str) -> Option<Relation> {
    if BEFORE.contains(&word) {
        Some(Relation::Before)
    } else if AFTER.contains(&word) {
        Some(Relation::After)
    } else {
        None
    }
}

/// `before the move`: what stands behind the word, if anything does.
fn anchor(words: &[&str]) -> Option<(Relation, String)> {
    let place = words.iter().skip(1).position(|word| relation(word).is_some())? + 1;
    let what = words[place + 1..].join(" ");
    let relation = relation(words[place])?;
    (!what.is_empty()).then_some((relation, what))
}

/// A time expression at the beginning of `words`, which follow `behind`, with how many of them it takes.
fn phrase(behind: Option<&str>, words: &[&str], today: Date) -> Option<(usize, Days)> {
    let word = |index: usize| words.get(index).copied();
    let first = word(0)?;
    if let Some(days) = of(DAYS, first) {
        return Some((1, day(today.checked_add(i64::from(*days).days()).ok()?)?));
    }
    if let Some(found) = numeric(words) {
        return Some(found);
    }
    if AGO_IN_FRONT.contains(&first) {
        let (count, unit) = (number(word(1)?)?, *of(UNITS, word(2)?)?);
        return Some((3, unit.ago(today, count)?));
    }
    if let (Some(count), Some(unit)) = (number(first), word(1).and_then(|word| of(UNITS, word)))
        && word(2).is_some_and(|word| AGO_BEHIND.contains(&word))
    {
        return Some((3, unit.ago(today, count)?));
    }
    if let Some(unit) = of(UNITS, first) {
        return word(1).filter(|word| LAST.contains(word)).and_then(|_| Some((2, unit.ago(today, 1)?)));
    }
    if LAST.contains(&first) {
        return Some((2, last(word(1)?, today)?));
    }
    if THIS.contains(&first) {
        return Some((2, of(UNITS, word(1)?)?.ago(today, 0)?));
    }
    if let Some(weekday) = of(WEEKDAYS, first) {
        return Some((1, day(latest(today, *weekday)?)?));
    }
    let (length, days) = dated(words, today)?;
    let is_verb = length == 1 && VERBS.contains(&first) && !behind.is_some_and(|word| IN.contains(&word));
    (!is_verb).then_some((length, days))
}

/// `2023-05-08`, folded to three numbers, or a year.
fn numeric(words: &[&str]) -> Option<(usize, Days)> {
    let year = year(words.first()?)?;
    let two = |index: usize| words.get(index).filter(|w| w.len() == 2).and_then(|w| w.parse::<i8>().ok());
    if let (Some(month), Some(date)) = (two(1), two(2)) {
        return Some((3, day(Date::new(year, month, date).ok()?)?));
    }
    Some((1, years(year)?))
}

/// A month, with a day before or behind it and a year behind that, as far as they are said.
fn dated(words: &[&str], today: Date) -> Option<(usize, Days)> {
    let at = |index: usize| words.get(index).copied();
    let date_at = |index: usize| at(index).and_then(day_of_month);
    let skipped = |index: usize| index + usize::from(at(index).is_some_and(|word| FILLERS.contains(&word)));
    let (mut end, mut date) = (0, None);
    if let Some(found) = date_at(0) {
        date = Some(found);
        end = skipped(1);
    }
    let month = *of(MONTHS, at(end)?)?;
    end += 1;
    if date.is_none() && date_at(end).is_some() {
        date = date_at(end);
        end += 1;
    }
    let behind = skipped(end);
    let year = match at(behind).and_then(year) {
        Some(year) => {
            end = behind + 1;
            year
        }
        // The latest one that is not in the future.
        None if month > today.month() => today.year() - 1,
        None => today.year(),
    };
    let days = match date {
        Some(date) => day(Date::new(year, month, date).ok()?)?,
        None => month_of(Date::new(year, month, 1).ok()?)?,
    };
    Some((end, days))
}

fn last(word: &str, today: Date) -> Option<Days> {
    if let Some(unit) = of(UNITS, word) {
        return unit.ago(today, 1);
    }
    if let Some(month) = of(MONTHS, word) {
        let year = if *month >= today.month() { today.year() - 1 } else { today.year() };
        return month_of(Date::new(year, *month, 1).ok()?);
    }
    if let Some(weekday) = of(WEEKDAYS, word) {
        return day(latest(today, *weekday)?);
    }
    let first = of(SEASONS, word)?;
    let year = if *first + 2 >= today.month() { today.year() - 1 } else { today.year() };
    let begin = Date::new(year, *first, 1).ok()?;
    Some((begin, begin.checked_add(3.months()).ok()?))
}

/// The latest such day before today.
fn latest(today: Date, weekday: Weekday) -> Option<Date> {
    today.nth_weekday(-1, weekday).ok()
}

/// Expressions of Chinese and Japanese, whose words are not parted.
fn han(text: &str, today: Date) -> Option<(String, Days)> {
    for (said, unit, count) in HAN {
        if text.contains(said) {
            return Some(((*said).to_owned(), unit.ago(today, *count)?));
        }
    }
    let letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let place = letters.iter().position(|c| matches!(c, '年' | '月'))?;
    let digits = |end: usize| -> (usize, Option<i16>) {
        let begin = letters[..end].iter().rposition(|c| !c.is_ascii_digit()).map_or(0, |last| last + 1);
        (begin, letters[begin..end].iter().collect::<String>().parse().ok())
    };
    let (begin, number) = digits(place);
    let number = number?;
    if letters[place] == '月' {
        let month = i8::try_from(number).ok()?;
        let year = if month > today.month() { today.year() - 1 } else { today.year() };
        return han_month(&letters, begin, place, year, month);
    }
    if letters.get(place + 1) == Some(&'前') {
        let said: String = letters[begin..place + 2].iter().collect();
        return Some((said, Unit::Year.ago(today, i64::from(number))?));
    }
    let month_place = letters[place..].iter().position(|c| *c == '月').map(|offset| place + offset);
    if let Some(month_place) = month_place.filter(|at| (place + 2..=place + 3).contains(at)) {
        let month = i8::try_from(digits(month_place).1?).ok()?;
        return han_month(&letters, begin, month_place, number, month);
    }
    let said: String = letters[begin..=place].iter().collect();
    Some((said, years(number)?))
}

fn han_month(letters: &[char], begin: usize, place: usize, year: i16, month: i8) -> Option<(String, Days)> {
    let date: String = letters[place + 1..].iter().take_while(|c| c.is_ascii_digit()).collect();
    let end = place + 1 + date.chars().count();
    let is_date = matches!(letters.get(end), Some('日' | '号'));
    if let Some(date) = date.parse().ok().filter(|_| is_date) {
        let said = letters[begin..=end].iter().collect();
        return Some((said, day(Date::new(year, month, date).ok()?)?));
    }
    let said = letters[begin..=place].iter().collect();
    Some((said, month_of(Date::new(year, month, 1).ok()?)?))
}

fn number(word: &str) -> Option<i64> {
    of(NUMBERS, word).copied().or_else(|| word.parse().ok()).filter(|count| (0..=1_000).contains(count))
}

fn day_of_month(word: &str) -> Option<i8> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}

fn year(word: &str) -> Option<i16> {
    let is_four_digits = word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|year| is_four_digits && (1900..2100).contains(year))
}

impl Unit {
    /// The unit that lies so many before that of `today`.
    pub(crate) fn ago(self, today: Date, count: i64) -> Option<Days> {
        match self {
            Self::Day => day(today.checked_sub(count.days()).ok()?),
            Self::Week => {
                let within = today.checked_sub((count * 7).days()).ok()?;
                let monday =
                    within.checked_sub(i64::from(within.weekday().to_monday_zero_offset()).days()).ok()?;
                Some((monday, monday.checked_add(7.days()).ok()?))
            }
            Self::Month => {
                let first = today.first_of_month().checked_sub(count.months()).ok()?;
                month_of(first)
            }
            Self::Year => years(today.year().checked_sub(i16::try_from(count).ok()?)?),
        }
    }
}

fn day(date: Date) -> Option<Days> {
    Some((date, date.checked_add(1.days()).ok()?))
}

fn month_of(first: Date) -> Option<Days> {
    Some((first, first.checked_add(1.months()).ok()?))
}

fn years(year: i16) -> Option<Days> {
    let first = Date::new(year, 1, 1).ok()?;
    Some((first, first.checked_add(1.years()).ok()?))
}

fn window((first, end): Days) -> Option<Window> {
    let moment = |date: Date| {
        let zoned = date.to_zoned(TimeZone::UTC).ok()?;
        Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
    };
    Some(Window { from: moment(first)?, until: moment(end)? })
}

/// A moment as RFC 3339 writes it, in UTC, to the second.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs())
        .map_or_else(|_| "unknown".to_owned(), |moment| moment.to_string())
}

/// The moment that a text names: a date, which is the beginning of that day in UTC, or a moment with its offset.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_millis(moment.as_millisecond()));
    }
    let date = text.parse::<Date>().ok().filter(|_| text.len() == "2030-01-31".len())?;
    let zoned = date.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

pub(crate) fn date_of(at: Timestamp) -> Option<Date> {
    let moment = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).date())
}
