use std::error::Error;

/// Whatever a stage fails with.
pub type BoxError = Box<dyn Error + Send + Sync>;
