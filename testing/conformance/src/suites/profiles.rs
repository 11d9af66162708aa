use std::collections::BTreeSet;

use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_configtxgen::ConfigTx;
use ripstop_node_config::Environment;
use ripstop_proto::{common, protos};
use ripstop_types::Block;

use crate::{Fixtures, Report};

/// First blocks made by Fabric's configtxgen, from one configtx.yaml: read, and made again.
pub fn profiles(report: &mut Report) {
    const MADE: &str = "configuration trees made from profiles";
    const READ: &str = "configurations read and checked";
    let fixtures = Fixtures::open("configtxgen");
    let directory = fixtures.unpack();
    let config = directory.path().join("config");
    let Some(file) = report.check(MADE, "configtx.yaml", ConfigTx::load(Some(&config), &Environment::default())) else {
        return;
    };
    for (path, raw) in fixtures.all() {
        let Some(name) = path.strip_suffix(".block") else { continue };
        let Some(block) = report.check(READ, name, Block::parse(raw.clone())) else { continue };
        let expected = block.config_envelope().and_then(|envelope| common::ConfigEnvelope::decode(envelope.data).ok());
        let expected = expected.and_then(|envelope| envelope.config).and_then(|config| config.channel_group);
        let group = file.profile(name).and_then(|profile| profile.channel_group());
        if let Some(group) = report.check(MADE, name, group) {
            match first_difference("/Channel", &expected.unwrap_or_default(), &group) {
                None => report.equal(MADE, 1),
                Some(path) => report.difference(MADE, format!("{name}: they differ at {path}")),
            }
        }
        if let Some(config) = report.check(READ, name, ChannelConfig::from_block(&block)) {
            let built = name != "OldCapabilities";
            report.compare(READ, name, &built, &config.check_level().is_ok(), "channels below V2_0 are not served");
        }
    }
}

/// Where two trees differ. Go writes the entries of a map in any order, and one value holds a map.
fn first_difference(path: &str, expected: &common::ConfigGroup, actual: &common::ConfigGroup) -> Option<String> {
    let names: BTreeSet<&String> = expected.groups.keys().chain(actual.groups.keys()).collect();
    for name in names {
        let below = format!("{path}/{name}");
        match (expected.groups.get(name), actual.groups.get(name)) {
            (Some(expected), Some(actual)) => {
                if let Some(path) = first_difference(&below, expected, actual) {
                    return Some(path);
                }
            }
            _ => return Some(below),
        }
    }
    let names: BTreeSet<&String> = expected.values.keys().chain(actual.values.keys()).collect();
    for name in names {
        let mut pair = [expected.values.get(name).cloned(), actual.values.get(name).cloned()];
        for value in pair.iter_mut().flatten().filter(|_| name == "ACLs") {
            let sorted = protos::AcLs::decode(value.value.clone()).map(|list| format!("{list:?}"));
            value.value = sorted.unwrap_or_default().into();
        }
        if pair[0] != pair[1] {
            return Some(format!("{path}/{name}: {:?}, not {:?}", pair[1], pair[0]));
        }
    }
    if expected.policies != actual.policies {
        return Some(format!("{path}, policies: {:?}, not {:?}", actual.policies, expected.policies));
    }
    let rest = |group: &common::ConfigGroup| (group.version, group.mod_policy.clone());
    (rest(expected) != rest(actual)).then(|| path.to_owned())
}
