//! Where a file is cut into chunks.
//!
//! A file of up to [`SMALL_BYTES_MAX`] is one chunk. A larger one is cut where its content says so, after
//! FastCDC (Xia et al., USENIX ATC 2016) without its two masks: a rolling sum of the last 64 bytes decides,
//! so that an insertion moves the cuts with the content and only the chunks around it are new. Chunks of a
//! fixed size would all be new from an insertion to the end of the file. The price is the time of the rolling
//! sum; docs/workspace.md has both as measured.

/// Files up to this size are one chunk: most files of a source tree, and no list of chunks to read for them.
pub(crate) const SMALL_BYTES_MAX: usize = 64 * 1024;

/// No cut before: a bound on how many chunks a file can have, whatever it holds.
pub(crate) const CHUNK_BYTES_MIN: usize = 16 * 1024;

/// Bytes between cuts on average, beyond the smallest: a power of two.
const CHUNK_BYTES_AVERAGE: u64 = 64 * 1024;

/// No chunk is larger: the memory that reading one takes.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

const _: () = assert!(SMALL_BYTES_MAX <= CHUNK_BYTES_MAX && CHUNK_BYTES_AVERAGE.is_power_of_two());

/// The upper bits: they depend on all of the last 64 bytes.
const MASK: u64 = (CHUNK_BYTES_AVERAGE - 1) << 48;

/// Bytes of the first chunk of `bytes`, which is the whole rest of the file or at least
/// [`CHUNK_BYTES_MAX`] of it.
pub(crate) fn cut(bytes: &[u8]) -> usize {
    let end = bytes.len().min(CHUNK_BYTES_MAX);
    if end <= CHUNK_BYTES_MIN {
        return end;
    }
    let mut sum = 0u64;
    for (at, byte) in bytes[..end].iter().enumerate().skip(CHUNK_BYTES_MIN - 64) {
        sum = (sum << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if at >= CHUNK_BYTES_MIN && sum & MASK == 0 {
            return at + 1;
        }
    }
    end
}

/// A random number for each byte value. Changing one changes where every large file is cut: nothing breaks,
/// and nothing is shared with earlier snapshots any more.
const GEAR: [u64; 256] = gear();

/// SplitMix64 from a fixed seed.
const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = 0x7465_6e75_7265_0001_u64;
    let mut at = 0;
    while at < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = word ^ (word >> 31);
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (chunk, rest) = bytes.split_at(cut(bytes));
            chunks.push(chunk);
            bytes = rest;
        }
        chunks
    }

    #[test]
    fn chunks_are_within_their_bounds_and_of_the_expected_size() {
        let bytes: Vec<u8> = {
            let mut random = fastrand::Rng::with_seed(1);
            (0..8 << 20).map(|_| random.u8(..)).collect()
        };
        let chunks = chunks(&bytes);
        assert_eq!(chunks.concat(), bytes);
        let (last, others) = chunks.split_last().expect("there are some");
        assert!(last.len() <= CHUNK_BYTES_MAX);
        assert!(others.iter().all(|chunk| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk.len())));
        let average = bytes.len() / chunks.len();
        assert!((60 << 10..100 << 10).contains(&average), "{average} bytes on average");
    }

    #[test]
    fn an_insertion_changes_few_chunks() {
        let mut random = fastrand::Rng::with_seed(2);
        let before: Vec<u8> = (0..4 << 20).map(|_| random.u8(..)).collect();
        let mut after = before.clone();
        after.splice(1 << 20..1 << 20, *b"inserted");
        let known: std::collections::HashSet<&[u8]> = chunks(&before).into_iter().collect();
        let new = chunks(&after).into_iter().filter(|chunk| !known.contains(chunk)).count();
        assert!((1..=3).contains(&new), "{new} chunks are new");
    }

    /// A file of one byte repeated has no place to cut, and no rolling sum may make it many small chunks.
    #[test]
    fn monotony_is_cut_at_the_largest_size() {
        for byte in [0, b' ', 0xff] {
            let lengths: Vec<usize> = chunks(&vec![byte; 1 << 20]).iter().map(|chunk| chunk.len()).collect();
            assert!(lengths.iter().all(|length| *length >= CHUNK_BYTES_MIN), "{lengths:?}");
            assert!(lengths.len() <= 64);
        }
    }
}
