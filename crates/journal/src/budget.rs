//! Budgets: for whom, for how long, and of what.
//!
//! What an attempt at a model call may use is set aside in every budget that holds for it, in the transaction that
//! records the attempt, and settled in the transaction that records its end. A budget is named by whose it is and by
//! the time it holds for, so that a new day or month begins a new one by itself and the one before stays as it was.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AgentId, SessionId, Timestamp};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Billionths of a US dollar, where the model's price is known.
    Money,
    /// Tokens read and written, cached and thinking ones included.
    Tokens,
    /// Attempts at model calls on which a provider worked, or may have.
    Calls,
    /// Milliseconds from the record of an attempt at a model call to the record of its end.
    Time,
}

impl Measure {
    /// Every one, in the order in which a refusal looks for one that does not fit.
    pub const ALL: [Self; 4] = [Self::Money, Self::Tokens, Self::Calls, Self::Time];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Tokens => "tokens",
            Self::Calls => "calls",
            Self::Time => "time",
        }
    }
}

/// How much of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// Money, in billionths of a US dollar.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nano_usd: u64,
    /// Tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens: u64,
    /// Model calls.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls: u64,
    /// Time, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub millis: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(amount: &u64) -> bool {
    *amount == 0
}

impl Amounts {
    /// How much of one.
    #[must_use]
    pub fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Money => self.nano_usd,
            Measure::Tokens => self.tokens,
            Measure::Calls => self.calls,
            Measure::Time => self.millis,
        }
    }

    /// Both together, each at most as much as can be counted.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
            tokens: self.tokens.saturating_add(other.tokens),
            calls: self.calls.saturating_add(other.calls),
            millis: self.millis.saturating_add(other.millis),
        }
    }

    /// What is left without the other, at least nothing.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_sub(other.nano_usd),
            tokens: self.tokens.saturating_sub(other.tokens),
            calls: self.calls.saturating_sub(other.calls),
            millis: self.millis.saturating_sub(other.millis),
        }
    }
}

/// The most there may be of each; what is absent is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Money, in billionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nano_usd: Option<u64>,
    /// Tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Time, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
}

impl Caps {
    /// Nothing is limited.
    pub const NONE: Self = Self { nano_usd: None, tokens: None, calls: None, millis: None };

    /// The most there may be of one.
    #[must_use]
    pub fn of(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Money => self.nano_usd,
            Measure::Tokens => self.tokens,
            Measure::Calls => self.calls,
            Measure::Time => self.millis,
        }
    }

    /// The same with another limit of one.
    #[must_use]
    pub fn with(mut self, measure: Measure, cap: Option<u64>) -> Self {
        let field = match measure {
            Measure::Money => &mut self.nano_usd,
            Measure::Tokens => &mut self.tokens,
            Measure::Calls => &mut self.calls,
            Measure::Time => &mut self.millis,
        };
        *field = cap;
        self
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let least = |ours: Option<u64>, theirs: Option<u64>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (one, other) => one.or(other),
        };
        Measure::ALL
            .into_iter()
            .fold(Self::NONE, |caps, measure| caps.with(measure, least(self.of(measure), other.of(measure))))
    }

    /// The first of which there is more than may be.
    #[must_use]
    pub fn exceeded_by(&self, amounts: &Amounts) -> Option<Measure> {
        let is_exceeded = |measure: &Measure| self.of(*measure).is_some_and(|cap| amounts.of(*measure) > cap);
        Measure::ALL.into_iter().find(is_exceeded)
    }
}

/// How long a budget holds before another begins, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A day, from midnight.
    Day,
    /// A calendar month.
    Month,
    /// For ever.
    Total,
}

impl Period {
    /// Every one, the shortest first.
    pub const ALL: [Self; 3] = [Self::Day, Self::Month, Self::Total];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// The period of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == word)
    }
}

/// Whose a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BudgetScope {
    /// A session's and its subagents', by the session at the root of their tree.
    Session(SessionId),
    /// An agent's, in all its sessions.
    Agent(AgentId),
    /// Everything in the project.
    Project,
}

