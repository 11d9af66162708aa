//! Definitions as requests and answers carry them: eight messages with fields of the same names.
//!
//! What a message says besides stands beside: `Args { name, ..definition.into() }`.

use ripstop_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, CheckCommitReadinessArgs, CommitChaincodeDefinitionArgs,
    QueryApprovedChaincodeDefinitionResult, QueryChaincodeDefinitionResult,
    query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition, query_chaincode_definitions_result,
};
use ripstop_proto::protos::CollectionConfigPackage;

use crate::{ChaincodeDefinition, ChaincodeParameters};

macro_rules! into_message {
    ($message:ty, $collections:expr) => {
        impl From<ChaincodeDefinition> for $message {
            fn from(ChaincodeDefinition { sequence, parameters }: ChaincodeDefinition) -> Self {
                Self {
                    sequence,
                    version: parameters.version,
                    endorsement_plugin: parameters.endorsement_plugin,
                    validation_plugin: parameters.validation_plugin,
                    validation_parameter: parameters.validation_parameter,
                    collections: $collections(parameters.collections),
                    init_required: parameters.init_required,
                    ..Self::default()
                }
            }
        }
    };
}

macro_rules! requests {
    ($($message:ty),*) => {$(
        into_message!($message, if_any);

        impl From<$message> for ChaincodeDefinition {
            fn from(message: $message) -> Self {
                let parameters = ChaincodeParameters {
                    version: message.version,
                    init_required: message.init_required,
                    endorsement_plugin: message.endorsement_plugin,
                    validation_plugin: message.validation_plugin,
                    validation_parameter: message.validation_parameter,
                    collections: message.collections.unwrap_or_default(),
                };
                Self { sequence: message.sequence, parameters }
            }
        }
    )*};
}

requests!(ApproveChaincodeDefinitionForMyOrgArgs, CheckCommitReadinessArgs, CommitChaincodeDefinitionArgs);

// Answers carry a list of collections, also an empty one.
into_message!(QueryChaincodeDefinitionResult, Some);
into_message!(query_chaincode_definitions_result::ChaincodeDefinition, Some);
into_message!(QueryApprovedChaincodeDefinitionResult, Some);
into_message!(ApprovedChaincodeDefinition, Some);

/// A request without collections has no list of them.
fn if_any(collections: CollectionConfigPackage) -> Option<CollectionConfigPackage> {
    (!collections.config.is_empty()).then_some(collections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_a_whole_definition() {
        let definition = ChaincodeDefinition {
            sequence: 7,
            parameters: ChaincodeParameters {
                version: "v".to_owned(),
                init_required: true,
                endorsement_plugin: "e".to_owned(),
                validation_plugin: "p".to_owned(),
                validation_parameter: b"policy".as_slice().into(),
                collections: CollectionConfigPackage { config: vec![Default::default()] },
            },
        };
        let args = CommitChaincodeDefinitionArgs { name: "n".to_owned(), ..definition.clone().into() };
        assert_eq!((args.name.as_str(), args.sequence), ("n", 7));
        assert_eq!(ChaincodeDefinition::from(args), definition);
        assert_eq!(CheckCommitReadinessArgs::from(ChaincodeDefinition::default()).collections, None);
        let empty = QueryChaincodeDefinitionResult::from(ChaincodeDefinition::default());
        assert_eq!(empty.collections, Some(CollectionConfigPackage::default()));
    }
}
