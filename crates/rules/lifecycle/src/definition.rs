use bytes::Bytes;
use prost::Message;
use ripstop_proto::{lifecycle, protos};

use crate::record::{Record, RecordError, Value, Values};

/// What the organizations of a channel agree on about a chaincode; the terms of a definition without its number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChaincodeParameters {
    /// The version, for people; peers only compare it for initialization.
    pub version: String,
    /// Whether a first call with `is_init` must come before all others.
    pub init_required: bool,
    /// The endorsement plugin; `escc` is the only one.
    pub endorsement_plugin: String,
    /// The validation plugin; `vscc` is the only one.
    pub validation_plugin: String,
    /// The endorsement policy: bytes of a `protos.ApplicationPolicy`.
    pub validation_parameter: Bytes,
    /// The collections of private data.
    pub collections: protos::CollectionConfigPackage,
}

/// A committed (or proposed) definition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChaincodeDefinition {
    /// Counts the definitions of the name, from 1.
    pub sequence: i64,
    /// Its terms.
    pub parameters: ChaincodeParameters,
}

/// Where an organization's peers find the code of an approved definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageSource {
    /// Nowhere: the organization agrees, but its peers do not run it.
    Unavailable,
    /// In the installed package of this id.
    Local(String),
}

impl PackageSource {
    /// The source of a request; an absent one is [`Self::Unavailable`].
    pub fn from_proto(source: Option<lifecycle::ChaincodeSource>) -> Self {
        use lifecycle::chaincode_source::Type;
        match source.and_then(|source| source.r#type) {
            Some(Type::LocalPackage(local)) if !local.package_id.is_empty() => Self::Local(local.package_id),
            _ => Self::Unavailable,
        }
    }

    /// The source as a message.
    pub fn to_proto(&self) -> lifecycle::ChaincodeSource {
        use lifecycle::chaincode_source::{Local, Type, Unavailable};
        let source = match self {
            Self::Unavailable => Type::Unavailable(Unavailable {}),
            Self::Local(package_id) => Type::LocalPackage(Local { package_id: package_id.clone() }),
        };
        lifecycle::ChaincodeSource { r#type: Some(source) }
    }

    /// The package id as kept in the state, empty for none.
    pub fn package_id(&self) -> &str {
        match self {
            Self::Unavailable => "",
            Self::Local(package_id) => package_id,
        }
    }
}

/// A definition as one organization approved it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovedDefinition {
    /// The sequence that the approval is for, and the terms.
    pub definition: ChaincodeDefinition,
    /// Where its peers find the code.
    pub source: PackageSource,
}

/// The first of two parameters that differ; `expected` is what is committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterMismatch {
    /// The versions differ.
    #[error("expected Version '{expected}' does not match passed Version '{passed}'")]
    Version {
        /// What stands.
        expected: String,
        /// What was asked for.
        passed: String,
    },
    /// The endorsement plugins differ.
    #[error("expected EndorsementPlugin '{expected}' does not match passed EndorsementPlugin '{passed}'")]
    EndorsementPlugin {
        /// What stands.
        expected: String,
        /// What was asked for.
        passed: String,
    },
    /// One requires initialization, the other does not.
    #[error("expected InitRequired '{expected}' does not match passed InitRequired '{passed}'")]
    InitRequired {
        /// What stands.
        expected: bool,
        /// What was asked for.
        passed: bool,
    },
    /// The validation plugins differ.
    #[error("expected ValidationPlugin '{expected}' does not match passed ValidationPlugin '{passed}'")]
    ValidationPlugin {
        /// What stands.
        expected: String,
        /// What was asked for.
        passed: String,
    },
    /// The endorsement policies differ.
    #[error("expected ValidationParameter '{expected:x}' does not match passed ValidationParameter '{passed:x}'")]
    ValidationParameter {
        /// What stands.
        expected: Bytes,
        /// What was asked for.
        passed: Bytes,
    },
    /// The collections differ.
    #[error("Collections do not match")]
    Collections,
}

