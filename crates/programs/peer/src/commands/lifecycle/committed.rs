use anyhow::anyhow;
use ripstop_proto::lifecycle;

use super::{Output, ask, only_peer};
use crate::client::Invocation;
use crate::commands::Failure;
use crate::flags::PeerFlags;
use crate::session::Session;
use crate::text;

/// Prints the definition of one chaincode, or of all when `name` is empty, that the channel has agreed on.
pub(super) async fn query(peers: &PeerFlags, channel: &str, name: &str, output: Output) -> Result<(), Failure> {
    let session = Session::open()?;
    let peer = only_peer(&session, peers, channel, None, "querycommitted")?;
    if channel.is_empty() {
        return Err(anyhow!("channel name must be specified").into());
    }
    if name.is_empty() {
        all(&session, &peer, channel, output).await
    } else {
        one(&session, &peer, channel, name, output).await
    }
}

async fn one(
    session: &Session,
    peer: &crate::client::Peer,
    channel: &str,
    name: &str,
    output: Output,
) -> Result<(), Failure> {
    let arguments = lifecycle::QueryChaincodeDefinitionArgs { name: name.to_owned() };
    let call = Invocation::lifecycle(channel, "QueryChaincodeDefinition", &arguments);
    let result: lifecycle::QueryChaincodeDefinitionResult = ask(session, peer, &call, "query failed").await?;
    match output {
        Output::Json => say!("{}", text::indented(&text::definition(&result))),
        Output::Text => {
            say!("Committed chaincode definition for chaincode '{name}' on channel '{channel}':");
            let approvals: Vec<_> =
                result.approvals.iter().map(|(organisation, approved)| format!("{organisation}: {approved}")).collect();
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

async fn all(session: &Session, peer: &crate::client::Peer, channel: &str, output: Output) -> Result<(), Failure> {
    let call =
        Invocation::lifecycle(channel, "QueryChaincodeDefinitions", &lifecycle::QueryChaincodeDefinitionsArgs {});
    let result: lifecycle::QueryChaincodeDefinitionsResult = ask(session, peer, &call, "query failed").await?;
    match output {
        Output::Json => say!("{}", text::indented(&text::definitions(&result))),
        Output::Text => {
            say!("Committed chaincode definitions on channel '{channel}':");
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
