use std::collections::BTreeSet;

use ripstop_msp::MspVersion;

use crate::ConfigFault;

macro_rules! capabilities {
    (
        $(#[doc = $set_doc:literal])* $set:ident,
        $(#[doc = $doc:literal])* $capability:ident, $kind:literal,
        $($(#[doc = $variant_doc:literal])* $variant:ident = $name:literal,)*
    ) => {
        $(#[doc = $doc])*
        #[allow(non_camel_case_types, reason = "the names are Fabric's")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $capability {
            $($(#[doc = $variant_doc])* $variant,)*
        }

        impl $capability {
            /// The name in configurations.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The capability of that name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        $(#[doc = $set_doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $set(BTreeSet<$capability>);

        impl $set {
            /// Takes the names of a configuration; one without a meaning here is a fault.
            pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigFault> {
                names
                    .into_iter()
                    .map(|name| {
                        $capability::from_name(name).ok_or_else(|| ConfigFault::UnsupportedCapability {
                            kind: $kind,
                            name: name.to_owned(),
                        })
                    })
                    .collect::<Result<_, _>>()
                    .map(Self)
            }

            /// Whether the configuration requires this very capability.
            pub fn contains(&self, capability: $capability) -> bool {
                self.0.contains(&capability)
            }

            /// Those required, lowest first.
            pub fn iter(&self) -> impl Iterator<Item = $capability> + '_ {
                self.0.iter().copied()
            }

            /// Whether this capability or a higher one is required. Higher ones include the lower ones.
            fn at_least(&self, capability: $capability) -> bool {
                self.0.iter().next_back().is_some_and(|highest| *highest >= capability)
            }
        }
    };
}

capabilities! {
    /// The capabilities of `/Channel`, and what they switch.
    ChannelCapabilities,
    /// A capability of `/Channel`. The order is that of the levels.
    ChannelCapability, "Channel",
    /// Fabric 1.1.
    V1_1 = "V1_1",
    /// Fabric 1.3.
    V1_3 = "V1_3",
    /// Fabric 1.4.2: addresses of orderers belong to organizations.
    V1_4_2 = "V1_4_2",
    /// Fabric 1.4.3: units mark administrators and orderers too.
    V1_4_3 = "V1_4_3",
    /// Fabric 2.0.
    V2_0 = "V2_0",
    /// Fabric 3.0: byzantine consensus, Ed25519 keys.
    V3_0 = "V3_0",
}

impl ChannelCapabilities {
    /// The rules of MSPs; `None` below V1_4_3, whose rules are not built.
    pub fn msp_version(&self) -> Option<MspVersion> {
        if self.at_least(ChannelCapability::V3_0) {
            Some(MspVersion::V3_0)
        } else if self.at_least(ChannelCapability::V1_4_3) {
            Some(MspVersion::V1_4_3)
        } else {
            None
        }
    }

    /// Whether the type of consensus may change.
    pub fn consensus_type_migration(&self) -> bool {
        self.at_least(ChannelCapability::V1_4_2)
    }

    /// Whether addresses of orderers belong to organizations.
    pub fn org_specific_orderer_endpoints(&self) -> bool {
        self.at_least(ChannelCapability::V1_4_2)
    }

    /// Whether consensus may be byzantine.
    pub fn consensus_type_bft(&self) -> bool {
        self.at_least(ChannelCapability::V3_0)
    }

    /// Whether the level is one that Fabric 3 networks run at.
    pub fn is_v2(&self) -> bool {
        self.at_least(ChannelCapability::V2_0)
    }
}

capabilities! {
    /// The capabilities of `/Channel/Orderer`, and what they switch.
    OrdererCapabilities,
    /// A capability of `/Channel/Orderer`. The order is that of the levels.
    OrdererCapability, "Orderer",
    /// Fabric 1.1.
    V1_1 = "V1_1",
    /// Fabric 1.4.2.
    V1_4_2 = "V1_4_2",
    /// Fabric 2.0.
    V2_0 = "V2_0",
}

impl OrdererCapabilities {
    /// Whether messages of an older configuration are checked again instead of dropped.
    pub fn resubmission(&self) -> bool {
        self.at_least(OrdererCapability::V1_1)
    }

    /// Whether messages of expired identities are refused.
    pub fn expiration_check(&self) -> bool {
        self.at_least(OrdererCapability::V1_1)
    }

    /// Whether the type of consensus may change.
    pub fn consensus_type_migration(&self) -> bool {
        self.at_least(OrdererCapability::V1_4_2)
    }

    /// Whether the level is one that Fabric 3 networks run at.
    pub fn is_v2(&self) -> bool {
        self.at_least(OrdererCapability::V2_0)
    }
}

capabilities! {
    /// The capabilities of `/Channel/Application`, and what they switch.
    ApplicationCapabilities,
    /// A capability of `/Channel/Application`. The order is that of the levels, the experiments before all.
    ApplicationCapability, "Application",
    /// An experiment of Fabric 1.1.
    V1_1_RESOURCETREE_EXPERIMENTAL = "V1_1_RESOURCETREE_EXPERIMENTAL",
    /// An experiment of Fabric 1.1: private data.
    V1_1_PVTDATA_EXPERIMENTAL = "V1_1_PVTDATA_EXPERIMENTAL",
    /// Fabric 1.1.
    V1_1 = "V1_1",
    /// Fabric 1.2: access control lists, private data.
    V1_2 = "V1_2",
    /// Fabric 1.3: endorsement policies of keys.
    V1_3 = "V1_3",
    /// Fabric 1.4.2: private data of invalid transactions is kept.
    V1_4_2 = "V1_4_2",
    /// Fabric 2.0: the new lifecycle.
    V2_0 = "V2_0",
    /// Fabric 2.5: private data can be purged.
    V2_5 = "V2_5",
}

impl ApplicationCapabilities {
    /// Whether access control lists may be given.
    pub fn acls(&self) -> bool {
        self.at_least(ApplicationCapability::V1_2)
    }

    /// Whether one transaction id may not occur twice in a block.
    pub fn forbid_duplicate_tx_id_in_block(&self) -> bool {
        self.at_least(ApplicationCapability::V1_1)
    }

    /// Whether there is private data.
    pub fn private_data(&self) -> bool {
        self.at_least(ApplicationCapability::V1_2) || self.contains(ApplicationCapability::V1_1_PVTDATA_EXPERIMENTAL)
    }

    /// Whether keys may have endorsement policies of their own.
    pub fn key_level_endorsement(&self) -> bool {
        self.at_least(ApplicationCapability::V1_3)
    }

    /// Whether private data of invalid transactions is kept.
    pub fn store_private_data_of_invalid_transactions(&self) -> bool {
        self.at_least(ApplicationCapability::V1_4_2)
    }

    /// Whether chaincode is deployed and validated by the lifecycle of Fabric 2.
    pub fn lifecycle_v2(&self) -> bool {
        self.at_least(ApplicationCapability::V2_0)
    }

    /// Whether private data can be purged by transactions.
    pub fn purge_private_data(&self) -> bool {
        self.at_least(ApplicationCapability::V2_5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_capabilities_include_lower_ones() {
        let channel = |names: &[&str]| ChannelCapabilities::from_names(names.iter().copied()).unwrap();
        assert_eq!(channel(&[]).msp_version(), None);
        assert!(!channel(&["V1_3"]).org_specific_orderer_endpoints());
        assert!(channel(&["V1_4_2"]).org_specific_orderer_endpoints());
        assert_eq!(channel(&["V1_4_3"]).msp_version(), Some(MspVersion::V1_4_3));
        assert_eq!(channel(&["V2_0"]).msp_version(), Some(MspVersion::V1_4_3));
        assert_eq!(channel(&["V1_1", "V3_0"]).msp_version(), Some(MspVersion::V3_0));
        assert!(!channel(&["V2_0"]).consensus_type_bft());
        let application = |names: &[&str]| ApplicationCapabilities::from_names(names.iter().copied()).unwrap();
        assert!(application(&["V2_0"]).lifecycle_v2() && !application(&["V2_0"]).purge_private_data());
        assert!(application(&["V2_5"]).acls());
        assert!(!application(&["V1_4_2"]).lifecycle_v2());
        let experiment = application(&["V1_1_PVTDATA_EXPERIMENTAL"]);
        assert!(experiment.private_data() && !experiment.forbid_duplicate_tx_id_in_block());
        let fault = OrdererCapabilities::from_names(["V2_0", "V9_9"]).unwrap_err();
        assert_eq!(fault.to_string(), "Orderer capability V9_9 is required but not supported");
    }
}
