//! A long chain, made quickly: transactions like one that was really endorsed, one a block.

use std::fs;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use ripstop_interop::CHANNEL;
use ripstop_keys::SigningIdentity;
use ripstop_peer::client::Invocation;
use ripstop_proto::{Message, common, kvrwset, protos, rwset};
use ripstop_testkit::DraftTransaction;
use ripstop_types::HeaderType;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::Outcome;

/// The sample contract that `ripstop up` deploys.
const CONTRACT: &str = "asset-transfer";
/// The asset of the transaction that the others are made after.
const MODEL: &str = "model-of-an-asset";
/// How many transactions are on their way to the orderer at once.
const CONCURRENCY: usize = 64;

/// Has the orderer cut a block for each transaction, with the commands that operators use.
pub(crate) fn cut_one_transaction_a_block(stage: &Stage) -> Outcome {
    let scratch = stage.directory.join("update");
    fs::create_dir_all(&scratch)?;
    let at = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    let translate = |verb: &str, kind: &str, input: &str, output: &str| {
        let arguments = ["configtxlator", verb, "--type", kind, "--input", &at(input), "--output", &at(output)];
        stage.command(&arguments, &[]).map(|_| ())
    };
    let orderer = stage.operator.orderer_flags();
    let orderer: Vec<&str> = orderer.iter().map(String::as_str).collect();
    let block = at("config.block");
    stage.operator.peer("org1", &[&["channel", "fetch", "config", &block, "-c", CHANNEL], orderer.as_slice()].concat());
    translate("proto_decode", "common.Block", "config.block", "block.json")?;
    let block: Value = serde_json::from_slice(&fs::read(at("block.json"))?)?;
    let config = block.pointer("/data/data/0/payload/data/config").ok_or("the block holds no configuration")?;
    let mut updated = config.clone();
    let size = updated.pointer_mut("/channel_group/groups/Orderer/values/BatchSize/value/max_message_count");
    *size.ok_or("the configuration has no batch size")? = json!(1);
    fs::write(at("before.json"), config.to_string())?;
    fs::write(at("after.json"), updated.to_string())?;
    translate("proto_encode", "common.Config", "before.json", "before.pb")?;
    translate("proto_encode", "common.Config", "after.json", "after.pb")?;
    let (before, after, update) = (at("before.pb"), at("after.pb"), at("update.pb"));
    let compute = ["configtxlator", "compute_update", "--channel_id", CHANNEL, "--original", &before];
    stage.command(&[compute.as_slice(), &["--updated", &after, "--output", &update]].concat(), &[])?;
    translate("proto_decode", "common.ConfigUpdate", "update.pb", "update.json")?;
    let update: Value = serde_json::from_slice(&fs::read(at("update.json"))?)?;
    let envelope = json!({ "payload": {
        "header": { "channel_header": { "channel_id": CHANNEL, "type": 2 } },
        "data": { "config_update": update },
    } });
    fs::write(at("envelope.json"), envelope.to_string())?;
    translate("proto_encode", "common.Envelope", "envelope.json", "envelope.pb")?;
    let administrator = stage.directory.join("crypto/ordererOrganizations/example.com/users/Admin@example.com/msp");
    let environment = stage.operator.environment("org1");
    let mut variables: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let administrator = administrator.to_string_lossy();
    variables.extend([("CORE_PEER_LOCALMSPID", "OrdererMSP"), ("CORE_PEER_MSPCONFIGPATH", administrator.as_ref())]);
    let envelope = at("envelope.pb");
    let submit = ["peer", "channel", "update", "-f", &envelope, "-c", CHANNEL];
    stage.command(&[submit.as_slice(), orderer.as_slice()].concat(), &variables)?;
    Ok(())
}

