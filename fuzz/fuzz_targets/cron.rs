//! An expression is read or refused at a place within it; what is read goes forward in every time zone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_journal::Timestamp;
use tenure_schedule::{Cron, Periodic, Zone};

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"];

fuzz_target!(|input: (i32, &str)| {
    let (seconds, text) = input;
    let cron = match text.parse::<Cron>() {
        Ok(cron) => cron,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.at));
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for zone in ZONES {
        let zone: Zone = zone.parse().expect("a zone of the database");
        let periodic = Periodic::new(cron.clone(), zone);
        let mut moment = Timestamp::from_millis(i64::from(seconds) * 1000);
        for _ in 0..8 {
            let next = periodic.next_after(moment).expect("these years are within the calendar");
            assert!(next > moment);
            assert_eq!(periodic.latest_within(moment, next), Some(next));
            moment = next;
        }
    }
});
