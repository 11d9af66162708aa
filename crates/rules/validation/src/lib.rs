//! Is this block right? From received bytes to validated transactions.

mod validate;

pub use validate::{GenesisError, ReplayError, ValidatedBlock, ValidatedTransaction};
