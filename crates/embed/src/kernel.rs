//! The few loops in which all the time goes: products of matrices with the vectors of the processor at hand, the others
//! in the shape in which compilers vectorise them.
//!
//! No sum is ever reordered: products are added one after the other, or in [`LANES`] columns that are then added from
//! the first to the last, whatever the processor. `a * b + c` is two operations here and never a fused one, which
//! would round differently where there is none. `exp` is written out because every system has its own.

use std::ops::Range;

use pulp::{Simd, WithSimd};

/// Columns in which a long sum is made.
const LANES: usize = 16;
/// Outputs whose weights stand together: one or two registers of what there is, or two times as many.
const WIDTH: usize = 32;
/// Rows that share what was loaded of the weights: their sums, and little else, fit into registers.
const ROWS: usize = 6;
const _: () = assert!(ROWS == 6, "every smaller number of rows has a function of its own in `Applied`");

/// A matrix of weights with what is added, laid out for [`Linear::apply`].
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    inputs: usize,
    outputs: usize,
    /// Panels of [`WIDTH`] outputs: for each input, its weight in each of them. The last is filled up with zeros.
    panels: Vec<[f32; WIDTH]>,
    bias: Vec<f32>,
}

impl Linear {
    /// `weights` has a row of `inputs` for each output.
    pub(crate) fn new(inputs: usize, weights: &[f32], bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        assert_eq!(weights.len(), inputs * outputs, "shapes are checked where tensors are read");
        let mut panels = vec![[0.0; WIDTH]; outputs.div_ceil(WIDTH) * inputs];
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            let panel = &mut panels[output / WIDTH * inputs..][..inputs];
            for (column, weight) in panel.iter_mut().zip(row) {
                column[output % WIDTH] = *weight;
            }
        }
        Self { inputs, outputs, panels, bias }
    }

    /// Rows of `inputs` numbers to rows of `outputs`.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, simd: S, from: &[f32], to: &mut Vec<f32>) {
        simd.vectorize(Applied { linear: self, from, to });
    }

    /// Some rows, `R` at a time that stand interleaved, to the outputs of one panel.
    #[inline(always)]
    fn panel<S: Simd, const R: usize>(&self, simd: S, number: usize, from: &[f32], to: &mut [f32]) {
        let panel = &self.panels[number * self.inputs..][..self.inputs];
        let (from, _) = from.as_chunks::<R>();
        let mut sums = [[0.0; WIDTH]; R];
        // As many of a processor's vectors at once as leave registers for the rest.
        match S::F32_LANES {
            16 | 8 => products::<S, R, 2>(simd, panel, from, &mut sums),
            4 => products::<S, R, 4>(simd, panel, from, &mut sums),
            _ => plain_products(panel, from, &mut sums),
        }
        let first = number * WIDTH;
        let bias = &self.bias[first..self.outputs.min(first + WIDTH)];
        for (row, sums) in to.chunks_exact_mut(self.outputs).zip(&sums) {
            for ((to, sum), bias) in row[first..].iter_mut().zip(sums).zip(bias) {
                *to = sum + bias;
            }
        }
    }
}

/// Rows on their way through a matrix: a function of its own for each kind of processor, so that the products are
/// compiled once for each.
struct Applied<'a> {
    linear: &'a Linear,
    from: &'a [f32],
    to: &'a mut Vec<f32>,
}

