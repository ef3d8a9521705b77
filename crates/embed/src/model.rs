//! A model: a directory that was read.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use pulp::{Simd, WithSimd};

use crate::bert::Encoder;
use crate::config::{self, Config, Pooling};
use crate::error::{Flaw, ModelError};
use crate::kernel;
use crate::safetensors::Tensors;
use crate::tokenizer::{Casing, Tokenizer};

/// Tokens that go through the products together: enough that the weights are read from memory once for many.
const TOKENS_TOGETHER: usize = 256;
/// Tokens of a text that count where no file says how many.
const TOKENS_MAX: usize = 256;
/// Hexadecimal digits of a model's fingerprint in its name: 48 bits, to tell apart what one person put there.
const FINGERPRINT_CHARS: usize = 12;
/// Bytes of a file; a model of that size would take a second for each text.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// A sentence encoder, ready to run. Cheap to share behind an [`std::sync::Arc`].
#[derive(Debug)]
pub struct Model {
    name: String,
    tokenizer: Tokenizer,
    encoder: Encoder,
    pooling: Pooling,
    tokens_max: usize,
}

impl Model {
    /// Reads the model in a directory. Takes as long as reading its weights, and about twice their memory while it
    /// does.
    ///
    /// # Errors
    /// A file is missing, is not in its format, or says that the model is of a kind that is not run here; the error
    /// names the file and the field.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let mut reader = Reader { directory, hasher: blake3::Hasher::new() };
        let (file, bytes) = reader.required("config.json")?;
        let config = Config::parse(&bytes).map_err(|flaw| flaw.of(&file))?;
        let (tokenizer_file, tokenizer) = reader.tokenizer()?;
        if tokenizer.pieces() > config.vocabulary {
            let (pieces, vocabulary) = (tokenizer.pieces(), config.vocabulary);
            let what = format!(
                "it has pieces up to number {pieces}, and `vocab_size` in `config.json` is {vocabulary}"
            );
            return Err(Flaw::malformed(what).of(&tokenizer_file));
        }
        let pooling = match reader.optional("1_Pooling/config.json")? {
            Some((file, bytes)) => Pooling::parse(&bytes).map_err(|flaw| flaw.of(&file))?,
            None => Pooling::Mean,
        };
        let tokens_max = match reader.optional("sentence_bert_config.json")? {
            Some((file, bytes)) => config::tokens_max(&bytes).map_err(|flaw| flaw.of(&file))?,
            None => TOKENS_MAX,
        };
        let (file, bytes) = reader.required("model.safetensors")?;
        let tensors = Tensors::read(&bytes).map_err(|flaw| flaw.of(&file))?;
        let encoder = Encoder::read(&config, &tensors).map_err(|flaw| flaw.of(&file))?;
        let tokens_max = tokens_max.min(config.positions);
        Ok(Self { name: reader.name(), tokenizer, encoder, pooling, tokens_max })
    }

    /// The directory's name and a fingerprint of everything that was read, so that two models that differ in anything
    /// have two names.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Numbers of a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.encoder.hidden()
    }

    /// Tokens of a text that count; what follows them has no part in its vector.
    #[must_use]
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// A vector of length one for each text, on as many threads as are given and useful. Blocks until they are done.
    #[must_use]
    pub fn encode(&self, texts: &[&str], threads: NonZeroUsize) -> Vec<Vec<f32>> {
        let tokens: Vec<Vec<u32>> =
            texts.iter().map(|text| self.tokenizer.encode(text, self.tokens_max)).collect();
        let batches = batches(&tokens);
        let share = batches.len().div_ceil(threads.get()).max(1);
        let run = |batches: &[&[Vec<u32>]]| -> Vec<Vec<f32>> {
            batches.iter().flat_map(|batch| self.vectors(batch)).collect()
        };
        let mut shares = batches.chunks(share);
        let Some(own) = shares.next() else { return Vec::new() };
        std::thread::scope(|scope| {
            let others: Vec<_> = shares.map(|share| scope.spawn(move || run(share))).collect();
            let mut vectors = run(own);
            for other in others {
                match other.join() {
                    Ok(more) => vectors.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            vectors
        })
    }

    fn vectors(&self, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
        pulp::Arch::new().dispatch(Pooled { model: self, texts })
    }

    #[inline(always)]
    fn pooled<S: Simd>(&self, simd: S, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
        let rows = self.encoder.forward(simd, texts);
        let mut rest = &rows[..];
        let mut vectors = Vec::with_capacity(texts.len());
        for text in texts {
            let (own, others) = rest.split_at(text.len() * self.dimensions());
            let mut vector = own[..self.dimensions()].to_vec();
            if self.pooling == Pooling::Mean {
                for row in own.chunks_exact(self.dimensions()).skip(1) {
                    vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            }
            kernel::normalise(&mut vector);
            vectors.push(vector);
            rest = others;
        }
        vectors
    }
}

/// Some texts on their way through the encoder. A type and not a closure: a closure's body would be a function of its
/// own, without the instructions that are chosen here.
struct Pooled<'a> {
    model: &'a Model,
    texts: &'a [Vec<u32>],
}

impl WithSimd for Pooled<'_> {
    type Output = Vec<Vec<f32>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        self.model.pooled(simd, self.texts)
    }
}

