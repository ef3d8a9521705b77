//! Properties of occurrences, against a scan of every minute.

use std::collections::BTreeSet;

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tenure_journal::Timestamp;
use tenure_schedule::{Cron, Periodic};

const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "America/St_Johns",
    "Pacific/Chatham",
    "Antarctica/Troll",
];
/// Around changes of some of these clocks, in Unix seconds, and one quiet day.
const MOMENTS: &[i64] = &[
    1_774_742_400, // 29 March 2026, Europe
    1_792_886_400, // 25 October 2026, Europe
    1_772_928_000, // 8 March 2026, North America
    1_793_491_200, // 1 November 2026, North America
    1_775_314_800, // 5 April 2026, Lord Howe, Chatham
    1_791_041_400, // 4 October 2026, Lord Howe
    1_771_117_200, // 15 February 2026, Casablanca
    1_774_144_800, // 22 March 2026, Casablanca
    1_780_000_000,
];

/// A field: what is written, and what it means.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    values: BTreeSet<i8>,
}

fn field(min: i8, max: i8) -> impl Strategy<Value = Field> {
    let all = move || (min..=max).collect::<BTreeSet<i8>>();
    prop_oneof![
        2 => Just(Field { text: "*".into(), values: all() }),
        1 => (1..=max.max(1)).prop_map(move |step| Field {
            text: format!("*/{step}"),
            values: (min..=max).step_by(usize::try_from(step).expect("positive")).collect(),
        }),
        2 => proptest::collection::btree_set(min..=max, 1..4).prop_map(|values| Field {
            text: values.iter().map(i8::to_string).collect::<Vec<_>>().join(","),
            values,
        }),
        1 => (min..=max, min..=max).prop_map(|(a, b)| {
            let (from, to) = (a.min(b), a.max(b));
            Field { text: format!("{from}-{to}"), values: (from..=to).collect() }
        }),
    ]
}

#[derive(Debug, Clone)]
struct Expression {
    fields: [Field; 5],
}

impl Expression {
    fn text(&self) -> String {
        self.fields.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn matches(&self, reading: DateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.fields;
        let by_day = day.values.contains(&reading.day());
        let by_weekday = weekday.values.contains(&reading.weekday().to_sunday_zero_offset());
        let both_bound = !day.text.starts_with('*') && !weekday.text.starts_with('*');
        minute.values.contains(&reading.minute())
            && hour.values.contains(&reading.hour())
            && month.values.contains(&reading.month())
            && if both_bound { by_day || by_weekday } else { by_day && by_weekday }
    }

    /// Whether a minute is an occurrence: by its own reading, if that is `new`, or by one of the readings that
    /// were left out between the minute `before` and this one.
    fn is_due(&self, before: DateTime, reading: DateTime, new: bool) -> bool {
        if new && self.matches(reading) {
            return true;
        }
        let mut missing = before + 1.minute();
        while missing < reading {
            if self.matches(missing) {
                return true;
            }
            missing += 1.minute();
        }
        false
    }
}

fn expression() -> impl Strategy<Value = Expression> {
    let fields = (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6));
    fields.prop_map(|(a, b, c, d, e)| Expression { fields: [a, b, c, d, e] })
}

fn millis(moment: jiff::Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.as_millisecond())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn next_is_the_first_due_minute_of_a_scan(
        expression in expression(),
        zone in proptest::sample::select(ZONES),
        around in proptest::sample::select(MOMENTS),
        offset in -86_400_i64..86_400,
    ) {
        let Ok(cron) = expression.text().parse::<Cron>() else {
            // The one mistake these can have: a day that no month has.
            prop_assert!(expression.text().parse::<Cron>().is_err_and(|e| e.to_string().contains("no date")));
            return Ok(());
        };
        let periodic = Periodic::new(cron, zone.parse().expect("a zone"));
        let clock = TimeZone::get(zone).expect("a zone");
        let from = jiff::Timestamp::from_second(around + offset).expect("in range");
        let found = periodic.next_after(millis(from)).expect("an occurrence");
        prop_assert!(found > millis(from), "strictly later");
        // Every minute from three hours before, to know which readings are new, to a day after.
        let whole = jiff::Timestamp::from_second((around + offset).div_euclid(60) * 60).expect("in range");
        let mut before = clock.to_datetime(whole - 181.minutes());
        let mut seen = BTreeSet::new();
        for minutes in -180..=24 * 60_i64 {
            let minute = whole + minutes.minutes();
            let reading = clock.to_datetime(minute);
            let due = expression.is_due(before, reading, seen.insert(reading));
            before = reading;
            if minutes <= 0 {
                continue;
            }
            if millis(minute) < found {
                prop_assert!(!due, "{minute} was passed over by {} in {zone}", expression.text());
            } else {
                prop_assert!(due && millis(minute) == found, "{minute} for {} in {zone}", expression.text());
                break;
            }
        }
    }

    #[test]
    fn next_is_monotone(
        expression in expression(),
        zone in proptest::sample::select(ZONES),
        around in proptest::sample::select(MOMENTS),
        offset in -86_400_i64..86_400,
        later in 0_i64..200_000,
    ) {
        let Ok(cron) = expression.text().parse::<Cron>() else { return Ok(()) };
        let periodic = Periodic::new(cron, zone.parse().expect("a zone"));
        let moment = |seconds| Timestamp::from_millis(seconds * 1000);
        let (first, second) = (moment(around + offset), moment(around + offset + later));
        let (next, after) = (periodic.next_after(first), periodic.next_after(second));
        prop_assert!(next <= after || after.is_none());
        // No occurrence lies between a moment and its next.
        if next.is_some_and(|next| next > second) {
            prop_assert_eq!(next, after);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_in_its_bounds(text in "[ 0-9*/,\\-A-Za-z@ü\t]{0,40}") {
        if let Err(error) = text.parse::<Cron>() {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.at), "{error}");
        }
    }
}
