//! The safetensors format: a little-endian length, a JSON table of tensors, their bytes.
//!
//! <https://github.com/huggingface/safetensors#format>. Read whole from memory; every range is checked before a tensor
//! can be asked for, so that a tensor that exists can be read.

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::Flaw;

/// Bytes of the table of a file; that of a hundred layers has a tenth.
const TABLE_BYTES_MAX: usize = 16 << 20;
/// Bytes of the length in front of the table.
const LENGTH_BYTES: usize = 8;

/// The tensors of a file.
#[derive(Debug)]
pub struct Tensors<'a> {
    entries: HashMap<String, Tensor<'a>>,
}

/// One tensor: rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<'a> {
    /// How the numbers are stored.
    pub dtype: DType,
    /// How many in each dimension, the outermost first.
    pub shape: Vec<usize>,
    bytes: &'a [u8],
}

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 16 bits.
    F16,
    /// The upper half of 32 bits.
    BF16,
    /// Anything else: of no interest here, and never read.
    Other,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl<'a> Tensors<'a> {
    /// Reads the table of a file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        Self::read(bytes).map_err(|flaw| flaw.to_string())
    }

    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let short = || Flaw::malformed("it is shorter than its table of tensors says");
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
        if length > TABLE_BYTES_MAX {
            let what = format!("its table of tensors has {length} bytes; at most {TABLE_BYTES_MAX} are read");
            return Err(Flaw::malformed(what));
        }
        let (table, data) = rest.split_at_checked(length).ok_or_else(short)?;
        let table: HashMap<String, serde_json::Value> =
            serde_json::from_slice(table).map_err(|error| Flaw::malformed(format!("its table: {error}")))?;
        let named = table.into_iter().filter(|(name, _)| name != "__metadata__");
        let entries = named.map(|(name, entry)| {
            let tensor =
                tensor(entry, data).map_err(|what| Flaw::malformed(format!("tensor `{name}`: {what}")))?;
            Ok((name, tensor))
        });
        Ok(Self { entries: entries.collect::<Result<_, Flaw>>()? })
    }

    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'a>> {
        self.entries.get(name)
    }

    /// The names of all tensors, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

fn tensor(entry: serde_json::Value, data: &[u8]) -> Result<Tensor<'_>, String> {
    let Entry { dtype, shape, data_offsets: (from, until) } =
        serde_json::from_value(entry).map_err(|error| error.to_string())?;
    let bytes = data.get(from..until);
    let bytes = bytes.ok_or_else(|| format!("its bytes {from} to {until} are not in the file"))?;
    let dtype = match dtype.as_str() {
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        _ => DType::Other,
    };
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let needed = dtype.bytes().map(|each| count.and_then(|count| count.checked_mul(each)));
    if needed.is_some_and(|needed| needed != Some(bytes.len())) {
        return Err(format!("{} bytes are not {shape:?} numbers of {dtype:?}", bytes.len()));
    }
    Ok(Tensor { dtype, shape, bytes })
}

impl DType {
    /// Bytes of one number.
    fn bytes(self) -> Option<usize> {
        match self {
            Self::F32 => Some(4),
            Self::F16 | Self::BF16 => Some(2),
            Self::Other => None,
        }
    }
}

impl Tensor<'_> {
    /// The numbers in the order of the file, which is row by row; `None` if they are no floating-point numbers.
    #[must_use]
    pub fn numbers(&self) -> Option<Vec<f32>> {
        let words = || self.bytes.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word));
        match self.dtype {
            DType::F32 => {
                Some(self.bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect())
            }
            DType::F16 => Some(words().map(half).collect()),
            DType::BF16 => Some(words().map(|word| f32::from_bits(u32::from(word) << 16)).collect()),
            DType::Other => None,
        }
    }
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f32::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * fraction * 2_f32.powi(-24),
        0x1f if fraction == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        exponent => sign * (1.0 + fraction / 1024.0) * 2_f32.powi(i32::from(exponent) - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        for (bits, expected) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), expected, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
    }
}
