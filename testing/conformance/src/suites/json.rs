use bytes::Bytes;
use ripstop_configtxgen::ConfigTx;
use ripstop_node_config::Environment;
use ripstop_proto_json::{Document, Form};

use crate::{Fixtures, Report};

/// Messages as JSON, as Fabric's configtxlator and configtxgen wrote them; and what our reading of it gives.
pub fn json(report: &mut Report) {
    let written = Fixtures::open("json");
    let golden = Fixtures::open("golden");
    let configtxgen = Fixtures::open("configtxgen");
    let vectors = Fixtures::open("vectors");
    for (path, expected) in written.all() {
        let Some((folder, name)) = path.split_once('/') else { continue };
        let Some(name) = name.strip_suffix(".json") else { continue };
        match folder {
            "blocks" => whole(report, &Form::block(), name, &golden.file(&format!("blocks/{name}.block")), expected),
            "configtxgen" => whole(report, &Form::block(), name, &configtxgen.file(&format!("{name}.block")), expected),
            "updates" => {
                let update = vectors.file(&format!("config-updates/{name}/update.pb"));
                whole(report, &Form::config_update(), name, &update, expected);
            }
            "messages" => {
                let file = |suffix: &str| written.file(&format!("messages/{name}.{suffix}"));
                any_type(report, name, [&file("pb"), expected, &file("encoded")]);
            }
            _ => {}
        }
    }
    organizations(report, &written, &configtxgen);
}

const WRITTEN: &str = "messages written as JSON";
const REFUSED: &str = "messages that have no JSON";
const READ: &str = "messages read from JSON";

/// A message of a network and its JSON; none if Fabric's command refuses the message for what it holds.
fn whole(report: &mut Report, form: &Form, name: &str, raw: &Bytes, expected: &Bytes) {
    let Some(document) = report.check(WRITTEN, name, Document::parse(form, raw)) else { return };
    let expected = String::from_utf8_lossy(expected);
    if expected.is_empty() {
        report.compare(REFUSED, name, &true, &document.to_json().is_err(), "Fabric's command writes nothing");
        return;
    }
    if let Some(json) = report.check(WRITTEN, name, document.to_json()) {
        report.compare(WRITTEN, name, &*expected, json.as_str(), "");
    }
    // Go wrote the entries of maps in any order: what is read must be as long, and say the same.
    let Some(read) = report.check(READ, name, Document::from_json(form, expected.as_bytes())) else { return };
    let read = read.to_bytes();
    report.compare(READ, name, &raw.len(), &read.len(), "the length in bytes");
    let again = Document::parse(form, &read).map(|document| document.to_json().unwrap_or_default());
    if let Some(again) = report.check(READ, name, again) {
        report.compare(READ, name, &*expected, again.as_str(), "");
    }
}

/// A message of any type that Fabric's command knows, filled at random; its JSON; and what the command makes of that, which
/// is not the same: bytes that hold an empty message become no bytes.
fn any_type(report: &mut Report, name: &str, [raw, json, encoded]: [&Bytes; 3]) {
    let Some(form) = Form::named(name) else {
        report.difference(WRITTEN, format!("there is no message type {name}"));
        return;
    };
    let Some(document) = report.check(WRITTEN, name, Document::parse(&form, raw)) else { return };
    if let Some(ours) = report.check(WRITTEN, name, document.to_json()) {
        report.compare(WRITTEN, name, &*String::from_utf8_lossy(json), ours.as_str(), "");
    }
    let Some(expected) = report.check(READ, name, Document::parse(&form, encoded)) else { return };
    if let Some(read) = report.check(READ, name, Document::from_json(&form, json)) {
        report.compare(READ, name, &expected.to_bytes(), &read.to_bytes(), "");
    }
}

/// Organizations of a configtx.yaml, as for adding them to a channel by hand.
fn organizations(report: &mut Report, written: &Fixtures, configtxgen: &Fixtures) {
    const TOPIC: &str = "organisations of configtx.yaml as JSON";
    let directory = configtxgen.unpack();
    let config = directory.path().join("config");
    let Some(file) = report.check(TOPIC, "configtx.yaml", ConfigTx::load(Some(&config), &Environment::default()))
    else {
        return;
    };
    for (path, expected) in written.below("organizations") {
        let name = path.trim_end_matches(".json");
        if let Some(json) = report.check(TOPIC, name, file.organization_json(name)) {
            report.compare(TOPIC, name, &*String::from_utf8_lossy(expected), json.as_str(), "");
        }
    }
}
