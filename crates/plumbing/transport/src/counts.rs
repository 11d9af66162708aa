use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many connections a server took and how many of them ended. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCounts(Arc<[AtomicU64; 2]>);

impl ConnectionCounts {
    /// Connections that were taken, after their handshake.
    pub fn opened(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Connections that ended.
    pub fn closed(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn count(&self) -> OpenConnection {
        self.0[0].fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct OpenConnection(ConnectionCounts);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, Ordering::Relaxed);
    }
}
