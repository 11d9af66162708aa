use ripstop_runtime::{Signal, Signals, TaskGroup};

const LOG: &str = "nodeCmd";
/// Where Fabric's nodes say what runs.
const REPORT_LOG: &str = "nodeCmd.diag";

/// A part failed without which the node cannot be.
#[derive(Debug, thiserror::Error)]
#[error("the node stopped because a part failed that it cannot be without; its error is in the log above")]
pub struct PartFailed;

/// Completes when somebody asks the node to stop, or with an error when a part failed without which it cannot be. Says
/// what runs whenever SIGUSR1 comes.
pub async fn until_stopped(root: &TaskGroup, mut signals: Signals) -> Result<(), PartFailed> {
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = root.node_stopping() => return Err(PartFailed),
        };
        tracing::info!(target: LOG, function = "handleSignals", "Received signal: {signal}");
        match signal {
            Signal::Interrupt | Signal::Terminate => return Ok(()),
            Signal::User1 => report(root),
        }
    }
}

fn report(root: &TaskGroup) {
    // Fabric's first line, which scripts wait for.
    tracing::info!(target: REPORT_LOG, function = "func1", "Go routines report: there are none, these are the tasks");
    for line in root.report() {
        tracing::info!(target: REPORT_LOG, function = "func1", "{line}");
    }
}
