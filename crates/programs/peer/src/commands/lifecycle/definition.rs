use bytes::Bytes;
use ripstop_proto::{Message, lifecycle, protos};

use super::collections;
use crate::client::Invocation;
use crate::commands::{Failure, usage};

/// The definition of a chaincode, as `approveformyorg`, `checkcommitreadiness` and `commit` take it.
#[derive(Debug, clap::Args)]
pub(super) struct DefinitionFlags {
    /// The channel on which this command should be executed
    #[arg(short = 'C', long = "channelID", default_value = "")]
    pub(super) channel: String,
    /// Name of the chaincode
    #[arg(short = 'n', long = "name", default_value = "")]
    pub(super) name: String,
    /// Version of the chaincode
    #[arg(short = 'v', long = "version", default_value = "")]
    pub(super) version: String,
    /// The sequence number of the chaincode definition for the channel
    #[arg(long = "sequence", default_value = "0", allow_negative_numbers = true, value_parser = crate::flags::integer)]
    pub(super) sequence: i64,
    /// The name of the endorsement plugin to be used for this chaincode
    #[arg(short = 'E', long = "endorsement-plugin", default_value = "")]
    endorsement_plugin: String,
    /// The name of the validation plugin to be used for this chaincode
    #[arg(short = 'V', long = "validation-plugin", default_value = "")]
    validation_plugin: String,
    /// The endorsement policy associated to this chaincode specified as a signature policy
    #[arg(long = "signature-policy", default_value = "")]
    signature_policy: String,
    /// The endorsement policy associated to this chaincode specified as a channel config policy reference
    #[arg(long = "channel-config-policy", default_value = "")]
    channel_config_policy: String,
    /// Whether the chaincode requires invoking 'init'
    #[arg(long = "init-required", value_parser = crate::flags::boolean, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    init_required: bool,
    /// The fully qualified path to the collection JSON file including the file name
    #[arg(long = "collections-config", default_value = "")]
    collections: String,
}

impl DefinitionFlags {
    fn check(&self) -> Result<(), Failure> {
        for (missing, name, flag) in [
            (self.channel.is_empty(), "channelID", "-C"),
            (self.name.is_empty(), "name", "-n"),
            (self.version.is_empty(), "version", "-v"),
            (self.sequence == 0, "sequence", "--sequence"),
        ] {
            if missing {
                return usage(format!("The required parameter '{name}' is empty. Rerun the command with {flag} flag"));
            }
        }
        Ok(())
    }

    fn policy(&self) -> Result<Bytes, Failure> {
        let policy = collections::application_policy(&self.signature_policy, &self.channel_config_policy);
        Ok(policy?.map(|policy| policy.encode_to_vec().into()).unwrap_or_default())
    }

    fn collections(&self) -> Result<Option<protos::CollectionConfigPackage>, Failure> {
        if self.collections.is_empty() {
            return Ok(None);
        }
        Ok(Some(collections::read(self.collections.as_ref())?))
    }

    /// The call that approves this definition for the caller's organisation.
    pub(super) fn approval(&self, package_id: Option<&str>) -> Result<Invocation, Failure> {
        use lifecycle::chaincode_source::{Local, Type, Unavailable};
        let (validation_parameter, collections) = (self.policy()?, self.collections()?);
        self.check()?;
        let source = match package_id.filter(|id| !id.is_empty()) {
            Some(id) => Type::LocalPackage(Local { package_id: id.to_owned() }),
            None => Type::Unavailable(Unavailable {}),
        };
        let arguments = lifecycle::ApproveChaincodeDefinitionForMyOrgArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter,
            collections,
            init_required: self.init_required,
            source: Some(lifecycle::ChaincodeSource { r#type: Some(source) }),
        };
        Ok(Invocation::lifecycle(&self.channel, "ApproveChaincodeDefinitionForMyOrg", &arguments))
    }

    /// The call that asks which organisations approved exactly this definition.
    pub(super) fn readiness(&self) -> Result<Invocation, Failure> {
        let (validation_parameter, collections) = (self.policy()?, self.collections()?);
        self.check()?;
        let arguments = lifecycle::CheckCommitReadinessArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter,
            collections,
            init_required: self.init_required,
        };
        Ok(Invocation::lifecycle(&self.channel, "CheckCommitReadiness", &arguments))
    }

    /// The call that makes this definition the channel's.
    pub(super) fn commit(&self) -> Result<Invocation, Failure> {
        let (validation_parameter, collections) = (self.policy()?, self.collections()?);
        self.check()?;
        let arguments = lifecycle::CommitChaincodeDefinitionArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter,
            collections,
            init_required: self.init_required,
        };
        Ok(Invocation::lifecycle(&self.channel, "CommitChaincodeDefinition", &arguments))
    }
}
