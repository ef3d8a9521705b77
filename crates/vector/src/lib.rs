//! Vectors of texts, as they are kept: whole numbers of one byte with a scale.
//!
//! A vector says how alike texts are and nothing else, for which a byte a number is enough: the cosine of two changes
//! in its third digit. Comparing is whole-number arithmetic, so it has one result on every machine.

/// Numbers of a vector.
pub const VECTOR_NUMBERS_MAX: usize = 4_096;
/// Vectors of one episode.
pub const VECTORS_MAX: usize = 10;

/// Bytes of how many numbers each vector has, in front of all.
const COUNT_BYTES: usize = 2;
/// Bytes of a vector's scale, in front of its numbers.
const SCALE_BYTES: usize = 4;
/// What the largest number of a kept vector becomes.
const LARGEST: f32 = 127.0;
/// What the largest number of a question's vector becomes: it is not kept, and may be finer.
const LARGEST_ASKED: f32 = 32_767.0;
/// Products that are added before the sum could leave 32 bits.
const PRODUCTS_MAX: usize = 256;

/// The vectors of one episode, of one model: of all it says, of that with what was said right before it, and of its
/// sentences. The bytes on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vectors(Vec<u8>);

/// The vector of a question, to be compared with many.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedVector {
    scale: f32,
    numbers: Vec<i16>,
}

/// How alike a question and an episode are by their vectors: cosines.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Likeness {
    /// With all it says.
    pub whole: f32,
    /// With that and what was said right before it.
    pub window: f32,
    /// With its most similar sentence.
    pub sentence: f32,
}

impl Likeness {
    /// The most that any of them says.
    #[must_use]
    pub fn best(&self) -> f32 {
        self.whole.max(self.window).max(self.sentence)
    }
}

impl Vectors {
    /// Of vectors of length one: the first is of all an episode says, the second with what was said before it, the
    /// others of its sentences, if it has several.
    ///
    /// `None` unless there are 2 to [`VECTORS_MAX`], all of the same 1 to [`VECTOR_NUMBERS_MAX`] finite numbers.
    #[must_use]
    pub fn of(vectors: &[Vec<f32>]) -> Option<Self> {
        let count = vectors.first()?.len();
        let fits =
            |vector: &Vec<f32>| vector.len() == count && vector.iter().all(|number| number.is_finite());
        if !(2..=VECTORS_MAX).contains(&vectors.len())
            || !(1..=VECTOR_NUMBERS_MAX).contains(&count)
            || !vectors.iter().all(fits)
        {
            return None;
        }
        let mut bytes = u16::try_from(count).ok()?.to_le_bytes().to_vec();
        for vector in vectors {
            let scale = scale(vector, LARGEST);
            bytes.extend(scale.to_le_bytes());
            bytes.extend(vector.iter().map(|number| ((number / scale).round() as i8).cast_unsigned()));
        }
        Some(Self(bytes))
    }

    /// The bytes on disk.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What is on disk; `None` if that cannot be.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        parts(&bytes).map(drop).map(|()| Self(bytes))
    }

    /// How alike the question is; `None` if its vector has another length, and so is another model's.
    #[must_use]
    pub fn likeness(&self, asked: &AskedVector) -> Option<Likeness> {
        likeness(&self.0, asked)
    }

    /// What is left of them where only signs are kept, a bit for each number: a thirtieth of the bytes, by which
    /// [`Sketched`] tells what is worth comparing.
    #[must_use]
    pub fn sketch(&self) -> Vec<u8> {
        let Some((count, vectors)) = parts(&self.0) else { return Vec::new() };
        let signs = |numbers: &[u8]| {
            let bits = numbers.iter().enumerate();
            bits.fold(0, |bits, (place, number)| bits | u8::from(number.cast_signed() >= 0) << place)
        };
        let vectors = vectors.chunks_exact(SCALE_BYTES + count);
        vectors.flat_map(|vector| vector[SCALE_BYTES..].chunks(BITS).map(signs)).collect()
    }
}

/// Signs in a byte.
const BITS: usize = 8;
/// Bits of a question's number that a sketch is compared without, so that the sum of [`BITS`] fits into two bytes.
const COARSE_BITS: u32 = 4;

/// A question's vector, prepared for comparing it with many sketches.
#[derive(Debug, Clone)]
pub struct Sketched {
    /// For each byte of a vector's sketch, what each of its values stands for. In two bytes, of the question's numbers
    /// without their last bits: all of it stays near the processor.
    sums: Vec<[i16; 1 << BITS]>,
}

