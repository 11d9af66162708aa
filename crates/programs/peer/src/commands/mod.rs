//! The subcommands of `peer` that are clients of peers and orderers.

pub(crate) mod chaincode;
pub(crate) mod channel;
pub(crate) mod lifecycle;
pub(crate) mod snapshot;
pub(crate) mod version;

use std::future::Future;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was called wrongly: the usage is shown as well.
    Usage(String),
    /// It did not succeed.
    Work(anyhow::Error),
    /// There is no configuration or identity to work with.
    Setup(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Work(error.into())
    }
}

pub(crate) fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// Runs a command's conversation on this thread; a command that ends soon needs no others.
pub(crate) fn block_on<T>(conversation: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(conversation)
}
