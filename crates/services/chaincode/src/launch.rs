//! Which chaincode runs, and how it comes to run.

use std::sync::Arc;
use std::time::Duration;

use ripstop_chaincode_builder::{Build, Package, ServerInfo};
use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_client::ChaincodeClient;
use ripstop_transport::MAX_MESSAGE_SIZE;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use crate::connection::{self, Connection};
use crate::error::{BuildError, LaunchError};
use crate::host::{ChaincodeHost, Registration};
use crate::outbound::{self, Outbound, Queued};
use crate::registry::{Expected, Found, Outcome};
use crate::supervise;

/// The first pause between attempts to reach a chaincode's server; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
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

/// Sees that a chaincode registers in time; announces a failure.
async fn start(host: ChaincodeHost, id: String, outcome: watch::Receiver<Outcome>) {
    let began = Instant::now();
    let deadline = began + host.options().startup_timeout;
    let stopping = host.stopping();
    let started = tokio::select! {
        started = tokio::time::timeout_at(deadline, begin(&host, &id, outcome, deadline)) => {
            started.unwrap_or_else(|_| Err(LaunchError::Timeout(id.clone())))
        }
        () = stopping.cancelled() => Err(LaunchError::Stopping),
    };
    host.metrics().launched(&id, began.elapsed(), &started);
    if let Err(error) = started {
        host.registry().failed(&id, &error);
    }
}

/// Reaches the chaincode's server, or starts the chaincode, and waits until it has registered.
async fn begin(
    host: &ChaincodeHost,
    id: &str,
    outcome: watch::Receiver<Outcome>,
    deadline: Instant,
) -> Result<(), LaunchError> {
    if host.options().registration == Registration::AnyInDevelopment && host.packages().get(id).is_none() {
        return Err(LaunchError::NotRegistered(id.to_owned()));
    }
    tokio::time::sleep_until(host.pauses().due(id, Instant::now())?).await;
    let not_built = |error| LaunchError::Build(Arc::new(error));
    let build = built(host, id).await.map_err(not_built)?;
    match build.server().map_err(|error| not_built(error.into()))? {
        Some(server) => dial(host, id, &server, outcome, deadline).await,
        None => supervise::run(host, id, &build, outcome).await,
    }
}

/// What was built of an installed package; built now where that was not done at its installation.
async fn built(host: &ChaincodeHost, id: &str) -> Result<Build, BuildError> {
    if let Some(build) = host.builders().cached(id)? {
        return Ok(build);
    }
    let (reader, wanted) = (host.clone(), id.to_owned());
    let read = move || Ok(Package::parse(&reader.packages().load(&wanted)?)?);
    let package = tokio::task::spawn_blocking(read).await.unwrap_or(Err(BuildError::GivenUp))?;
    host.build(id, package).await
}

/// Opens a stream to a chaincode's server and waits until it has registered on it. When this is given up, the stream ends.
async fn dial(
    host: &ChaincodeHost,
    id: &str,
    server: &ServerInfo,
    mut outcome: watch::Receiver<Outcome>,
    deadline: Instant,
) -> Result<(), LaunchError> {
    let (inbound, outbound) = open(id, server, deadline).await?;
    let serving = connection::serve(host.clone(), Expected::Only(id.to_owned()), inbound, outbound);
    let mut stream = AbortOnDropHandle::new(tokio::spawn(serving));
    tokio::select! {
        registered = outcome.wait_for(Option::is_some) => {
            // It goes on by itself until the chaincode or the peer ends it.
            stream.detach();
            if let Ok(Some(Ok(connection))) = registered.as_deref() {
                tokio::spawn(close_when_dismissed(connection.clone()));
            }
            Ok(())
        }
        ended = &mut stream => Err(LaunchError::Registration(ended.unwrap_or_else(|error| error.to_string()))),
    }
}

/// A server goes on when its stream ends.
async fn close_when_dismissed(connection: Arc<Connection>) {
    tokio::select! {
        () = connection.dismissed() => connection.close(),
        () = connection.ended() => {}
    }
}

type Stream = (tonic::Streaming<ChaincodeMessage>, Outbound);

/// Opens a stream to a chaincode's server.
async fn open(id: &str, server: &ServerInfo, deadline: Instant) -> Result<Stream, LaunchError> {
    let endpoint = server.endpoint().map_err(|error| LaunchError::Build(Arc::new(error.into())))?;
    let channel = reach(id, server, &endpoint, deadline).await?;
    let mut client = ChaincodeClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_SIZE)
        .max_encoding_message_size(MAX_MESSAGE_SIZE);
    let (outbound, queued) = outbound::channel();
    let inbound = client
        .connect(queued.map(Queued::into_message))
        .await
        .map_err(|status| LaunchError::Connect { chaincode_id: id.to_owned(), reason: status.message().to_owned() })?
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
