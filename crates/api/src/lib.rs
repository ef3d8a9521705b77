//! HTTP and SSE.
mod error;
mod read;
mod show;
