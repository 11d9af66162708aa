use anyhow::anyhow;
use ripstop_command_line::say;
use ripstop_proto::lifecycle;

use super::{Output, OutputFlag, Respondent, wanted};
use crate::client::Invocation;
use crate::commands::Failure;
use crate::flags::PeerFlags;
use crate::session::{Number, Session};
use crate::text;

/// The line about a definition, which two messages carry in fields of the same names.
macro_rules! line {
    ($definition:expr) => {
        format!(
            "sequence: {}, version: {}, init-required: {}, package-id: {}, endorsement plugin: {}, validation plugin: {}",
            $definition.sequence,
            $definition.version,
            $definition.init_required,
            package_id($definition.source.as_ref()),
            $definition.endorsement_plugin,
            $definition.validation_plugin
        )
    };
}

/// Asks what the peer's organization has approved: one chaincode's definition, or all when there is no name.
#[derive(Debug, clap::Args)]
pub(super) struct ApprovedQuery {
    /// The channel on which this command should be executed
    #[arg(short = 'C', long = "channelID", default_value = "")]
    channel: String,
    /// Name of the chaincode
    #[arg(short = 'n', long = "name", default_value = "")]
    name: String,
    /// The sequence number of the chaincode definition for the channel
    #[arg(long = "sequence", default_value = "0", value_parser = ripstop_command_line::value::integer)]
    sequence: i64,
    #[command(flatten)]
    peers: PeerFlags,
    #[command(flatten)]
    output: OutputFlag,
}

impl ApprovedQuery {
    pub(super) async fn run(&self, session: &Session) -> Result<(), Failure> {
        let peer = Respondent::new(session, &self.peers, wanted("queryapproved", &self.channel, Number::One))?;
        for (wrong, problem) in [
            (self.channel.is_empty(), "The required parameter 'channelID' is empty. Rerun the command with -C flag"),
            (
                self.name.is_empty() && self.sequence != 0,
                "Specifying parameter 'sequence' is invalid without parameter 'name'. Rerun the command with -n flag",
            ),
        ] {
            if wrong {
                return Err(anyhow!(problem).into());
            }
        }
        match self.name.as_str() {
            "" => self.all(&peer).await,
            _ => self.one(&peer).await,
        }
    }

    async fn one(&self, peer: &Respondent<'_>) -> Result<(), Failure> {
        let Self { name, channel, sequence, .. } = self;
        let arguments = lifecycle::QueryApprovedChaincodeDefinitionArgs { name: name.clone(), sequence: *sequence };
        let call = Invocation::lifecycle(channel, "QueryApprovedChaincodeDefinition", &arguments);
        let result: lifecycle::QueryApprovedChaincodeDefinitionResult = peer.ask(&call, "query failed").await?;
        match self.output.choice() {
            Output::Json => say!("{}", text::indented(&text::approved(&result))),
            Output::Text => {
                say!("Approved chaincode definition for chaincode '{name}' on channel '{channel}':");
                say!("{}", line!(result));
            }
        }
        Ok(())
    }

    async fn all(&self, peer: &Respondent<'_>) -> Result<(), Failure> {
        let arguments = lifecycle::QueryApprovedChaincodeDefinitionsArgs {};
        let call = Invocation::lifecycle(&self.channel, "QueryApprovedChaincodeDefinitions", &arguments);
        let result: lifecycle::QueryApprovedChaincodeDefinitionsResult = peer.ask(&call, "query failed").await?;
        match self.output.choice() {
            Output::Json => say!("{}", text::indented(&text::all_approved(&result))),
            Output::Text => {
                say!("Approved chaincode definitions on channel '{}':", self.channel);
                for definition in &result.approved_chaincode_definitions {
                    say!("name: {}, {}", definition.name, line!(definition));
                }
            }
        }
        Ok(())
    }
}

fn package_id(source: Option<&lifecycle::ChaincodeSource>) -> &str {
    use lifecycle::chaincode_source::Type;
    match source.and_then(|source| source.r#type.as_ref()) {
        Some(Type::LocalPackage(local)) => &local.package_id,
        Some(Type::Unavailable(_)) | None => "",
    }
}
