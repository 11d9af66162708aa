use std::env;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_server::{Chaincode, ChaincodeServer};
use ripstop_proto::protos::chaincode_support_client::ChaincodeSupportClient;
use ripstop_transport::{
    BindError, ClientAuth, ClientRoots, ClientTls, Endpoint, InvalidAddress, KeyPair, Listener, MAX_MESSAGE_SIZE,
    ServeError, ServerKeepalive, ServerTls, TlsError, serve_grpc,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::contract::Contract;
use crate::session::{self, OUTBOUND_QUEUE, SessionError};

/// Why a contract does not run (any longer).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The environment does not say what to do.
    #[error("{0} must be set")]
    NotSet(&'static str),
    /// A file named by the environment cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that should hold base64 does not.
    #[error("{0} holds no base64 text")]
    Base64(PathBuf),
    /// The keys or certificates do not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer's address is none.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The address to listen on is not free.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server stopped.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The peer cannot be reached.
    #[error("the peer at {address} cannot be reached: {status}")]
    Dial {
        /// The peer.
        address: String,
        /// Why.
        status: Box<Status>,
    },
    /// The stream to the peer broke.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The peer ended the stream.
    #[error("the peer ended the stream")]
    Ended,
    /// There is no runtime to run on.
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// Runs a contract as the environment says, until it is told to stop: the whole `main` of a contract.
///
/// With `CHAINCODE_SERVER_ADDRESS` it is a service that peers dial, under the name in `CHAINCODE_ID`; with
/// `CORE_PEER_ADDRESS` it dials that peer, under the name in `CORE_CHAINCODE_ID_NAME`.
pub fn run(contract: Contract) -> ExitCode {
    // A program that has its own subscriber keeps it.
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).with_target(false).try_init().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(serve_environment(contract))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// [`run`] inside a runtime, stopped by Ctrl-C or a request to terminate.
pub async fn serve_environment(contract: Contract) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Runtime)?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    if let Some(address) = variable("CHAINCODE_SERVER_ADDRESS") {
        let id = variable("CHAINCODE_ID")
            .or_else(|| variable("CORE_CHAINCODE_ID_NAME"))
            .ok_or(RunError::NotSet("CHAINCODE_ID"))?;
        let tls = ServerTlsFiles::from_environment().map(|files| files.load()).transpose()?;
        let name = contract.name().to_owned();
        let server = Server::bind(&address, &id, contract, tls).await?;
        tracing::info!("contract {name} waits for peers at {} as {id}", server.address());
        return server.run(stop).await;
    }
    let address = variable("CORE_PEER_ADDRESS").ok_or(RunError::NotSet("CHAINCODE_SERVER_ADDRESS"))?;
    let id = variable("CORE_CHAINCODE_ID_NAME").ok_or(RunError::NotSet("CORE_CHAINCODE_ID_NAME"))?;
    let mut endpoint = Endpoint::new(&address)?;
    if let Some(tls) = client_tls_of_environment()? {
        endpoint = endpoint.tls(tls);
    }
    tokio::select! {
        ended = dial(&endpoint, &id, contract) => ended,
        () = stop => Ok(()),
    }
}

/// Serves a contract at `address` under a chaincode id, without TLS, for ever.
pub async fn serve(address: &str, chaincode_id: &str, contract: Contract) -> Result<(), RunError> {
    Server::bind(address, chaincode_id, contract, None).await?.run(std::future::pending()).await
}

/// A contract as a service: peers dial it. Several may.
pub struct Server {
    listener: Listener,
    tls: Option<ServerTls>,
    /// Dropped when the server is to stop: ends all streams.
    stop: watch::Sender<()>,
    service: Service,
}

impl Server {
    /// Listens at `address` (port 0 for any free one), so that peers can connect from now on.
    pub async fn bind(
        address: &str,
        chaincode_id: &str,
        contract: Contract,
        tls: Option<ServerTls>,
    ) -> Result<Self, RunError> {
        let listener = Listener::bind(address).await?;
        let (stop, stopped) = watch::channel(());
        Ok(Self {
            listener,
            tls,
            stop,
            service: Service { id: chaincode_id.into(), contract: Arc::new(contract), stopped },
        })
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.listener.address()
    }

    /// Serves until `stop` completes; then peers see their streams end.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let service = ChaincodeServer::new(self.service)
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE);
        let routes = tonic::service::Routes::new(service);
        let streams = self.stop;
        let stop = async move {
            stop.await;
            drop(streams);
        };
        Ok(serve_grpc(self.listener, self.tls, ServerKeepalive::default(), routes, stop).await?)
    }
}

type BoxStream<T> = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

struct Service {
    id: Arc<str>,
    contract: Arc<Contract>,
    stopped: watch::Receiver<()>,
}