impl ChaincodeParameters {
    /// Compares in Fabric's order and names the first difference; `self` is what stands.
    pub fn compare(&self, passed: &Self) -> Result<(), ParameterMismatch> {
        if self.version != passed.version {
            return Err(ParameterMismatch::Version { expected: self.version.clone(), passed: passed.version.clone() });
        }
        if self.endorsement_plugin != passed.endorsement_plugin {
            return Err(ParameterMismatch::EndorsementPlugin {
                expected: self.endorsement_plugin.clone(),
                passed: passed.endorsement_plugin.clone(),
            });
        }
        if self.init_required != passed.init_required {
            return Err(ParameterMismatch::InitRequired { expected: self.init_required, passed: passed.init_required });
        }
        if self.validation_plugin != passed.validation_plugin {
            return Err(ParameterMismatch::ValidationPlugin {
                expected: self.validation_plugin.clone(),
                passed: passed.validation_plugin.clone(),
            });
        }
        if self.validation_parameter != passed.validation_parameter {
            return Err(ParameterMismatch::ValidationParameter {
                expected: self.validation_parameter.clone(),
                passed: passed.validation_parameter.clone(),
            });
        }
        if self.collections != passed.collections {
            return Err(ParameterMismatch::Collections);
        }
        Ok(())
    }
}

const SEQUENCE: &str = "Sequence";
const ENDORSEMENT_INFO: &str = "EndorsementInfo";
const VALIDATION_INFO: &str = "ValidationInfo";
const COLLECTIONS: &str = "Collections";

impl Record for ChaincodeParameters {
    const DATATYPE: &'static str = "ChaincodeParameters";
    const FIELDS: &'static [&'static str] = &[ENDORSEMENT_INFO, VALIDATION_INFO, COLLECTIONS];

    fn values(&self) -> Vec<Value> {
        let endorsement = lifecycle::ChaincodeEndorsementInfo {
            version: self.version.clone(),
            init_required: self.init_required,
            endorsement_plugin: self.endorsement_plugin.clone(),
        };
        let validation = lifecycle::ChaincodeValidationInfo {
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
        };
        vec![
            Value::Bytes(endorsement.encode_to_vec().into()),
            Value::Bytes(validation.encode_to_vec().into()),
            Value::Bytes(self.collections.encode_to_vec().into()),
        ]
    }

    fn from_values(values: &mut Values<'_>) -> Result<Self, RecordError> {
        let endorsement: lifecycle::ChaincodeEndorsementInfo = values.message(ENDORSEMENT_INFO)?;
        let validation: lifecycle::ChaincodeValidationInfo = values.message(VALIDATION_INFO)?;
        Ok(Self {
            version: endorsement.version,
            init_required: endorsement.init_required,
            endorsement_plugin: endorsement.endorsement_plugin,
            validation_plugin: validation.validation_plugin,
            validation_parameter: validation.validation_parameter,
            collections: values.message(COLLECTIONS)?,
        })
    }
}

impl Record for ChaincodeDefinition {
    const DATATYPE: &'static str = "ChaincodeDefinition";
    const FIELDS: &'static [&'static str] = &[SEQUENCE, ENDORSEMENT_INFO, VALIDATION_INFO, COLLECTIONS];

    fn values(&self) -> Vec<Value> {
        let mut values = vec![Value::Int64(self.sequence)];
        values.extend(self.parameters.values());
        values
    }

    fn from_values(values: &mut Values<'_>) -> Result<Self, RecordError> {
        let sequence = values.int64(SEQUENCE)?;
        Ok(Self { sequence, parameters: ChaincodeParameters::from_values(values)? })
    }
}

/// The record of a [`PackageSource`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LocalPackage {
    pub(crate) package_id: String,
}

impl LocalPackage {
    pub(crate) const PACKAGE_ID: &'static str = "PackageID";
}

impl Record for LocalPackage {
    const DATATYPE: &'static str = "ChaincodeLocalPackage";
    const FIELDS: &'static [&'static str] = &[Self::PACKAGE_ID];

    fn values(&self) -> Vec<Value> {
        vec![Value::String(self.package_id.clone())]
    }

    fn from_values(values: &mut Values<'_>) -> Result<Self, RecordError> {
        Ok(Self { package_id: values.string(Self::PACKAGE_ID)? })
    }
}
