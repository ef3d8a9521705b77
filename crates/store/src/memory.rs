//! The model.
/// Placeholder.
#[derive(Debug)]
pub struct MemoryStore;
