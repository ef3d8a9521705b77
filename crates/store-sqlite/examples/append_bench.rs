//! Prints durable appends per second beside a bare SQLite loop on the same disk.
//!
//! `cargo run --release -p tenure-store-sqlite --example append_bench -- [directory] [seconds a row]`

use std::path::PathBuf;
use std::time::Duration;

use tenure_store_sqlite::bench;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let seconds = arguments.next().map_or(Ok(4.0), |text| text.parse())?;
    println!(
        "{:>8} {:>10} {:>10} {:>6} {:>14}",
        "sessions", "appends/s", "bare/s", "ratio", "appends/commit"
    );
    for row in bench::appends(&directory, Duration::try_from_secs_f64(seconds)?)? {
        println!(
            "{:>8} {:>10.0} {:>10.0} {:>6.2} {:>14.1}",
            row.sessions,
            row.appends_per_second,
            row.bare_per_second,
            row.ratio(),
            row.appends_per_commit
        );
    }
    Ok(())
}
