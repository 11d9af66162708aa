//! `peer chaincode`: calling chaincodes.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use bytes::Bytes;
use ripstop_command_line::say;
use ripstop_proto::{Message, protos};
use ripstop_types::{ChannelId, HeaderType};

use super::{Failure, usage};
use crate::client::{CallError, CommitWatch, Invocation, endorse_on_all};
use crate::flags::{OrdererFlags, PeerFlags, WaitLimit};
use crate::session::{Family, Number, Session, Wanted};
use crate::text;

#[derive(Debug, clap::Args)]
pub(crate) struct ChaincodeCommand {
    #[command(flatten)]
    orderer: OrdererFlags,
    /// Transient map of arguments in JSON encoding
    #[arg(long = "transient", global = true, default_value = "")]
    transient: String,
    #[command(subcommand)]
    command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    #[command(
        about = "Invoke the specified chaincode.",
        long_about = "Invoke the specified chaincode. It will try to commit the endorsed transaction to the network."
    )]
    Invoke {
        #[command(flatten)]
        call: CallFlags,
        /// Is this invocation for init (useful for supporting legacy chaincodes in the new lifecycle)
        #[arg(short = 'I', long = "isInit")]
        init: bool,
        #[command(flatten)]
        wait: WaitFlags,
    },
    #[command(
        about = "Query using the specified chaincode.",
        long_about = "Get endorsed result of chaincode function call and print it. It won't generate transaction."
    )]
    Query {
        #[command(flatten)]
        call: CallFlags,
        /// If true, output the query value as raw bytes, otherwise format as a printable string
        #[arg(short = 'r', long = "raw")]
        raw: bool,
        /// If true, output the query value byte array in hexadecimal. Incompatible with --raw
        #[arg(short = 'x', long = "hex")]
        hex: bool,
    },
}

/// What is called.
#[derive(Debug, clap::Args)]
struct CallFlags {
    /// Name of the chaincode
    #[arg(short = 'n', long = "name", default_value = "")]
    name: String,
    /// Constructor message for the chaincode in JSON format
    #[arg(short = 'c', long = "ctor", default_value = "{}")]
    input: String,
    /// The channel on which this command should be executed
    #[arg(short = 'C', long = "channelID", default_value = "")]
    channel: String,
    #[command(flatten)]
    peers: PeerFlags,
}

/// Whether to wait until the transaction is committed, and how long.
#[derive(Debug, clap::Args)]
struct WaitFlags {
    /// Whether to wait for the event from each peer's deliver filtered service signifying that the 'invoke' transaction
    /// has been committed successfully
    #[arg(long = "waitForEvent")]
    wait: bool,
    #[command(flatten)]
    limit: WaitLimit,
}

/// How a query's result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Text,
    Raw,
    Hex,
}

impl ChaincodeCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let session = Session::open()?;
        let transient = self.transient.as_str();
        match &self.command {
            Subcommand::Invoke { call, init, wait } => {
                call.begin("invoke, true, true")?;
                let mut invocation = call.invocation(transient)?;
                invocation.init = *init;
                invoke(&session, &self.orderer, call, wait, invocation).await
            }
            Subcommand::Query { call, raw, hex } => {
                call.begin("query, true, false")?;
                let output = match (raw, hex) {
                    (true, true) => {
                        return Err(anyhow!("options --raw (-r) and --hex (-x) are not compatible").into());
                    }
                    (true, false) => Output::Raw,
                    (false, true) => Output::Hex,
                    (false, false) => Output::Text,
                };
                let invocation = call.invocation(transient)?;
                query(&session, call, invocation, output).await
            }
        }
    }
}

impl CallFlags {
    fn begin(&self, needs: &str) -> Result<(), Failure> {
        if self.channel.is_empty() {
            return usage("The required parameter 'channelID' is empty. Rerun the command with -C flag");
        }
        tracing::info!(target: "chaincodeCmd", function = "InitCmdFactory", "InitCmdFactory: Entry: {needs}");
        Ok(())
    }