/// A budget: whose it is, and the time it holds for.
///
/// ```text
///   project/total
///   project/month/2026-11
///   agent/agt_…/day/2026-11-26
///   session/sess_…/total
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetId {
    scope: BudgetScope,
    period: Period,
    /// When the period began; the epoch for one that holds for ever.
    begins: Timestamp,
}

impl BudgetId {
    /// The budget that holds at a moment.
    #[must_use]
    pub fn at(scope: BudgetScope, period: Period, at: Timestamp) -> Self {
        let day = at.as_millis().div_euclid(DAY_MS);
        let begins = match period {
            Period::Day => day,
            Period::Month => {
                let (year, month, _) = civil(day);
                days_before(year, month, 1)
            }
            Period::Total => 0,
        };
        Self { scope, period, begins: Timestamp::from_millis(begins.saturating_mul(DAY_MS)) }
    }

    /// Whose it is.
    #[must_use]
    pub fn scope(&self) -> BudgetScope {
        self.scope
    }

    /// How long it holds.
    #[must_use]
    pub fn period(&self) -> Period {
        self.period
    }

    /// When the next one begins; absent for one that holds for ever.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        let day = self.begins.as_millis().div_euclid(DAY_MS);
        let next = match self.period {
            Period::Day => day + 1,
            Period::Month => match civil(day) {
                (year, 12, _) => days_before(year + 1, 1, 1),
                (year, month, _) => days_before(year, month + 1, 1),
            },
            Period::Total => return None,
        };
        Some(Timestamp::from_millis(next.saturating_mul(DAY_MS)))
    }

    /// The time it holds for: `2026-11-26`, `2026-11`, `total`.
    #[must_use]
    pub fn span(&self) -> String {
        let (year, month, day) = civil(self.begins.as_millis().div_euclid(DAY_MS));
        match self.period {
            Period::Day => format!("{year:04}-{month:02}-{day:02}"),
            Period::Month => format!("{year:04}-{month:02}"),
            Period::Total => Period::Total.as_str().to_owned(),
        }
    }
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Year, month and day of the day so many days after the first of January 1970: the proleptic Gregorian calendar, as
/// in Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from the first of January 1970 to a day; `days_from_civil` there.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

impl fmt::Display for BudgetScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "session/{session}"),
            Self::Agent(agent) => write!(f, "agent/{agent}"),
            Self::Project => f.write_str("project"),
        }
    }
}

impl fmt::Display for BudgetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.period {
            Period::Total => write!(f, "{}/total", self.scope),
            Period::Day | Period::Month => {
                write!(f, "{}/{}/{}", self.scope, self.period.as_str(), self.span())
            }
        }
    }
}

/// Text that names no budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no budget, such as `project/month/2026-11`")]
pub struct BudgetIdError(String);

impl FromStr for BudgetId {
    type Err = BudgetIdError;

    fn from_str(text: &str) -> Result<Self, BudgetIdError> {
        /// Characters of a wrong text that an error repeats.
        const ECHO_CHARS_MAX: usize = 80;
        let read = || {
            let mut parts = text.split('/');
            let scope = match parts.next()? {
                "project" => BudgetScope::Project,
                "agent" => BudgetScope::Agent(parts.next()?.parse().ok()?),
                "session" => BudgetScope::Session(parts.next()?.parse().ok()?),
                _ => return None,
            };
            let period = Period::from_word(parts.next()?)?;
            let numbers: Vec<i64> = match parts.next() {
                Some(span) => span.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?,
                None => Vec::new(),
            };
            let day = match (period, numbers.as_slice()) {
                (Period::Total, []) => 0,
                (Period::Month, [year, month]) => checked_day(*year, *month, 1)?,
                (Period::Day, [year, month, day]) => checked_day(*year, *month, *day)?,
                (Period::Total | Period::Month | Period::Day, _) => return None,
            };
            Some(Self { scope, period, begins: Timestamp::from_millis(day.checked_mul(DAY_MS)?) })
        };
        // A budget has one name.
        read().filter(|id| id.to_string() == text).ok_or_else(|| {
            BudgetIdError(text.chars().filter(|c| !c.is_control()).take(ECHO_CHARS_MAX).collect())
        })
    }
}

