//! Vectors of lines: to compare with another implementation, and to see how long one takes.
//!
//! ```sh
//! cargo run -p tenure-embed --example encode -- path/to/model < lines.txt > vectors.jsonl
//! ```

use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use tenure_embed::Model;

fn main() {
    let directory = std::env::args().nth(1).expect("the directory of a model");
    let model = Model::open(Path::new(&directory)).unwrap_or_else(|error| panic!("{error}"));
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("lines of text");
    let lines: Vec<&str> = text.lines().collect();
    let mut took = Vec::new();
    for line in &lines {
        let began = Instant::now();
        let vectors = model.encode(&[line], NonZeroUsize::MIN);
        took.push(began.elapsed());
        println!("{}", serde_json::to_string(&vectors[0]).expect("numbers"));
    }
    took.sort_unstable();
    if let [first, ..] = &took[..] {
        eprintln!(
            "{}: a line took {:?} at the median, {first:?} at best",
            model.name(),
            took[took.len() / 2]
        );
    }
}