impl Sketched {
    /// Of a question's vector.
    #[must_use]
    pub fn of(asked: &AskedVector) -> Self {
        let sums = |numbers: &[i16]| {
            let mut sums = [0; 1 << BITS];
            for (bits, sum) in sums.iter_mut().enumerate() {
                let signed = numbers.iter().enumerate().map(|(place, number)| {
                    let coarse = number >> COARSE_BITS;
                    if bits >> place & 1 == 1 { coarse } else { -coarse }
                });
                *sum = signed.sum();
            }
            sums
        };
        Self { sums: asked.numbers.chunks(BITS).map(sums).collect() }
    }

    /// The likeness of the vector that is most alike, in no unit: of two sketches the one with more is likely more
    /// alike. `None` if it is no sketch of vectors of that length.
    #[must_use]
    pub fn likeness(&self, sketch: &[u8]) -> Option<i32> {
        let vectors = sketch.chunks_exact(self.sums.len());
        if !vectors.remainder().is_empty() {
            return None;
        }
        let of = |vector: &[u8]| {
            self.sums.iter().zip(vector).map(|(sums, bits)| i32::from(sums[usize::from(*bits)])).sum::<i32>()
        };
        vectors.map(of).max()
    }
}

/// As [`Vectors::likeness`], of bytes that were not copied. `None` also if they cannot be vectors.
#[must_use]
pub fn likeness(bytes: &[u8], asked: &AskedVector) -> Option<Likeness> {
    let (count, vectors) = parts(bytes)?;
    if count != asked.numbers.len() {
        return None;
    }
    let mut cosines = vectors.chunks_exact(SCALE_BYTES + count).map(|vector| asked.cosine(vector));
    let (whole, window) = (cosines.next()?, cosines.next()?);
    Some(Likeness { whole, window, sentence: cosines.fold(whole, f32::max) })
}

/// How many numbers each vector has, and the vectors.
fn parts(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, vectors) = bytes.split_first_chunk::<COUNT_BYTES>()?;
    let count = usize::from(u16::from_le_bytes(*count));
    let each = SCALE_BYTES + count;
    let many = vectors.len() / each;
    let fits = (1..=VECTOR_NUMBERS_MAX).contains(&count)
        && (2..=VECTORS_MAX).contains(&many)
        && vectors.len() == many * each;
    fits.then_some((count, vectors))
}

impl AskedVector {
    /// `None` unless it has 1 to [`VECTOR_NUMBERS_MAX`] finite numbers.
    #[must_use]
    pub fn of(vector: &[f32]) -> Option<Self> {
        let fits = (1..=VECTOR_NUMBERS_MAX).contains(&vector.len()) && vector.iter().all(|n| n.is_finite());
        let scale = scale(vector, LARGEST_ASKED);
        fits.then(|| Self { scale, numbers: vector.iter().map(|n| (n / scale).round() as i16).collect() })
    }

    /// Its numbers, each to about five digits.
    #[must_use]
    pub fn numbers(&self) -> Vec<f32> {
        self.numbers.iter().map(|number| f32::from(*number) * self.scale).collect()
    }

    /// With a vector as it is kept: its scale and as many numbers.
    fn cosine(&self, vector: &[u8]) -> f32 {
        let Some((scale, numbers)) = vector.split_first_chunk::<SCALE_BYTES>() else { return 0.0 };
        let parts = self.numbers.chunks(PRODUCTS_MAX).zip(numbers.chunks(PRODUCTS_MAX));
        let sum: i64 = parts.map(|(asked, kept)| i64::from(product(asked, kept))).sum();
        let cosine = sum as f32 * self.scale * f32::from_le_bytes(*scale);
        if cosine.is_finite() { cosine } else { 0.0 }
    }
}

fn product(asked: &[i16], kept: &[u8]) -> i32 {
    let products =
        asked.iter().zip(kept).map(|(asked, kept)| i32::from(*asked) * i32::from(kept.cast_signed()));
    products.sum()
}