fn checked_day(year: i64, month: i64, day: i64) -> Option<i64> {
    /// Years that are written with four digits.
    const YEARS: std::ops::RangeInclusive<i64> = 0..=9_999;
    let fits = YEARS.contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    fits.then(|| days_before(year, month, day))
}

impl Serialize for BudgetId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BudgetId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What an attempt set aside, and where: the same in each of the budgets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The budgets, each once.
    pub budgets: Vec<BudgetId>,
    /// How much in each of them.
    pub amounts: Amounts,
}

/// How a budget stands. One that was never used has nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetUse {
    /// What attempts that ended count as having used.
    pub spent: Amounts,
    /// What attempts that run set aside.
    pub reserved: Amounts,
}

impl BudgetUse {
    /// Both together.
    #[must_use]
    pub fn total(&self) -> Amounts {
        self.spent.plus(&self.reserved)
    }

    /// Sets aside, if it fits.
    ///
    /// # Errors
    /// The first of which there would be more than `caps` allow; nothing was changed.
    pub fn reserve(&mut self, amounts: &Amounts, caps: &Caps) -> Result<(), Measure> {
        match caps.exceeded_by(&self.total().plus(amounts)) {
            Some(measure) => Err(measure),
            None => {
                self.reserved = self.reserved.plus(amounts);
                Ok(())
            }
        }
    }

