use std::time::Duration;

/// Nothing that a test waits for takes as long: whoever waits for it waits for a bug.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a future gives; a panic that says what was waited for when it takes too long.
pub async fn in_time<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(done) => done,
        Err(_) => panic!("waited for {PATIENCE:?} in vain: {what}"),
    }
}

/// Looks again and again whether something holds. For what another process or a thread does: what a task does has a signal.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looking = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    in_time(what, looking).await;
}
