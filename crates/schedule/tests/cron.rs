//! Expressions: what is read, what is refused, and where.

use tenure_schedule::{Cron, Zone};

#[track_caller]
fn refused(text: &str, message: &str) {
    let error = text.parse::<Cron>().expect_err(text);
    assert_eq!(error.to_string(), message, "{text}");
}

#[test]
fn reads_lists_ranges_steps_and_names() {
    for (text, same) in [
        ("* * * * *", "*/1 0-23 */1 1-12 */1"),
        ("0 0 * * SUN", "0 0 * * 7"),
        ("0 0 * * 0", "0 0 * * 7"),
        ("0 0 * * FRI-SUN", "0 0 * * 5-7"),
        ("0 0 * * sun-tue", "0 0 * * 0,1,2"),
        ("0 0 1 jan-MAR *", "0 0 1 1,2,3 *"),
        ("*/20 * * * *", "0,20,40 * * * *"),
        ("10-50/20 * * * *", "10,30,50 * * * *"),
        ("0 */12 * * *", "0 0,12 * * *"),
        ("\t0  9\t* * 1-5 ", "0 9 * * MON,TUE,WED,THU,FRI"),
        ("00 009 * * *", "0 9 * * *"),
        ("0 0 * * */2", "0 0 * * */2"),
    ] {
        let read = |text: &str| text.parse::<Cron>().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(read(text), read(same), "{text}");
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    let five = "expected five fields (minute, hour, day of month, month, day of week), but got";
    refused("", &format!("at character 1: {five} 0"));
    refused("0 9 * *", &format!("at character 8: {five} 4"));
    refused("0 0 9 * * *", &format!("at character 11: {five} 6"));
    refused(
        "@daily",
        "at character 1: nicknames are not supported; write five fields, for example `0 9 * * *`",
    );
    refused("60 * * * *", "at character 1 (minute): `60` is not within 0 to 59");
    refused("0 24 * * *", "at character 3 (hour): `24` is not within 0 to 23");
    refused("0 0 0 * *", "at character 5 (day of month): `0` is not within 1 to 31");
    refused("0 0 1 13 *", "at character 7 (month): `13` is not within 1 to 12");
    refused("0 0 * * 1,8", "at character 11 (day of week): `8` is not within 0 to 7");
    refused("0 0 * * MON-FRY", "at character 13 (day of week): `FRY` is not a value of this field");
    refused("0 0 * MON *", "at character 7 (month): `MON` is not a value of this field");
    refused("0 0 L * *", "at character 5 (day of month): `L` is not a value of this field");
    refused("-5 * * * *", "at character 1 (minute): a value is missing");
    refused("5- * * * *", "at character 3 (minute): a value is missing");
    refused("1,,2 * * * *", "at character 3 (minute): a value is missing");
    refused("1, * * * *", "at character 3 (minute): a value is missing");
    refused("*/ * * * *", "at character 3 (minute): a value is missing");
    refused("*/0 * * * *", "at character 3 (minute): the step `0` is not within 1 to 59");
    refused("*/90 * * * *", "at character 3 (minute): the step `90` is not within 1 to 59");
    refused("*/x * * * *", "at character 3 (minute): `x` is not a value of this field");
    refused("1-9/2/3 * * * *", "at character 5 (minute): `2/3` is not a value of this field");
    refused("5/15 * * * *", "at character 2 (minute): a step needs a range, for example `*/5` or `10-50/5`");
    refused("50-10 * * * *", "at character 1 (minute): the range ends before it begins");
    refused("0 0 * * FRI-MON", "at character 9 (day of week): the range ends before it begins");
    refused("0 0 30 2 *", "at character 5 (day of month): no date ever matches");
    refused("0 0 31 4,6,9,11 *", "at character 5 (day of month): no date ever matches");
    refused("ü * * * *", "at character 1 (minute): `ü` is not a value of this field");
    refused("1,ü,x * * * *", "at character 3 (minute): `ü` is not a value of this field");
    refused(
        "99999999999999999999 * * * *",
        "at character 1 (minute): `9999999999999999` is not within 0 to 59",
    );
    refused(&"*".repeat(513), "at character 513: it is longer than 512 characters");
}

#[test]
fn zones_are_those_of_the_database() {
    for name in ["UTC", "Europe/Berlin", "america/new_york", "Australia/Lord_Howe", "Etc/GMT+5"] {
        assert!(name.parse::<Zone>().is_ok(), "{name}");
    }
    for name in ["", "Mars/Olympus", "+02:00", "EST5EDT,M3.2.0", "../../etc/passwd", &"x".repeat(65)] {
        assert!(name.parse::<Zone>().is_err(), "{name}");
    }
    let error = "Europe/Berlim".parse::<Zone>().expect_err("unknown");
    let words = "`Europe/Berlim` is not a time zone of the IANA database, such as `Europe/Berlin` or `UTC`";
    assert_eq!(error.to_string(), words);
}
