//! Who the peer is: its address, its MSP folder and its TLS files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use ripstop_keys::{LocalIdentity, SigningIdentity};
use ripstop_msp::LocalMsp;
use ripstop_node::Node;
use ripstop_node_config::{MspLocation, PeerConfig, PeerTlsConfig, ServerTlsConfig};
use ripstop_transport::{ClientRoots, KeyPair, ServerTls, local_ip};

use super::at;

/// Who the peer is.
pub(super) struct Identity {
    /// Where applications and peers of its own organization reach it.
    pub(super) address: String,
    /// Its organization.
    pub(super) local_msp: Arc<LocalMsp>,
    /// Its certificate, and what signs for it.
    pub(super) signer: SigningIdentity,
    /// None where the peer speaks without TLS.
    pub(super) tls: Option<Tls>,
}

impl Identity {
    /// Finds out the address, and reads the MSP folder and the TLS files.
    pub(super) fn load(config: &PeerConfig, node: &mut Node) -> anyhow::Result<Self> {
        let address = config.advertised_address(local_ip()).context(
            "peer.address must be found out (peer.addressAutoDetect, or a host such as 0.0.0.0), but this machine has none",
        )?;
        let LocalIdentity { msp, signer } = load_msp(&config.msp)?;
        let tls = config.tls.as_ref().map(|tls| Tls::load(tls, node)).transpose()?;
        if tls.is_some() {
            tracing::info!(target: "nodeCmd", function = "serve", "Starting peer with TLS enabled");
        }
        Ok(Self { address, local_msp: Arc::new(msp), signer, tls })
    }

    /// The TLS of the listener for everybody.
    pub(super) fn server_tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref().map(|tls| &tls.server)
    }

    /// The certificate that the peer shows where it is the client.
    pub(super) fn client_tls(&self) -> Option<&KeyPair> {
        self.tls.as_ref().map(|tls| &tls.client)
    }
}

/// The peer's TLS: as a server, and the certificate it shows as a client. The digests of these certificates, as messages name
/// them, are those of [`ServerTls::key_pair`] and of the client's pair ([`KeyPair::leaf_hash`]).
pub(super) struct Tls {
    /// The listener for everybody.
    pub(super) server: ServerTls,
    /// What the peer shows where it is the client.
    pub(super) client: KeyPair,
    /// The TLS of the listener for chaincode in development mode: chaincode that dials the peer sees the peer's certificate and
    /// shows none; it is known by the id that it registers with.
    pub(super) chaincode: ServerTls,
    /// What clients' certificates are verified against under mutual TLS: those of the configuration and of all channels.
    pub(super) client_roots: ClientRoots,
}

impl Tls {
    fn load(config: &PeerTlsConfig, node: &mut Node) -> anyhow::Result<Self> {
        let server = &config.server;
        // Without mutual TLS nobody verifies clients, and the sample configuration names a file that does not exist.
        let client_cas = if server.client_auth_required { server.client_root_cas.as_slice() } else { &[] };
        let paths: Vec<PathBuf> = server.root_cas.iter().chain(client_cas).cloned().collect();
        let client_roots = node.client_roots(&paths).map_err(at("peer.tls"))?;
        let for_chaincode = ServerTlsConfig { client_auth_required: false, ..server.clone() };
        Ok(Self {
            server: node.grpc_tls("server TLS", server, &client_roots)?,
            client: node.key_pair("client TLS", &config.client_certificate, &config.client_private_key)?,
            chaincode: node.grpc_tls("server TLS", &for_chaincode, &client_roots)?,
            client_roots,
        })
    }
}

/// The peer's own organization and key.
fn load_msp(location: &MspLocation) -> anyhow::Result<LocalIdentity> {
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

/// Reads a file that the configuration names.
pub(super) fn read(path: &Path) -> anyhow::Result<Bytes> {
    std::fs::read(path).map(Bytes::from).with_context(|| format!("cannot read {}", path.display()))
}
