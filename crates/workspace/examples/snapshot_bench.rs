//! How long snapshots, restores and forks take, each beside a bare loop over the same files in the same run.
//!
//! ```sh
//! cargo run --release -p tenure-workspace --example snapshot_bench [directory] [runs] [files]
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tenure_workspace::{
    Chunks, Digest, DirectoryChunks, FilePath, Limits, MemoryChunks, Place, StatCache, diff, restore,
    snapshot,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let at = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let runs: usize = arguments.next().map_or(Ok(9), |runs| runs.parse())?;
    let sizes = arguments.next().map_or(Ok(31_000), |files| files.parse())?;
    for files in [50, sizes] {
        tree(&at, files, runs)?;
    }
    chunking(&at)
}

struct Bench {
    place: Place,
    plain: PathBuf,
    cache: StatCache,
    base: Option<Digest>,
}

impl Bench {
    fn snapshot(&mut self, chunks: &dyn Chunks) -> Result<tenure_workspace::Snapshot, Failure> {
        let hold = chunks.hold()?;
        let files = self.place.files()?;
        let taken = snapshot(&files, chunks, &hold, self.base.as_ref(), &mut self.cache, &Limits::default())?;
        self.base = Some(taken.root);
        Ok(taken)
    }
}

/// Files of 200 to 8,000 bytes, a hundred to a directory, as in a source tree.
fn fill(root: &Path, files: usize) -> Result<(), Failure> {
    let mut random = fastrand::Rng::with_seed(files as u64);
    for index in 0..files {
        let directory = root.join(format!("{:03}", index / 1000)).join(format!("{:02}", index / 100 % 10));
        fs::create_dir_all(&directory)?;
        let bytes: Vec<u8> = (0..random.usize(200..8000)).map(|_| random.u8(b' '..b'z')).collect();
        fs::write(directory.join(format!("file-{index}.txt")), bytes)?;
    }
    Ok(())
}

fn tree(at: &Path, files: usize, runs: usize) -> Result<(), Failure> {
    let temp = tempfile::tempdir_in(at)?;
    let place = Place::open(&temp.path().join("place"))?;
    let plain = temp.path().join("place/files");
    fill(&plain, files)?;
    let mut bench = Bench { place, plain, cache: StatCache::default(), base: None };
    let memory = MemoryChunks::new();
    let disk = DirectoryChunks::open(&temp.path().join("chunks"))?;
    println!("{files} files");
    settle();

    report("  bare walk with a stat of each", runs, || {
        assert_eq!(walk(&bench.plain)?, files);
        Ok(())
    })?;
    report("  bare walk with a read of each", runs, || read_all(&bench.plain).map(drop))?;
    report("  first snapshot, chunks in memory", runs, || {
        (bench.cache, bench.base) = (StatCache::default(), None);
        bench.snapshot(&MemoryChunks::new()).map(drop)
    })?;
    bench.snapshot(&disk)?;
    bench.base = None;
    bench.snapshot(&memory)?;
    let root = bench.base.ok_or("there is a snapshot")?;
    report("  unchanged", runs, || {
        let taken = bench.snapshot(&memory)?;
        assert_eq!((taken.read, taken.changed), (0, false));
        Ok(())
    })?;
    let mut count = 0;
    let mut change = |bench: &mut Bench, chunks: &dyn Chunks| {
        count += 1;
        fs::write(bench.plain.join("000/00/file-7.txt"), format!("change {count}"))?;
        let begun = Instant::now();
        let taken = bench.snapshot(chunks)?;
        assert!(taken.changed && taken.new.len() == 4, "a chunk and three directories");
        Ok::<_, Failure>(begun.elapsed())
    };
    report_times("  one changed, chunks in memory", runs, || change(&mut bench, &memory))?;
    report_times("  one changed, four chunks synced to disk", runs, || change(&mut bench, &disk))?;
    // So that the last root is in memory, too.
    change(&mut bench, &memory)?;
    report("  bare write and sync of four small files", runs, || synced(temp.path(), 4))?;
    report("  fork: another name for the root", runs, || {
        let fork = root;
        assert_eq!(fork, root);
        Ok(())
    })?;
    report("  diff of one change", runs, || {
        let changed = bench.base.ok_or("there is one")?;
        assert_eq!(diff(&root, &changed, &memory, &Limits::default(), 100)?.changes.len(), 1);
        Ok(())
    })?;
    report("  restore", runs.min(3), || {
        restore(&root, &memory, &bench.place, &Limits::default())?;
        Ok(())
    })?;
    report("  bare write of the same files", runs.min(3), || {
        let again = tempfile::tempdir_in(temp.path())?;
        fill(again.path(), files)
    })?;
    report("  cache saved and loaded", runs, || {
        bench.place.save_cache(&bench.cache)?;
        assert!(bench.place.load_cache()?.root().is_some());
        Ok(())
    })?;
    report("  remove everything", 1, || {
        for found in bench.place.files()?.list(&FilePath::root(), None, 1000)?.found {
            bench.place.files()?.remove(&found.path)?;
        }
        Ok(())
    })
}

