//! How a node and the other ordering nodes know and reach each other (`General.Cluster`).

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use ripstop_node::Node;
use ripstop_node_config::OrdererConfig;
use ripstop_ordering_service::ClusterConfig;
use ripstop_transport::{ClientAuth, ClientRoots, KeyPair, ServerTls, host_and_port};

use crate::LOG;
use crate::listeners::message_limits;

/// How the node and others know each other.
pub(crate) struct Cluster {
    /// Where others reach it, when that is not where clients do.
    pub(crate) listener: Option<OwnListener>,
    /// What it shows others as a server.
    pub(crate) server: KeyPair,
    /// How it reaches others.
    pub(crate) links: ClusterConfig,
}

/// A listener for other ordering nodes alone.
pub(crate) struct OwnListener {
    pub(crate) address: String,
    pub(crate) tls: ServerTls,
}

/// The files of what the node shows others as a server, and how far its clock is set back in handshakes.
struct Shown<'a> {
    certificate: &'a Path,
    key: &'a Path,
    time_shift: Duration,
}

impl Cluster {
    /// Reads the files. Where others have a listener of their own, whose certificates they may show there is known from
    /// files and from channels, and goes to `roots`.
    pub(crate) fn load(config: &OrdererConfig, roots: &mut Vec<ClientRoots>, node: &mut Node) -> anyhow::Result<Self> {
        let cluster = &config.cluster;
        let (listener, server, links) = match (
            &cluster.listen,
            &cluster.server_certificate,
            &cluster.server_private_key,
            &config.tls,
        ) {
            (Some((host, port)), Some(certificate), Some(key), _) => {
                let shown = Shown { certificate, key, time_shift: cluster.handshake_time_shift };
                let tls = own_tls(config, &shown, roots, node)?;
                let listener = OwnListener { address: host_and_port(host, *port), tls };
                let server = node.key_pair("cluster server TLS", certificate, key)?;
                (Some(listener), server, links(config, &shown, node)?)
            }
            (_, _, _, Some(tls)) => {
                tracing::info!(target: LOG, "Cluster listener is not configured, defaulting to use the general listener on port {}", config.listen_port);
                let (certificate, key) = (tls.certificate.as_path(), tls.private_key.as_path());
                let shown = Shown { certificate, key, time_shift: tls.handshake_time_shift };
                (None, node.key_pair("server TLS", certificate, key)?, links(config, &shown, node)?)
            }
            (_, _, _, None) => bail!(
                "TLS is required for running ordering nodes of cluster type: set General.TLS.Enabled, General.TLS.Certificate and General.TLS.PrivateKey, or give other ordering nodes a listener of their own with General.Cluster.ListenAddress, ListenPort, ServerCertificate and ServerPrivateKey"
            ),
        };
        Ok(Self { listener, server, links })
    }
}

/// The TLS of a listener for other ordering nodes alone: they must show certificates.
fn own_tls(
    config: &OrdererConfig,
    shown: &Shown<'_>,
    roots: &mut Vec<ClientRoots>,
    node: &mut Node,
) -> anyhow::Result<ServerTls> {
    let trusted = node.client_roots(&config.cluster.root_cas)?;
    let pair = node.key_pair("cluster server TLS", shown.certificate, shown.key)?;
    let tls = ServerTls::new(pair, ClientAuth::Required(trusted.clone()))?;
    roots.push(trusted);
    Ok(tls.time_shift(shown.time_shift))
}

/// How the node speaks to others: with the client certificate of `General.Cluster`, or else with the certificate and key
/// that it shows them as a server. It shifts the time of handshakes as the listener that others reach does.
fn links(config: &OrdererConfig, shown: &Shown<'_>, node: &mut Node) -> anyhow::Result<ClusterConfig> {
    let cluster = &config.cluster;
    let (certificate, key) = match (&cluster.client_certificate, &cluster.client_private_key) {
        (Some(certificate), Some(key)) => (certificate.as_path(), key.as_path()),
        (None, None) => (shown.certificate, shown.key),
        _ => bail!(
            "General.Cluster.ClientCertificate and General.Cluster.ClientPrivateKey must be given together, or neither of them"
        ),
    };
    Ok(ClusterConfig {
        key_pair: node.key_pair("client TLS", certificate, key)?,
        roots: node.client_roots(&cluster.root_cas)?,
        dial_timeout: cluster.dial_timeout,
        rpc_timeout: cluster.rpc_timeout,
        send_buffer: cluster.send_buffer_size,
        pull_timeout: cluster.replication_pull_timeout,
        retry_pause: cluster.replication_retry_timeout,
        time_shift: shown.time_shift,
        messages: message_limits(config),
    })
}
