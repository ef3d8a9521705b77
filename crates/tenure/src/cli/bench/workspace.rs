//! Snapshots of an environment's files, beside a bare walk over the same files in the same run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tenure_workspace::{Digest, Limits, MemoryChunks, Place, Snapshot, StatCache, snapshot};

use super::lab::directory;
use super::server::millis;
use super::{Benchmark, Row, failed, median};
use crate::cli::error::CliError;

/// Files of an agent that does its work, and of a source tree with what it is built from.
pub(super) const FEW: usize = 50;
pub(super) const MANY: usize = 31_000;
/// Snapshots, of which the middle one counts.
const RUNS: usize = 15;
/// Until no file is so young that it is read again to be certain.
const SETTLED: Duration = Duration::from_millis(200);

/// A place with files in it, and what the snapshots before know of them.
struct Bench {
    place: Place,
    plain: PathBuf,
    cache: StatCache,
    base: Option<Digest>,
    chunks: MemoryChunks,
}

/// Blocks for as long as it measures.
pub(super) fn measure(parent: &Path, few: usize, many: usize) -> Result<Vec<Row>, CliError> {
    let mut rows = Vec::new();
    for (files, goal) in [(few, "1 ms"), (many, "300 ms")] {
        let root = directory(parent)?;
        let mut bench = Bench::fill(root.path(), files)?;
        let row = |what: &str, value| {
            Row::new(Benchmark::Workspace, format!("snapshot of {files} files, {what}, median"), value, "ms")
        };
        let walked = bench.median(|bench| walk(&bench.plain))?;
        let unchanged = bench.median(|bench| bench.snapshot().map(drop))?;
        rows.push(row("none changed", unchanged).beside("ms of a bare walk", walked).goal(goal));
        let changed = bench.changed()?;
        let changed = row("one changed, chunks in memory", changed);
        rows.push(if files == few { changed.goal("5 ms and the commit") } else { changed });
    }
    Ok(rows)
}

impl Bench {
    /// Files of 200 to 8,000 bytes, a hundred to a directory, as in a source tree.
    fn fill(root: &Path, files: usize) -> Result<Self, CliError> {
        let place = Place::open(&root.join("place")).map_err(broken)?;
        let plain = root.join("place/files");
        let mut random = fastrand::Rng::with_seed(files as u64);
        for index in 0..files {
            let directory =
                plain.join(format!("{:03}", index / 1000)).join(format!("{:02}", index / 100 % 10));
            std::fs::create_dir_all(&directory)?;
            let bytes: Vec<u8> = (0..random.usize(200..8000)).map(|_| random.u8(b' '..b'z')).collect();
            std::fs::write(directory.join(format!("file-{index}.txt")), bytes)?;
        }
        std::thread::sleep(SETTLED);
        let mut bench =
            Self { place, plain, cache: StatCache::default(), base: None, chunks: MemoryChunks::new() };
        bench.snapshot()?;
        Ok(bench)
    }

    fn snapshot(&mut self) -> Result<Snapshot, CliError> {
        let hold = tenure_workspace::Chunks::hold(&self.chunks).map_err(broken)?;
        let files = self.place.files().map_err(broken)?;
        let (base, limits) = (self.base, Limits::default());
        let taken = snapshot(&files, &self.chunks, &hold, base.as_ref(), &mut self.cache, &limits);
        let taken = taken.map_err(broken)?;
        self.base = Some(taken.root);
        Ok(taken)
    }

    fn median(&mut self, mut run: impl FnMut(&mut Self) -> Result<(), CliError>) -> Result<f64, CliError> {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let began = Instant::now();
            run(self)?;
            times.push(millis(began.elapsed()));
        }
        Ok(median(times))
    }

    /// The same with another file changed before each.
    fn changed(&mut self) -> Result<f64, CliError> {
        let mut times = Vec::new();
        for run in 0..RUNS {
            std::fs::write(self.plain.join("000/00/file-7.txt"), format!("change {run}"))?;
            let began = Instant::now();
            let taken = self.snapshot()?;
            times.push(millis(began.elapsed()));
            if !taken.changed {
                return Err(failed("a snapshot", "it does not see a change"));
            }
        }
        Ok(median(times))
    }
}

fn walk(at: &Path) -> Result<(), CliError> {
    for entry in std::fs::read_dir(at)? {
        let entry = entry?;
        if entry.metadata()?.is_dir() {
            walk(&entry.path())?;
        }
    }
    Ok(())
}

fn broken(error: tenure_workspace::Error) -> CliError {
    failed("a snapshot", error)
}
