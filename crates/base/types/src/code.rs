use std::fmt;

use bytes::Bytes;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// The verdict on a transaction, as peers record it in a block's metadata (`protos.TxValidationCode`).
        /// A verdict is a value, not an error.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ValidationCode {
            $($(#[doc = $doc])* $variant = $number,)*
        }

        impl ValidationCode {
            /// Fabric's name, such as `MVCC_READ_CONFLICT`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl TryFrom<u8> for ValidationCode {
            type Error = UnknownValidationCode;

            fn try_from(number: u8) -> Result<Self, UnknownValidationCode> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    other => Err(UnknownValidationCode(other)),
                }
            }
        }
    };
}

codes! {
    /// Everything holds; the writes take effect.
    Valid = 0, "VALID";
    /// No envelope.
    NilEnvelope = 1, "NIL_ENVELOPE";
    /// The payload does not decode.
    BadPayload = 2, "BAD_PAYLOAD";
    /// The header is absent, does not decode or breaks a rule.
    BadCommonHeader = 3, "BAD_COMMON_HEADER";
    /// The creator is unknown or invalid, or its signature is wrong.
    BadCreatorSignature = 4, "BAD_CREATOR_SIGNATURE";
    /// The endorser transaction's form is wrong.
    InvalidEndorserTransaction = 5, "INVALID_ENDORSER_TRANSACTION";
    /// A configuration transaction without data.
    InvalidConfigTransaction = 6, "INVALID_CONFIG_TRANSACTION";
    /// A header type that no peer handles.
    UnsupportedTxPayload = 7, "UNSUPPORTED_TX_PAYLOAD";
    /// The transaction id is not the hash of nonce and creator.
    BadProposalTxid = 8, "BAD_PROPOSAL_TXID";
    /// The transaction id stands in the ledger or earlier in the block already.
    DuplicateTxid = 9, "DUPLICATE_TXID";
    /// The endorsements do not satisfy a policy.
    EndorsementPolicyFailure = 10, "ENDORSEMENT_POLICY_FAILURE";
    /// A key was changed between simulation and commit.
    MvccReadConflict = 11, "MVCC_READ_CONFLICT";
    /// The result of a range query was changed between simulation and commit.
    PhantomReadConflict = 12, "PHANTOM_READ_CONFLICT";
    /// An unknown transaction type.
    UnknownTxType = 13, "UNKNOWN_TX_TYPE";
    /// The channel is not known.
    TargetChainNotFound = 14, "TARGET_CHAIN_NOT_FOUND";
    /// The transaction does not encode.
    MarshalTxError = 15, "MARSHAL_TX_ERROR";
    /// No action.
    NilTxaction = 16, "NIL_TXACTION";
    /// Chaincode version gone (only before V2_0).
    ExpiredChaincode = 17, "EXPIRED_CHAINCODE";
    /// Chaincode versions differ (only before V2_0).
    ChaincodeVersionConflict = 18, "CHAINCODE_VERSION_CONFLICT";
    /// The header extension does not decode.
    BadHeaderExtension = 19, "BAD_HEADER_EXTENSION";
    /// The channel header is wrong.
    BadChannelHeader = 20, "BAD_CHANNEL_HEADER";
    /// The endorsed response does not decode.
    BadResponsePayload = 21, "BAD_RESPONSE_PAYLOAD";
    /// The read/write set does not decode.
    BadRwset = 22, "BAD_RWSET";
    /// The write set repeats a namespace or writes where it must not.
    IllegalWriteset = 23, "ILLEGAL_WRITESET";
    /// The write set cannot be stored.
    InvalidWriteset = 24, "INVALID_WRITESET";
    /// The chaincode is not defined, or its names disagree.
    InvalidChaincode = 25, "INVALID_CHAINCODE";
    /// No verdict yet. Never in a committed block.
    NotValidated = 254, "NOT_VALIDATED";
    /// Anything else.
    InvalidOtherReason = 255, "INVALID_OTHER_REASON";
}

/// A number that is no validation code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no transaction validation code")]
pub struct UnknownValidationCode(u8);

impl ValidationCode {
    /// Whether the transaction's writes take effect.
    pub const fn is_valid(self) -> bool {
        matches!(self, Self::Valid)
    }
}

impl fmt::Debug for ValidationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ValidationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The verdicts on all transactions of a block, in order: the content of metadata slot 2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidationCodes(Vec<ValidationCode>);

impl ValidationCodes {
    /// One code for each transaction, in block order.
    pub const fn new(codes: Vec<ValidationCode>) -> Self {
        Self(codes)
    }

    /// The codes in block order.
    pub fn as_slice(&self) -> &[ValidationCode] {
        &self.0
    }

    /// One byte a transaction, as it stands in the metadata.
    pub fn to_bytes(&self) -> Bytes {
        self.0.iter().map(|code| *code as u8).collect()
    }
}

impl TryFrom<&[u8]> for ValidationCodes {
    type Error = UnknownValidationCode;

    fn try_from(bytes: &[u8]) -> Result<Self, UnknownValidationCode> {
        bytes.iter().map(|byte| ValidationCode::try_from(*byte)).collect::<Result<_, _>>().map(Self)
    }
}
