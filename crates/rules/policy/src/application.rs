use std::borrow::Cow;

use ripstop_msp::MspSet;
use ripstop_proto::common::{self, application_policy::Type};
use ripstop_types::SignedData;

use crate::{CompileError, ConversionError, PolicyRefusal, PolicyTree, SignaturePolicy, Signers};

/// Why bytes are no application policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationPolicyError {
    /// The bytes do not decode.
    #[error("failed to unmarshal ApplicationPolicy bytes: {0}")]
    Encoding(String),
    /// Neither a signature policy nor a reference.
    #[error("unsupported policy type <nil>")]
    UnknownType,
    /// The signature policy does not compile.
    #[error("could not create evaluator for signature policy: {0}")]
    Compile(#[from] CompileError),
}

/// What a chaincode definition or a collection names as its policy (`protos.ApplicationPolicy`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationPolicy {
    /// A policy of its own.
    Signature(SignaturePolicy),
    /// A policy of the channel's configuration, by path. It may not exist.
    Reference(String),
}

impl ApplicationPolicy {
    /// Reads the bytes of an `ApplicationPolicy`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApplicationPolicyError> {
        let policy = ripstop_proto::read::<common::ApplicationPolicy>(bytes)
            .map_err(|error| ApplicationPolicyError::Encoding(error.to_string()))?;
        match policy.r#type.ok_or(ApplicationPolicyError::UnknownType)? {
            Type::SignaturePolicy(envelope) => Ok(Self::Signature(SignaturePolicy::compile(&envelope)?)),
            Type::ChannelConfigPolicyReference(path) => Ok(Self::Reference(path)),
        }
    }

    /// It as one signature policy, whatever it refers to.
    pub fn as_signature_policy<'a>(
        &'a self,
        policies: &PolicyTree,
    ) -> Result<Cow<'a, SignaturePolicy>, ConversionError> {
        match self {
            Self::Signature(policy) => Ok(Cow::Borrowed(policy)),
            Self::Reference(path) => policies.as_signature_policy(path).map(Cow::Owned),
        }
    }

    /// Checks signatures and whether they suffice.
    pub fn evaluate(&self, signed: &[SignedData], policies: &PolicyTree, msps: &MspSet) -> Result<(), PolicyRefusal> {
        self.evaluate_signers(&Signers::collect(signed, msps), policies, msps)
    }

    /// Whether signers suffice whose signatures were checked already.
    pub fn evaluate_signers(
        &self,
        signers: &Signers,
        policies: &PolicyTree,
        msps: &MspSet,
    ) -> Result<(), PolicyRefusal> {
        match self {
            Self::Signature(policy) => policy.evaluate_signers(signers, msps),
            Self::Reference(path) if policies.contains(path) => policies.evaluate_signers(path, signers, msps),
            Self::Reference(path) => Err(PolicyRefusal::bare(format!(
                "could not create evaluator for channel reference policy: failed to retrieve policy for reference {path}"
            ))),
        }
    }
}
