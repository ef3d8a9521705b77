//! Models, tokenizers and the files they are read from.

mod any;
mod model;
mod plain;
mod tiny;
mod tokenizer;
