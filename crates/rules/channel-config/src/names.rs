use crate::ConfigFault;

/// The longest name of a group, value or policy, in bytes (Fabric: `common/configtx/validator.go`).
pub const MAX_CONFIG_NAME_LENGTH: usize = 249;
/// Names that no group, value or policy may have.
pub const ILLEGAL_CONFIG_NAMES: [&str; 2] = [".", ".."];

/// The names of groups, values and policies of a configuration tree.
pub mod key {
    /// The root.
    pub const CHANNEL: &str = "Channel";
    /// The group of ordering.
    pub const ORDERER: &str = "Orderer";
    /// The group of peers' organizations.
    pub const APPLICATION: &str = "Application";
    /// The group of consortiums, of the system channel that no longer exists.
    pub const CONSORTIUMS: &str = "Consortiums";

    /// `common.HashingAlgorithm` of the channel.
    pub const HASHING_ALGORITHM: &str = "HashingAlgorithm";
    /// `common.BlockDataHashingStructure` of the channel.
    pub const BLOCK_DATA_HASHING_STRUCTURE: &str = "BlockDataHashingStructure";
    /// `common.OrdererAddresses` of the channel: addresses that belong to no organization.
    pub const ORDERER_ADDRESSES: &str = "OrdererAddresses";
    /// `common.Consortium` of the channel.
    pub const CONSORTIUM: &str = "Consortium";
    /// `common.Capabilities` of channel, ordering and application.
    pub const CAPABILITIES: &str = "Capabilities";

    /// `orderer.ConsensusType`.
    pub const CONSENSUS_TYPE: &str = "ConsensusType";
    /// `orderer.BatchSize`.
    pub const BATCH_SIZE: &str = "BatchSize";
    /// `orderer.BatchTimeout`.
    pub const BATCH_TIMEOUT: &str = "BatchTimeout";
    /// `orderer.KafkaBrokers`; without meaning.
    pub const KAFKA_BROKERS: &str = "KafkaBrokers";
    /// `orderer.ChannelRestrictions`.
    pub const CHANNEL_RESTRICTIONS: &str = "ChannelRestrictions";
    /// `common.Orderers`: the consenters under byzantine consensus.
    pub const ORDERERS: &str = "Orderers";

    /// `protos.ACLs` of the application.
    pub const ACLS: &str = "ACLs";
    /// `msp.MSPConfig` of an organization.
    pub const MSP: &str = "MSP";
    /// `common.OrdererAddresses` of an ordering organization.
    pub const ENDPOINTS: &str = "Endpoints";
    /// `protos.AnchorPeers` of a peers' organization.
    pub const ANCHOR_PEERS: &str = "AnchorPeers";

    /// The policy of who may read.
    pub const READERS: &str = "Readers";
    /// The policy of who may write.
    pub const WRITERS: &str = "Writers";
    /// The policy of who may change things.
    pub const ADMINS: &str = "Admins";
    /// The policy that an orderer's signatures on a block must satisfy.
    pub const BLOCK_VALIDATION: &str = "BlockValidation";
}

/// Checks the name of a group, value or policy: letters, digits, `.` and `-`.
pub(crate) fn check_name(name: &str) -> Result<(), ConfigFault> {
    if name.is_empty() {
        return Err(ConfigFault::EmptyName);
    }
    if name.len() > MAX_CONFIG_NAME_LENGTH {
        return Err(ConfigFault::LongName);
    }
    if ILLEGAL_CONFIG_NAMES.contains(&name) {
        return Err(ConfigFault::ReservedName(name.to_owned()));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') {
        return Err(ConfigFault::NameCharacters(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_fabrics_rule() {
        for good in ["A", "Org1.example-2", "..."] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for (bad, message) in [
            ("", "config ID illegal, cannot be empty"),
            (".", "name '.' for config ID is not allowed"),
            ("a/b", "config ID 'a/b' contains illegal characters"),
            ("a_b", "config ID 'a_b' contains illegal characters"),
            (&"a".repeat(250), "config ID illegal, cannot be longer than 249"),
        ] {
            assert_eq!(check_name(bad).unwrap_err().to_string(), message);
        }
    }
}
