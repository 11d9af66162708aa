//! Tasks that form a tree, and one written order of shutdown.
//!
//! What question this crate answers: *what is running, what does its failure mean, and in which order does it stop?*
//! Every long-lived task of a node is spawned through a [`TaskGroup`] with a [`TaskKind`]. Groups form a tree: cancelling
//! one cancels its children. A program stops by closing its groups one after the other, in the order it was written down.
//!
//! What runs at a moment is listed by [`TaskGroup::report`].
//!
//! Invariants: a task that ends in an error or a panic is logged with its name; an essential one that ends before it is told
//! to, in whatever way, also ends the node; a closed group waits for its tasks only for a bounded time, because killing the
//! process at any point is safe anyway.
//!
//! Absent: timers and random numbers under control of tests; they come with the simulator.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::signal::unix;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// What the end of a task means for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// The node cannot do without it (a listener): when it ends before it is told to, the whole node stops.
    Essential,
    /// Its group cannot do without it (the committer of a channel): when it ends, in whatever way, the rest of the group
    /// stops. A failure is logged, and other groups go on.
    Core,
    /// Nothing depends on it: a failure is logged, and everything else goes on.
    Isolated,
}

/// Tasks that stop together. Clones are the same group.
#[derive(Debug, Clone)]
pub struct TaskGroup {
    name: &'static str,
    tracker: TaskTracker,
    /// Those of the groups above, which wait for the tasks of this one too.
    above: Vec<TaskTracker>,
    cancel: CancellationToken,
    node: CancellationToken,
    running: Running,
}

/// How many tasks run, by the names of their group and their own, over the whole tree.
#[derive(Debug, Clone, Default)]
struct Running(Arc<Mutex<BTreeMap<(&'static str, &'static str), usize>>>);

impl Running {
    /// Counts a task until the guard is dropped.
    fn begin(&self, group: &'static str, task: &'static str) -> RunningTask {
        *self.0.lock().entry((group, task)).or_default() += 1;
        RunningTask { running: self.clone(), name: (group, task) }
    }
}

struct RunningTask {
    running: Running,
    name: (&'static str, &'static str),
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        if let Some(count) = self.running.0.lock().get_mut(&self.name) {
            *count -= 1;
        }
    }
}

impl TaskGroup {
    /// The root of the tree: one for each process.
    pub fn root(name: &'static str) -> Self {
        let node = CancellationToken::new();
        Self {
            name,
            tracker: TaskTracker::new(),
            above: Vec::new(),
            cancel: node.child_token(),
            node,
            running: Running::default(),
        }
    }

    /// A group below this one; it stops when this one stops.
    pub fn child(&self, name: &'static str) -> Self {
        Self {
            name,
            tracker: TaskTracker::new(),
            above: self.above.iter().chain([&self.tracker]).cloned().collect(),
            cancel: self.cancel.child_token(),
            node: self.node.clone(),
            running: self.running.clone(),
        }
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
        let running = self.running.begin(group, task);
        let awaited_above: Vec<_> = self.above.iter().map(TaskTracker::token).collect();
        self.tracker.spawn(async move {
            let _guards = (running, awaited_above);
            // Dropped at the very end: a failure is in the log before the rest of the group stops.
            let _end_of_group = (kind == TaskKind::Core).then(|| cancel.clone().drop_guard());
            // What a task leaves behind in a panic is its own: the node stops, or nothing else looks at it.
            let failure = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(Err(error)) => error.to_string(),
                Err(panic) => format!("it panicked: {}", panic_message(&*panic)),
                Ok(Ok(())) if kind != TaskKind::Essential || cancel.is_cancelled() => return,
                Ok(Ok(())) => "it ended though nobody told it to".to_owned(),
            };
            if cancel.is_cancelled() {
                tracing::debug!(target: "runtime", "task {task} of {group} ended while stopping: {failure}");
                return;
            }
            tracing::error!(target: "runtime", "task {task} of {group} failed: {failure}");
            if kind == TaskKind::Essential {
                node.cancel();
            }
        });
    }

    /// Runs an isolated task that may be dropped wherever it waits, which it is when the group is told to stop.
    pub fn spawn_droppable(&self, task: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let future = self.cancel.clone().run_until_cancelled_owned(future);
        self.spawn(TaskKind::Isolated, task, async move {
            future.await;
            Ok::<_, Infallible>(())
        });
    }

    /// What runs in the whole tree, a line each, for an operator: the tasks by their names, how many there are of each, and
    /// what tokio knows of all of them.
    pub fn report(&self) -> Vec<String> {
        let running = self.running.0.lock();
        let mut lines: Vec<String> = running
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|((group, task), count)| format!("{group}/{task}: {count} running"))
            .collect();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let metrics = runtime.metrics();
            lines.push(format!(
                "all tasks: {} alive, {} of them waiting for one of {} worker threads",
                metrics.num_alive_tasks(),
                metrics.global_queue_depth(),
                metrics.num_workers()
            ));
        }
        lines
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

    /// Asks the whole node to stop.
    pub fn stop_node(&self) {
        self.node.cancel();
    }

    /// Tells the group to stop and waits for its tasks and those of the groups below, at most `patience`. Returns whether all ended in time.
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

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// A signal of the operating system that a node answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C (SIGINT): stop.
    Interrupt,
    /// SIGTERM: stop.
    Terminate,
    /// SIGUSR1: say what runs.
    User1,
}

