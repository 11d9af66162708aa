use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds how many requests a service handles at once. When full it refuses at once instead of queueing, as Fabric does.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    service: &'static str,
    limit: usize,
    /// None: unlimited.
    permits: Option<Arc<Semaphore>>,
}

/// The right to handle one request; dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The service handles as many requests as it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many requests for {service}, exceeding concurrency limit ({limit})")]
pub struct TooManyRequests {
    service: &'static str,
    limit: usize,
}

impl ConcurrencyLimit {
    /// At most `limit` requests at once for the service with this path, such as `/protos.Endorser`; 0 is unlimited.
    pub fn new(service: &'static str, limit: usize) -> Self {
        let permits = (limit > 0).then(|| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))));
        Self { service, limit, permits }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// All places are taken; the client may try again later.
    pub fn enter(&self) -> Result<Permit, TooManyRequests> {
        let Some(permits) = &self.permits else { return Ok(Permit { _permit: None }) };
        match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => Ok(Permit { _permit: Some(permit) }),
            Err(_) => {
                let Self { service, limit, .. } = self;
                tracing::error!(target: "nodeCmd", function = "grpcLimiter", "Too many requests for {service}, exceeding concurrency limit ({limit})");
                Err(TooManyRequests { service, limit: *limit })
            }
        }
    }
}

impl From<TooManyRequests> for tonic::Status {
    fn from(refusal: TooManyRequests) -> Self {
        Self::unknown(refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_service_refuses_until_a_place_is_free() {
        let limit = ConcurrencyLimit::new("/protos.Endorser", 1);
        let first = limit.enter();
        assert!(first.is_ok());
        assert_eq!(
            limit.enter().unwrap_err().to_string(),
            "too many requests for /protos.Endorser, exceeding concurrency limit (1)"
        );
        drop(first);
        assert!(limit.enter().is_ok());
        let unlimited = ConcurrencyLimit::new("/protos.Deliver", 0);
        let held: Vec<_> = (0..100).map(|_| unlimited.enter()).collect();
        assert!(held.iter().all(Result::is_ok));
    }
}
