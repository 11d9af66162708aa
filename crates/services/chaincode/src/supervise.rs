//! Chaincode that this peer starts as a process: from its start to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_chaincode_builder::{Build, End, Exit, PeerConnection, Running};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::authority::Issued;
use crate::connection::Connection;
use crate::error::LaunchError;
use crate::host::ChaincodeHost;
use crate::registry::Outcome;

/// How long the peer waits for its chaincode to end when it stops itself: a little longer than until it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Why a process is ended that hangs.
const NEVER_ANSWERS: &str = "it did not answer, also not as long again after the time for a call was over";

/// The processes of this peer, by the id of their chaincode: when each ends.
#[derive(Default)]
pub(crate) struct Processes(Mutex<HashMap<String, End>>);

impl Processes {
    fn begun(&self, id: &str, end: End) {
        self.0.lock().insert(id.to_owned(), end);
    }

    /// Completes when the last process of a chaincode is gone.
    async fn gone(&self, id: &str) {
        let end = self.0.lock().get(id).cloned();
        if let Some(end) = end {
            end.wait().await;
        }
    }

    /// Waits for all to end, but not for ever.
    pub(crate) async fn all_gone(&self) {
        let ends: Vec<_> = self.0.lock().values().cloned().collect();
        let all = async {
            for end in ends {
                end.wait().await;
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
            tracing::warn!("timeout while stopping external chaincodes");
        }
    }
}

/// Starts what was built, and waits until it has registered. When this is given up, the process is stopped.
pub(crate) async fn run(
    host: &ChaincodeHost,
    id: &str,
    build: &Build,
    mut outcome: watch::Receiver<Outcome>,
) -> Result<(), LaunchError> {
    // Two processes of one chaincode would get into each other's way.
    host.processes().gone(id).await;
    let issued = host.options().authority.as_ref().map(|authority| authority.issue(id)).transpose();
    let issued = issued.map_err(|error| LaunchError::Certificate { id: id.to_owned(), cause: Arc::new(error) })?;
    let peer = PeerConnection {
        address: host.options().address.clone(),
        msp_id: host.node().local_msp.id().to_string(),
        tls: issued.as_ref().map(|issued| issued.tls.clone()),
    };
    let began = Instant::now();
    let running = build.start(&peer).await.map_err(|error| LaunchError::Start(Arc::new(error)))?;
    host.processes().begun(id, running.end());
    let registered = tokio::select! {
        registered = outcome.wait_for(Option::is_some) => registered.ok().and_then(|outcome| outcome.clone()),
        exit = running.exited() => {
            let reason = exit_words(exit);
            host.pauses().ended(id, began.elapsed(), &reason, Instant::now());
            return Err(LaunchError::Registration(reason));
        }
    };
    match registered {
        Some(Ok(connection)) => {
            tokio::spawn(attend(host.clone(), connection, running, issued, began));
            Ok(())
        }
        Some(Err(error)) => Err(error),
        None => Err(LaunchError::Stopping),
    }
}

/// Keeps process and stream together: when one ends, the other does. A process that is to end is asked to while it still has
/// its stream, so that it does not take the end of the stream for a fault of the peer.
async fn attend(
    host: ChaincodeHost,
    connection: Arc<Connection>,
    running: Running,
    issued: Option<Issued>,
    began: Instant,
) {
    let id = connection.id();
    let stopping = host.stopping();
    let (reason, is_failure) = tokio::select! {
        exit = running.exited() => (exit_words(exit), true),
        () = connection.ended() => ("its stream ended".to_owned(), true),
        () = connection.stuck() => (NEVER_ANSWERS.to_owned(), true),
        () = connection.dismissed() => ("no definition needs it any longer".to_owned(), false),
        () = stopping.cancelled() => ("the peer is stopping".to_owned(), false),
    };
    host.registry().deregister(&connection);
    let exit = running.stop().await;
    connection.close();
    drop(issued);
    let exit = exit.map_or_else(String::new, |exit| format!(" ({exit})"));
    tracing::info!("the process of chaincode {id} has ended{exit}: {reason}");
    if is_failure {
        host.pauses().ended(id, began.elapsed(), &reason, Instant::now());
    }
}

fn exit_words(exit: Option<Exit>) -> String {
    exit.map_or_else(|| "the peer is stopping".to_owned(), |exit| format!("container exited with {}", exit.code()))
}
