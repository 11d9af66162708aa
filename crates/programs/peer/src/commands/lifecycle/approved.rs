use anyhow::anyhow;
use ripstop_proto::lifecycle;

use super::{Output, ask, only_peer};
use crate::client::Invocation;
use crate::commands::{Failure, usage};
use crate::flags::PeerFlags;
use crate::session::Session;
use crate::text;

/// Prints what the peer's organisation has approved.
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
    if name.is_empty() {
        return Err(anyhow!("listing all approved definitions is not supported; name one with -n").into());
    }
    let session = Session::open()?;
    let peer = only_peer(&session, peers, channel, None, "queryapproved")?;
    let arguments = lifecycle::QueryApprovedChaincodeDefinitionArgs { name: name.to_owned(), sequence };
    let call = Invocation::lifecycle(channel, "QueryApprovedChaincodeDefinition", &arguments);
    let result: lifecycle::QueryApprovedChaincodeDefinitionResult = ask(&session, &peer, &call, "query failed").await?;
    match output {
        Output::Json => say!("{}", text::indented(&text::approved(&result))),
        Output::Text => {
            use lifecycle::chaincode_source::Type;
            let package_id = match result.source.and_then(|source| source.r#type) {
                Some(Type::LocalPackage(local)) => local.package_id,
                Some(Type::Unavailable(_)) | None => String::new(),
            };
            say!("Approved chaincode definition for chaincode '{name}' on channel '{channel}':");
            say!(
                "sequence: {}, version: {}, init-required: {}, package-id: {package_id}, endorsement plugin: {}, validation plugin: {}",
                result.sequence,
                result.version,
                result.init_required,
                result.endorsement_plugin,
                result.validation_plugin
            );
        }
    }
    Ok(())
}
