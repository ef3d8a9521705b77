//! Prints how long reading a long journal takes from a warm disk.
//!
//! `cargo run --release -p tenure-store-sqlite --example read_bench -- [directory]`

use std::path::PathBuf;

use tenure_store_sqlite::bench;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let reads = bench::reads(&directory)?;
    println!("a journal of {} events of 1 KiB, among those of others", reads.events);
    for (what, took) in [
        ("all at once", reads.whole),
        ("all in pages of 100", reads.pages),
        ("one page from the middle", reads.page),
        ("the last 128", reads.tail),
    ] {
        println!("{what:>26} {:>8.2} ms", took.as_secs_f64() * 1_000.0);
    }
    Ok(())
}