/// Texts in their order, so many at a time that they have about [`TOKENS_TOGETHER`].
fn batches(texts: &[Vec<u32>]) -> Vec<&[Vec<u32>]> {
    let mut batches = Vec::new();
    let mut first = 0;
    while first < texts.len() {
        let mut tokens = 0;
        let fits = |text: &&Vec<u32>| {
            tokens += text.len();
            tokens <= TOKENS_TOGETHER
        };
        let count = texts[first..].iter().take_while(fits).count().max(1);
        batches.push(&texts[first..first + count]);
        first += count;
    }
    batches
}

/// The files of a directory, and the fingerprint of what was read of them.
struct Reader<'a> {
    directory: &'a Path,
    hasher: blake3::Hasher,
}

impl Reader<'_> {
    fn required(&mut self, name: &str) -> Result<(PathBuf, Vec<u8>), ModelError> {
        let found = self.optional(name)?;
        found.ok_or_else(|| ModelError::missing(&self.directory.join(name), "there is no such file"))
    }

    fn optional(&mut self, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>, ModelError> {
        let path = self.directory.join(name);
        let bytes = match std::fs::metadata(&path) {
            Ok(file) if file.len() > FILE_BYTES_MAX => {
                let what = format!("it has {} bytes; at most {FILE_BYTES_MAX} are read", file.len());
                return Err(Flaw::unsupported(what).of(&path));
            }
            Ok(_) => std::fs::read(&path).map_err(|error| ModelError::unreadable(&path, error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ModelError::unreadable(&path, error)),
        };
        self.hasher.update(name.as_bytes());
        self.hasher.update(&bytes.len().to_le_bytes());
        self.hasher.update(&bytes);
        Ok(Some((path, bytes)))
    }

    fn tokenizer(&mut self) -> Result<(PathBuf, Tokenizer), ModelError> {
        if let Some((file, bytes)) = self.optional("tokenizer.json")? {
            let tokenizer = Tokenizer::read_json(&bytes).map_err(|flaw| flaw.of(&file))?;
            return Ok((file, tokenizer));
        }
        let Some((file, bytes)) = self.optional("vocab.txt")? else {
            let what = "there is no such file, and no `vocab.txt`";
            return Err(ModelError::missing(&self.directory.join("tokenizer.json"), what));
        };
        let tokenizer = Tokenizer::read_vocabulary(&bytes, Casing::Uncased).map_err(|flaw| flaw.of(&file))?;
        Ok((file, tokenizer))
    }

    fn name(&self) -> String {
        let named = self.directory.canonicalize().ok();
        let named = named.as_deref().unwrap_or(self.directory).file_name();
        let named = named.map_or_else(|| "model".into(), |name| name.to_string_lossy());
        let digest = self.hasher.finalize().to_hex();
        format!("{named}@{}", &digest[..FINGERPRINT_CHARS])
    }
}
