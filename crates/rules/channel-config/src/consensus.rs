use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use ripstop_crypto::Certificate;
use ripstop_proto::etcdraft;
use ripstop_types::GoDuration;

/// The settings of Raft in a channel (`etcdraft.ConfigMetadata`), checked as Fabric's orderer does before it takes them,
/// as far as that needs nothing else (Fabric: `etcdraft.MetadataHasDuplication`, `validateConsenterTLSCerts`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftMetadata {
    /// The orderers that agree. The order is that of the consenter ids in blocks.
    pub consenters: Vec<RaftConsenter>,
    /// How they do.
    pub options: RaftOptions,
}

/// An orderer under Raft. Orderers know each other by the TLS certificates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RaftConsenter {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u32,
    /// Its TLS certificate as a client, PEM.
    pub client_tls_cert: Bytes,
    /// Its TLS certificate as a server, PEM.
    pub server_tls_cert: Bytes,
}

impl RaftConsenter {
    /// Host and port as one address.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The clockwork of Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftOptions {
    /// The length of a tick.
    pub tick_interval: Duration,
    /// After how many ticks without a leader an election begins; more than a heartbeat.
    pub election_tick: u32,
    /// After how many ticks a leader shows that it lives.
    pub heartbeat_tick: u32,
    /// How many blocks may be proposed and not agreed on.
    pub max_inflight_blocks: u32,
    /// After how many bytes of blocks a snapshot is taken.
    pub snapshot_interval_size: u32,
}

/// Why settings of a consensus cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusMetadataError {
    /// Not the message it should be.
    #[error("failed to unmarshal etcdraft metadata configuration: {0}")]
    Decode(prost::DecodeError),
    /// No clockwork.
    #[error("nil Raft config metadata options")]
    NoOptions,
    /// A number that must not be zero is.
    #[error(
        "none of HeartbeatTick ({heartbeat}), ElectionTick ({election}) and MaxInflightBlocks ({inflight}) can be zero"
    )]
    Zero {
        /// The ticks of a heartbeat.
        heartbeat: u32,
        /// The ticks of an election.
        election: u32,
        /// The blocks not agreed on.
        inflight: u32,
    },
    /// A leader would be doubted between two heartbeats.
    #[error("ElectionTick ({election}) must be greater than HeartbeatTick ({heartbeat})")]
    ElectionTick {
        /// The ticks of an election.
        election: u32,
        /// The ticks of a heartbeat.
        heartbeat: u32,
    },
    /// A tick that is no duration.
    #[error("failed to parse TickInterval ({0}) to time duration")]
    TickInterval(String),
    /// A tick of no length.
    #[error("TickInterval cannot be zero")]
    ZeroTickInterval,
    /// Nobody to agree.
    #[error("empty consenter set")]
    NoConsenters,
    /// A certificate that is none.
    #[error("the {kind} TLS certificate of consenter {address} is no certificate: {reason}")]
    Certificate {
        /// `client` or `server`.
        kind: &'static str,
        /// Whose.
        address: String,
        /// Why not.
        reason: String,
    },
    /// Two orderers that could not be told apart.
    #[error("duplicate consenter: {address} has a TLS certificate of another consenter")]
    Duplicate {
        /// The second of them.
        address: String,
    },
}

/// What a snapshot interval of 0 means, in bytes.
const DEFAULT_SNAPSHOT_INTERVAL_SIZE: u32 = 16 * 1024 * 1024;

impl RaftMetadata {
    /// Reads the metadata of a consensus type.
    pub fn decode(metadata: Bytes) -> Result<Self, ConsensusMetadataError> {
        let metadata =
            ripstop_proto::read::<etcdraft::ConfigMetadata>(metadata).map_err(ConsensusMetadataError::Decode)?;
        let options = RaftOptions::check(metadata.options.as_ref().ok_or(ConsensusMetadataError::NoOptions)?)?;
        if metadata.consenters.is_empty() {
            return Err(ConsensusMetadataError::NoConsenters);
        }
        let consenters: Vec<RaftConsenter> = metadata
            .consenters
            .into_iter()
            .map(|c| RaftConsenter {
                host: c.host,
                port: c.port,
                client_tls_cert: c.client_tls_cert,
                server_tls_cert: c.server_tls_cert,
            })
            .collect();
        let mut seen = HashSet::new();
        for consenter in &consenters {
            consenter.check_certificates()?;
            // One certificate may serve an orderer as client and server, but never two orderers.
            if seen.contains(&consenter.server_tls_cert) || seen.contains(&consenter.client_tls_cert) {
                return Err(ConsensusMetadataError::Duplicate { address: consenter.address() });
            }
            seen.insert(&consenter.server_tls_cert);
            seen.insert(&consenter.client_tls_cert);
        }
        Ok(Self { consenters, options })
    }
}

