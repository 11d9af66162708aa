use ripstop_proto::lifecycle;
use ripstop_proto::lifecycle::query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition;

use super::{Output, ask, only_peer};
use crate::client::{Invocation, Peer};
use crate::commands::{Failure, usage};
use crate::flags::PeerFlags;
use crate::session::Session;
use crate::text;

/// Prints what the peer's organisation has approved: one chaincode's definition, or all when `name` is empty.
pub(super) async fn query(
    peers: &PeerFlags,
    channel: &str,
    name: &str,
    sequence: i64,
    output: Output,
) -> Result<(), Failure> {
    if channel.is_empty() {
        return usage("The required parameter 'channelID' is empty. Rerun the command with -C flag");
    }
    if name.is_empty() && sequence != 0 {
        return usage(
            "Specifying parameter 'sequence' is invalid without parameter 'name'. Rerun the command with -n flag",
        );
    }
    let session = Session::open()?;
    let peer = only_peer(&session, peers, channel, None, "queryapproved")?;
    if name.is_empty() {
        all(&session, &peer, channel, output).await
    } else {
        one(&session, &peer, channel, name, sequence, output).await
    }
}

async fn one(
    session: &Session,
    peer: &Peer,
    channel: &str,
    name: &str,
    sequence: i64,
    output: Output,
) -> Result<(), Failure> {
    let arguments = lifecycle::QueryApprovedChaincodeDefinitionArgs { name: name.to_owned(), sequence };
    let call = Invocation::lifecycle(channel, "QueryApprovedChaincodeDefinition", &arguments);
    let result: lifecycle::QueryApprovedChaincodeDefinitionResult = ask(session, peer, &call, "query failed").await?;
    match output {
        Output::Json => say!("{}", text::indented(&text::approved(&result))),
        Output::Text => {
            say!("Approved chaincode definition for chaincode '{name}' on channel '{channel}':");
            say!("{}", line(&named(name, result)));
        }
    }
    Ok(())
}

async fn all(session: &Session, peer: &Peer, channel: &str, output: Output) -> Result<(), Failure> {
    let arguments = lifecycle::QueryApprovedChaincodeDefinitionsArgs {};
    let call = Invocation::lifecycle(channel, "QueryApprovedChaincodeDefinitions", &arguments);
    let result: lifecycle::QueryApprovedChaincodeDefinitionsResult = ask(session, peer, &call, "query failed").await?;
    match output {
        Output::Json => say!("{}", text::indented(&text::all_approved(&result))),
        Output::Text => {
            say!("Approved chaincode definitions on channel '{channel}':");
            for definition in &result.approved_chaincode_definitions {
                say!("name: {}, {}", definition.name, line(definition));
            }
        }
    }
    Ok(())
}

/// The answer about one chaincode in the form of an entry of a list.
fn named(name: &str, result: lifecycle::QueryApprovedChaincodeDefinitionResult) -> ApprovedChaincodeDefinition {
    ApprovedChaincodeDefinition {
        name: name.to_owned(),
        sequence: result.sequence,
        version: result.version,
        endorsement_plugin: result.endorsement_plugin,
        validation_plugin: result.validation_plugin,
        validation_parameter: result.validation_parameter,
        collections: result.collections,
        init_required: result.init_required,
        source: result.source,
    }
}

fn line(definition: &ApprovedChaincodeDefinition) -> String {
    use lifecycle::chaincode_source::Type;
    let source = definition.source.as_ref().and_then(|source| source.r#type.as_ref());
    let package_id = match source {
        Some(Type::LocalPackage(local)) => local.package_id.as_str(),
        Some(Type::Unavailable(_)) | None => "",
    };
    format!(
        "sequence: {}, version: {}, init-required: {}, package-id: {package_id}, endorsement plugin: {}, validation plugin: {}",
        definition.sequence,
        definition.version,
        definition.init_required,
        definition.endorsement_plugin,
        definition.validation_plugin
    )
}
