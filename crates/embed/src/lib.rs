//! Texts as vectors, by a small sentence encoder that runs here.
//!
//! [`Model::open`] reads a directory as sentence encoders of the BERT family are published: `config.json`,
//! `model.safetensors`, `tokenizer.json` or `vocab.txt`, and, where they are there, `sentence_bert_config.json` and
//! `1_Pooling/config.json`. [`Model::encode`] gives one vector of length one for each text. Nothing is ever
//! downloaded.
//!
//! The whole of it is matrix products and a few curves ([`bert`]), written so that the compiler vectorises them for
//! the processor it finds. Every sum has one order and no product is fused with a sum, so a text has the same vector,
//! bit for bit, on every machine, alone or among others, with one thread or with many. That is worth more here than
//! the last factor of speed: vectors are kept for years and compared with new ones.
//!
//! What it does not do: train, run decoders, read pickles, or guess. A directory of another kind is refused with the
//! file and the field.

mod bert;
mod config;
mod error;
mod kernel;
mod model;
mod safetensors;
mod tokenizer;
mod unicode;

pub use error::{ModelError, ModelErrorKind};
pub use model::Model;
pub use safetensors::{DType, Tensor, Tensors};
pub use tokenizer::{Casing, Tokenizer};
