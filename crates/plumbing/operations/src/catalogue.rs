//! The metrics of Fabric's nodes as dashboards know them: names, kinds, labels, help, and what statsd calls them.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The sort of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// Whether our nodes have a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They do.
    Served,
    /// What it counts is not there yet.
    Later,
    /// What it counts is left out on purpose.
    Never,
}

/// A metric of Fabric's.
#[derive(Debug)]
pub struct FabricMetric {
    /// Its name.
    pub name: &'static str,
    /// Whether our nodes have it.
    pub standing: Standing,
    /// Its sort.
    pub kind: MetricKind,
    /// The name for statsd, with `%{label}` for the values of labels. It has all labels.
    bucket: &'static str,
    /// The upper bounds of the histogram; none for the usual ones.
    pub bounds: Option<Vec<f64>>,
    /// What it counts, in Fabric's words.
    pub help: &'static str,
}

/// One line a metric, the columns apart by tabs.
const TABLE: &str = include_str!("fabric_metrics.tsv");

static CATALOGUE: LazyLock<HashMap<&'static str, FabricMetric>> =
    LazyLock::new(|| TABLE.lines().skip(1).filter_map(parse).map(|metric| (metric.name, metric)).collect());

/// All metrics of Fabric's nodes, in no order.
pub fn fabric_metrics() -> impl Iterator<Item = &'static FabricMetric> {
    CATALOGUE.values()
}

fn parse(line: &'static str) -> Option<FabricMetric> {
    let mut columns = line.split('\t');
    let name = columns.next()?;
    let standing = match columns.next()? {
        "served" => Standing::Served,
        "later" => Standing::Later,
        _ => Standing::Never,
    };
    let kind = match columns.next()? {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        _ => MetricKind::Histogram,
    };
    let bucket = columns.next()?;
    let bounds: Vec<f64> = columns.next()?.split(' ').filter_map(|bound| bound.parse().ok()).collect();
    let bounds = Some(bounds).filter(|bounds| !bounds.is_empty());
    Some(FabricMetric { name, standing, kind, bucket, bounds, help: columns.next()? })
}

/// The metric of Fabric's with this name.
pub(crate) fn find(name: &str) -> Option<&'static FabricMetric> {
    CATALOGUE.get(name)
}

impl FabricMetric {
    /// The names of its labels.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.bucket.split("%{").skip(1).filter_map(|rest| rest.split_once('}')).map(|(label, _)| label)
    }

    /// What statsd calls it with these values of its labels. Characters that mean something to statsd are replaced.
    pub(crate) fn statsd_name<'a>(&self, label: impl Fn(&str) -> &'a str) -> String {
        let mut name = String::new();
        let mut rest = self.bucket;
        while let Some((text, after)) = rest.split_once("%{") {
            name.push_str(text);
            let (key, after) = after.split_once('}').unwrap_or((after, ""));
            let replaced = |c: char| if matches!(c, '.' | '|' | ':') || c.is_whitespace() { '_' } else { c };
            name.extend(label(key).chars().map(replaced));
            rest = after;
        }
        name + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        assert_eq!(CATALOGUE.len(), TABLE.lines().count() - 1);
        assert!(CATALOGUE.values().all(|metric| !metric.help.is_empty() && !metric.bucket.is_empty()));
        let time = find("ledger_statedb_commit_time").unwrap();
        assert_eq!(time.bounds.as_deref(), Some([0.005, 0.01, 0.015, 0.05, 0.1, 1.0, 10.0].as_slice()));
        assert_eq!(find("endorser_proposal_duration").unwrap().bounds, None);
    }

    #[test]
    fn statsd_names_hold_the_values_of_labels() {
        let metric = find("grpc_server_unary_requests_completed").unwrap();
        assert_eq!(metric.labels().collect::<Vec<_>>(), ["service", "method", "code"]);
        let value = |label: &str| match label {
            "service" => "protos.Endorser",
            "method" => "Process|Proposal",
            _ => "OK",
        };
        assert_eq!(
            metric.statsd_name(value),
            "grpc.server.unary_requests_completed.protos_Endorser.Process_Proposal.OK"
        );
        assert_eq!(find("deliver_streams_closed").unwrap().statsd_name(|_| ""), "deliver.streams_closed");
    }
}
