use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_gossip::{Distrust, Moment, Standing, Trust};
use ripstop_keys::SigningIdentity;
use ripstop_ledger::Ledgers;
use ripstop_msp::{Identity, LocalMsp, check_well_formed};
use ripstop_types::{ChannelId, SerializedIdentity, SignedData};

/// The policy whose members a channel's gossip is for.
const READERS: &str = "/Channel/Application/Readers";

/// The peer's own organization, and those of all its channels (Fabric: `MSPMessageCryptoService`).
#[derive(Clone)]
pub(crate) struct ChannelTrust {
    ledgers: Arc<Ledgers>,
    local_msp: Arc<LocalMsp>,
    signer: SigningIdentity,
}

impl ChannelTrust {
    pub(crate) const fn new(ledgers: Arc<Ledgers>, local_msp: Arc<LocalMsp>, signer: SigningIdentity) -> Self {
        Self { ledgers, local_msp, signer }
    }

    /// The configurations of all channels.
    fn configs(&self) -> impl Iterator<Item = Arc<ChannelConfig>> {
        self.ledgers.list().into_iter().filter_map(|channel| self.ledgers.get(&channel)).map(|ledger| ledger.config())
    }

    /// Who has an identity, if it is valid somewhere. What the own organization says of those that its own certificate
    /// authorities certified is the last word; authorities that only a channel's configuration names count too.
    fn find(&self, serialized: &Bytes) -> Result<Arc<Identity>, String> {
        let parsed = SerializedIdentity::parse(serialized.clone()).map_err(|error| error.to_string())?;
        check_well_formed(&parsed).map_err(|error| format!("identity is not well formed: {error}"))?;
        let mut why = format!("no channel of this peer has an organisation {}", parsed.msp_id);
        if parsed.msp_id == *self.local_msp.id() {
            match self.local_msp.identify(serialized) {
                Ok(identity) => return identity.validate().map(|()| identity).map_err(|error| error.to_string()),
                Err(error) => why = error.to_string(),
            }
        }
        for config in self.configs() {
            match config.msps().identify(serialized) {
                Ok(identity) => match identity.validate() {
                    Ok(()) => return Ok(identity),
                    Err(error) => why = error.to_string(),
                },
                Err(error) if config.msps().get(&parsed.msp_id).is_some() => why = error.to_string(),
                Err(_) => {}
            }
        }
        Err(format!("Peer Identity cannot be validated. No MSP found able to do that: {why}"))
    }
}

fn may_read(config: &ChannelConfig, signed: &SignedData) -> bool {
    config.policies().evaluate(READERS, std::slice::from_ref(signed), config.msps()).is_ok()
}

fn signed(identity: &Bytes, message: &[u8], signature: &[u8]) -> SignedData {
    let [message, signature] = [message, signature].map(Bytes::copy_from_slice);
    SignedData { identity: identity.clone(), message, signature }
}

impl Trust for ChannelTrust {
    fn identify(&self, now: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        let known = self.find(identity).map_err(Distrust)?;
        let until = u64::try_from(known.certificate().not_after()).unwrap_or(0);
        let expires = Moment::default() + Duration::from_secs(until);
        if now > expires {
            return Err(Distrust("gossipping peer identity expired".to_owned()));
        }
        Ok(Standing { organization: known.msp_id().clone(), expires: Some(expires) })
    }

    /// Of a peer that the own organization's MSP does not know, only the signature of one that may read a channel counts, as in
    /// Fabric.
    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        let Ok(known) = self.find(identity) else { return false };
        if self.local_msp.identify(identity).is_ok() {
            return known.verify(message, signature).is_ok();
        }
        let signed = signed(identity, message, signature);
        self.configs().any(|config| config.msps().get(known.msp_id()).is_some() && may_read(&config, &signed))
    }

    fn verify_reader(&self, channel: &ChannelId, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        let Some(ledger) = self.ledgers.get(channel) else { return false };
        may_read(&ledger.config(), &signed(identity, message, signature))
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        self.signer.sign(message).unwrap_or_else(|error| {
            tracing::error!(target: "gossip.gossip", "Failed signing message: {error}");
            Bytes::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ripstop_channel_config::genesis;
    use ripstop_ledger::LedgerOptions;
    use ripstop_testkit::{Channel, Organization};
    use ripstop_types::Timestamp;

    use super::*;

    fn now() -> Moment {
        Moment::default() + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn an_authority_that_a_channel_names_for_the_own_organisation_counts_beside_the_local_ones() {
        let (orderer, mut before, after) =
            (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org1MSP"));
        let (me, gone, newcomer) = (before.peer("peer0"), before.peer("peer1"), after.peer("peer2"));
        let stranger = Organization::new("Org1MSP").peer("peer3");
        before.revoke(&gone);
        let directory = tempfile::tempdir().unwrap();
        let ledgers = Arc::new(Ledgers::open(directory.path(), LedgerOptions::default()).unwrap());
        let local_msp = Arc::new(LocalMsp::new(&before.msp_config()).unwrap());
        let trust = ChannelTrust::new(ledgers, local_msp, me.clone());
        let identify = |signer: &SigningIdentity| trust.identify(now(), &signer.identity().raw.clone());
        assert!(identify(&me).is_ok());
        assert!(identify(&newcomer).unwrap_err().to_string().contains("certificate signed by unknown authority"));

        let channel = ChannelId::new("mychannel").unwrap();
        let group = Channel::new(&orderer, [&after]).group();
        trust.ledgers.create(genesis::block(&channel, group, [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();
        assert_eq!(identify(&newcomer).unwrap().organization.as_str(), "Org1MSP");
        let signature = newcomer.sign(b"hello").unwrap();
        assert!(trust.verify(&newcomer.identity().raw, b"hello", &signature));
        assert!(!trust.verify(&newcomer.identity().raw, b"hollo", &signature));
        assert!(identify(&stranger).is_err() && identify(&gone).is_err());
    }
}
