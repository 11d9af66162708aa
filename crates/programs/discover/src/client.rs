//! Asking a peer's discovery service.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use ripstop_command_line::os_text;
use ripstop_crypto::{Certificate, Curve, KeyKind};
use ripstop_keys::{
    Authority, CertificateRequest, ExtendedKeyUsage, KeyUsage, PrivateKey, Signer as _, SubjectName, Validity,
};
use ripstop_proto::discovery::discovery_client::DiscoveryClient;
use ripstop_proto::{Message as _, discovery, msp, protos};
use ripstop_transport::{ClientTls, Endpoint, KeyPair, MAX_MESSAGE_SIZE, describe_failure};
use ripstop_types::{Digest, GoDuration};
use tonic::Code;

use crate::settings::{Settings, SignerFiles, TlsFiles};

/// How long connecting may take unless the settings say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a certificate lasts that is made for one question, before and after now.
const MINUTES_AROUND: i64 = 60 * 60;

/// What a peer is asked.
pub(crate) enum Question<'a> {
    /// The peers of the peer's own organization's view, without a channel.
    LocalPeers,
    /// The peers of a channel.
    Peers { channel: &'a str },
    /// The members and orderers of a channel.
    Config { channel: &'a str },
    /// Which peers can endorse a chain of calls.
    Endorsers { channel: &'a str, calls: Vec<protos::ChaincodeCall> },
}

impl Question<'_> {
    fn query(&self) -> discovery::Query {
        use discovery::query::Query;
        let (channel, query) = match self {
            Self::LocalPeers => ("", Query::LocalPeers(discovery::LocalPeerQuery {})),
            Self::Peers { channel } => {
                let filter = Some(protos::ChaincodeInterest::default());
                (*channel, Query::PeerQuery(discovery::PeerMembershipQuery { filter }))
            }
            Self::Config { channel } => (*channel, Query::ConfigQuery(discovery::ConfigQuery {})),
            Self::Endorsers { channel, calls } => {
                let interests = vec![protos::ChaincodeInterest { chaincodes: calls.clone() }];
                (*channel, Query::CcQuery(discovery::ChaincodeQuery { interests }))
            }
        };
        discovery::Query { channel: channel.to_owned(), query: Some(query) }
    }
}

/// A peer to ask, and who asks.
pub(crate) struct Client<'a> {
    server: &'a str,
    endpoint: Endpoint,
    authentication: discovery::AuthInfo,
    key: PrivateKey,
}

impl<'a> Client<'a> {
    pub(crate) fn new(server: &'a str, settings: &Settings) -> anyhow::Result<Self> {
        let tls = client_tls(&settings.tls)?;
        let timeout = GoDuration::parse(&settings.tls.timeout).ok().and_then(|timeout| timeout.to_std());
        let timeout = timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(CONNECT_TIMEOUT);
        let hash = tls.as_ref().and_then(ClientTls::certificate).map(|der| Digest::of(der).to_bytes());
        let authentication = discovery::AuthInfo {
            client_identity: identity(&settings.signer)?.encode_to_vec().into(),
            client_tls_cert_hash: hash.unwrap_or_default(),
        };
        let endpoint = Endpoint::new(server)?.connect_timeout(timeout);
        let endpoint = tls.into_iter().fold(endpoint, Endpoint::tls);
        let key = PrivateKey::from_pem(&read(&settings.signer.key)?).with_context(|| settings.signer.key.clone())?;
        Ok(Self { server, endpoint, authentication, key })
    }