    fn invocation(&self, transient: &str) -> Result<Invocation, Failure> {
        if self.name.is_empty() {
            return usage("must supply value for chaincode name parameter");
        }
        let transient = match transient {
            "" => BTreeMap::new(),
            json => transient_map(json)
                .map_err(|error| anyhow!("error parsing transient string: {error} - proposal response: <nil>"))?,
        };
        Ok(Invocation {
            channel: self.channel.clone(),
            chaincode: self.name.clone(),
            args: arguments(&self.input)?,
            init: false,
            transient,
        })
    }

    fn wanted<'a>(&'a self, command: &'a str, number: Number) -> Wanted<'a> {
        Wanted { family: Family::Chaincode, command, channel: &self.channel, target: "", number }
    }
}

/// Reads `{"Args":["f","a"]}` or `{"Function":"f","Args":["a"]}`; member names in any case.
fn arguments(json: &str) -> Result<Vec<Bytes>, Failure> {
    let keys = "must contain the following keys: 'Args' or 'Function' and 'Args'";
    if json == "{}" {
        return usage(format!("empty JSON chaincode parameters {keys}"));
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)
        .map_err(|error| Failure::Usage(format!("chaincode argument error: {}", text::not_json(&error))))?;
    let members = object.len();
    let object: BTreeMap<String, serde_json::Value> =
        object.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let function = object.get("function");
    let Some(args) = object.get("args").filter(|_| members <= 2 && (members != 2 || function.is_some())) else {
        return usage(format!("non-empty JSON chaincode parameters {keys}"));
    };
    let of_another_kind = |field: &str, value: &serde_json::Value, wanted: &str| {
        let kind = text::json_kind(value);
        anyhow!(
            "chaincode argument error: json: cannot unmarshal {kind} into Go struct field .{field} of type {wanted}"
        )
    };
    let string = |field: &str, value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Null => Ok(String::new()),
        other => Err(of_another_kind(field, other, "string")),
    };
    let args = match args {
        serde_json::Value::Array(args) => args.iter().map(|arg| string("Args", arg)).collect::<Result<Vec<_>, _>>()?,
        serde_json::Value::Null => Vec::new(),
        other => return Err(of_another_kind("Args", other, "[]string").into()),
    };
    let function = function.map(|function| string("Function", function)).transpose()?;
    let function = function.filter(|function| !function.is_empty());
    Ok(function.into_iter().chain(args).map(Bytes::from).collect())
}

/// Reads `{"name":"<base64>"}`.
fn transient_map(json: &str) -> anyhow::Result<BTreeMap<String, Bytes>> {
    let encoded: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|error| anyhow!(text::not_json(&error)))?;
    let decode = |(name, value): (String, String)| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(&value)?;
        anyhow::Ok((name, bytes.into()))
    };
    encoded.into_iter().map(decode).collect()
}

async fn invoke(
    session: &Session,
    orderer: &OrdererFlags,
    call: &CallFlags,
    wait: &WaitFlags,
    invocation: Invocation,
) -> Result<(), Failure> {
    let wanted = call.wanted("invoke", Number::Several);
    let peers = session.peers(&call.peers, wanted)?;
    let first_peer = peers.first().context("no endorser clients retrieved")?;
    let orderers = session.orderers(orderer, wanted, first_peer).await?;
    let signer = &session.signer;
    let proposal = invocation.propose(signer, HeaderType::EndorserTransaction)?;
    let responses = endorse_on_all(&peers, &proposal).await.map_err(|error| {
        wanted.unreachable_or(error, |error| anyhow!("error endorsing invoke: {error} - proposal response: <nil>"))
    })?;
    let first = responses.first().context("no proposal responses received")?;
    let failed = |error: &dyn std::fmt::Display| {
        anyhow!("{error} - proposal response: {}", text::proposal_response(Some(first)))
    };
    let answer = first.response.clone().unwrap_or_default();
    if answer.status < 400 {
        let transaction = proposal
            .assemble(&responses, signer)
            .map_err(|error| failed(&format!("could not assemble transaction: {error}")))?;
        let without_response = |error| anyhow!("{error} - proposal response: <nil>");
        let watch = match wait.wait {
            false => None,
            true => {
                let (channel, limit) = (ChannelId::new(&call.channel)?, wait.limit.timeout);
                let begun = CommitWatch::begin(&peers, &channel, &proposal.tx_id, signer, limit).await;
                Some(begun.map_err(without_response)?)
            }
        };
        for orderer in &orderers {
            orderer.broadcast(transaction.clone()).await.map_err(|error| match error {
                CallError::Connect { .. } => anyhow!("error getting broadcast client: {error}"),
                error => failed(&format!("error sending transaction for invoke: {error}")),
            })?;
        }
        if let Some(watch) = watch {
            watch.wait().await.map_err(without_response)?;
        }
    }
    if first.endorsement.is_none() {
        return Err(anyhow!("endorsement failure during invoke. response: {}", text::response(&answer)).into());
    }
    let endorsed = endorsed_response(first)?;
    tracing::info!(
        target: "chaincodeCmd",
        function = "chaincodeInvokeOrQuery",
        "Chaincode invoke successful. result: {}",
        text::response(&endorsed)
    );
    Ok(())
}