impl RaftOptions {
    fn check(options: &etcdraft::Options) -> Result<Self, ConsensusMetadataError> {
        let (heartbeat, election) = (options.heartbeat_tick, options.election_tick);
        let inflight = options.max_inflight_blocks;
        if heartbeat == 0 || election == 0 || inflight == 0 {
            return Err(ConsensusMetadataError::Zero { heartbeat, election, inflight });
        }
        if election <= heartbeat {
            return Err(ConsensusMetadataError::ElectionTick { election, heartbeat });
        }
        let tick = GoDuration::parse(&options.tick_interval)
            .ok()
            .and_then(GoDuration::to_std)
            .ok_or_else(|| ConsensusMetadataError::TickInterval(options.tick_interval.clone()))?;
        if tick.is_zero() {
            return Err(ConsensusMetadataError::ZeroTickInterval);
        }
        Ok(Self {
            tick_interval: tick,
            election_tick: election,
            heartbeat_tick: heartbeat,
            max_inflight_blocks: inflight,
            snapshot_interval_size: match options.snapshot_interval_size {
                0 => DEFAULT_SNAPSHOT_INTERVAL_SIZE,
                size => size,
            },
        })
    }
}

impl RaftConsenter {
    fn check_certificates(&self) -> Result<(), ConsensusMetadataError> {
        for (kind, pem) in [("server", &self.server_tls_cert), ("client", &self.client_tls_cert)] {
            Certificate::from_pem(pem).map_err(|error| ConsensusMetadataError::Certificate {
                kind,
                address: self.address(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use ripstop_testkit::Organization;

    use super::*;

    fn metadata() -> etcdraft::ConfigMetadata {
        let organization = Organization::new("OrdererMSP");
        let consenter = |name: &str| etcdraft::Consenter {
            host: name.into(),
            port: 7050,
            client_tls_cert: organization.tls(name, &[name]).certificate.into(),
            server_tls_cert: organization.tls(name, &[name]).certificate.into(),
        };
        let options = etcdraft::Options {
            tick_interval: "250ms".into(),
            election_tick: 10,
            heartbeat_tick: 1,
            max_inflight_blocks: 5,
            snapshot_interval_size: 0,
        };
        etcdraft::ConfigMetadata { consenters: vec![consenter("a"), consenter("b")], options: Some(options) }
    }

    fn decode(metadata: &etcdraft::ConfigMetadata) -> Result<RaftMetadata, ConsensusMetadataError> {
        RaftMetadata::decode(metadata.encode_to_vec().into())
    }

    #[test]
    fn settings_of_raft_are_read() {
        let raft = decode(&metadata()).unwrap();
        assert_eq!(raft.consenters[1].address(), "b:7050");
        assert_eq!(raft.options.tick_interval, Duration::from_millis(250));
        assert_eq!(raft.options.snapshot_interval_size, 16 << 20);
    }

    #[test]
    fn settings_of_raft_that_cannot_work_are_refused() {
        type Edit = fn(&mut etcdraft::ConfigMetadata);
        let cases: [(Edit, &str); 8] = [
            (|m| m.options = None, "nil Raft config metadata options"),
            (
                |m| m.options.as_mut().unwrap().heartbeat_tick = 0,
                "none of HeartbeatTick (0), ElectionTick (10) and MaxInflightBlocks (5) can be zero",
            ),
            (
                |m| m.options.as_mut().unwrap().election_tick = 1,
                "ElectionTick (1) must be greater than HeartbeatTick (1)",
            ),
            (
                |m| m.options.as_mut().unwrap().tick_interval = "soon".into(),
                "failed to parse TickInterval (soon) to time duration",
            ),
            (|m| m.options.as_mut().unwrap().tick_interval = "0s".into(), "TickInterval cannot be zero"),
            (|m| m.consenters.clear(), "empty consenter set"),
            (
                |m| m.consenters[0].client_tls_cert = Bytes::from_static(b"x"),
                "the client TLS certificate of consenter a:7050 is no certificate: ",
            ),
            (
                |m| m.consenters[1].server_tls_cert = m.consenters[0].client_tls_cert.clone(),
                "duplicate consenter: b:7050 has a TLS certificate of another consenter",
            ),
        ];
        for (edit, message) in cases {
            let mut metadata = metadata();
            edit(&mut metadata);
            let error = decode(&metadata).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