    /// The answer to the question; what the peer refuses is an error in its words.
    pub(crate) fn ask(&self, question: &Question<'_>) -> anyhow::Result<discovery::query_result::Result> {
        let request =
            discovery::Request { authentication: Some(self.authentication.clone()), queries: vec![question.query()] };
        let payload = Bytes::from(request.encode_to_vec());
        let signature = self.key.sign(&payload)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sent = runtime.block_on(async {
            let mut client = DiscoveryClient::new(self.endpoint.channel()).max_decoding_message_size(MAX_MESSAGE_SIZE);
            let asked = client.discover(discovery::SignedRequest { payload, signature });
            tokio::time::timeout(ANSWER_TIMEOUT, asked)
                .await
                .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("context deadline exceeded")))
        });
        let response = sent.map_err(|status| self.failed(question, &status))?.into_inner();
        let mut results = response.results;
        let result = results.pop().filter(|_| results.is_empty());
        let result = result.context("Sent 1 queries but received a different number of responses back")?;
        match result.result {
            Some(discovery::query_result::Result::Error(error)) => match question {
                Question::Endorsers { .. } => bail!("server returned: {}", error.content),
                _ => bail!("{}", error.content),
            },
            Some(result) => Ok(result),
            None => bail!("server returned response of unexpected type: nothing"),
        }
    }

    fn failed(&self, question: &Question<'_>, status: &tonic::Status) -> anyhow::Error {
        let unreached = std::error::Error::source(status).is_some();
        let reason = describe_failure(status);
        let reason = match (question, unreached) {
            (Question::Endorsers { .. }, true) => format!("failed to create new connection: {reason}"),
            (Question::Endorsers { .. }, false) => reason,
            (_, true) => format!(
                "failed connecting to {}: failed connecting to discovery service: failed to create new connection: {reason}",
                self.server
            ),
            (_, false) => {
                format!("failed connecting to {}: discovery service refused our Request: {reason}", self.server)
            }
        };
        match status.code() {
            Code::Unimplemented => anyhow!("{reason}: the peer at {} offers no discovery service", self.server),
            _ => anyhow!(reason),
        }
    }
}

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| anyhow!("open {file}: {}", os_text(&error)))
}

/// The user as peers know them, with the certificate as it is in its file.
fn identity(files: &SignerFiles) -> anyhow::Result<msp::SerializedIdentity> {
    let pem = read(&files.certificate)?;
    Certificate::from_pem(&pem)
        .with_context(|| format!("enrollment certificate {} is not a valid x509 certificate", files.certificate))?;
    Ok(msp::SerializedIdentity { mspid: files.msp_id.clone(), id_bytes: pem.into() })
}

/// TLS with the user's certificate, or with one made for the occasion: a peer binds the question to whoever connects.
fn client_tls(files: &TlsFiles) -> anyhow::Result<Option<ClientTls>> {
    if files.peer_ca.is_empty() {
        return Ok(None);
    }
    let load = |file: &str| {
        std::fs::read(file).map_err(|error| anyhow!("Failed opening file {file}: open {file}: {}", os_text(&error)))
    };
    let roots = load(&files.peer_ca)?;
    let pair = if files.key.is_empty() && files.certificate.is_empty() {
        self_signed().context("a certificate for the connection could not be made")?
    } else {
        KeyPair::from_pem(&load(&files.certificate)?, &load(&files.key)?)?
    };
    Ok(Some(ClientTls::new([roots.as_slice()], Some(pair))?))
}

fn self_signed() -> anyhow::Result<KeyPair> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = i64::try_from(now.as_secs())?;
    let request = CertificateRequest {
        subject: SubjectName { common_name: "discover".to_owned(), ..SubjectName::default() },
        validity: Validity { not_before: now - MINUTES_AROUND, not_after: now + MINUTES_AROUND },
        key_usage: vec![KeyUsage::DigitalSignature],
        extended_key_usage: vec![ExtendedKeyUsage::ClientAuth],
        hosts: Vec::new(),
    };
    let authority = Authority::root(&request, PrivateKey::generate(KeyKind::Ecdsa(Curve::P256))?)?;
    Ok(KeyPair::from_pem(authority.certificate().to_pem().as_bytes(), authority.key().to_pem()?.as_bytes())?)
}
