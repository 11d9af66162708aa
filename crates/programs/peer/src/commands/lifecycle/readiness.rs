use ripstop_command_line::say;
use ripstop_proto::lifecycle;

use super::definition::DefinitionFlags;
use super::{Output, Respondent, wanted};
use crate::commands::Failure;
use crate::session::{Number, Session};
use crate::text;

/// How much is printed about an organization that has not approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Approvals,
    Mismatches,
}

/// Prints which organizations approved exactly this definition.
pub(super) async fn check(
    session: &Session,
    definition: &DefinitionFlags,
    output: Output,
    detail: Detail,
) -> Result<(), Failure> {
    let call = definition.readiness()?;
    let wanted = wanted("checkcommitreadiness", &definition.channel, Number::One);
    let peer = Respondent::new(session, &definition.peers, wanted)?;
    let mut result: lifecycle::CheckCommitReadinessResult = peer.ask(&call, "query failed").await?;
    if detail == Detail::Approvals {
        result.mismatches.clear();
    }
    match output {
        Output::Json => {
            for item in result.mismatches.values_mut().flat_map(|mismatches| &mut mismatches.items) {
                *item = explained(item);
            }
            say!("{}", text::indented(&text::readiness(&result)));
        }
        Output::Text => {
            say!(
                "Chaincode definition for chaincode '{}', version '{}', sequence '{}' on channel '{}' approval status by org:",
                definition.name,
                definition.version,
                definition.sequence,
                definition.channel
            );
            for (organisation, approved) in &result.approvals {
                let mismatches = result.mismatches.get(organisation).map(|m| m.items.join(", ")).unwrap_or_default();
                if mismatches.is_empty() {
                    say!("{organisation}: {approved}");
                } else {
                    say!("{organisation}: {approved} (mismatch: [{mismatches}])");
                }
            }
        }
    }
    Ok(())
}

/// A part of a definition with the flags that decide it.
fn explained(item: &str) -> String {
    let flags = match item {
        "ChaincodeParameters" => "Check the Sequence, ChaincodeName",
        "EndorsementInfo" => "Check the Version, InitRequired, EndorsementPlugin",
        "ValidationInfo" => "Check the ValidationParameter, ValidationPlugin",
        "Collections" => "Check the Collections",
        other => return other.to_owned(),
    };
    format!("{item} ({flags})")
}
