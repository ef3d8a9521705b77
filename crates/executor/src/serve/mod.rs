//! The executor's side.
