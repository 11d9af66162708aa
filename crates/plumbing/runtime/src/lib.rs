//! Tasks that form a tree, and one written order of shutdown.
//!
//! What question this crate answers: *what is running, what does its failure mean, and in which order does it stop?*
//! Every long-lived task of a node is spawned through a [`TaskGroup`] with a [`TaskKind`]. Groups form a tree: cancelling
//! one cancels its children. A program stops by closing its groups one after the other, in the order it was written down.
//!
//! Invariants: a task that ends in an error is logged with its name; an essential one also ends the node; a closed group
//! waits for its tasks only for a bounded time, because killing the process at any point is safe anyway.
//!
//! Absent: timers and random numbers under control of tests; they come with the simulator.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// What the end of a task means for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// The node cannot do without it (a listener): when it fails, the whole node stops.
    Essential,
    /// It serves one channel or one peer: a failure is logged, and everything else goes on.
    Isolated,
}

/// Tasks that stop together. Clones are the same group.
#[derive(Debug, Clone)]
pub struct TaskGroup {
    name: &'static str,
    tracker: TaskTracker,
    cancel: CancellationToken,
    node: CancellationToken,
}

impl TaskGroup {
    /// The root of the tree: one for each process.
    pub fn root(name: &'static str) -> Self {
        let node = CancellationToken::new();
        Self { name, tracker: TaskTracker::new(), cancel: node.child_token(), node }
    }

    /// A group below this one; it stops when this one stops.
    pub fn child(&self, name: &'static str) -> Self {
        Self { name, tracker: TaskTracker::new(), cancel: self.cancel.child_token(), node: self.node.clone() }
    }

    /// Runs a task. It should end soon after [`Self::cancelled`] completes; if it does not, closing the group leaves it
    /// behind, and it ends with the process.
    pub fn spawn<E: Display + Send + 'static>(
        &self,
        kind: TaskKind,
        task: &'static str,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let group = self.name;
        let node = self.node.clone();
        let cancel = self.cancel.clone();
        self.tracker.spawn(async move {
            let Err(error) = future.await else { return };
            if cancel.is_cancelled() {
                tracing::debug!(target: "runtime", "task {task} of {group} ended while stopping: {error}");
                return;
            }
            tracing::error!(target: "runtime", "task {task} of {group} failed: {error}");
            if kind == TaskKind::Essential {
                node.cancel();
            }
        });
    }

    /// Completes when the group is told to stop.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.cancel.clone().cancelled_owned()
    }

    /// Whether the group was told to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Completes when an essential task of the tree failed or [`Self::stop_node`] was called.
    pub fn node_stopping(&self) -> WaitForCancellationFutureOwned {
        self.node.clone().cancelled_owned()
    }

    /// Whether an essential task of the tree failed or [`Self::stop_node`] was called.
    pub fn is_node_stopping(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Asks the whole node to stop.
    pub fn stop_node(&self) {
        self.node.cancel();
    }

    /// Tells the group to stop and waits for its tasks, at most `patience`. Returns whether all ended in time.
    pub async fn close(&self, patience: Duration) -> bool {
        self.cancel.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(patience, self.tracker.wait()).await.is_ok();
        if !ended {
            tracing::warn!(target: "runtime", "{} tasks of {} did not end within {patience:?}", self.tracker.len(), self.name);
        }
        ended
    }
}

/// A request of the operating system to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// Ctrl-C (SIGINT).
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Display for StopSignal {
    /// As Go prints signals, which operators' scripts look for: `2 (interrupt)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "2 (interrupt)",
            Self::Terminate => "15 (terminated)",
        })
    }
}

/// Completes when the process is asked to stop.
///
/// # Errors
/// The operating system refuses to tell about signals.
pub async fn stop_signal() -> std::io::Result<StopSignal> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => StopSignal::Interrupt,
        _ = terminate.recv() => StopSignal::Terminate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closing_a_group_stops_its_children_and_waits_for_its_tasks() {
        let root = TaskGroup::root("node");
        let child = root.child("channel");
        let inner = child.clone();
        child.spawn(TaskKind::Isolated, "loop", async move {
            inner.cancelled().await;
            Ok::<_, String>(())
        });
        assert!(root.close(Duration::from_secs(60)).await);
        assert!(child.is_cancelled());
        assert!(child.close(Duration::from_secs(60)).await);
    }

    #[tokio::test]
    async fn a_failed_essential_task_stops_the_node_and_an_isolated_one_does_not() {
        let root = TaskGroup::root("node");
        root.spawn(TaskKind::Isolated, "channel", async { Err("lost") });
        root.close(Duration::from_secs(60)).await;
        let root = TaskGroup::root("node");
        root.spawn(TaskKind::Essential, "listener", async { Err("no port") });
        root.node_stopping().await;
    }
}
