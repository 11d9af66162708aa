//! What a peer and an orderer of Fabric answered to `GET /metrics`, against what our nodes count.

use std::collections::{BTreeMap, BTreeSet};

use ripstop_operations::{FabricMetric, MetricKind, Metrics, Standing, fabric_metrics};

use crate::{Fixtures, Report};

const TOPIC: &str = "metrics";
/// Metrics of libraries that are not ours: Go's runtime, etcd's log.
const FOREIGN: [&str; 2] = ["go_", "etcd_"];
/// The upper bounds of histograms, unless the table says otherwise.
const USUAL_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of one name in an answer.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    bounds: BTreeSet<String>,
}

/// Compares kinds, help, labels and bounds of all metrics.
pub fn metrics(report: &mut Report) {
    let fixtures = Fixtures::open("metrics");
    let process = process_families();
    for node in ["orderer", "peer"] {
        let text = fixtures.file(&format!("{node}.txt"));
        for (name, family) in families(&String::from_utf8_lossy(&text)) {
            let name = format!("{name} of the {node}");
            let plain = name.split(' ').next().unwrap_or_default();
            if let Some(ours) = process.get(plain) {
                report.compare(TOPIC, &name, &(&family.kind, &family.help), &(&ours.kind, &ours.help), "");
            } else if let Some(metric) = fabric_metrics().find(|metric| metric.name == plain) {
                compare(report, &name, &family, metric);
            } else if FOREIGN.iter().any(|prefix| plain.starts_with(prefix)) {
                report.not_yet("metrics of Go's runtime and of etcd, which are not inside our nodes", 1);
            } else if !plain.starts_with("promhttp_") {
                report.difference(TOPIC, format!("{name} is not in our table"));
            }
        }
    }
}

fn compare(report: &mut Report, name: &str, theirs: &Family, ours: &FabricMetric) {
    let kind = match ours.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    let labels: BTreeSet<String> = ours.labels().map(str::to_owned).collect();
    let bounds: BTreeSet<String> = match ours.kind {
        MetricKind::Histogram => {
            let bounds = ours.bounds.as_deref().unwrap_or(&USUAL_BOUNDS);
            bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]).collect()
        }
        MetricKind::Counter | MetricKind::Gauge => BTreeSet::new(),
    };
    let expected = (theirs.kind.as_str(), theirs.help.as_str(), &theirs.labels, &theirs.bounds);
    report.compare(TOPIC, name, &expected, &(kind, ours.help, &labels, &bounds), "");
    if ours.standing == Standing::Later {
        report.not_yet("metrics of parts of a node that are not there yet", 1);
    }
}

/// What every node of ours counts about its process.
fn process_families() -> BTreeMap<String, Family> {
    let metrics = Metrics::new();
    metrics.observe_process();
    families(&metrics.text())
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.clone_into(&mut families.entry(name.to_owned()).or_default().help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut families.entry(name.to_owned()).or_default().kind);
        } else if let Some((sample, labels)) = line.split_once('{') {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.strip_suffix(suffix));
            let name = base.filter(|base| families.contains_key(*base)).unwrap_or(sample);
            let family = families.entry(name.to_owned()).or_default();
            let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
            // No value in these answers holds a comma followed by a label.
            for (label, value) in labels.split("\",").filter_map(|pair| pair.split_once("=\"")) {
                match label {
                    "le" => family.bounds.insert(value.trim_end_matches('"').to_owned()),
                    label => family.labels.insert(label.to_owned()),
                };
            }
        }
    }
    families
}
