//! What three orderers that found a channel together begin with.

use std::net::SocketAddr;

use super::*;

pub(crate) const SIZE: usize = 3;

pub(crate) struct Founders {
    pub(crate) orderer: Organization,
    pub(crate) org1: Organization,
    pub(crate) credentials: Vec<TlsCredentials>,
    pub(crate) genesis: Block,
    pub(crate) directory: tempfile::TempDir,
}

impl Founders {
    /// Orderers at these addresses that forget what is in their log after so many bytes of blocks.
    pub(crate) fn new(addresses: &[SocketAddr], snapshot_every: u32) -> Self {
        let [orderer, org1] = ["OrdererMSP", "Org1MSP"].map(Organization::new);
        let credentials: Vec<_> = (0..SIZE).map(|n| orderer.tls(&format!("osn{n}"), &["127.0.0.1"])).collect();
        let consenter = |(credentials, address): (&TlsCredentials, &SocketAddr)| {
            let certificate = Bytes::from(credentials.certificate.clone());
            etcdraft::Consenter {
                host: "127.0.0.1".into(),
                port: address.port().into(),
                client_tls_cert: certificate.clone(),
                server_tls_cert: certificate,
            }
        };
        let consenters = credentials.iter().zip(addresses).map(consenter).collect();
        let mut channel = Channel::new(&orderer, [&org1]);
        channel.orderer_endpoints = addresses.iter().map(ToString::to_string).collect();
        let mut group = channel.group();
        let ordering = group.groups.get_mut("Orderer").unwrap();
        let options = etcdraft::Options {
            tick_interval: "50ms".into(),
            election_tick: 10,
            heartbeat_tick: 1,
            max_inflight_blocks: 5,
            snapshot_interval_size: snapshot_every,
        };
        let metadata = etcdraft::ConfigMetadata { consenters, options: Some(options) }.encode_to_vec().into();
        let size =
            orderer::BatchSize { max_message_count: 2, absolute_max_bytes: 1 << 20, preferred_max_bytes: 1 << 18 };
        ordering.values.extend([
            value("BatchSize", &size),
            value("ConsensusType", &orderer::ConsensusType { r#type: "etcdraft".into(), metadata, state: 0 }),
            value("BatchTimeout", &orderer::BatchTimeout { timeout: "20ms".into() }),
        ]);
        let genesis = genesis::block(&channel_id(), group, nonce(), Timestamp { seconds: 1_700_000_000, nanos: 0 });
        Self { orderer, org1, credentials, genesis, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self, number: usize) -> OrderingConfig {
        let path = |name: &str| self.directory.path().join(format!("{number}/{name}"));
        let credentials = &self.credentials[number];
        OrderingConfig {
            ledger_directory: path("ledgers"),
            wal_directory: path("wal"),
            snapshot_directory: path("snapshots"),
            tick_interval: None,
            expiration: ExpiredClients::Refused,
            server: key_pair(credentials),
            cluster: cluster_config(credentials),
        }
    }

    pub(crate) fn signer(&self, number: usize) -> SigningIdentity {
        self.orderer.orderer(&format!("osn{number}"))
    }
}
