use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

use crate::handshake::refused;
use crate::{ClientRoots, KeyPair};

/// The application protocols a server offers: HTTP/2 for gRPC, HTTP/1.1 for the operations endpoint.
const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The provider of all TLS cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// PEM text holds no certificate, or one that cannot be read.
    #[error("{what} holds no readable PEM certificate")]
    Certificate {
        /// Which text.
        what: &'static str,
    },
    /// PEM text holds no private key, or one that cannot be read.
    #[error("the TLS private key is not a readable PEM key: {0}")]
    PrivateKey(rustls::pki_types::pem::Error),
    /// Certificate and key do not work together.
    #[error("TLS certificate and private key cannot be used: {0}")]
    KeyPair(rustls::Error),
    /// A root certificate is no certificate.
    #[error("a TLS root certificate cannot be used: {0}")]
    Root(rustls::Error),
    /// The verifier cannot be built.
    #[error("TLS verification cannot be set up: {0}")]
    Verifier(String),
}

pub(crate) fn certificates_from_pem(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| TlsError::Certificate { what })?;
    if certificates.is_empty() { Err(TlsError::Certificate { what }) } else { Ok(certificates) }
}

/// Collects trust anchors. Like Go, takes any certificate as an anchor, also an intermediate one.
pub(crate) fn root_store<'a>(pems: impl IntoIterator<Item = &'a [u8]>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for pem in pems {
        for certificate in certificates_from_pem(pem, "a TLS root certificate")? {
            store.add(certificate).map_err(TlsError::Root)?;
        }
    }
    Ok(store)
}

/// What a server asks of its clients.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// A certificate is asked for but not needed, and if given not verified: only that the client holds its key. This is
    /// what Fabric does without mutual TLS; consenters are then recognised by comparing certificates.
    Requested,
    /// A certificate is asked for but not needed; if given, it must chain to one of these roots. Fabric's HTTP servers do
    /// this without mutual TLS.
    VerifiedIfGiven(ClientRoots),
    /// Mutual TLS: a certificate that chains to one of these roots is required.
    Required(ClientRoots),
}

/// How a server speaks TLS.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    key_pair: KeyPair,
    required: bool,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("client_certificate_required", &self.required).finish()
    }
}

impl ServerTls {
    /// TLS 1.2 and 1.3 with this certificate and these demands on clients.
    pub fn new(key_pair: KeyPair, client_auth: ClientAuth) -> Result<Self, TlsError> {
        let required = matches!(client_auth, ClientAuth::Required(_));
        let verifier = PeerVerifier { client_auth, provider: provider() };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::KeyPair)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(key_pair.clone()));
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        // Resumption would skip verification against roots that changed meanwhile.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), key_pair, required })
    }

    /// Judges clients' certificates as if it were this much earlier (Fabric: `TLSHandshakeTimeShift`).
    pub fn time_shift(mut self, shift: Duration) -> Self {
        if !shift.is_zero() {
            Arc::make_mut(&mut self.config).time_provider = Arc::new(Earlier(shift));
        }
        self
    }

    /// What the server shows.
    pub const fn key_pair(&self) -> &KeyPair {
        &self.key_pair
    }

    /// Whether clients must present a certificate (mutual TLS). Deliver requests are then bound to it.
    pub const fn requires_client_certificate(&self) -> bool {
        self.required
    }
}

/// Verifies clients as [`ClientAuth`] says.
#[derive(Debug)]
struct PeerVerifier {
    client_auth: ClientAuth,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        matches!(self.client_auth, ClientAuth::Required(_))
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let roots = match &self.client_auth {
            ClientAuth::Requested => return Ok(ClientCertVerified::assertion()),
            ClientAuth::VerifiedIfGiven(roots) | ClientAuth::Required(roots) => roots,
        };
        match &*roots.verifier() {
            Some(roots) => roots.0.verify_client_cert(end_entity, intermediates, now),
            None => Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)),
        }
        .map_err(|why| refused(end_entity, why))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies a server as usual, and that it is an expected one; notes what it refuses.
