//! Who the peer is: its MSP folder and its TLS files.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use ripstop_crypto::Certificate;
use ripstop_keys::{LocalIdentity, SigningIdentity};
use ripstop_node_config::{MspLocation, PeerTlsConfig, ServerTlsConfig};
use ripstop_operations::CertificateEnd;
use ripstop_transport::{ClientAuth, ClientRoots, KeyPair, ServerTls};

/// Loads the peer's own organisation and key.
pub(super) fn load(location: &MspLocation) -> anyhow::Result<LocalIdentity> {
    let loaded = match &location.keystore {
        Some(keystore) => LocalIdentity::load_with_keystore(&location.directory, keystore, &location.id),
        None => LocalIdentity::load(&location.directory, &location.id),
    };
    loaded.map_err(|error| {
        let (directory, id) = (location.directory.display(), &location.id);
        anyhow::anyhow!(
            "Cannot run peer because error when setting up MSP of type bccsp from directory {directory}: {error} (MSP id {id})"
        )
    })
}

/// The peer's TLS: as a server, and the certificate it shows as a client.
pub(super) struct Tls {
    pub(super) server: ServerTls,
    pub(super) client: KeyPair,
    /// Certificates from the configuration that clients' certificates may come from, whatever channels say.
    pub(super) configured_roots: Vec<Bytes>,
}

/// Reads the TLS files. `roots` are the certificates that clients are verified against under mutual TLS.
pub(super) fn load_tls(config: &PeerTlsConfig, roots: &ClientRoots) -> anyhow::Result<Tls> {
    let server = &config.server;
    // Without mutual TLS nobody verifies clients, and the sample configuration names a file that does not exist.
    let client_roots = if server.client_auth_required { server.client_root_cas.as_slice() } else { &[] };
    let mut configured_roots = Vec::new();
    for path in server.root_cas.iter().chain(client_roots) {
        configured_roots.push(Bytes::from(read(path)?));
    }
    roots
        .replace(configured_roots.iter().map(AsRef::as_ref))
        .map_err(|error| anyhow::anyhow!("peer.tls: root certificates: {error}"))?;
    Ok(Tls {
        server: server_tls(server, roots)?,
        client: key_pair(&config.client_certificate, &config.client_private_key)?,
        configured_roots,
    })
}

/// The TLS of one listener.
pub(super) fn server_tls(config: &ServerTlsConfig, roots: &ClientRoots) -> anyhow::Result<ServerTls> {
    let auth = match config.client_auth_required {
        true => ClientAuth::Required(roots.clone()),
        false => ClientAuth::Requested,
    };
    let pair = key_pair(&config.certificate, &config.private_key)?;
    ServerTls::new(pair, auth)
        .map_err(|error| anyhow::anyhow!("TLS certificate {}: {error}", config.certificate.display()))
}

fn key_pair(certificate: &Path, key: &Path) -> anyhow::Result<KeyPair> {
    KeyPair::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
        anyhow::anyhow!("TLS certificate {} and key {}: {error}", certificate.display(), key.display())
    })
}

/// Reads a file that the configuration names.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The peer's certificates and when they end.
pub(super) fn certificate_ends(signer: &SigningIdentity, config: Option<&PeerTlsConfig>) -> Vec<CertificateEnd> {
    let mut ends = vec![CertificateEnd { role: "enrollment", not_after: signer.certificate().not_after() }];
    let tls = config.map(|tls| [("server TLS", &tls.server.certificate), ("client TLS", &tls.client_certificate)]);
    for (role, path) in tls.into_iter().flatten() {
        let certificate = read(path).ok().and_then(|pem| Certificate::from_pem(&pem).ok());
        ends.extend(certificate.map(|certificate| CertificateEnd { role, not_after: certificate.not_after() }));
    }
    ends
}
