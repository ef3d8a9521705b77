//! What a server says about its work: traces of turns, and metrics. Pure: nothing here sends, listens or
//! asks for the time.
//!
//! A trace is a projection of a journal, made when it is asked for: [`Tracer`] folds the events of a turn
//! into spans, and [`otlp`] writes them as OTLP/JSON, with the attribute names of OpenTelemetry's semantic
//! conventions for generative AI. [`metrics`] counts, and writes what was counted for Prometheus.

pub mod metrics;
pub mod otlp;
mod span;
mod trace;

pub use span::{Attribute, Span, SpanError, SpanId, SpanKind};
pub use trace::{Content, Subject, Trace, Tracer};
