//! Proposals executed as a peer does: the chaincode host, a stream to a contract, a real ledger. The contract is the golden
//! chaincode, call for call. What comes out must be what Fabric's endorser signed: read/write set, event, response, name
//! and version, and the interest that endorsement plans are made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_chaincode::{ChaincodeHost, HostOptions, Invocation, JoinChannel, NodeParts, Registration};
use ripstop_channel_config::ChannelConfig;
use ripstop_contract::{Context, Contract, Error, Result};
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_proto::{common, msp, protos};
use ripstop_testkit::in_time;
use ripstop_transport::{Endpoint, Listener, ServerKeepalive, serve_grpc};
use ripstop_types::{Block, TxId};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{Report, hex_bytes};

const TOPIC: &str = "proposals executed: endorsed bytes, response, interest";
const REFUSALS: &str = "proposals refused: text";
/// Without order in Fabric: it walks a Go map.
const UNORDERED: &str = "QueryNamespaceDefinitions";
/// The chaincodes of the golden chain; all are one program.
const CHAINCODES: [(&str, &str); 3] = [("basic", "2.0"), ("other", "1.0"), ("sbe", "1.0")];

pub(crate) struct NoJoin;

impl JoinChannel for NoJoin {
    fn join(&self, _genesis: Block) -> std::result::Result<(), String> {
        Err("this peer joins nothing".to_owned())
    }

    fn join_by_snapshot(&self, _: &Path) -> std::result::Result<(), String> {
        Err("this peer joins nothing".to_owned())
    }

    fn joining(&self) -> Option<PathBuf> {
        None
    }
}

/// Each line is a signed proposal with the answer of Fabric's endorser at the end of the chain.
pub(crate) fn execution(report: &mut Report, lines: &[Value], ledgers: &Arc<Ledgers>, ledger: &Arc<Ledger>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Some(runtime) = report.check("execution", "runtime", runtime) else { return };
    let packages = tempfile::tempdir().expect("a temporary directory can be made");
    // In development whoever registers by name and version runs a definition, so no package is needed.
    let options =
        HostOptions { registration: Registration::AnyInDevelopment, ..HostOptions::new(packages.path().to_owned()) };
    let local_msp = report.check("execution", "local MSP", local_msp(&ledger.config()));
    let Some(local_msp) = local_msp else { return };
    let node = NodeParts {
        ledgers: ledgers.clone(),
        local_msp: Arc::new(local_msp),
        join: Arc::new(NoJoin),
        metrics: Metrics::new(),
    };
    let Some(host) = report.check("execution", "host", ChaincodeHost::new(options, node)) else { return };
    runtime.block_on(async {
        let mut contracts = register(&host).await;
        for line in lines {
            tokio::select! {
                () = execute(report, line, &host, ledger) => {}
                Some(ended) = contracts.join_next() => {
                    report.difference(TOPIC, format!("a contract ended: {ended:?}"));
                    break;
                }
            }
        }
        host.stop().await;
    });
}

/// The organization of the peer that answered.
pub(crate) fn local_msp(config: &ChannelConfig) -> std::result::Result<LocalMsp, String> {
    let value = || {
        let root = config.config().channel_group.as_ref()?;
        root.groups.get("Application")?.groups.get("Org1MSP")?.values.get("MSP")
    };
    let value = value().ok_or("Org1MSP is no organization of the channel")?;
    let config = msp::MspConfig::decode(value.value.clone()).map_err(|error| error.to_string())?;
    let config = msp::FabricMspConfig::decode(config.config).map_err(|error| error.to_string())?;
    LocalMsp::new(&config).map_err(|error| error.to_string())
}

/// Lets the contract dial the host, once for each chaincode. None of them ends before the host does.
async fn register(host: &ChaincodeHost) -> JoinSet<std::result::Result<(), String>> {
    let listener = Listener::bind("127.0.0.1:0").await.expect("a port is free");
    let endpoint = Endpoint::new(&listener.address().to_string()).expect("the listener has an address");
    let routes = tonic::service::Routes::new(host.registration_service().into_grpc());
    tokio::spawn(serve_grpc(listener, None, ServerKeepalive::default(), routes, std::future::pending()));
    let mut contracts = JoinSet::new();
    for (name, version) in CHAINCODES {
        let endpoint = endpoint.clone();
        contracts.spawn(async move {
            let ended = ripstop_contract::dial(&endpoint, &format!("{name}:{version}"), contract()).await;
            ended.map_err(|error| error.to_string())
        });
    }
    contracts
}

