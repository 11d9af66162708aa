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
    /// It was let in and is being greeted: the place is taken.
    Registering {
        connection: Arc<Connection>,
        /// Who waits for the launch, where there was one.
        waiting: Option<watch::Sender<Outcome>>,
    },
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

    /// Keeps a chaincode's place for it until it is [ready](Self::ready), or says why it is not let in.
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
        let mut slots = self.slots.lock();
        let waiting = match slots.remove(id) {
            Some(Slot::Ready(running)) if running.has_ended() => None,
            Some(Slot::Launching(waiting)) => Some(waiting),
            Some(taken) => {
                slots.insert(id.to_owned(), taken);
                return Err(duplicate(id));
            }
            None if self.registration == Registration::AnyInDevelopment => None,
            None => {
                return Err(format!("peer will not accept external chaincode connection {id} (except in dev mode)"));
            }
        };
        slots.insert(id.to_owned(), Slot::Registering { connection: connection.clone(), waiting });
        Ok(())
    }

    /// A chaincode was told that it is registered: hands it to all who wait for it. Refused where its launch failed meanwhile
    /// and its place is another's.
    pub(crate) fn ready(&self, connection: &Arc<Connection>) -> Result<(), String> {
        let id = connection.id();
        let mut slots = self.slots.lock();
        let waiting = match slots.remove(id) {
            None => None,
            Some(Slot::Registering { connection: registering, waiting }) if Arc::ptr_eq(&registering, connection) => {
                waiting
            }
            Some(taken) => {
                slots.insert(id.to_owned(), taken);
                return Err(duplicate(id));
            }
        };
        slots.insert(id.to_owned(), Slot::Ready(connection.clone()));
        if let Some(waiting) = waiting {
            waiting.send_replace(Some(Ok(connection.clone())));
        }
        Ok(())
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
        match slots.get_mut(id) {
            Some(Slot::Ready(connection)) if !connection.has_ended() => Found::Running(connection.clone()),
            Some(Slot::Launching(waiting) | Slot::Registering { waiting: Some(waiting), .. }) => {
                Found::Launching(waiting.subscribe())
            }
            Some(Slot::Registering { waiting, .. }) => {
                let (sender, receiver) = watch::channel(None);
                *waiting = Some(sender);
                Found::Absent(receiver)
            }
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
        match slots.get(id) {
            Some(Slot::Launching(waiting) | Slot::Registering { waiting: Some(waiting), .. }) => {
                waiting.send_replace(Some(Err(error.clone())));
            }
            _ => return,
        }
        slots.remove(id);
    }
}

fn duplicate(id: &str) -> String {
    format!("duplicate chaincodeID: {id}")
}

/// What stands under an id.
pub(crate) enum Found {
    Running(Arc<Connection>),
    Launching(watch::Receiver<Outcome>),
    Absent(watch::Receiver<Outcome>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound;

    fn stream() -> Arc<Connection> {
        Arc::new(Connection::new("cc:1".to_owned(), outbound::channel().0))
    }

    const ANYONE: Expected = Expected::Anyone { certificate: None };

    #[test]
    fn of_two_streams_of_one_chaincode_the_first_is_taken() {
        let registry = Registry::new(Registration::OnlyLaunched, None);
        let (first, second) = (stream(), stream());
        assert!(registry.register(&ANYONE, &first).is_err(), "nobody launched it");
        let Found::Absent(launched) = registry.find("cc:1") else { panic!("nothing runs") };
        assert_eq!(registry.register(&ANYONE, &first), Ok(()));
        assert_eq!(registry.register(&ANYONE, &second), Err("duplicate chaincodeID: cc:1".to_owned()));
        assert!(matches!(registry.find("cc:1"), Found::Launching(_)), "it is not ready yet");
        assert_eq!(registry.ready(&first), Ok(()));
        assert!(matches!(&*launched.borrow(), Some(Ok(connection)) if Arc::ptr_eq(connection, &first)));
        assert_eq!(registry.register(&ANYONE, &second), Err("duplicate chaincodeID: cc:1".to_owned()));
    }

    #[test]
    fn a_stream_whose_launch_failed_gives_way_to_the_next() {
        let registry = Registry::new(Registration::OnlyLaunched, None);
        let (first, second) = (stream(), stream());
        assert!(matches!(registry.find("cc:1"), Found::Absent(_)));
        assert_eq!(registry.register(&ANYONE, &first), Ok(()));
        registry.failed("cc:1", &LaunchError::Timeout("cc:1".to_owned()));
        let Found::Absent(launched) = registry.find("cc:1") else { panic!("its launch failed") };
        assert_eq!(registry.register(&ANYONE, &second), Ok(()));
        assert_eq!(registry.ready(&first), Err("duplicate chaincodeID: cc:1".to_owned()));
        assert_eq!(registry.ready(&second), Ok(()));
        assert!(matches!(&*launched.borrow(), Some(Ok(connection)) if Arc::ptr_eq(connection, &second)));
    }

    #[test]
    fn in_development_a_call_may_come_before_the_stream_is_ready() {
        let registry = Registry::new(Registration::AnyInDevelopment, None);
        let (first, second) = (stream(), stream());
        assert_eq!(registry.register(&ANYONE, &first), Ok(()));
        assert!(registry.register(&ANYONE, &second).is_err());
        assert!(matches!(registry.find("cc:1"), Found::Absent(_)), "nobody launches it yet");
        registry.failed("cc:1", &LaunchError::NotRegistered("cc:1".to_owned()));
        assert_eq!(registry.ready(&first), Ok(()));
        assert!(matches!(registry.find("cc:1"), Found::Running(_)));
    }
}
