//! Who the node is: its MSP folder and its TLS files.

use anyhow::Context;
use ripstop_keys::{LocalIdentity, SigningIdentity};
use ripstop_node::Node;
use ripstop_node_config::{OrdererConfig, ServerTlsConfig};
use ripstop_transport::{ClientRoots, ServerTls};

use crate::cluster::Cluster;

/// Who the node is.
pub(crate) struct Identity {
    pub(crate) signer: SigningIdentity,
    /// The TLS of the listener for clients; none where they speak without.
    pub(crate) clients: Option<ServerTls>,
    /// The TLS of the listener for administrators.
    pub(crate) admin: Option<ServerTls>,
    /// How it and other ordering nodes know each other.
    pub(crate) cluster: Cluster,
    /// What each listener that verifies its clients verifies them against: files, and what channels will name.
    pub(crate) client_roots: Vec<ClientRoots>,
}

impl Identity {
    /// Reads the MSP folder and the TLS files.
    pub(crate) fn load(config: &OrdererConfig, node: &mut Node) -> anyhow::Result<Self> {
        let LocalIdentity { signer, .. } = load_msp(config)?;
        let mut client_roots = Vec::new();
        let clients = config.tls.as_ref().map(|tls| clients_tls(tls, &mut client_roots, node)).transpose()?;
        let cluster = Cluster::load(config, &mut client_roots, node)?;
        let admin = config.admin.tls.as_ref().map(|tls| node.http_tls("admin TLS", tls)).transpose()?;
        Ok(Self { signer, clients, admin, cluster, client_roots })
    }
}

/// TLS of the listener for clients. Under mutual TLS they come from authorities that the file or a channel names.
fn clients_tls(tls: &ServerTlsConfig, roots: &mut Vec<ClientRoots>, node: &mut Node) -> anyhow::Result<ServerTls> {
    // Without mutual TLS nobody verifies clients; the files may be missing.
    let paths = if tls.client_auth_required { tls.client_root_cas.as_slice() } else { &[] };
    let trusted = node.client_roots(paths)?;
    let server_tls = node.grpc_tls("server TLS", tls, &trusted)?;
    roots.push(trusted);
    Ok(server_tls)
}

fn load_msp(config: &OrdererConfig) -> anyhow::Result<LocalIdentity> {
    let (directory, id) = (&config.msp.directory, &config.msp.id);
    let loaded = match &config.msp.keystore {
        Some(keystore) => LocalIdentity::load_with_keystore(directory, keystore, id),
        None => LocalIdentity::load(directory, id),
    };
    loaded.with_context(|| {
        format!(
            "failed to get the identity of MSP {id} from {} (General.LocalMSPDir, General.LocalMSPID)",
            directory.display()
        )
    })
}
