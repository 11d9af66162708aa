use std::net::SocketAddr;
use std::sync::Arc;

use ripstop_crypto::encode_pem;
use ripstop_msp::LocalPolicy;
use ripstop_proto::discovery::discovery_server::{Discovery as DiscoveryRpc, DiscoveryServer};
use ripstop_proto::discovery::{AuthInfo, Query, QueryResult, Request, Response, SignedRequest};
use ripstop_transport::{BOUNDED_BY_LISTENER, PeerInfo};
use ripstop_types::{ChannelId, Digest, SignedData};
use tokio::sync::Semaphore;
use tonic::Status;

use crate::Discovery;
use crate::access::Access;
use crate::answer::error;
use crate::cache::CacheSize;
use crate::refusal::Refusal;

/// How many queries one request may hold.
const MAX_QUERIES: usize = 64;
/// How many requests are worked on at once; others wait for their turn.
const AT_ONCE: usize = 4;

/// Whether requests must name the client's TLS certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsBinding {
    /// Under mutual TLS: the client signs the hash of the certificate that it presents, of its DER or, as Fabric's command
    /// does, of its PEM.
    Required,
    /// Otherwise. Fabric's peers are written to check it whenever there is TLS, and never do; its clients rely on that.
    NotChecked,
}

/// How the service works.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveryConfig {
    /// Whether requests are bound to the TLS connection.
    pub binding: TlsBinding,
    /// Whom of the peer's own organisation it tells of peers as such (`peer.discovery.orgMembersAllowedAccess`).
    pub local_policy: LocalPolicy,
    /// The memory of who may ask; none when each request is checked anew (`peer.discovery.authCacheEnabled`).
    pub cache: Option<CacheSize>,
}

/// `discovery.Discovery`. Clones are the same service.
#[derive(Clone)]
pub struct DiscoveryService(Arc<Shared>);

struct Shared {
    discovery: Discovery,
    access: Access,
    binding: TlsBinding,
    turns: Semaphore,
}

impl DiscoveryService {
    /// Answers applications.
    pub fn new(discovery: Discovery, config: DiscoveryConfig) -> Self {
        let access = Access::new(discovery.local_msp(), config.local_policy, config.cache);
        Self(Arc::new(Shared { discovery, access, binding: config.binding, turns: Semaphore::new(AT_ONCE) }))
    }

    /// The gRPC service.
    pub fn into_server(self) -> DiscoveryServer<Self> {
        DiscoveryServer::new(self)
            .max_decoding_message_size(BOUNDED_BY_LISTENER)
            .max_encoding_message_size(BOUNDED_BY_LISTENER)
    }
}

#[tonic::async_trait]
impl DiscoveryRpc for DiscoveryService {
    async fn discover(&self, request: tonic::Request<SignedRequest>) -> Result<tonic::Response<Response>, Status> {
        let client = PeerInfo::of(&request).cloned();
        let address = client.as_ref().map(PeerInfo::address);
        let signed = request.into_inner();
        let accepted = accept(&signed, self.0.binding, client.as_ref()).map_err(|refusal| {
            tracing::warn!(target: "discovery", "Request from {} is malformed or invalid: {refusal}", named(address));
            Status::from(refusal)
        })?;
        let _turn = self.0.turns.acquire().await.map_err(|_| Status::unavailable("the peer is stopping"))?;
        let shared = Arc::clone(&self.0);
        let work =
            move || accepted.queries.iter().map(|query| shared.answer(query, &accepted.signed, address)).collect();
        let results: Vec<QueryResult> = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Status::internal(format!("the request could not be answered to its end: {error}")))?;
        Ok(tonic::Response::new(Response { results }))
    }
}

/// A request in the right form: what is asked, and what was signed by whom.
struct Accepted {
    queries: Vec<Query>,
    signed: SignedData,
}

/// Checks a request's form and its binding to the connection, in Fabric's order.
fn accept(request: &SignedRequest, binding: TlsBinding, client: Option<&PeerInfo>) -> Result<Accepted, Refusal> {
    let Request { authentication, queries } =
        ripstop_proto::read(request.payload.clone()).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let AuthInfo { client_identity, client_tls_cert_hash: claimed } =
        authentication.ok_or(Refusal::NoAuthentication)?;
    if client_identity.is_empty() {
        return Err(Refusal::NoIdentity);
    }
    if binding == TlsBinding::Required {
        let certificate = client.and_then(PeerInfo::certificate).ok_or(Refusal::NoCertificate)?;
        let actual = Digest::of(certificate);
        let is_of = |digest: &Digest| claimed.as_ref() == digest.as_bytes();
        if !is_of(&actual) && !is_of(&Digest::of(encode_pem("CERTIFICATE", certificate).as_bytes())) {
            return Err(Refusal::OtherCertificate { claimed, actual });
        }
    }
    if queries.len() > MAX_QUERIES {
        return Err(Refusal::TooManyQueries { found: queries.len(), most: MAX_QUERIES });
    }
    let signed = SignedData {
        identity: client_identity,
        message: request.payload.clone(),
        signature: request.signature.clone(),
    };
    Ok(Accepted { queries, signed })
}

impl Shared {
    /// Answers one query, if whoever signed the request may ask it.
    fn answer(&self, query: &Query, signed: &SignedData, address: Option<SocketAddr>) -> QueryResult {
        let (name, client) = (query.channel.as_str(), named(address));
        let channel = ChannelId::new(name).ok();
        let config = channel.and_then(|channel| self.discovery.ledger(&channel)).map(|ledger| ledger.config());
        if !name.is_empty() && config.is_none() {
            tracing::warn!(target: "discovery", "got query for channel {name} from {client} but it doesn't exist");
            return error(self.access.denial(name));
        }
        if let Err(why) = self.access.check(config.as_deref(), signed) {
            tracing::warn!(target: "discovery", "got query for channel {name} from {client} but it isn't eligible: {why}");
            return error(self.access.denial(name));
        }
        self.discovery.answer(query)
    }
}

fn named(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "somewhere".to_owned(), |address| address.to_string())
}
