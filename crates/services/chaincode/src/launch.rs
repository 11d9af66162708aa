//! Which chaincode runs, and how it comes to run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_client::ChaincodeClient;
use ripstop_transport::MAX_MESSAGE_SIZE;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::connection::{self, Connection, Expected, OUTBOUND_QUEUE};
use crate::error::{BuildError, LaunchError};
use crate::host::{ChaincodeHost, Registration};
use crate::package::Package;
use crate::server_info::ServerInfo;

/// The first pause between attempts to reach a chaincode's server; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The package type that names chaincode as a service.
const AS_A_SERVICE: &str = "ccaas";

type Outcome = Option<Result<Arc<Connection>, LaunchError>>;

enum Slot {
    /// It is being started; who wants it waits here.
    Launching(watch::Sender<Outcome>),
    /// It registered.
    Ready(Arc<Connection>),
}

/// All running chaincode, by the id it registers with.
pub(crate) struct Registry {
    registration: Registration,
    slots: Mutex<HashMap<String, Slot>>,
}

impl Registry {
    pub(crate) fn new(registration: Registration) -> Self {
        Self { registration, slots: Mutex::default() }
    }

    /// Takes a chaincode in, or says why not.
    pub(crate) fn register(&self, expected: &Expected, connection: &Arc<Connection>) -> Result<(), String> {
        let id = connection.id();
        if let Expected::Only(wanted) = expected
            && wanted != id
        {
            return Err(format!("the chaincode server registers as {id}, but the package that names it is {wanted}"));
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

    /// A stream has ended: the next call starts the chaincode anew.
    pub(crate) fn deregister(&self, connection: &Arc<Connection>) {
        let mut slots = self.slots.lock();
        if matches!(slots.get(connection.id()), Some(Slot::Ready(running)) if Arc::ptr_eq(running, connection)) {
            slots.remove(connection.id());
        }
    }

    /// What stands under an id; where there is nothing, a place to launch into, and the caller must do so.
    fn find(&self, id: &str) -> Found {
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
    fn failed(&self, id: &str, error: &LaunchError) {
        let mut slots = self.slots.lock();
        if let Some(Slot::Launching(waiting)) = slots.get(id) {
            waiting.send_replace(Some(Err(error.clone())));
            slots.remove(id);
        }
    }
}

enum Found {
    Running(Arc<Connection>),
    Launching(watch::Receiver<Outcome>),
    Absent(watch::Receiver<Outcome>),
}

/// The running chaincode of an id, started if need be.
pub(crate) async fn launch(host: &ChaincodeHost, id: &str) -> Result<Arc<Connection>, LaunchError> {
    let mut outcome = match host.registry().find(id) {
        Found::Running(connection) => return Ok(connection),
        Found::Launching(outcome) => outcome,
        Found::Absent(outcome) => {
            // In a task of its own: others may wait for it when this caller has given up.
            tokio::spawn(start(host.clone(), id.to_owned(), outcome.clone()));
            outcome
        }
    };
    let launched = outcome.wait_for(Option::is_some).await;
    match launched.ok().and_then(|outcome| outcome.clone()) {
        Some(launched) => launched,
        None => Err(LaunchError::Stopping),
    }
}

/// Reaches the chaincode's server and sees that it registers in time; announces a failure.
async fn start(host: ChaincodeHost, id: String, mut outcome: watch::Receiver<Outcome>) {
    let deadline = Instant::now() + host.options().startup_timeout;
    let stopping = host.stopping();
    let opened = tokio::select! {
        opened = tokio::time::timeout_at(deadline, open(&host, &id, deadline)) => opened,
        () = stopping.cancelled() => Ok(Err(LaunchError::Stopping)),
    };
    let (inbound, outbound) = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return host.registry().failed(&id, &error),
        Err(_) => return host.registry().failed(&id, &LaunchError::Timeout(id.clone())),
    };
    let mut stream = tokio::spawn(connection::serve(host.clone(), Expected::Only(id.clone()), inbound, outbound));
    tokio::select! {
        // The stream goes on by itself until the chaincode or the peer ends it.
        _ = outcome.wait_for(Option::is_some) => {}
        ended = &mut stream => {
            let reason = ended.unwrap_or_else(|error| error.to_string());
            host.registry().failed(&id, &LaunchError::Registration(reason));
        }
        () = tokio::time::sleep_until(deadline) => {
            stream.abort();
            host.registry().failed(&id, &LaunchError::Timeout(id.clone()));
        }
    }
}

type Stream = (tonic::Streaming<ChaincodeMessage>, mpsc::Sender<ChaincodeMessage>);

/// Opens a stream to the server that a package names.
async fn open(host: &ChaincodeHost, id: &str, deadline: Instant) -> Result<Stream, LaunchError> {
    let (host, id) = (host.clone(), id.to_owned());
    let read = {
        let id = id.clone();
        move || read_server_info(&host, &id)
    };
    let info = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| LaunchError::Registration(error.to_string()))?
        .map_err(|error| LaunchError::Build(Arc::new(error)))?;
    let endpoint = info.endpoint().map_err(|error| LaunchError::Build(Arc::new(error.into())))?;
    let channel = reach(&id, &info, &endpoint, deadline).await?;
    let mut client = ChaincodeClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_SIZE)
        .max_encoding_message_size(MAX_MESSAGE_SIZE);
    let (outbound, receiver) = mpsc::channel(OUTBOUND_QUEUE);
    let inbound = client
        .connect(ReceiverStream::new(receiver))
        .await
        .map_err(|status| LaunchError::Connect { chaincode_id: id, reason: status.message().to_owned() })?
        .into_inner();
    Ok((inbound, outbound))
}

/// Tries until the server answers or the patience its package asks for is over.
async fn reach(
    id: &str,
    info: &ServerInfo,
    endpoint: &ripstop_transport::Endpoint,
    deadline: Instant,
) -> Result<Channel, LaunchError> {
    let give_up = deadline.min(Instant::now() + info.dial_timeout());
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match endpoint.probe().await {
            Ok(()) => return Ok(endpoint.channel()),
            Err(error) => error,
        };
        if Instant::now() + pause >= give_up {
            let reason = format!("error creating grpc connection to {}: {error}", endpoint.address());
            return Err(LaunchError::Connect { chaincode_id: id.to_owned(), reason });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn read_server_info(host: &ChaincodeHost, id: &str) -> Result<ServerInfo, BuildError> {
    let package = Package::parse(&host.packages().load(id)?)?;
    server_info(host, &package)
}

/// How to reach the chaincode of a package; only chaincode as a service can be run.
pub(crate) fn server_info(host: &ChaincodeHost, package: &Package) -> Result<ServerInfo, BuildError> {
    if !package.metadata.kind.eq_ignore_ascii_case(AS_A_SERVICE) {
        return Err(BuildError::Type(package.metadata.kind.clone()));
    }
    let connection = package.code_file("connection.json")?;
    Ok(ServerInfo::parse(&connection, &host.options().template_values)?)
}