/// What one step stands for where the largest number is to become `largest`.
fn scale(vector: &[f32], largest: f32) -> f32 {
    let most = vector.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    (most / largest).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let vector: Vec<f32> = (0..count).map(|_| next()).collect();
        let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
        vector.into_iter().map(|number| number / length).collect()
    }

    fn cosine(one: &[f32], other: &[f32]) -> f32 {
        one.iter().zip(other).map(|(one, other)| one * other).sum()
    }

    #[test]
    fn kept_vectors_say_what_they_said() {
        for count in [1, 7, 384, 1_024, VECTOR_NUMBERS_MAX] {
            let vectors: Vec<Vec<f32>> = (0..5).map(|seed| unit(seed, count)).collect();
            let asked = unit(99, count);
            let kept = Vectors::of(&vectors).expect("vectors");
            let found = kept.likeness(&AskedVector::of(&asked).expect("a vector")).expect("of that length");
            let expected: Vec<f32> = vectors.iter().map(|vector| cosine(vector, &asked)).collect();
            let sentence =
                [expected[0], expected[2], expected[3], expected[4]].into_iter().fold(-1.0, f32::max);
            for (found, expected) in
                [(found.whole, expected[0]), (found.window, expected[1]), (found.sentence, sentence)]
            {
                assert!((found - expected).abs() < 0.01, "{count}: {found} {expected}");
            }
            let again = Vectors::from_bytes(kept.as_bytes().to_vec());
            assert_eq!(again, Some(kept));
        }
    }

    #[test]
    fn sketches_tell_what_is_alike() {
        for count in [12, 384, VECTOR_NUMBERS_MAX] {
            let asked = unit(99, count);
            let sketched = Sketched::of(&AskedVector::of(&asked).expect("a vector"));
            let near: Vec<f32> =
                asked.iter().zip(unit(5, count)).map(|(one, other)| 0.8 * one + 0.2 * other).collect();
            let sketch =
                |vector: &Vec<f32>| Vectors::of(&[unit(7, count), vector.clone()]).expect("vectors").sketch();
            let (alike, other) = (sketch(&near), sketch(&unit(8, count)));
            assert_eq!(alike.len(), 2 * count.div_ceil(8));
            assert!(sketched.likeness(&alike) > sketched.likeness(&other), "{count}");
            assert_eq!(sketched.likeness(&alike[1..]), None, "of vectors of another length");
        }
        let ones = AskedVector::of(&vec![1.0; VECTOR_NUMBERS_MAX]).expect("a vector");
        let kept = Vectors::of(&vec![vec![1.0; VECTOR_NUMBERS_MAX]; 2]).expect("vectors");
        let most = i32::from(i16::MAX >> COARSE_BITS) * VECTOR_NUMBERS_MAX as i32;
        assert_eq!(Sketched::of(&ones).likeness(&kept.sketch()), Some(most), "it fits");
        assert_eq!(Sketched::of(&ones).likeness(&[]), None);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let ones = vec![1.0; VECTOR_NUMBERS_MAX];
        let kept = Vectors::of(&[ones.clone(), ones.clone()]).expect("vectors");
        let found = kept.likeness(&AskedVector::of(&ones).expect("a vector")).expect("of that length");
        assert!((found.whole - VECTOR_NUMBERS_MAX as f32).abs() < 1.0, "{found:?}");
        let zeros = vec![0.0; 3];
        let kept = Vectors::of(&[zeros.clone(), zeros.clone()]).expect("vectors");
        assert_eq!(kept.likeness(&AskedVector::of(&zeros).expect("a vector")), Some(Likeness::default()));
    }

    #[test]
    fn what_cannot_be_vectors_is_none() {
        let one = vec![1.0, 0.0];
        for vectors in [
            vec![],
            vec![one.clone()],
            vec![one.clone(), vec![1.0]],
            vec![vec![], vec![]],
            vec![one.clone(), vec![f32::NAN, 0.0]],
            vec![one.clone(); VECTORS_MAX + 1],
            vec![vec![0.0; VECTOR_NUMBERS_MAX + 1]; 2],
        ] {
            assert_eq!(Vectors::of(&vectors), None, "{} vectors", vectors.len());
        }
        let kept = Vectors::of(&[one.clone(), one]).expect("vectors");
        for end in 0..kept.as_bytes().len() {
            assert_eq!(Vectors::from_bytes(kept.as_bytes()[..end].to_vec()), None, "cut off at {end}");
        }
        let other = AskedVector::of(&[1.0, 0.0, 0.0]).expect("a vector");
        assert_eq!(kept.likeness(&other), None, "another model's");
        assert_eq!(AskedVector::of(&[]), None);
    }
}
