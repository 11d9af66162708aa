//! Which chaincode runs, and who may register as it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_types::Digest;
use tokio::sync::watch;

use crate::authority::ChaincodeAuthority;
use crate::connection::Connection;
use crate::error::LaunchError;
use crate::host::Registration;

/// What came of a launch; none while it goes on.
pub(crate) type Outcome = Option<Result<Arc<Connection>, LaunchError>>;

enum Slot {
    /// It is being started; who wants it waits here.
    Launching(watch::Sender<Outcome>),
    /// It registered.
    Ready(Arc<Connection>),
}

/// What is known of who is at the other end of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// It dialled this peer, with this certificate: whoever the registry lets.
    Anyone {
        /// The hash of its certificate.
        certificate: Option<Digest>,
    },
    /// This peer dialled it: only this id.
    Only(String),
}

/// All running chaincode, by the id it registers with.
pub(crate) struct Registry {
    registration: Registration,
    authority: Option<Arc<ChaincodeAuthority>>,
    slots: Mutex<HashMap<String, Slot>>,
}

impl Registry {
    pub(crate) fn new(registration: Registration, authority: Option<Arc<ChaincodeAuthority>>) -> Self {
        Self { registration, authority, slots: Mutex::default() }
    }

    /// Takes a chaincode in, or says why not.
    pub(crate) fn register(&self, expected: &Expected, connection: &Arc<Connection>) -> Result<(), String> {
        let id = connection.id();
        match (expected, &self.authority) {
            (Expected::Only(wanted), _) if wanted != id => {
                return Err(format!(
                    "the chaincode server registers as {id}, but the package that names it is {wanted}"
                ));
            }
            (Expected::Anyone { certificate }, Some(authority)) => authority.check(id, *certificate)?,
            _ => {}
        }
        match self.slots.lock().get(id) {
            Some(Slot::Ready(running)) if !running.has_ended() => Err(format!("duplicate chaincodeID: {id}")),
            Some(_) => Ok(()),
            None if self.registration == Registration::AnyInDevelopment => Ok(()),
            None => Err(format!("peer will not accept external chaincode connection {id} (except in dev mode)")),
        }
    }

    /// A chaincode was told that it is registered: hands it to all who wait for it.
    pub(crate) fn ready(&self, connection: &Arc<Connection>) {
        let before = self.slots.lock().insert(connection.id().to_owned(), Slot::Ready(connection.clone()));
        if let Some(Slot::Launching(waiting)) = before {
            waiting.send_replace(Some(Ok(connection.clone())));
        }
    }

    /// A stream has ended, or shall take no more calls: the next call starts the chaincode anew.
    pub(crate) fn deregister(&self, connection: &Arc<Connection>) {
        let mut slots = self.slots.lock();
        if matches!(slots.get(connection.id()), Some(Slot::Ready(running)) if Arc::ptr_eq(running, connection)) {
            slots.remove(connection.id());
        }
    }

    /// What stands under an id; where there is nothing, a place to launch into, and the caller must do so.
    pub(crate) fn find(&self, id: &str) -> Found {
        let mut slots = self.slots.lock();
        match slots.get(id) {
            Some(Slot::Ready(connection)) if !connection.has_ended() => Found::Running(connection.clone()),
            Some(Slot::Launching(waiting)) => Found::Launching(waiting.subscribe()),
            _ => {
                let (sender, receiver) = watch::channel(None);
                slots.insert(id.to_owned(), Slot::Launching(sender));
                Found::Absent(receiver)
            }
        }
    }

    /// A launch failed: tells all who wait, and leaves the place free.
    pub(crate) fn failed(&self, id: &str, error: &LaunchError) {
        let mut slots = self.slots.lock();
        if let Some(Slot::Launching(waiting)) = slots.get(id) {
            waiting.send_replace(Some(Err(error.clone())));
            slots.remove(id);
        }
    }
}

/// What stands under an id.
pub(crate) enum Found {
    Running(Arc<Connection>),
    Launching(watch::Receiver<Outcome>),
    Absent(watch::Receiver<Outcome>),
}
