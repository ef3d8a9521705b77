//! Prints durable appends per second beside bare inserts into the same database.
//!
//! `cargo run --release -p tenure-store-postgres --example cluster_append_bench -- <url> [seconds a row]`

use std::time::Duration;

use tenure_store_postgres::bench;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the URL of an empty database is missing")?;
    let seconds = arguments.next().map_or(Ok(6.0), |text| text.parse())?;
    println!(
        "{:>8} {:>10} {:>10} {:>6} {:>14}",
        "sessions", "appends/s", "bare/s", "ratio", "appends/commit"
    );
    for row in bench::appends(&url, Duration::try_from_secs_f64(seconds)?)? {
        println!(
            "{:>8} {:>10.0} {:>10.0} {:>6.2} {:>14.1}  {:?}",
            row.sessions,
            row.appends_per_second,
            row.bare_per_second,
            row.ratio(),
            row.appends_per_commit,
            row.baseline
        );
    }
    Ok(())
}
