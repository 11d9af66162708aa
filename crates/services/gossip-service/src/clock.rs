use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ripstop_gossip::Moment;
use tokio::time::Instant;

/// Moments that never go back, whatever is done to the machine's clock. Copies agree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_at: Moment,
}

impl Clock {
    /// Begins at the machine's time.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), began_at: Moment::default() + since_epoch }
    }

    pub(crate) fn now(&self) -> Moment {
        self.began_at + self.began.elapsed()
    }

    /// Completes at a moment; never without one.
    pub(crate) async fn until(self, moment: Option<Moment>) {
        match moment {
            // A moment that cannot be reached is as good as none.
            Some(moment) => tokio::time::sleep(moment.since(self.now()).min(FAR)).await,
            None => std::future::pending().await,
        }
    }
}

/// No sleep is longer; what wakes early asks again.
const FAR: Duration = Duration::from_secs(3600);