#[tonic::async_trait]
impl Chaincode for Service {
    type ConnectStream = BoxStream<ChaincodeMessage>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (outbound, receiver) = mpsc::channel(OUTBOUND_QUEUE);
        let (id, contract) = (self.id.clone(), self.contract.clone());
        tokio::spawn(async move {
            if let Err(error) = session::run(&id, contract, request.into_inner(), outbound).await {
                tracing::warn!("{error}");
            }
        });
        let mut stopped = self.stopped.clone();
        // A transaction at work would keep the stream open; it is of no use to a peer that is told to go elsewhere.
        let stopped = Box::pin(async move { drop(stopped.changed().await) });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok).take_until(stopped))))
    }
}

/// Dials a peer's chaincode listener and serves the contract there, until the stream ends. The peer accepts only
/// chaincode it started itself, or any in development mode.
pub async fn dial(endpoint: &Endpoint, chaincode_id: &str, contract: Contract) -> Result<(), RunError> {
    let (outbound, receiver) = mpsc::channel(OUTBOUND_QUEUE);
    let mut client = ChaincodeSupportClient::new(endpoint.channel())
        .max_decoding_message_size(MAX_MESSAGE_SIZE)
        .max_encoding_message_size(MAX_MESSAGE_SIZE);
    let inbound = client
        .register(ReceiverStream::new(receiver))
        .await
        .map_err(|status| RunError::Dial { address: endpoint.address(), status: Box::new(status) })?
        .into_inner();
    session::run(chaincode_id, Arc::new(contract), inbound, outbound).await?;
    Err(RunError::Ended)
}

/// The files of a service's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The key, PEM.
    pub key: PathBuf,
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Roots of peers' client certificates, PEM; peers need none when this is absent.
    pub client_roots: Option<PathBuf>,
}

impl ServerTlsFiles {
    /// As Fabric's samples name them: `CHAINCODE_TLS_DISABLED` (default true), `CHAINCODE_TLS_KEY`,
    /// `CHAINCODE_TLS_CERT`, `CHAINCODE_CLIENT_CA_CERT`. None when TLS is off.
    pub fn from_environment() -> Option<Self> {
        let off = variable("CHAINCODE_TLS_DISABLED").is_none_or(|value| !matches!(value.as_str(), "false" | "0" | "f"));
        (!off).then(|| Self {
            key: variable("CHAINCODE_TLS_KEY").unwrap_or_default().into(),
            certificate: variable("CHAINCODE_TLS_CERT").unwrap_or_default().into(),
            client_roots: variable("CHAINCODE_CLIENT_CA_CERT").map(PathBuf::from),
        })
    }

    /// Reads the files.
    pub fn load(&self) -> Result<ServerTls, RunError> {
        let key_pair = KeyPair::from_pem(&read(&self.certificate)?, &read(&self.key)?)?;
        let client_auth = match &self.client_roots {
            None => ClientAuth::Requested,
            Some(path) => ClientAuth::Required(ClientRoots::new([read(path)?.into()])?),
        };
        Ok(ServerTls::new(key_pair, client_auth)?)
    }
}

/// How Fabric tells a chaincode that dials the peer about TLS: `CORE_PEER_TLS_ENABLED`, `CORE_PEER_TLS_ROOTCERT_FILE`,
/// and the client's key pair either as PEM (`CORE_TLS_CLIENT_KEY_FILE`, `CORE_TLS_CLIENT_CERT_FILE`) or as base64 of PEM
/// (`CORE_TLS_CLIENT_KEY_PATH`, `CORE_TLS_CLIENT_CERT_PATH`).
fn client_tls_of_environment() -> Result<Option<ClientTls>, RunError> {
    if variable("CORE_PEER_TLS_ENABLED").is_none_or(|value| !matches!(value.as_str(), "true" | "1" | "t")) {
        return Ok(None);
    }
    let root = variable("CORE_PEER_TLS_ROOTCERT_FILE").ok_or(RunError::NotSet("CORE_PEER_TLS_ROOTCERT_FILE"))?;
    let root = read(Path::new(&root))?;
    let pem_or_base64 = |file: &str, path: &str| -> Result<Option<Vec<u8>>, RunError> {
        if let Some(file) = variable(file) {
            return read(Path::new(&file)).map(Some);
        }
        let Some(path) = variable(path).map(PathBuf::from) else { return Ok(None) };
        let text = read(&path)?;
        BASE64_STANDARD.decode(text.trim_ascii()).map(Some).map_err(|_| RunError::Base64(path))
    };
    let key = pem_or_base64("CORE_TLS_CLIENT_KEY_FILE", "CORE_TLS_CLIENT_KEY_PATH")?;
    let certificate = pem_or_base64("CORE_TLS_CLIENT_CERT_FILE", "CORE_TLS_CLIENT_CERT_PATH")?;
    let key_pair = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(KeyPair::from_pem(&certificate, &key)?),
        _ => None,
    };
    Ok(Some(ClientTls::new([root.as_slice()], key_pair)?))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|source| RunError::File { path: path.to_owned(), source })
}