/// New bytes after usual changes of a file of 4 MiB: cut by content, and what cutting at every 64 KiB would be.
fn chunking(at: &Path) -> Result<(), Failure> {
    let mut random = fastrand::Rng::with_seed(5);
    let text: Vec<u8> = (0..4 << 20).map(|_| random.u8(b' '..b'z')).collect();
    let mut insert = text.clone();
    insert.splice(1 << 20..1 << 20, *b"one more line\n");
    let mut append = text.clone();
    append.extend(*b"one more line\n");
    let mut page = text.clone();
    page[2 << 20..(2 << 20) + 4096].fill(b'x');
    println!("new KiB after a change of a file of 4 MiB: by content, at every 64 KiB");
    for (name, changed) in [("insert a line", insert), ("append a line", append), ("overwrite a page", page)]
    {
        let temp = tempfile::tempdir_in(at)?;
        let place = Place::open(&temp.path().join("place"))?;
        let plain = temp.path().join("place/files");
        let mut bench = Bench { place, plain, cache: StatCache::default(), base: None };
        let chunks = MemoryChunks::new();
        fs::write(bench.plain.join("large"), &text)?;
        bench.snapshot(&chunks)?;
        fs::write(bench.plain.join("large"), &changed)?;
        let begun = Instant::now();
        let taken = bench.snapshot(&chunks)?;
        let time = begun.elapsed();
        let known: std::collections::HashSet<&[u8]> = text.chunks(64 << 10).collect();
        let fixed: usize =
            changed.chunks(64 << 10).filter(|chunk| !known.contains(chunk)).map(<[u8]>::len).sum();
        println!("  {name:<38} {:>6} {:>6}   in {time:.1?}", taken.new_bytes >> 10, fixed >> 10);
    }
    let begun = Instant::now();
    std::hint::black_box(Digest::of(&text));
    println!("  bare BLAKE3 of the same bytes in {:.1?}", begun.elapsed());
    Ok(())
}

/// Until no file is so young that the cache would read it again.
fn settle() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(200) {
        std::thread::yield_now();
    }
}

fn walk(at: &Path) -> Result<usize, Failure> {
    let mut files = 0;
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        if entry.metadata()?.is_dir() {
            files += walk(&entry.path())?;
        } else {
            files += 1;
        }
    }
    Ok(files)
}

fn read_all(at: &Path) -> Result<usize, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            read_all(&entry.path())?
        } else {
            fs::read(entry.path())?.len()
        };
    }
    Ok(bytes)
}

fn synced(at: &Path, files: usize) -> Result<(), Failure> {
    for index in 0..files {
        let path = at.join(format!("synced-{index}"));
        fs::write(&path, "small")?;
        fs::File::open(&path)?.sync_all()?;
    }
    Ok(fs::File::open(at)?.sync_all()?)
}

fn report(name: &str, runs: usize, mut run: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    report_times(name, runs, || {
        let begun = Instant::now();
        run()?;
        Ok(begun.elapsed())
    })
}

fn report_times(
    name: &str,
    runs: usize,
    mut run: impl FnMut() -> Result<Duration, Failure>,
) -> Result<(), Failure> {
    let mut times = (0..runs).map(|_| run()).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    println!("{name:<44} {:>10.2?} median, {:>10.2?} best", times[times.len() / 2], times[0]);
    Ok(())
}