impl WithSimd for Applied<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { linear, from, to } = self;
        let (inputs, outputs) = (linear.inputs, linear.outputs);
        let rows = from.len() / inputs;
        to.clear();
        to.resize(rows * outputs, 0.0);
        // As even as they come: a row alone takes nearly as long as several.
        let count = rows.div_ceil(ROWS);
        let block = |number: usize| number * rows / count..(number + 1) * rows / count;
        let blocks: Vec<Range<usize>> = (0..count).map(block).collect();
        let mut interleaved = vec![0.0; from.len()];
        for block in &blocks {
            let places = block.start * inputs..block.end * inputs;
            let (from, to) = (&from[places.clone()], &mut interleaved[places]);
            let rows = block.len();
            for row in 0..rows {
                let from = &from[row * inputs..][..inputs];
                for input in 0..inputs {
                    to[input * rows + row] = from[input];
                }
            }
        }
        for number in 0..linear.panels.len() / inputs {
            for block in &blocks {
                let from = &interleaved[block.start * inputs..block.end * inputs];
                let to = &mut to[block.start * outputs..block.end * outputs];
                match block.len() {
                    1 => linear.panel::<S, 1>(simd, number, from, to),
                    2 => linear.panel::<S, 2>(simd, number, from, to),
                    3 => linear.panel::<S, 3>(simd, number, from, to),
                    4 => linear.panel::<S, 4>(simd, number, from, to),
                    5 => linear.panel::<S, 5>(simd, number, from, to),
                    _ => linear.panel::<S, ROWS>(simd, number, from, to),
                }
            }
        }
    }
}

/// What `R` rows make of the weights of a panel, `N` vectors of the processor at a time.
#[inline(always)]
fn products<S: Simd, const R: usize, const N: usize>(
    simd: S,
    panel: &[[f32; WIDTH]],
    from: &[[f32; R]],
    sums: &mut [[f32; WIDTH]; R],
) {
    for part in 0..WIDTH / S::F32_LANES / N {
        let mut found = [[simd.splat_f32s(0.0); N]; R];
        // By places in arrays, of which all is known: a check that could fail would send the sums through memory.
        for (weights, values) in panel.iter().zip(from) {
            let weights = &S::as_simd_f32s(weights).0.as_chunks::<N>().0[part];
            for row in 0..R {
                let value = simd.splat_f32s(values[row]);
                for vector in 0..N {
                    let product = simd.mul_f32s(value, weights[vector]);
                    found[row][vector] = simd.add_f32s(found[row][vector], product);
                }
            }
        }
        for row in 0..R {
            S::as_mut_simd_f32s(&mut sums[row]).0.as_chunks_mut::<N>().0[part] = found[row];
        }
    }
}

/// The same where the processor is not known to have any.
#[inline(always)]
fn plain_products<const R: usize>(panel: &[[f32; WIDTH]], from: &[[f32; R]], sums: &mut [[f32; WIDTH]; R]) {
    for (weights, values) in panel.iter().zip(from) {
        for (sums, value) in sums.iter_mut().zip(values) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
    }
}

/// Adds `factor` times each number to that at its place.
#[inline(always)]
pub(crate) fn add_scaled<S: Simd>(simd: S, to: &mut [f32], from: &[f32], factor: f32) {
    let factors = simd.splat_f32s(factor);
    let length = to.len().min(from.len());
    let (to, to_rest) = S::as_mut_simd_f32s(&mut to[..length]);
    let (from, from_rest) = S::as_simd_f32s(&from[..length]);
    for place in 0..to.len() {
        to[place] = simd.add_f32s(to[place], simd.mul_f32s(factors, from[place]));
    }
    for place in 0..to_rest.len() {
        to_rest[place] += factor * from_rest[place];
    }
}

/// Brings each row to mean 0 and variance 1, then scales and shifts it by column.
#[inline(always)]
pub(crate) fn layer_norm(rows: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    let count = scale.len() as f32;
    for row in rows.chunks_exact_mut(scale.len()) {
        let mean = sum(row, |value| value) / count;
        let variance = sum(row, |value| (value - mean) * (value - mean)) / count;
        let factor = 1.0 / (variance + epsilon).sqrt();
        for ((value, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
            *value = (*value - mean) * factor * scale + shift;
        }
    }
}

/// The sum of a function of each number.
#[inline(always)]
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    let whole = lanes.iter().fold(0.0, |sum, lane| sum + lane);
    rest.iter().fold(whole, |sum, value| sum + of(*value))
}

