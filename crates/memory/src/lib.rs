//! Long-term memory, as values.
//!
//! What was said in sessions is kept as [`tenure_journal::Episode`]s, and a question is answered by the passages
//! that have to do with it, best first, each with where it is from and why it was found. Stores find candidates by
//! their terms; everything else is decided here: what a term is ([`text`]), what a question says about time and
//! people ([`cue`]), in which order the candidates answer it ([`rank`]). What is remembered on purpose is a fact
//! ([`fact`]) or a procedure ([`procedure`]), written down for people in [`exchange`], or read out of a turn by a model
//! ([`extract`]). [`Index`] is the same without a store, and exact.
//!
//! There is no database, no file, no clock and no model in here. Vectors of a model are optional and come from
//! outside; without them recall is lexical.

mod akin;
pub mod bench;
pub mod block;
pub mod cue;
pub mod exchange;
pub mod extract;
pub mod fact;
mod index;
mod irregular;
mod kin;
mod kinds;
mod lexicon;
pub mod meaning;
mod passage;
pub mod procedure;
pub mod rank;
pub mod recall;
mod stop;
mod synonym;
pub mod text;
mod time;
mod words;

pub use fact::KnownFact;
pub use index::Index;
pub use passage::Passages;
pub use time::{Relation, Window, moment, rfc3339};
