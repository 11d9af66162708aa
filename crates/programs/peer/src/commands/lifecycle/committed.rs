use anyhow::anyhow;
use ripstop_command_line::say;
use ripstop_proto::lifecycle;

use super::{Output, OutputFlag, Respondent, wanted};
use crate::client::Invocation;
use crate::commands::Failure;
use crate::flags::PeerFlags;
use crate::session::{Number, Session};
use crate::text;

/// Asks for the definition of one chaincode, or of all when there is no name, that the channel has agreed on.
#[derive(Debug, clap::Args)]
pub(super) struct CommittedQuery {
    /// The channel on which this command should be executed
    #[arg(short = 'C', long = "channelID", default_value = "")]
    channel: String,
    /// Name of the chaincode
    #[arg(short = 'n', long = "name", default_value = "")]
    name: String,
    #[command(flatten)]
    peers: PeerFlags,
    #[command(flatten)]
    output: OutputFlag,
}

impl CommittedQuery {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let peer = Respondent::new(session, &self.peers, wanted("querycommitted", &self.channel, Number::One))?;
        if self.channel.is_empty() {
            return Err(anyhow!("channel name must be specified").into());
        }
        match self.name.as_str() {
            "" => self.all(&peer).await,
            _ => self.one(&peer).await,
        }
    }

    async fn one(&self, peer: &Respondent<'_>) -> Result<(), Failure> {
        let Self { name, channel, .. } = self;
        let arguments = lifecycle::QueryChaincodeDefinitionArgs { name: name.clone() };
        let call = Invocation::lifecycle(channel, "QueryChaincodeDefinition", &arguments);
        let result: lifecycle::QueryChaincodeDefinitionResult = peer.ask(&call, "query failed").await?;
        match self.output.choice() {
            Output::Json => say!("{}", text::indented(&text::definition(&result))),
            Output::Text => {
                say!("Committed chaincode definition for chaincode '{name}' on channel '{channel}':");
                let approvals: Vec<_> = result
                    .approvals
                    .iter()
                    .map(|(organisation, approved)| format!("{organisation}: {approved}"))
                    .collect();
                say!(
                    "Version: {}, Sequence: {}, Endorsement Plugin: {}, Validation Plugin: {}, Approvals: [{}]",
                    result.version,
                    result.sequence,
                    result.endorsement_plugin,
                    result.validation_plugin,
                    approvals.join(", ")
                );
            }
        }
        Ok(())
    }

    async fn all(&self, peer: &Respondent<'_>) -> Result<(), Failure> {
        let arguments = lifecycle::QueryChaincodeDefinitionsArgs {};
        let call = Invocation::lifecycle(&self.channel, "QueryChaincodeDefinitions", &arguments);
        let result: lifecycle::QueryChaincodeDefinitionsResult = peer.ask(&call, "query failed").await?;
        match self.output.choice() {
            Output::Json => say!("{}", text::indented(&text::definitions(&result))),
            Output::Text => {
                say!("Committed chaincode definitions on channel '{}':", self.channel);
                for definition in result.chaincode_definitions {
                    say!(
                        "Name: {}, Version: {}, Sequence: {}, Endorsement Plugin: {}, Validation Plugin: {}",
                        definition.name,
                        definition.version,
                        definition.sequence,
                        definition.endorsement_plugin,
                        definition.validation_plugin
                    );
                }
            }
        }
        Ok(())
    }
}