/// `x Φ(x)`, with the error function itself and not its common approximation by a hyperbolic tangent.
#[inline(always)]
pub(crate) fn gelu(values: &mut [f32]) {
    for value in values {
        *value = 0.5 * *value * (1.0 + erf(*value * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// Abramowitz and Stegun, 7.1.26; off by less than 2e-7.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * magnitude);
    let curve =
        ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_72) * t + 0.254_829_6) * t;
    let value = 1.0 - curve * exp(-magnitude * magnitude);
    value.copysign(x)
}

/// Turns each row of `columns` numbers into parts of one.
#[inline(always)]
pub(crate) fn softmax(rows: &mut [f32], columns: usize) {
    for row in rows.chunks_exact_mut(columns) {
        let largest = row.iter().fold(f32::MIN, |largest, value| largest.max(*value));
        for value in row.iter_mut() {
            *value = exp(*value - largest);
        }
        let whole = sum(row, |value| value);
        for value in row.iter_mut() {
            *value /= whole;
        }
    }
}

/// `e` to the power of `x`, for `x` up to 88; off by two units in the last place. 0 far below.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest whole number in the lowest bits of a number's fraction.
    const ROUNDER: f32 = 12_582_912.0;
    /// The parts of ln 2, so that whole multiples of it are taken off without loss. Cephes, `expf`.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = rounded - ROUNDER;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let curve = ((((1.987_569_1e-4 * rest + 1.398_2e-3) * rest + 8.333_452e-3) * rest + 4.166_579_6e-2)
        * rest
        + 1.666_666_5e-1)
        * rest
        + 0.5;
    let fraction = curve * rest * rest + rest + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23;
    fraction * f32::from_bits(exponent)
}

/// Scales a vector to length one; one of zeros stays.
#[inline(always)]
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = sum(vector, |value| value * value).sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, Scalar};

    use super::*;

    struct Both<'a> {
        linear: &'a Linear,
        from: &'a [f32],
    }

    impl WithSimd for Both<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut to = Vec::new();
            self.linear.apply(simd, self.from, &mut to);
            add_scaled(simd, &mut to, self.from, 0.3);
            to
        }
    }

    #[test]
    fn every_processor_finds_the_same() {
        let mut random = fastrand::Rng::with_seed(2);
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 7, 31), (6, 8, 32), (13, 33, 70), (20, 384, 96)] {
            let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| random.f32() - 0.5).collect() };
            let (from, weights, bias) = (numbers(rows * inputs), numbers(inputs * outputs), numbers(outputs));
            let linear = Linear::new(inputs, &weights, bias);
            let applied = || Both { linear: &linear, from: &from };
            let bits = |numbers: Vec<f32>| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let (plain, here) = (applied().with_simd(Scalar), Arch::new().dispatch(applied()));
            assert_eq!(bits(plain), bits(here), "{rows} {inputs} {outputs}");
        }
    }

    #[test]
    fn exp_is_exp() {
        for step in -8_700..8_800 {
            let x = step as f32 / 100.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 3e-7, "{x}: {found} {expected}");
        }
        assert!(exp(-1e9) < 1e-37);
    }

    #[test]
    fn products_are_products_whatever_the_shape() {
        let mut random = fastrand::Rng::with_seed(1);
        let shapes = [(1, 1, 1), (3, 5, 31), (4, 8, 32), (9, 33, 70)];
        let any_rows = (1..=2 * ROWS + 1).map(|rows| (rows, 9, 40));
        for (rows, inputs, outputs) in shapes.into_iter().chain(any_rows) {
            let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| random.f32() - 0.5).collect() };
            let (from, weights, bias) = (numbers(rows * inputs), numbers(inputs * outputs), numbers(outputs));
            let linear = Linear::new(inputs, &weights, bias.clone());
            let mut found = Vec::new();
            linear.apply(Scalar, &from, &mut found);
            for row in 0..rows {
                for output in 0..outputs {
                    let product = |input: usize| {
                        f64::from(from[row * inputs + input]) * f64::from(weights[output * inputs + input])
                    };
                    let expected = (0..inputs).map(product).sum::<f64>() + f64::from(bias[output]);
                    let found = f64::from(found[row * outputs + output]);
                    assert!((found - expected).abs() < 1e-5, "{rows} {inputs} {outputs}: {found} {expected}");
                }
            }
        }
    }
}