async fn execute(report: &mut Report, line: &Value, host: &ChaincodeHost, ledger: &Arc<Ledger>) {
    let arguments: Vec<&str> = line["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let [_, function, ..] = arguments.as_slice() else { return };
    let name = arguments.join(" ");
    let answer = protos::ProposalResponse::decode(hex_bytes(&line["hex"])).unwrap_or_default();
    let invocation = read(&hex_bytes(&line["signed_proposal_hex"]), ledger);
    let Some(invocation) = report.check(TOPIC, &name, invocation.ok_or("the proposal does not decode")) else { return };
    let executing = async {
        loop {
            match host.execute(invocation.clone()).await {
                // The contract is on its way.
                Err(error) if error.to_string().contains("could not launch chaincode") => {
                    tokio::task::yield_now().await;
                }
                done => break done,
            }
        }
    };
    let executed = in_time("the contract registers", executing).await;
    let done = match executed {
        Ok(done) => done,
        Err(error) => {
            let expected = answer.response.unwrap_or_default().message;
            report.compare(REFUSALS, &name, expected.as_str(), &error.to_string(), "");
            return;
        }
    };
    let payload = protos::ProposalResponsePayload::decode(answer.payload).unwrap_or_default();
    let action = protos::ChaincodeAction {
        results: done.results.map(|results| results.public_bytes).unwrap_or_default(),
        events: done.event.map(|event| event.encode_to_vec().into()).unwrap_or_default(),
        response: Some(done.response.clone()),
        chaincode_id: Some(done.chaincode.into()),
    };
    if *function == UNORDERED {
        let expected = protos::ChaincodeAction::decode(payload.extension).unwrap_or_default();
        report.compare(TOPIC, &name, &expected.results, &action.results, "");
        return;
    }
    report.compare(TOPIC, &name, &payload.extension, &Bytes::from(action.encode_to_vec()), "");
    report.compare(TOPIC, &name, &answer.response, &Some(done.response), "");
    report.compare(TOPIC, &name, &answer.interest.unwrap_or_default(), &done.interest, "");
}

fn read(signed_proposal: &Bytes, ledger: &Arc<Ledger>) -> Option<Invocation> {
    let signed = protos::SignedProposal::decode(signed_proposal.clone()).ok()?;
    let proposal = protos::Proposal::decode(signed.proposal_bytes.clone()).ok()?;
    let header = common::Header::decode(proposal.header).ok()?;
    let channel_header = common::ChannelHeader::decode(header.channel_header).ok()?;
    let signature_header = common::SignatureHeader::decode(header.signature_header).ok()?;
    let extension = protos::ChaincodeHeaderExtension::decode(channel_header.extension).ok()?;
    let payload = protos::ChaincodeProposalPayload::decode(proposal.payload).ok()?;
    let spec = protos::ChaincodeInvocationSpec::decode(payload.input).ok()?.chaincode_spec?;
    Some(Invocation {
        ledger: Some(ledger.clone()),
        tx_id: TxId::new(&channel_header.tx_id),
        proposal: signed,
        creator: signature_header.creator,
        chaincode: extension.chaincode_id?.name,
        input: spec.input?,
    })
}

/// The golden chaincode, as far as its functions are called here.
fn contract() -> Contract {
    with_private_values(with_policies(with_ranges(with_keys(Contract::new("golden")))))
}

fn with_keys(contract: Contract) -> Contract {
    contract
        .raw_function("get", |ctx, args| Ok(ctx.get(text(args, 0)?)?.unwrap_or_default()))
        .raw_function("put", |ctx, args| {
            ctx.put(text(args, 0)?, argument(args, 1)?)?;
            Ok(Bytes::from_static(b"ok"))
        })
        .raw_function("del", |ctx, args| ctx.delete(text(args, 0)?).map(|()| Bytes::new()))
        .raw_function("rmw", |ctx, args| {
            let value = ctx.get(text(args, 0)?)?.unwrap_or_default();
            let number: i64 = std::str::from_utf8(&value).ok().and_then(|value| value.parse().ok()).unwrap_or(0);
            let next = Bytes::from((number + 1).to_string());
            ctx.put(text(args, 0)?, next.clone())?;
            Ok(next)
        })
        .raw_function("mput", |ctx, args| {
            for pair in args.chunks_exact(2) {
                ctx.put(text(pair, 0)?, argument(pair, 1)?)?;
            }
            Ok(Bytes::new())
        })
        .raw_function("mget", |ctx, args| {
            let keys: Vec<String> = (0..args.len()).map(|at| Ok(text(args, at)?.to_owned())).collect::<Result<_>>()?;
            let values = ctx.get_many(&keys)?;
            let values: Vec<_> = values
                .into_iter()
                .map(|value| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned())
                .collect();
            Ok(serde_json::to_vec(&values)?.into())
        })
        .raw_function("history", history)
        .raw_function("evput", |ctx, args| {
            ctx.put(text(args, 0)?, argument(args, 1)?)?;
            ctx.set_event(text(args, 2)?, argument(args, 3)?)?;
            Ok(Bytes::new())
        })
        .raw_function("callput", |ctx, args| {
            let callee = text(args, 0)?;
            let call = vec![Bytes::from_static(b"put"), argument(args, 1)?, argument(args, 2)?];
            let payload = ctx.invoke(callee, call, "")?;
            ctx.put(text(args, 3)?, format!("called {callee}"))?;
            Ok(payload)
        })
        .raw_function("batch", |ctx, args| {
            let count: u32 = text(args, 0)?.parse().map_err(|_| Error::new("no number"))?;
            let prefix = text(args, 1)?;
            (0..count).try_for_each(|index| ctx.put(&format!("{prefix}{index:04}"), index.to_string()))?;
            Ok(Bytes::new())
        })
        .raw_function("info", info)
        .raw_function("warn399", |ctx, _| {
            ctx.put("warn", "w")?;
            ctx.set_status(399, "status 399")?;
            Ok(Bytes::from_static(b"p"))
        })
        .raw_function("fail", |_, _| Err(Error::new("deliberate failure")))
        .raw_function("noop", |_, _| Ok(Bytes::from_static(b"noop")))
}

fn with_ranges(contract: Contract) -> Contract {
    contract
        .raw_function("range", |ctx, args| Ok(range(ctx, args)?.0))
        .raw_function("rangeput", |ctx, args| {
            let (rows, count) = range(ctx, args)?;
            ctx.put(text(args, 2)?, count.to_string())?;
            Ok(rows)
        })
        .raw_function("page", page)
        .raw_function("ckrange", |ctx, args| {
            let attributes: Vec<&str> = text(args, 1)?.split(',').collect();
            Ok(rows(ctx.range_composite(text(args, 0)?, &attributes)?)?.0)
        })
}

fn with_policies(contract: Contract) -> Contract {
    contract
        .raw_function("setep", |ctx, args| {
            let policy = peers(text(args, 2)?);
            ctx.set_key_policy(text(args, 0)?, policy.clone())?;
            Ok(policy)
        })
        .raw_function("getep", |ctx, args| Ok(ctx.key_policy(text(args, 0)?)?.unwrap_or_default()))
}

fn with_private_values(contract: Contract) -> Contract {
    contract
        .raw_function("phashput", |ctx, args| {
            let hash = ctx.get_private_hash(text(args, 0)?, text(args, 1)?)?.unwrap_or_default();
            ctx.put(text(args, 2)?, hex::encode(hash)).map(|()| Bytes::new())
        })
        .raw_function("pget", |ctx, args| Ok(ctx.get_private(text(args, 0)?, text(args, 1)?)?.unwrap_or_default()))
        .raw_function("pdel", |ctx, args| ctx.delete_private(text(args, 0)?, text(args, 1)?).map(|()| Bytes::new()))
        .raw_function("ppurge", |ctx, args| ctx.purge_private(text(args, 0)?, text(args, 1)?).map(|()| Bytes::new()))
        .raw_function("psetep", |ctx, args| {
            let policy = peers(text(args, 3)?);
            ctx.set_private_key_policy(text(args, 0)?, text(args, 1)?, policy.clone())?;
            Ok(policy)
        })
}

fn argument(args: &[Bytes], at: usize) -> Result<Bytes> {
    args.get(at).cloned().ok_or_else(|| Error::new("too few arguments"))
}

fn text(args: &[Bytes], at: usize) -> Result<&str> {
    let argument = args.get(at).ok_or_else(|| Error::new("too few arguments"))?;
    std::str::from_utf8(argument).map_err(|error| Error::new(error.to_string()))
}

fn range(ctx: &Context, args: &[Bytes]) -> Result<(Bytes, usize)> {
    rows(ctx.range(text(args, 0)?, text(args, 1)?)?)
}

#[derive(serde::Serialize)]
struct Row {
    k: String,
    v: String,
}

fn rows(found: impl Iterator<Item = Result<ripstop_contract::KeyValue>>) -> Result<(Bytes, usize)> {
    let rows: Vec<Row> = found
        .map(|entry| entry.map(|entry| Row { k: entry.key, v: String::from_utf8_lossy(&entry.value).into_owned() }))
        .collect::<Result<_>>()?;
    // Go escapes what could end a script in HTML, and bytes that are no text.
    let json = serde_json::to_string(&rows)?;
    let json =
        json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\u{fffd}', "\\ufffd");
    Ok((json.into(), rows.len()))
}

fn page(ctx: &Context, args: &[Bytes]) -> Result<Bytes> {
    let size: i32 = text(args, 2)?.parse().map_err(|_| Error::new("no number"))?;
    let page = ctx.range_page(text(args, 0)?, text(args, 1)?, size, text(args, 3)?)?;
    let (fetched, bookmark) = (page.entries.len(), page.bookmark);
    let (rows, _) = rows(page.entries.into_iter().map(Ok))?;
    let rows = String::from_utf8_lossy(&rows).into_owned();
    Ok(format!(r#"{{"rows":{rows},"fetched":{fetched},"bookmark":{bookmark:?}}}"#).into())
}

#[derive(serde::Serialize)]
struct Change {
    del: bool,
    ts: String,
    tx: String,
    v: String,
}

fn history(ctx: &Context, args: &[Bytes]) -> Result<Bytes> {
    let changes: Vec<Change> = ctx
        .history(text(args, 0)?)?
        .map(|change| {
            let change = change?;
            let ts = go_time(change.timestamp.seconds, change.timestamp.nanos)?;
            let v = String::from_utf8_lossy(&change.value).into_owned();
            Ok(Change { del: change.is_delete, ts, tx: change.tx_id, v })
        })
        .collect::<Result<_>>()?;
    Ok(serde_json::to_vec(&changes)?.into())
}

/// A time as Go prints it in UTC.
fn go_time(seconds: i64, nanos: i32) -> Result<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| Error::new(error.to_string()))?;
    let (date, clock) = (time.date(), time.time());
    let fraction = format!(".{nanos:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let (hour, minute, second) = clock.as_hms();
    Ok(format!("{date} {hour:02}:{minute:02}:{second:02}{fraction} +0000 UTC"))
}

/// The policy that Go's `statebased` package makes of peers of organizations: all of them.
fn peers(organizations: &str) -> Bytes {
    use ripstop_policy::envelope::n_out_of_role;
    if organizations.is_empty() {
        return Bytes::new();
    }
    let orgs: Vec<_> = organizations.split(',').map(ripstop_types::MspId::new).collect();
    let count = i32::try_from(orgs.len()).unwrap_or(i32::MAX);
    n_out_of_role(count, ripstop_msp::Role::Peer, &orgs).encode_to_vec().into()
}

fn info(ctx: &Context, _: &[Bytes]) -> Result<Bytes> {
    let (proposal, _) = ctx.signed_proposal().ok_or_else(|| Error::new("no proposal"))?;
    let undecodable = |error: prost::DecodeError| Error::new(error.to_string());
    let proposal = protos::Proposal::decode(proposal).map_err(undecodable)?;
    let header = common::Header::decode(proposal.header).map_err(undecodable)?;
    let channel_header = common::ChannelHeader::decode(header.channel_header).map_err(undecodable)?;
    let signature_header = common::SignatureHeader::decode(header.signature_header).map_err(undecodable)?;
    let binding = ripstop_types::Digest::of_parts([
        signature_header.nonce.as_ref(),
        signature_header.creator.as_ref(),
        &channel_header.epoch.to_le_bytes(),
    ]);
    let (time, creator) = (ctx.timestamp(), signature_header.creator.len());
    Ok(format!(
        "txid={} channel={} ts={}.{:09} binding={binding} creator={creator}",
        ctx.tx_id(),
        ctx.channel_id(),
        time.seconds,
        time.nanos
    )
    .into())
}
