//! Who the peer is: its MSP folder and its TLS files.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use ripstop_keys::LocalIdentity;
use ripstop_node::Node;
use ripstop_node_config::{MspLocation, PeerTlsConfig, ServerTlsConfig};
use ripstop_transport::{ClientRoots, KeyPair, ServerTls};

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
    /// The TLS of the listener for chaincode in development mode: chaincode that dials the peer sees the peer's certificate and
    /// shows none; it is known by the id that it registers with.
    pub(super) chaincode: ServerTls,
    /// Certificates from the configuration that clients' certificates may come from, whatever channels say.
    pub(super) configured_roots: Vec<Bytes>,
}

/// Reads the TLS files. `roots` are the certificates that clients are verified against under mutual TLS.
pub(super) fn load_tls(config: &PeerTlsConfig, roots: &ClientRoots, node: &mut Node) -> anyhow::Result<Tls> {
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
    let for_chaincode = ServerTlsConfig { client_auth_required: false, ..server.clone() };
    Ok(Tls {
        server: node.grpc_tls("server TLS", server, roots)?,
        client: node.key_pair("client TLS", &config.client_certificate, &config.client_private_key)?,
        chaincode: node.grpc_tls("server TLS", &for_chaincode, roots)?,
        configured_roots,
    })
}

/// Reads a file that the configuration names.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
