use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ripstop_crypto::encode_pem;
use ripstop_msp::LocalPolicy;
use ripstop_proto::discovery::discovery_server::{Discovery as DiscoveryRpc, DiscoveryServer};
use ripstop_proto::discovery::{AuthInfo, Query, QueryResult, Request, Response, SignedRequest};
use ripstop_transport::{BOUNDED_BY_LISTENER, PeerInfo};
use ripstop_types::{ChannelId, Digest, SerializedIdentity, SignedData};
use tonic::Status;

use crate::Discovery;
use crate::access::Access;
use crate::answer::error;
use crate::cache::CacheSize;
use crate::refusal::Refusal;
use crate::turns::Turns;

/// How many values the lists of a request may hold together; what they are of is bounded further where it is known.
const MAX_VALUES: usize = 1 << 17;
/// How many queries one request may hold.
const MAX_QUERIES: usize = 64;

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
    /// Whom of the peer's own organization it tells of peers as such (`peer.discovery.orgMembersAllowedAccess`).
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
    turns: Turns,
}

impl DiscoveryService {
    /// Answers applications.
    pub fn new(discovery: Discovery, config: DiscoveryConfig) -> Self {
        let access = Access::new(discovery.local_msp(), config.local_policy, config.cache);
        Self(Arc::new(Shared { discovery, access, binding: config.binding, turns: Turns::default() }))
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
        let admitted = self.0.admit(&accepted, address);
        let organization = SerializedIdentity::parse(accepted.signed.identity.clone()).ok().map(|read| read.msp_id);
        // Who may ask is who the signature says. What is refused needs no turn.
        let turn = match organization.filter(|_| admitted.iter().any(Result::is_ok)) {
            Some(organization) => {
                let turn = self.0.turns.take(&organization).await;
                Some(turn.map_err(|refusal| Status::resource_exhausted(refusal.to_string()))?)
            }
            None => None,
        };
        let discovery = self.0.discovery.clone();
        let work = move || {
            let _turn = turn;
            let queries = accepted.queries.iter().zip(admitted);
            queries.map(|(query, admitted)| admitted.err().map_or_else(|| discovery.answer(query), error)).collect()
        };
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
    let Request { authentication, queries } = ripstop_proto::read_bounded(request.payload.clone(), MAX_VALUES)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
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
    /// For each query, whether whoever signed the request may ask it; each channel is looked at once.
    fn admit(&self, accepted: &Accepted, address: Option<SocketAddr>) -> Vec<Result<(), String>> {
        let mut known: BTreeMap<&str, Result<(), String>> = BTreeMap::new();
        let admitted = accepted.queries.iter().map(|query| {
            let name = query.channel.as_str();
            known.entry(name).or_insert_with(|| self.may_ask(name, &accepted.signed, address)).clone()
        });
        admitted.collect()
    }

    /// Whether who signed this may ask about a channel; else what they are told.
    fn may_ask(&self, name: &str, signed: &SignedData, address: Option<SocketAddr>) -> Result<(), String> {
        let client = named(address);
        let channel = ChannelId::new(name).ok();
        let config = channel.and_then(|channel| self.discovery.ledger(&channel)).map(|ledger| ledger.config());
        if !name.is_empty() && config.is_none() {
            tracing::warn!(target: "discovery", "got query for channel {name} from {client} but it doesn't exist");
            return Err(self.access.denial(name));
        }
        if let Err(why) = self.access.check(config.as_deref(), signed) {
            tracing::warn!(target: "discovery", "got query for channel {name} from {client} but it isn't eligible: {why}");
            return Err(self.access.denial(name));
        }
        Ok(())
    }
}

fn named(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "somewhere".to_owned(), |address| address.to_string())
}