#[derive(Debug)]
struct ServerVerifier {
    chain: Arc<WebPkiServerVerifier>,
    expected: Expected,
}

/// What else is expected of a server.
#[derive(Debug)]
enum Expected {
    Anybody,
    Key(Vec<u8>),
    NotCertificate(CertificateDer<'static>),
}

impl Expected {
    fn check(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), rustls::Error> {
        let name = name.to_str();
        match self {
            Self::Key(key) if ParsedCertificate::try_from(shown)?.subject_public_key_info().as_ref() == key => Ok(()),
            Self::Key(_) => Err(rustls::Error::General(format!(
                "public key of server certificate presented by {name} doesn't match the expected public key"
            ))),
            Self::NotCertificate(own) if own.as_ref() == shown.as_ref() => {
                Err(rustls::Error::General(format!("{name} is this node itself")))
            }
            Self::Anybody | Self::NotCertificate(_) => Ok(()),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let checked = verified.and_then(|ok| self.expected.check(end_entity, server_name).map(|()| ok));
        checked.map_err(|why| refused(end_entity, why))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A clock that is behind by this much.
#[derive(Debug)]
struct Earlier(Duration);

impl TimeProvider for Earlier {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since_epoch.saturating_sub(self.0)))
    }
}

/// How a client speaks TLS.
#[derive(Clone)]
pub struct ClientTls {
    pub(crate) grpc: Arc<ClientConfig>,
    pub(crate) bytes: Arc<ClientConfig>,
    certificate: Option<Vec<u8>>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("has_certificate", &self.certificate.is_some()).finish()
    }
}

impl ClientTls {
    /// Trusts servers whose certificate chains to one of the certificates in these PEM texts, and presents `key_pair`
    /// when a server asks for a certificate.
    pub fn new<'a>(roots: impl IntoIterator<Item = &'a [u8]>, key_pair: Option<KeyPair>) -> Result<Self, TlsError> {
        Self::expecting(roots, key_pair, Expected::Anybody)
    }

    /// As [`Self::new`], but trusts one server only: the one whose certificate, beside all else, has this public key (a
    /// DER-encoded SubjectPublicKeyInfo).
    pub fn pinned<'a>(
        roots: impl IntoIterator<Item = &'a [u8]>,
        key_pair: KeyPair,
        server_key: &[u8],
    ) -> Result<Self, TlsError> {
        Self::expecting(roots, Some(key_pair), Expected::Key(server_key.to_vec()))
    }

    /// As [`Self::new`], but does not talk to itself: a server that shows the certificate of `key_pair` is not trusted.
    pub fn to_others<'a>(roots: impl IntoIterator<Item = &'a [u8]>, key_pair: KeyPair) -> Result<Self, TlsError> {
        let own = key_pair.leaf();
        Self::expecting(roots, Some(key_pair), Expected::NotCertificate(own))
    }

    fn expecting<'a>(
        roots: impl IntoIterator<Item = &'a [u8]>,
        key_pair: Option<KeyPair>,
        expected: Expected,
    ) -> Result<Self, TlsError> {
        let store = root_store(roots)?;
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
            .build()
            .map_err(|error| TlsError::Verifier(error.to_string()))?;
        let certificate = key_pair.as_ref().map(|pair| pair.leaf().to_vec());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::KeyPair)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ServerVerifier { chain, expected }));
        let mut config = match key_pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(pair)),
            None => builder.with_no_client_auth(),
        };
        config.resumption = rustls::client::Resumption::disabled();
        let bytes = Arc::new(config.clone());
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Self { grpc: Arc::new(config), bytes, certificate })
    }

    /// Judges servers' certificates as if it were this much earlier (Fabric: `tls.handshakeTimeShift`), so that a node can
    /// be reached whose certificate has just expired.
    pub fn time_shift(mut self, shift: Duration) -> Self {
        if !shift.is_zero() {
            for config in [&mut self.grpc, &mut self.bytes] {
                Arc::make_mut(config).time_provider = Arc::new(Earlier(shift));
            }
        }
        self
    }

    /// The DER of the certificate this client presents.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }
}
