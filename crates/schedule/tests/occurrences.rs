//! Occurrences: calendars, time zones and the days on which clocks change.

use tenure_journal::Timestamp;
use tenure_schedule::Periodic;

fn periodic(expression: &str, zone: &str) -> Periodic {
    Periodic::new(expression.parse().expect("an expression"), zone.parse().expect("a zone"))
}

fn at(text: &str) -> Timestamp {
    let moment: jiff::Timestamp = text.parse().expect("a moment");
    Timestamp::from_millis(moment.as_millisecond())
}

fn shown(moment: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(moment.as_millis()).expect("in range").to_string()
}

/// The occurrences after `from`, all in UTC.
#[track_caller]
fn check(expression: &str, zone: &str, from: &str, expected: &[&str]) {
    let periodic = periodic(expression, zone);
    let mut moment = at(from);
    for wanted in expected {
        moment = periodic.next_after(moment).expect("another occurrence");
        assert_eq!(shown(moment), at_text(wanted), "{expression} in {zone}");
    }
}

fn at_text(text: &str) -> String {
    shown(at(text))
}

#[test]
fn calendars() {
    check("* * * * *", "UTC", "2026-01-31T23:58:59Z", &["2026-01-31T23:59:00Z", "2026-02-01T00:00:00Z"]);
    // Strictly after, to the millisecond.
    check("0 0 * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-02T00:00:00Z"]);
    check("0 0 * * *", "UTC", "2025-12-31T23:59:59.999Z", &["2026-01-01T00:00:00Z"]);
    check("59 23 31 12 *", "UTC", "2026-06-01T00:00:00Z", &["2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"]);
    // The 31st, where there is one.
    check(
        "0 12 31 * *",
        "UTC",
        "2026-01-31T12:00:00Z",
        &["2026-03-31T12:00:00Z", "2026-05-31T12:00:00Z", "2026-07-31T12:00:00Z", "2026-08-31T12:00:00Z"],
    );
    // Leap days, and the century that has none.
    check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    check("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00Z"]);
    // A leap day on a Sunday: both must match, as the weekday begins with `*`.
    check("0 0 29 2 */7", "UTC", "2088-01-01T00:00:00Z", &["2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"]);
}

#[test]
fn either_day_or_both() {
    // Every 13th and every Friday.
    check(
        "0 0 13 * FRI",
        "UTC",
        "2026-03-01T00:00:00Z",
        &[
            "2026-03-06T00:00:00Z",
            "2026-03-13T00:00:00Z",
            "2026-03-20T00:00:00Z",
            "2026-03-27T00:00:00Z",
            "2026-04-03T00:00:00Z",
            "2026-04-10T00:00:00Z",
            "2026-04-13T00:00:00Z",
        ],
    );
    // Odd days that are Mondays: a field that begins with `*` narrows.
    check(
        "0 0 */2 * MON",
        "UTC",
        "2026-03-01T00:00:00Z",
        &["2026-03-09T00:00:00Z", "2026-03-23T00:00:00Z", "2026-04-13T00:00:00Z"],
    );
    check("0 0 * * 7", "UTC", "2026-03-01T00:00:00Z", &["2026-03-08T00:00:00Z"]);
}

#[test]
fn zones_without_changes() {
    check(
        "30 9 * * 1-5",
        "Asia/Kolkata",
        "2026-11-20T12:00:00Z",
        &["2026-11-23T04:00:00Z", "2026-11-24T04:00:00Z"],
    );
    check("0 0 1 1 *", "Pacific/Kiritimati", "2026-06-01T00:00:00Z", &["2026-12-31T10:00:00Z"]);
}

#[test]
fn a_time_that_does_not_exist_is_due_after_the_gap() {
    // 02:00 to 03:00 is left out on 29 March 2026.
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    );
    // All that fall into the gap, and the one after it, are one.
    check(
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
    );
    check("15 2 8 3 *", "America/New_York", "2026-01-01T00:00:00Z", &["2026-03-08T07:00:00Z"]);
    // Half an hour: 02:00 to 02:30 on 4 October 2026.
    check(
        "10 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-02T15:41:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:10:00Z"],
    );
    // Clocks that go back for Ramadan, and forward after it.
    check("30 2 22 3 *", "Africa/Casablanca", "2026-03-01T00:00:00Z", &["2026-03-22T02:00:00Z"]);
    // A whole day: Samoa had no 30 December 2011.
    check("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", &["2011-12-30T10:00:00Z"]);
}

#[test]
fn a_time_that_exists_twice_is_due_once_the_first_time() {
    // 02:00 to 03:00 comes twice on 25 October 2026.
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    );
    // From within the second time, the next is after it.
    check("*/20 2,3 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &["2026-10-25T02:00:00Z"]);
    check(
        "30 1 * * *",
        "America/New_York",
        "2026-10-31T12:00:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    );
    // Half an hour: 01:30 to 02:00 comes twice on 5 April 2026.
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    );
    check(
        "30 2 * * *",
        "Africa/Casablanca",
        "2026-02-14T12:00:00Z",
        &["2026-02-15T01:30:00Z", "2026-02-16T02:30:00Z"],
    );
}

#[test]
fn the_latest_within_a_span() {
    let hourly = periodic("0 * * * *", "UTC");
    let within = |after: &str, until: &str| hourly.latest_within(at(after), at(until)).map(shown);
    let latest = within("2026-01-01T09:00:00Z", "2026-01-01T12:30:00Z");
    assert_eq!(latest.as_deref(), Some("2026-01-01T12:00:00Z"));
    let exact = within("2026-01-01T11:59:59Z", "2026-01-01T12:00:00Z");
    assert_eq!(exact.as_deref(), Some("2026-01-01T12:00:00Z"));
    assert_eq!(within("2026-01-01T12:00:00Z", "2026-01-01T12:59:59Z"), None);
}

#[test]
fn the_calendar_ends() {
    let end = Timestamp::from_millis(i64::MAX);
    assert_eq!(periodic("* * * * *", "UTC").next_after(end), None);
    assert!(periodic("0 0 29 2 *", "UTC").next_after(at("9999-01-01T00:00:00Z")).is_none());
}