impl Display for Signal {
    /// As Go prints signals, which operators' scripts look for: `2 (interrupt)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "2 (interrupt)",
            Self::Terminate => "15 (terminated)",
            Self::User1 => "10 (user defined signal 1)",
        })
    }
}

/// The signals that the process gets, one after the other. From its making on they have no other effect.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    user1: unix::Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The operating system refuses to tell about signals.
    pub fn listen() -> std::io::Result<Self> {
        use unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.user1.recv() => Signal::User1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_group_ends_with_its_core_task_and_others_go_on() {
        for end in [|| Ok(()), || Err("the disk is full"), || panic!("a bug")] {
            let channels = TaskGroup::root("channels");
            let (one, other) = (channels.child("channel"), channels.child("channel"));
            let stopping = one.cancelled();
            one.spawn(TaskKind::Isolated, "watch", async move {
                stopping.await;
                Ok::<_, String>(())
            });
            one.spawn(TaskKind::Core, "committer", async move { end() });
            one.cancelled().await;
            assert!(one.close(Duration::from_secs(60)).await);
            assert!(!other.is_cancelled() && !channels.is_cancelled() && !channels.node.is_cancelled());
        }
    }

    #[tokio::test]
    async fn closing_a_group_waits_for_the_tasks_of_the_groups_below() {
        let root = TaskGroup::root("node");
        let channel = root.child("channels").child("channel");
        let (ended, end) = tokio::sync::oneshot::channel::<()>();
        channel.spawn(TaskKind::Isolated, "commit", async move { end.await.map_err(|_| "nobody let it end") });
        assert!(!root.close(Duration::ZERO).await, "its task goes on");
        ended.send(()).unwrap();
        assert!(root.close(Duration::from_secs(60)).await);
    }

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
    async fn a_droppable_task_ends_with_its_group_wherever_it_waits() {
        let root = TaskGroup::root("node");
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        root.spawn_droppable("waiting", async move {
            let _held = held;
            std::future::pending().await
        });
        assert!(root.close(Duration::from_secs(60)).await);
        assert!(dropped.await.is_err());
    }

    #[tokio::test]
    async fn what_runs_is_listed_by_name() {
        let root = TaskGroup::root("node");
        let servers = root.child("servers");
        for _ in 0..2 {
            let stopping = servers.cancelled();
            servers.spawn(TaskKind::Isolated, "listener", async move {
                stopping.await;
                Ok::<_, String>(())
            });
        }
        assert_eq!(root.report()[0], "servers/listener: 2 running");
        servers.close(Duration::from_secs(60)).await;
        assert!(root.report()[0].starts_with("all tasks: 0 alive"), "{:?}", root.report());
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

    #[tokio::test]
    async fn an_essential_task_that_ends_before_it_is_told_to_stops_the_node_and_one_that_was_told_does_not() {
        let panicking = TaskGroup::root("node");
        panicking.spawn(TaskKind::Isolated, "channel", async { panic!("a bug") as Result<(), String> });
        panicking.close(Duration::from_secs(60)).await;
        assert!(!panicking.node.is_cancelled());
        for end in [|| Ok::<_, String>(()), || panic!("a bug"), || panic!("bug {}", 7)] {
            let root = TaskGroup::root("node");
            root.spawn(TaskKind::Essential, "listener", async move { end() });
            root.node_stopping().await;
        }
        let root = TaskGroup::root("node");
        let told = root.cancelled();
        root.spawn(TaskKind::Essential, "listener", async move {
            told.await;
            Ok::<_, String>(())
        });
        root.close(Duration::from_secs(60)).await;
        assert!(!root.node.is_cancelled());
    }
}
