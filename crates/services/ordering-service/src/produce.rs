//! Making the configuration transaction of an update.

use bytes::Bytes;
use ripstop_channel_config::{ChannelConfig, ConsensusType};
use ripstop_crypto::SigningIdentity;
use ripstop_keys::{EnvelopeHeader, sign_envelope};
use ripstop_ordering::{ConfigRefusal, ExpirationRule, Message, check_foreign_config, check_produced, propose_config};
use ripstop_policy::Reader;
use ripstop_proto::common::Status;
use ripstop_proto::{common, etcdraft};
use ripstop_raft::{Consenters, NodeId};
use ripstop_types::{Envelope, HeaderType, Timestamp};

use crate::config::ExpiredClients;

/// Why no configuration transaction was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProduceError {
    /// The update is refused.
    #[error(transparent)]
    Refused(#[from] ConfigRefusal),
    /// This node cannot sign, or made something it cannot read itself.
    #[error("cannot sign the config transaction: {0}")]
    Sign(String),
}

impl ProduceError {
    /// All that a reader may know. Displays as for the sender.
    pub(crate) fn text(&self, reader: Reader) -> String {
        match self {
            Self::Refused(refusal) => refusal.text(reader),
            Self::Sign(_) => self.to_string(),
        }
    }

    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Sign(_) => Status::BadRequest,
        }
    }
}

/// What making a configuration transaction needs beside the configuration in force.
pub(crate) struct Producer<'a> {
    pub(crate) signer: &'a SigningIdentity,
    pub(crate) expired: ExpiredClients,
    /// The consenters of the configuration in force.
    pub(crate) consenters: &'a Consenters,
    /// The consenters known to be alive.
    pub(crate) active: &'a [NodeId],
    /// Seconds since the Unix epoch.
    pub(crate) now: i64,
}

impl Producer<'_> {
    /// The rule on expired certificates, now.
    pub(crate) const fn expiration(&self) -> ExpirationRule {
        expiration(self.expired, self.now)
    }

    /// Checks an update, applies it and signs the configuration transaction.
    pub(crate) fn produce(&self, config: &ChannelConfig, update: &Envelope) -> Result<Message, ProduceError> {
        let expiration = self.expiration();
        let proposed = propose_config(config, update, expiration, self.now, |next| self.check_consenters(next))?;
        let header = EnvelopeHeader {
            kind: HeaderType::Config,
            channel_id: Some(config.channel_id()),
            tx_id: None,
            extension: Bytes::new(),
            tls_cert_hash: Bytes::new(),
            timestamp: Timestamp { seconds: self.now, nanos: 0 },
        };
        let signed = sign_envelope(self.signer, &header, proposed.data())
            .map_err(|error| ProduceError::Sign(error.to_string()))?;
        let message = Message::parse(signed).map_err(|error| ProduceError::Sign(error.to_string()))?;
        check_produced(config, &message.envelope, expiration)?;
        Ok(message)
    }

    /// Checks that a configuration that another orderer made may follow.
    pub(crate) fn check_foreign(
        &self,
        config: &ChannelConfig,
        content: &common::ConfigEnvelope,
    ) -> Result<(), ConfigRefusal> {
        check_foreign_config(config, content, self.now, |next| self.check_consenters(next))
    }

    fn check_consenters(&self, next: &ChannelConfig) -> Result<(), String> {
        let Some(orderer) = next.orderer() else { return Ok(()) };
        if orderer.consensus_type != ConsensusType::EtcdRaft {
            return Err(format!("this orderer cannot run {} consensus yet, only etcdraft", orderer.consensus_type));
        }
        let listed = raft_consenters(next)?;
        self.consenters.check_change(&listed, self.active).map_err(|refused| refused.to_string())
    }
}

/// The rule on expired certificates at a time in seconds since the Unix epoch.
pub(crate) const fn expiration(expired: ExpiredClients, now: i64) -> ExpirationRule {
    match expired {
        ExpiredClients::Refused => ExpirationRule::At(now),
        ExpiredClients::Taken => ExpirationRule::Off,
    }
}

/// The consenters that a configuration lists.
pub(crate) fn raft_consenters(config: &ChannelConfig) -> Result<Vec<etcdraft::Consenter>, String> {
    let orderer = config.orderer().ok_or("config does not contain orderer config")?;
    let metadata = orderer.raft().map_err(|error| error.to_string())?;
    Ok(metadata
        .consenters
        .into_iter()
        .map(|consenter| etcdraft::Consenter {
            host: consenter.host,
            port: consenter.port,
            client_tls_cert: consenter.client_tls_cert,
            server_tls_cert: consenter.server_tls_cert,
        })
        .collect())
}