/// Lets the chain grow to a height. Only the orderer runs, so that nobody else takes its time.
pub(crate) async fn grow(stage: &mut Stage, target: u64) -> Outcome {
    let height = stage.orderer_height().await?;
    if height >= target {
        return Ok(());
    }
    let model = Model::take(stage).await?;
    stage.stop_all();
    stage.start(stage.orderer_name(), &[]).await?;
    let height = stage.orderer_height().await?;
    let (orderer, started) = (stage.orderer(), Instant::now());
    futures_util::stream::iter(height..target)
        .map(|number| {
            let transaction = model.transaction(&format!("asset-of-block-{number}"));
            let orderer = orderer.clone();
            async move { orderer.broadcast(transaction?).await.map_err(|error| error.to_string()) }
        })
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await?;
    while stage.orderer_height().await? < target {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let (blocks, seconds) = (target - height, started.elapsed().as_secs_f64());
    println!("the orderer cut {blocks} blocks in {seconds:.1} s, {:.0} a second", blocks as f64 / seconds);
    Ok(())
}

/// A transaction that was really endorsed, after which others are made.
struct Model {
    user: SigningIdentity,
    endorsers: [SigningIdentity; 2],
    action: protos::ChaincodeAction,
    writes: rwset::TxReadWriteSet,
}

impl Model {
    async fn take(stage: &mut Stage) -> Result<Self, Box<dyn std::error::Error>> {
        stage.start_contracts()?;
        let name = stage.site.peer_name(1);
        stage.start(&name, &[]).await?;
        let user = stage.user();
        let proposal = create(MODEL).propose(&user, HeaderType::EndorserTransaction)?;
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let answer = loop {
            let answer = stage.peer(&name)?.endorse(&proposal).await?;
            let response = answer.response.clone().unwrap_or_default();
            if response.status == 200 {
                break answer;
            }
            if Instant::now() > deadline {
                return Err(format!("{name} does not endorse: {}", response.message).into());
            }
        };
        let payload = protos::ProposalResponsePayload::decode(answer.payload)?;
        let action = protos::ChaincodeAction::decode(payload.extension)?;
        let writes = rwset::TxReadWriteSet::decode(action.results.clone())?;
        let endorsers = [stage.site.endorser(1), stage.site.endorser(2)];
        Ok(Self { user, endorsers, action, writes })
    }

    /// The transaction that would have created another asset.
    fn transaction(&self, asset: &str) -> Result<common::Envelope, String> {
        let mut writes = self.writes.clone();
        for namespace in writes.ns_rwset.iter_mut().filter(|namespace| namespace.namespace == CONTRACT) {
            let mut set = kvrwset::KvrwSet::decode(namespace.rwset.clone()).map_err(|error| error.to_string())?;
            set.reads.iter_mut().for_each(|read| asset.clone_into(&mut read.key));
            for write in &mut set.writes {
                asset.clone_into(&mut write.key);
                write.value = String::from_utf8_lossy(&write.value).replace(MODEL, asset).into();
            }
            namespace.rwset = set.encode_to_vec().into();
        }
        let action = protos::ChaincodeAction { results: writes.encode_to_vec().into(), ..self.action.clone() };
        let spec = protos::ChaincodeSpec {
            chaincode_id: self.action.chaincode_id.clone(),
            input: Some(protos::ChaincodeInput { args: create(asset).args, ..Default::default() }),
            ..Default::default()
        };
        let input = protos::ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec();
        let payload = protos::ChaincodeProposalPayload { input: input.into(), ..Default::default() };
        let mut draft = DraftTransaction::new(CHANNEL, &self.user, &self.endorsers);
        draft.nonce = Bytes::copy_from_slice(&ripstop_keys::nonce());
        draft.chaincode.clone_from(&self.action.chaincode_id);
        draft.proposal_payload = payload.encode_to_vec().into();
        draft.action = Some(action.encode_to_vec().into());
        Ok(draft.envelope())
    }
}

fn create(asset: &str) -> Invocation {
    let arguments = [asset, "blue", "5", "Tomoko", "300"].map(|text| Bytes::copy_from_slice(text.as_bytes()));
    Invocation::new(CHANNEL, CONTRACT, "CreateAsset", arguments)
}
