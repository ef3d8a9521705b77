//! What is wrong with an expression, and where.

use std::fmt;

/// An expression that is not one, with the place of the mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronError {
    /// Where the mistake begins: characters of the expression, counted from 1. One past the end when
    /// something is missing there.
    pub at: usize,
    /// The field it is in, where it is in one.
    pub field: Option<Field>,
    /// What it is.
    pub kind: CronErrorKind,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CronErrorKind {
    /// It is longer than this many characters.
    TooLong(usize),
    /// It has this many fields, not five.
    Fields(usize),
    /// It begins with `@`.
    Nickname,
    /// Something is missing: an empty list item, range end or step.
    Missing,
    /// Text that is no number and no name of the field.
    Word(String),
    /// A number outside the field's range.
    Range(String),
    /// A range that ends before it begins.
    Descending,
    /// A step after a single value.
    StepOfOne,
    /// A step of zero, or one larger than the field's largest value.
    Step(String),
    /// No date will ever match.
    Never,
}

/// A field of an expression, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or JAN to DEC.
    Month,
    /// 0 to 7, or SUN to SAT; 0 and 7 are Sunday.
    DayOfWeek,
}

impl Field {
    /// All of them, in the order of an expression.
    pub const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek];

    /// Its name in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    /// Its smallest and its largest value.
    #[must_use]
    pub fn bounds(self) -> (u8, u8) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }

    /// Names of its values, the first for [`Field::names_from`].
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Minute | Self::Hour | Self::DayOfMonth => &[],
            Self::Month => {
                &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
            }
            Self::DayOfWeek => &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        }
    }

    /// The value of the first name.
    pub(crate) fn names_from(self) -> u8 {
        if self == Self::Month { 1 } else { 0 }
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}", self.at)?;
        if let Some(field) = self.field {
            write!(f, " ({})", field.as_str())?;
        }
        f.write_str(": ")?;
        let (min, max) = self.field.map_or((0, 0), Field::bounds);
        match &self.kind {
            CronErrorKind::TooLong(most) => write!(f, "it is longer than {most} characters"),
            CronErrorKind::Fields(found) => write!(
                f,
                "expected five fields (minute, hour, day of month, month, day of week), but got {found}"
            ),
            CronErrorKind::Nickname => {
                f.write_str("nicknames are not supported; write five fields, for example `0 9 * * *`")
            }
            CronErrorKind::Missing => f.write_str("a value is missing"),
            CronErrorKind::Word(word) => write!(f, "`{word}` is not a value of this field"),
            CronErrorKind::Range(number) => write!(f, "`{number}` is not within {min} to {max}"),
            CronErrorKind::Descending => f.write_str("the range ends before it begins"),
            CronErrorKind::StepOfOne => f.write_str("a step needs a range, for example `*/5` or `10-50/5`"),
            CronErrorKind::Step(step) => write!(f, "the step `{step}` is not within 1 to {max}"),
            CronErrorKind::Never => f.write_str("no date ever matches"),
        }
    }
}

impl std::error::Error for CronError {}

/// A name that is no time zone of the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`")]
pub struct ZoneError {
    /// The name, shortened.
    pub name: String,
}
