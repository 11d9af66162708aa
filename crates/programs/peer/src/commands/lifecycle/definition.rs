use ripstop_lifecycle::{ChaincodeDefinition, ChaincodeParameters, PackageSource};
use ripstop_proto::Message;
use ripstop_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, CheckCommitReadinessArgs, CommitChaincodeDefinitionArgs,
};

use super::collections;
use crate::client::Invocation;
use crate::commands::{Failure, usage};
use crate::flags::PeerFlags;

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
    #[arg(long = "sequence", default_value = "0", value_parser = ripstop_command_line::value::integer)]
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
    #[arg(long = "init-required")]
    init_required: bool,
    /// The fully qualified path to the collection JSON file including the file name
    #[arg(long = "collections-config", default_value = "")]
    collections: String,
    #[command(flatten)]
    pub(super) peers: PeerFlags,
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

    fn definition(&self) -> Result<ChaincodeDefinition, Failure> {
        let policy = collections::application_policy(&self.signature_policy, &self.channel_config_policy);
        let policy = policy.map_err(|error| Failure::Usage(format!("{error:#}")))?;
        let collections = match self.collections.as_str() {
            "" => Ok(Default::default()),
            file => collections::read(file.as_ref()),
        };
        let collections = collections.map_err(|error| Failure::Usage(format!("{error:#}")))?;
        self.check()?;
        let parameters = ChaincodeParameters {
            version: self.version.clone(),
            init_required: self.init_required,
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: policy.map(|policy| policy.encode_to_vec().into()).unwrap_or_default(),
            collections,
        };
        Ok(ChaincodeDefinition { sequence: self.sequence, parameters })
    }

    fn call(&self, function: &str, arguments: &impl Message) -> Invocation {
        Invocation::lifecycle(&self.channel, function, arguments)
    }

    /// The call that approves this definition for the caller's organization; without a package id, its peers do not run
    /// the chaincode.
    pub(super) fn approval(&self, package_id: &str) -> Result<Invocation, Failure> {
        let source = match package_id {
            "" => PackageSource::Unavailable,
            id => PackageSource::Local(id.to_owned()),
        };
        let arguments = ApproveChaincodeDefinitionForMyOrgArgs {
            name: self.name.clone(),
            source: Some(source.to_proto()),
            ..self.definition()?.into()
        };
        Ok(self.call("ApproveChaincodeDefinitionForMyOrg", &arguments))
    }

    /// The call that asks which organizations approved exactly this definition.
    pub(super) fn readiness(&self) -> Result<Invocation, Failure> {
        let arguments = CheckCommitReadinessArgs { name: self.name.clone(), ..self.definition()?.into() };
        Ok(self.call("CheckCommitReadiness", &arguments))
    }

    /// The call that makes this definition the channel's.
    pub(super) fn commit(&self) -> Result<Invocation, Failure> {
        let arguments = CommitChaincodeDefinitionArgs { name: self.name.clone(), ..self.definition()?.into() };
        Ok(self.call("CommitChaincodeDefinition", &arguments))
    }
}
