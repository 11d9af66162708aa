use ripstop_policy::inquiry::InquiryError;

/// Why no peers can be named for an endorsement, or for a call. Displays in Fabric's words, with the cause behind them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// This peer has not joined the channel.
    #[error("this peer has not joined channel {0}")]
    UnknownChannel(String),
    /// Nothing was asked for.
    #[error("chaincode interest must contain at least one chaincode")]
    NoChaincode,
    /// The interest is larger than anything that one transaction touches.
    #[error("the interest names {found} {what}, and no more than {most} can be planned for")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many at most.
        most: usize,
    },
    /// The chaincode is not defined, or its definition cannot be used.
    #[error("No metadata was found for chaincode {chaincode} in channel {channel}: {why}")]
    NoMetadata {
        /// The chaincode.
        chaincode: String,
        /// The channel.
        channel: String,
        /// What is wrong.
        why: String,
    },
    /// The chaincode has no such collection.
    #[error("collection {collection} doesn't exist in collection config for chaincode {chaincode}")]
    NoCollection {
        /// The chaincode.
        chaincode: String,
        /// The collection.
        collection: String,
    },
    /// The chaincode's policy shall be disregarded, and there is no other one.
    #[error(
        "requested to disregard chaincode {0}'s policy but key and collection policies are missing, either disable \
         DisregardNamespacePolicy or specify at least one key policy or at least one collection policy"
    )]
    NothingToRegard(String),
    /// The policy of a key is none.
    #[error("failed creating a comparable principal set for state based endorsement: {0}")]
    KeyPolicy(String),
    /// No combination of signers at all satisfies a policy.
    #[error("endorsement policy cannot be satisfied: nobody's signatures satisfy {0}")]
    Unsatisfiable(String),
    /// The same of the policy of a key.
    #[error("state based endorsement policy cannot be satisfied: nobody's signatures satisfy {0}")]
    KeyUnsatisfiable(String),
    /// There are too many policies to plan for.
    #[error(transparent)]
    Inquiry(#[from] InquiryError),
    /// Too few peers are there.
    #[error("no peer combination can satisfy the endorsement policy: {0}")]
    NoCombination(Lack),
    /// There are enough peers, but too few of them can run the chaincode.
    #[error("required chaincodes are not installed on sufficient peers: {0}")]
    NotInstalled(Lack),
}

/// What is lacking to the combination of endorsers that comes nearest to satisfying the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The chaincodes that every endorser has to run, each with the sequence of its definition.
    pub chaincodes: Vec<(String, String)>,
    /// For each principal of whom there are too few endorsers.
    pub missing: Vec<Missing>,
}

/// A principal of whom there are too few endorsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As in policies, such as `Org1MSP.PEER`.
    pub principal: String,
    /// How many endorsements are needed.
    pub needed: usize,
    /// How many peers are alive, in the channel, and entitled to the collections that the call reads.
    pub present: usize,
    /// How many of these run the chaincodes.
    pub running: usize,
}

/// How many principals are named to whoever asks.
const MAX_SHOWN: usize = 8;

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, missing) in self.missing.iter().take(MAX_SHOWN).enumerate() {
            let joint = if index == 0 { "" } else { "; " };
            let Missing { principal, needed, present, running } = missing;
            write!(f, "{joint}it takes {needed} of {principal}, and ")?;
            match (present, running) {
                (0, _) => f.write_str("no such peer is known to be alive, in the channel and entitled to the call")?,
                (present, running) if running < present => {
                    write!(f, "of {present} that are there {running} can run ")?;
                    for (index, (name, sequence)) in self.chaincodes.iter().take(MAX_SHOWN).enumerate() {
                        let joint = if index == 0 { "" } else { " and " };
                        write!(f, "{joint}{name} as defined with sequence {sequence}")?;
                    }
                }
                (present, _) => write!(f, "only {present} can be asked")?,
            }
        }
        if self.missing.len() > MAX_SHOWN {
            write!(f, "; and {} more principals lack peers", self.missing.len() - MAX_SHOWN)?;
        }
        Ok(())
    }
}
