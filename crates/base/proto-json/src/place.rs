//! Where in a channel's configuration something stands.
//!
//! Groups and values have no type of their own: what the value named `Capabilities` holds is known because it stands in the
//! group of the channel, of the orderers or of the applications.

use crate::content::UnknownContent;

/// Where a message stands, as far as this decides what its fields hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its type says all.
    Anywhere,
    /// In a field that Fabric's tool leaves to protobuf's own JSON: nothing is known about bytes here and below.
    Plain,
    /// A group of the configuration.
    Group(Group),
    /// A value of the configuration: the group it stands in, and its name.
    Value(Group, String),
    /// Below a read/write set of keys and values.
    KeyValue,
}

/// A kind of group of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Channel,
    Consortiums,
    Consortium,
    ConsortiumOrganization,
    Orderer,
    OrdererOrganization,
    Application,
    ApplicationOrganization,
}

impl Group {
    /// The kind of the group `name` in this one.
    pub(crate) fn group(self, name: &str) -> Result<Self, UnknownContent> {
        let refused = match self {
            Self::Channel => match name {
                "Consortiums" => return Ok(Self::Consortiums),
                "Orderer" => return Ok(Self::Orderer),
                "Application" => return Ok(Self::Application),
                _ => format!("unknown channel group sub-group '{name}'"),
            },
            Self::Consortiums => return Ok(Self::Consortium),
            Self::Consortium => return Ok(Self::ConsortiumOrganization),
            Self::Orderer => return Ok(Self::OrdererOrganization),
            Self::Application => return Ok(Self::ApplicationOrganization),
            Self::ConsortiumOrganization => "ConsortiumOrg groups do not support sub groups".to_owned(),
            Self::OrdererOrganization => "the orderer orgs do not support sub-groups".to_owned(),
            Self::ApplicationOrganization => "The application orgs do not support sub-groups".to_owned(),
        };
        Err(UnknownContent(refused))
    }

    /// Whether this group may have values at all.
    pub(crate) fn check_values(self) -> Result<(), UnknownContent> {
        match self {
            Self::Consortiums => Err(UnknownContent("Consortiums currently support no config values".to_owned())),
            _ => Ok(()),
        }
    }

    /// The message that the value `name` of this group holds.
    pub(crate) fn value(self, name: &str) -> Result<&'static str, UnknownContent> {
        let whose = match (self, name) {
            (Self::Channel, "HashingAlgorithm") => return Ok("common.HashingAlgorithm"),
            (Self::Channel, "BlockDataHashingStructure") => return Ok("common.BlockDataHashingStructure"),
            (Self::Channel, "OrdererAddresses") => return Ok("common.OrdererAddresses"),
            (Self::Channel, "Consortium") => return Ok("common.Consortium"),
            (Self::Channel | Self::Orderer | Self::Application, "Capabilities") => return Ok("common.Capabilities"),
            (Self::Consortium, "ChannelCreationPolicy") => return Ok("common.Policy"),
            (Self::Orderer, "ConsensusType") => return Ok("orderer.ConsensusType"),
            (Self::Orderer, "BatchSize") => return Ok("orderer.BatchSize"),
            (Self::Orderer, "BatchTimeout") => return Ok("orderer.BatchTimeout"),
            (Self::Orderer, "KafkaBrokers") => return Ok("orderer.KafkaBrokers"),
            (Self::Orderer, "ChannelRestrictions") => return Ok("orderer.ChannelRestrictions"),
            (Self::Orderer, "Orderers") => return Ok("common.Orderers"),
            (Self::OrdererOrganization, "Endpoints") => return Ok("common.OrdererAddresses"),
            (Self::Application, "ACLs") => return Ok("protos.ACLs"),
            (Self::ApplicationOrganization, "AnchorPeers") => return Ok("protos.AnchorPeers"),
            (Self::ConsortiumOrganization | Self::OrdererOrganization | Self::ApplicationOrganization, "MSP") => {
                return Ok("msp.MSPConfig");
            }
            (Self::Channel, _) => "Channel",
            (Self::Consortiums, _) => "Consortiums",
            (Self::Consortium, _) => "Consortium",
            (Self::ConsortiumOrganization, _) => "Consortium Org",
            (Self::Orderer, _) => "Orderer",
            (Self::OrdererOrganization, _) => "Orderer Org",
            (Self::Application, _) => "Application",
            (Self::ApplicationOrganization, _) => "Application Org",
        };
        Err(UnknownContent(format!("unknown {whose} ConfigValue name: {name}")))
    }
}
