//! The words of time expressions in English, German, Spanish, French, Chinese and Japanese, folded: lower case,
//! without accents.

use std::collections::HashSet;
use std::sync::LazyLock;

use jiff::civil::Weekday;

/// A stretch that the calendar has a word for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Day,
    Week,
    Month,
    Year,
}

/// What a table says of a word.
pub(crate) fn of<'a, T>(table: &'a [(&[&str], T)], word: &str) -> Option<&'a T> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, meaning)| meaning)
}

static NUMBERS_ABOVE_ONE: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    NUMBERS.iter().filter(|(_, number)| *number > 1).flat_map(|(words, _)| *words).copied().collect()
});

/// Whether a word is a number, other than the one that is an article as well.
pub(crate) fn is_number(word: &str) -> bool {
    NUMBERS_ABOVE_ONE.contains(word)
}

/// A table of words that mean the same.
type Table<T> = &'static [(&'static [&'static str], T)];

/// Days, counted from today.
pub(crate) const DAYS: Table<i32> = &[
    (&["today", "tonight", "heute", "hoy", "aujourd"], 0),
    (&["yesterday", "gestern", "ayer"], -1),
    (&["vorgestern", "anteayer"], -2),
];

pub(crate) const UNITS: Table<Unit> = &[
    (&["day", "days", "tag", "tage", "tagen", "dia", "dias", "jour", "jours", "night"], Unit::Day),
    (
        &[
            "week",
            "weeks",
            "weekend",
            "woche",
            "wochen",
            "wochenende",
            "semana",
            "semanas",
            "semaine",
            "semaines",
        ],
        Unit::Week,
    ),
    (&["month", "months", "monat", "monate", "monaten", "mes", "meses", "mois"], Unit::Month),
    (&["year", "years", "jahr", "jahre", "jahren", "ano", "anos", "ans", "annee"], Unit::Year),
];

pub(crate) const MONTHS: Table<i8> = &[
    (&["january", "jan", "januar", "enero", "janvier"], 1),
    (&["february", "feb", "februar", "febrero", "fevrier"], 2),
    (&["march", "mar", "marz", "marzo", "mars"], 3),
    (&["april", "apr", "abril", "avril"], 4),
    (&["may", "mai", "mayo"], 5),
    (&["june", "jun", "juni", "junio", "juin"], 6),
    (&["july", "jul", "juli", "julio", "juillet"], 7),
    (&["august", "aug", "agosto", "aout"], 8),
    (&["september", "sep", "sept", "septiembre", "septembre"], 9),
    (&["october", "oct", "oktober", "octubre", "octobre"], 10),
    (&["november", "nov", "noviembre", "novembre"], 11),
    (&["december", "dec", "dezember", "diciembre", "decembre"], 12),
];

/// Seasons of the northern half, by their first month.
pub(crate) const SEASONS: Table<i8> = &[
    (&["spring", "fruhling", "fruhjahr", "primavera", "printemps"], 3),
    (&["summer", "sommer", "verano", "ete"], 6),
    (&["autumn", "fall", "herbst", "otono", "automne"], 9),
    (&["winter", "invierno", "hiver"], 12),
];

pub(crate) const WEEKDAYS: Table<Weekday> = &[
    (&["monday", "montag", "lunes", "lundi"], Weekday::Monday),
    (&["tuesday", "dienstag", "martes", "mardi"], Weekday::Tuesday),
    (&["wednesday", "mittwoch", "miercoles", "mercredi"], Weekday::Wednesday),
    (&["thursday", "donnerstag", "jueves", "jeudi"], Weekday::Thursday),
    (&["friday", "freitag", "viernes", "vendredi"], Weekday::Friday),
    (&["saturday", "samstag", "sonnabend", "sabado", "samedi"], Weekday::Saturday),
    (&["sunday", "sonntag", "domingo", "dimanche"], Weekday::Sunday),
];

pub(crate) const NUMBERS: Table<i64> = &[
    (&["a", "an", "one", "ein", "eine", "einem", "einer", "un", "una", "une"], 1),
    (&["two", "couple", "zwei", "dos", "deux"], 2),
    (&["three", "few", "drei", "tres", "trois"], 3),
    (&["four", "vier", "cuatro", "quatre"], 4),
    (&["five", "funf", "cinco", "cinq"], 5),
    (&["six", "sechs", "seis"], 6),
    (&["seven", "sieben", "siete"], 7),
    (&["eight", "acht", "ocho", "huit"], 8),
    (&["nine", "neun", "nueve", "neuf"], 9),
    (&["ten", "zehn", "diez", "dix"], 10),
];

pub(crate) const LAST: &[&str] = &[
    "last", "past", "previous", "letzte", "letzten", "letzter", "letztes", "letztem", "vorige", "voriges",
    "vorigen", "pasado", "pasada", "dernier", "derniere",
];
pub(crate) const THIS: &[&str] =
    &["this", "diese", "dieser", "diesen", "dieses", "diesem", "este", "esta", "cette"];
pub(crate) const AGO_BEHIND: &[&str] = &["ago", "earlier"];
pub(crate) const AGO_IN_FRONT: &[&str] = &["vor", "hace"];

pub(crate) const BEFORE: &[&str] = &["before", "until", "vor", "bis", "antes", "hasta", "avant"];
pub(crate) const AFTER: &[&str] = &["after", "since", "nach", "seit", "despues", "desde", "apres", "depuis"];
/// Months that are verbs as well, where no word of [`IN`] stands before them.
pub(crate) const VERBS: &[&str] = &["may", "march", "mar"];
pub(crate) const IN: &[&str] = &[
    "in", "of", "by", "since", "before", "after", "until", "during", "early", "mid", "late", "from", "to",
    "for", "through", "around", "end",
];
/// Words that may stand between the parts of an expression.
pub(crate) const FILLERS: &[&str] = &["of", "the", "de", "del", "la", "el", "dem", "der", "den"];

/// Expressions of scripts without spaces.
pub(crate) const HAN: &[(&str, Unit, i64)] = &[
    ("今天", Unit::Day, 0),
    ("今日", Unit::Day, 0),
    ("昨天", Unit::Day, 1),
    ("昨日", Unit::Day, 1),
    ("前天", Unit::Day, 2),
    ("一昨日", Unit::Day, 2),
    ("上周", Unit::Week, 1),
    ("上个星期", Unit::Week, 1),
    ("上星期", Unit::Week, 1),
    ("先週", Unit::Week, 1),
    ("两周前", Unit::Week, 2),
    ("上个月", Unit::Month, 1),
    ("上月", Unit::Month, 1),
    ("先月", Unit::Month, 1),
    ("两个月前", Unit::Month, 2),
    ("三个月前", Unit::Month, 3),
    ("去年", Unit::Year, 1),
    ("昨年", Unit::Year, 1),
    ("今年", Unit::Year, 0),
    ("前年", Unit::Year, 2),
    ("两年前", Unit::Year, 2),
    ("三年前", Unit::Year, 3),
];
