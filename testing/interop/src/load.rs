use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ripstop_crypto::SigningIdentity;
use ripstop_peer::client::{CommitError, CommitWatch, Invocation, Orderer, Peer, endorse_on_all};
use ripstop_types::{ChannelId, HeaderType, TxId, ValidationCode};
use tokio::sync::watch;

use crate::CHANNEL;

/// How long a client waits for its commit, which may never come: its peer or the orderer may have been killed.
const COMMIT_LIMIT: Duration = Duration::from_secs(15);
/// How long a client waits before it tries again.
const RETRY: Duration = Duration::from_millis(20);

/// What clients were told.
#[derive(Debug, Default)]
pub struct History {
    /// Transactions that the orderer said it took.
    pub ordered: Vec<TxId>,
    /// Transactions that a peer reported as committed, with its verdict and what they are about.
    pub reported: Vec<(TxId, ValidationCode, String)>,
}

/// The history that all clients write.
pub type SharedHistory = Arc<Mutex<History>>;

/// Somebody who submits transactions and notes what it is told on the way.
#[derive(Clone)]
pub struct Client {
    /// Who endorses.
    pub endorsers: Vec<Peer>,
    /// Who orders.
    pub orderer: Orderer,
    /// The peer that is asked whether transactions are committed.
    pub witness: Peer,
    /// Who signs.
    pub user: SigningIdentity,
    /// Where it notes.
    pub history: SharedHistory,
}

impl Client {
    /// Submits a call that is about something, and waits for the verdict.
    pub async fn submit(&self, call: &Invocation, subject: &str) -> Result<ValidationCode, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let proposal = call.propose(&self.user, HeaderType::EndorserTransaction).map_err(|error| text(&error))?;
        let responses = endorse_on_all(&self.endorsers, &proposal).await.map_err(|error| text(&error))?;
        let transaction = proposal.assemble(&responses, &self.user).map_err(|error| text(&error))?;
        let witness = std::slice::from_ref(&self.witness);
        let channel = ChannelId::new(CHANNEL).expect("it is a channel");
        let watch = CommitWatch::begin(witness, &channel, &proposal.tx_id, &self.user, COMMIT_LIMIT);
        let watch = watch.await.map_err(|error| text(&error))?;
        self.orderer.broadcast(transaction).await.map_err(|error| text(&error))?;
        self.note(|history| history.ordered.push(proposal.tx_id.clone()));
        let code = match watch.wait().await {
            Ok(()) => ValidationCode::Valid,
            Err(CommitError::Invalid(code)) => code,
            Err(error) => return Err(error.to_string()),
        };
        self.note(|history| history.reported.push((proposal.tx_id.clone(), code, subject.to_owned())));
        Ok(code)
    }

    fn note(&self, what: impl FnOnce(&mut History)) {
        what(&mut self.history.lock().expect("no client panics"));
    }
}

/// What a client does again and again.
pub trait Work: Send + 'static {
    /// Does it once more. An error is of no consequence but that it is tried again a little later.
    fn turn(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<watch::Sender<usize>>,
    failure: Arc<Mutex<String>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Lets all of them work at once.
    pub fn begin(clients: impl IntoIterator<Item = impl Work>) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            done: Arc::new(watch::Sender::new(0)),
            failure: Arc::default(),
            clients: vec![],
        };
        for mut client in clients {
            let (stop, done, failure) = (Arc::clone(&load.stop), Arc::clone(&load.done), Arc::clone(&load.failure));
            load.clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    match client.turn().await {
                        Ok(()) => done.send_modify(|count| *count += 1),
                        Err(why) => {
                            *failure.lock().expect("no client panics") = why;
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                }
            }));
        }
        load
    }

    /// How many turns ended well so far.
    pub fn done(&self) -> usize {
        *self.done.borrow()
    }

    /// Waits until so many turns have ended well; `false` when that takes longer than `limit`.
    pub async fn reaches(&self, count: usize, limit: Duration) -> bool {
        let mut done = self.done.subscribe();
        tokio::time::timeout(limit, done.wait_for(|done| *done >= count)).await.is_ok()
    }

    /// Why the last turn failed that did.
    pub fn last_failure(&self) -> String {
        self.failure.lock().expect("no client panics").clone()
    }

    /// Ends when every client has finished its turn.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.await.expect("no client panics");
        }
    }
}