    /// Counts what an attempt used in place of what it set aside.
    pub fn settle(&mut self, reserved: &Amounts, spent: &Amounts) {
        self.reserved = self.reserved.minus(reserved);
        self.spent = self.spent.plus(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fresh;

    fn at(text: &str, millis: i64) -> Timestamp {
        let id: BudgetId = format!("project/day/{text}").parse().expect("a day");
        Timestamp::from_millis(id.begins.as_millis() + millis)
    }

    #[test]
    fn a_budget_is_named_by_the_time_it_holds_for() {
        for (day, millis, names, ends) in [
            ("1970-01-01", 0, ["1970-01-01", "1970-01"], ["1970-01-02", "1970-02-01"]),
            ("2026-11-26", 1, ["2026-11-26", "2026-11"], ["2026-11-27", "2026-12-01"]),
            ("2026-12-31", DAY_MS - 1, ["2026-12-31", "2026-12"], ["2027-01-01", "2027-01-01"]),
            ("2028-02-28", 5, ["2028-02-28", "2028-02"], ["2028-02-29", "2028-03-01"]),
            ("2027-02-28", 5, ["2027-02-28", "2027-02"], ["2027-03-01", "2027-03-01"]),
            ("2100-02-28", 5, ["2100-02-28", "2100-02"], ["2100-03-01", "2100-03-01"]),
            ("1969-12-31", 7, ["1969-12-31", "1969-12"], ["1970-01-01", "1970-01-01"]),
        ] {
            let now = at(day, millis);
            for ((period, name), end) in [Period::Day, Period::Month].into_iter().zip(names).zip(ends) {
                let id = BudgetId::at(BudgetScope::Project, period, now);
                assert_eq!(id.to_string(), format!("project/{}/{name}", period.as_str()));
                assert_eq!(id.to_string().parse(), Ok(id));
                let next = id.ends().expect("it ends");
                assert_eq!(next, at(end, 0), "{id}");
                assert_eq!(
                    BudgetId::at(BudgetScope::Project, period, next).begins,
                    next,
                    "{id} is followed at once"
                );
                let last = Timestamp::from_millis(next.as_millis() - 1);
                assert_eq!(
                    BudgetId::at(BudgetScope::Project, period, last),
                    id,
                    "{id} holds to its last moment"
                );
            }
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_written_and_read() {
        let mut before = String::new();
        for day in 0..146_097 {
            let id = BudgetId::at(BudgetScope::Project, Period::Day, Timestamp::from_millis(day * DAY_MS));
            let text = id.to_string();
            assert!(text > before, "{text} comes after {before}");
            assert_eq!(text.parse(), Ok(id));
            before = text;
        }
    }

    #[test]
    fn budgets_are_text_on_disk() {
        let fresh = Fresh::new(Timestamp::EPOCH, 1);
        let (agent, session) = (AgentId::fresh(&fresh), SessionId::fresh(&fresh));
        for (scope, text) in [
            (BudgetScope::Project, "\"project/total\"".to_owned()),
            (BudgetScope::Agent(agent), format!("\"agent/{agent}/total\"")),
            (BudgetScope::Session(session), format!("\"session/{session}/total\"")),
        ] {
            let id = BudgetId::at(scope, Period::Total, Timestamp::from_millis(5));
            assert_eq!(serde_json::to_string(&id).expect("text"), text);
            assert_eq!(serde_json::from_str::<BudgetId>(&text).expect("a budget"), id);
            assert_eq!(id.ends(), None);
        }
    }

    #[test]
    fn what_names_no_budget_is_refused() {
        for wrong in [
            "",
            "project",
            "project/",
            "project/week/2026-11",
            "project/total/2026",
            "project/month",
            "project/month/2026",
            "project/month/2026-13",
            "project/month/2026-1",
            "project/month/+2026-11",
            "project/month/2026-11/more",
            "project/day/2026-11",
            "project/day/2026-02-30",
            "project/day/2026-00-01",
            "project/day/99999-01-01",
            "agent/total",
            "agent/ada/total",
            "session/agt_00000000000000000000000000000000/total",
            "everybody/total",
        ] {
            assert!(wrong.parse::<BudgetId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_set_aside_that_does_not_fit() {
        let amounts = |nano_usd, tokens, calls, millis| Amounts { nano_usd, tokens, calls, millis };
        let caps = Caps { nano_usd: Some(10), tokens: Some(100), calls: Some(2), millis: None };
        for (spent, reserved, wanted, expected) in [
            (amounts(0, 0, 0, 0), amounts(0, 0, 0, 0), amounts(10, 100, 2, u64::MAX), Ok(())),
            (amounts(5, 0, 0, 0), amounts(5, 0, 0, 0), amounts(0, 0, 0, 0), Ok(())),
            (amounts(5, 0, 0, 0), amounts(5, 0, 0, 0), amounts(1, 0, 0, 0), Err(Measure::Money)),
            (amounts(0, 50, 0, 0), amounts(0, 50, 0, 0), amounts(0, 1, 1, 0), Err(Measure::Tokens)),
            (amounts(0, 0, 1, 0), amounts(0, 0, 1, 0), amounts(0, 0, 1, 0), Err(Measure::Calls)),
            (amounts(u64::MAX, 0, 0, 0), amounts(1, 0, 0, 0), amounts(1, 0, 0, 0), Err(Measure::Money)),
        ] {
            let before = BudgetUse { spent, reserved };
            let mut used = before;
            let found = used.reserve(&wanted, &caps);
            assert_eq!(found, expected, "{before:?} and {wanted:?}");
            match found {
                Ok(()) => assert_eq!(used, BudgetUse { spent, reserved: reserved.plus(&wanted) }),
                Err(_) => assert_eq!(used, before, "what is refused changes nothing"),
            }
        }
        let mut used = BudgetUse { spent: amounts(1, 1, 1, 1), reserved: amounts(5, 5, 5, 5) };
        used.settle(&amounts(5, 4, 9, 0), &amounts(2, 0, 1, 0));
        let after = BudgetUse { spent: amounts(3, 1, 2, 1), reserved: amounts(0, 1, 0, 5) };
        assert_eq!(used, after);
    }

    #[test]
    fn of_two_limits_the_lower_holds() {
        let ours = Caps { nano_usd: Some(5), tokens: Some(7), calls: None, millis: None };
        let theirs = Caps { nano_usd: Some(9), tokens: Some(3), calls: Some(1), millis: None };
        let both = Caps { nano_usd: Some(5), tokens: Some(3), calls: Some(1), millis: None };
        assert_eq!((ours.and(theirs), theirs.and(ours)), (both, both));
        assert_eq!(ours.and(Caps::NONE), ours);
    }
}
