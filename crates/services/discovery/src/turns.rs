use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_types::MspId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests of one organization are worked on at once; others wait for their turn.
const AT_ONCE: usize = 2;
/// How many requests of one organization may be there, those that wait included. More are refused.
const MAX_PRESENT: usize = 64;

/// Turns of requests, by the organization of those who signed them: an organization whose requests are expensive keeps only its
/// own waiting. There are no more organizations here than the channels know.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<MspId, Arc<OfOne>>>);

#[derive(Debug)]
struct OfOne {
    present: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// A request's turn, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permits: [OwnedSemaphorePermit; 2],
}

/// Too many requests of the organization wait.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_PRESENT} discovery requests of {0} are being answered or wait; try again later")]
pub(crate) struct TooMany(MspId);

impl Turns {
    /// Waits for a turn.
    pub(crate) async fn take(&self, organization: &MspId) -> Result<Turn, TooMany> {
        let of_one = Arc::clone(self.0.lock().entry(organization.clone()).or_insert_with(|| {
            let [present, running] = [MAX_PRESENT, AT_ONCE].map(|count| Arc::new(Semaphore::new(count)));
            Arc::new(OfOne { present, running })
        }));
        let too_many = || TooMany(organization.clone());
        let present = Arc::clone(&of_one.present).try_acquire_owned().map_err(|_| too_many())?;
        // It is never closed.
        let running = Arc::clone(&of_one.running).acquire_owned().await.map_err(|_| too_many())?;
        Ok(Turn { _permits: [present, running] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_organisation_of_many_requests_keeps_no_other_waiting() {
        let (turns, [loud, quiet]) = (Arc::new(Turns::default()), ["Loud", "Quiet"].map(MspId::new));
        let running = [turns.take(&loud).await.unwrap(), turns.take(&loud).await.unwrap()];
        let waiting: Vec<_> = (AT_ONCE..MAX_PRESENT)
            .map(|_| {
                let (turns, loud) = (Arc::clone(&turns), loud.clone());
                tokio::spawn(async move { turns.take(&loud).await.map(drop) })
            })
            .collect();
        let has_room = || turns.0.lock()[&loud].present.available_permits() > 0;
        while has_room() {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.take(&loud).await.unwrap_err(), TooMany(loud.clone()));
        turns.take(&quiet).await.unwrap();
        drop(running);
        for waited in waiting {
            waited.await.unwrap().unwrap();
        }
        turns.take(&loud).await.unwrap();
    }
}
