//! How fast records are logged, proven and checked, beside bare hashing of the same records in the same run.
//!
//! ```sh
//! cargo run --release -p tenure-audit --example audit_bench [records] [bytes]
//! ```

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use tenure_audit::{
    Bundle, Checkpoint, Hash, Log, SigningKey, TILE_WIDTH, TileId, Tiles, Tree, inclusion, verify,
    verify_inclusion,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(582), |bytes| bytes.parse())?;
    let record = move |number: u64| {
        let mut record = vec![b'x'; bytes.max(8)];
        record[..8].copy_from_slice(&number.to_be_bytes());
        record
    };

    let started = Instant::now();
    for number in 0..count {
        black_box(Hash::of_record(&record(number)));
    }
    report("hash each record, nothing else", count, started.elapsed());

    let key = SigningKey::new("bench", &[1; 32])?;
    let (mut tree, mut kept) = (Tree::new(), Kept::default());
    let started = Instant::now();
    for number in 0..count {
        let mut full = Vec::new();
        tree.push(Hash::of_record(&record(number)), &mut full);
        kept.tiles.extend(full.into_iter().map(|tile| (tile.id, tile.hashes)));
    }
    kept.tiles.extend(tree.partial_tiles().into_iter().map(|tile| (tile.id, tile.hashes)));
    report("append", count, started.elapsed());

    let started = Instant::now();
    let checkpoint = Checkpoint { origin: "bench".into(), size: count, root: tree.root() };
    kept.checkpoint = checkpoint.sign(&key)?;
    println!("{:<34} {:>9.1} µs", "sign a checkpoint", micros(started.elapsed()));

    let probes = 10_000.min(count);
    let started = Instant::now();
    for probe in 0..probes {
        let index = probe * (count / probes);
        let path = inclusion(&kept, count, index)?.ok_or("inside")?;
        verify_inclusion(&path, Hash::of_record(&record(index)), index, count, checkpoint.root)?;
    }
    println!("{:<34} {:>9.1} µs", "make and check a proof", micros(started.elapsed()) / probes as f64);

    kept.records = Some(Box::new(record));
    let started = Instant::now();
    let checked = verify(&kept, &key.verifier(), &[]);
    report("verify everything", count, started.elapsed());
    if !checked.is_sound() {
        return Err(format!("{:?}", checked.faults).into());
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn report(what: &str, count: u64, time: Duration) {
    let rate = count as f64 / time.as_secs_f64();
    println!("{what:<34} {:>9.2} s   {rate:>10.0} records a second", time.as_secs_f64());
}

type Records = Box<dyn Fn(u64) -> Vec<u8>>;

#[derive(Default)]
struct Kept {
    tiles: BTreeMap<TileId, Vec<Hash>>,
    checkpoint: String,
    records: Option<Records>,
}

#[derive(Debug, thiserror::Error)]
#[error("not kept")]
struct NotKept;

impl Tiles for Kept {
    type Error = NotKept;

    fn tile(&self, id: TileId) -> Result<Vec<Hash>, NotKept> {
        self.tiles.get(&id).cloned().ok_or(NotKept)
    }
}

impl Log for Kept {
    fn checkpoint(&self) -> Result<String, NotKept> {
        Ok(self.checkpoint.clone())
    }

    fn earlier_checkpoints(&self) -> Result<Vec<String>, NotKept> {
        Ok(Vec::new())
    }

    fn records(&self, id: TileId) -> Result<Vec<u8>, NotKept> {
        let record = self.records.as_ref().ok_or(NotKept)?;
        let mut bundle = Bundle::new();
        for number in 0..id.width() {
            bundle.push(&record(id.index() * TILE_WIDTH + number)).map_err(|_| NotKept)?;
        }
        Ok(bundle.as_bytes().to_vec())
    }
}