fn endorsed_response(response: &protos::ProposalResponse) -> anyhow::Result<protos::Response> {
    let payload = protos::ProposalResponsePayload::decode(response.payload.clone())
        .context("error while unmarshalling proposal response payload")?;
    let action =
        protos::ChaincodeAction::decode(payload.extension).context("error while unmarshalling chaincode action")?;
    Ok(action.response.unwrap_or_default())
}

async fn query(session: &Session, call: &CallFlags, invocation: Invocation, output: Output) -> Result<(), Failure> {
    let wanted = call.wanted("query", Number::One);
    let peers = session.peers(&call.peers, wanted)?;
    let peer = peers.first().context("no endorser clients retrieved")?;
    let answer = peer.query(&invocation, &session.signer).await.map_err(|error| {
        wanted.unreachable_or(error, |error| anyhow!("error endorsing query: {error} - proposal response: <nil>"))
    })?;
    let response = answer.response.clone().unwrap_or_default();
    if answer.endorsement.is_none() {
        return Err(anyhow!("endorsement failure during query. response: {}", text::response(&response)).into());
    }
    let payload = &response.payload;
    match output {
        Output::Text => {
            let line = [payload.as_ref(), b"\n"].concat();
            // As with `say!`: whoever reads may have gone.
            let _ = std::io::stdout().write_all(&line);
        }
        Output::Hex => say!("{}", hex::encode(payload)),
        // Go prints a slice of bytes as decimal numbers.
        Output::Raw => {
            say!("[{}]", payload.iter().map(u8::to_string).collect::<Vec<_>>().join(" "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_in_two_forms_and_any_case() {
        let read = |json| {
            let args = arguments(json).map_err(|failure| match failure {
                Failure::Usage(problem) | Failure::Setup(problem) => problem,
                Failure::Work(error) => error.to_string(),
            });
            args.map(|args| args.iter().map(|a| String::from_utf8(a.to_vec()).unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(read(r#"{"Args":["f","a"]}"#).unwrap(), ["f", "a"]);
        assert_eq!(read(r#"{"function":"f","args":["a"]}"#).unwrap(), ["f", "a"]);
        assert_eq!(read(r#"{"Args":[]}"#).unwrap(), [""; 0]);
        for (bad, words) in [
            ("{}", "empty JSON chaincode parameters must contain the following keys: 'Args' or 'Function' and 'Args'"),
            (r#"{"Function":"f"}"#, "non-empty JSON chaincode parameters must contain"),
            (r#"{"Args":[],"x":1}"#, "non-empty JSON chaincode parameters must contain"),
            (
                r#"{"Args":[1]}"#,
                "chaincode argument error: json: cannot unmarshal number into Go struct field .Args of type string",
            ),
            ("[", "chaincode argument error"),
            (r#"{"Args":"#, "chaincode argument error: unexpected end of JSON input"),
        ] {
            assert!(read(bad).unwrap_err().contains(words), "{bad}");
        }
    }

    #[test]
    fn transient_values_are_base64() {
        assert_eq!(transient_map(r#"{"k":"YQ=="}"#).unwrap()["k"], "a");
        assert!(transient_map(r#"{"k":"?"}"#).is_err());
        assert!(transient_map("k").is_err());
    }
}
