use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::catalogue::{self, MetricKind};
use crate::statsd::Samples;

/// The upper bounds of histograms, in seconds (Prometheus' defaults, which Fabric uses).
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of a node. Clones are the same registry. Names, labels and help are Fabric's, so that dashboards keep
/// working; debug builds refuse a metric that differs from the one Fabric has under the name.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Mutex<BTreeMap<String, Family>>>,
    /// Where single observations go, beside the histograms.
    pub(crate) samples: Samples,
}

/// All metrics of one name.
#[derive(Debug, Clone)]
enum Family {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
    Histogram(HistogramVec),
}

impl Metrics {
    /// A registry without metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of this name, such as `deliver_blocks_sent`.
    pub fn counter(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let make = || {
            IntCounterVec::new(Opts::new(name, help), labels).expect("the name and labels are constants of the code")
        };
        self.family(
            name,
            (MetricKind::Counter, help, labels),
            || Family::Counter(make()),
            |family| match family {
                Family::Counter(counter) => Some(counter.clone()),
                _ => None,
            },
        )
        .unwrap_or_else(make)
    }

    /// The gauge of this name.
    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let make =
            || IntGaugeVec::new(Opts::new(name, help), labels).expect("the name and labels are constants of the code");
        self.family(
            name,
            (MetricKind::Gauge, help, labels),
            || Family::Gauge(make()),
            |family| match family {
                Family::Gauge(gauge) => Some(gauge.clone()),
                _ => None,
            },
        )
        .unwrap_or_else(make)
    }

    /// The histogram of this name, of seconds.
    pub fn histogram(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let make = || HistogramVec::new(name, help, labels, self.samples.clone());
        self.family(
            name,
            (MetricKind::Histogram, help, labels),
            || Family::Histogram(make()),
            |family| match family {
                Family::Histogram(histogram) => Some(histogram.clone()),
                _ => None,
            },
        )
        .unwrap_or_else(make)
    }

    /// The family of this name; the first who asks makes it. `None` when it was made as another kind.
    fn family<T>(
        &self,
        name: &str,
        (kind, help, labels): (MetricKind, &str, &[&str]),
        make: impl FnOnce() -> Family,
        take: impl Fn(&Family) -> Option<T>,
    ) -> Option<T> {
        if cfg!(debug_assertions)
            && let Some(fabric) = catalogue::find(name)
        {
            let (mut ours, mut theirs) = (labels.to_vec(), fabric.labels().collect::<Vec<_>>());
            ours.sort_unstable();
            theirs.sort_unstable();
            assert_eq!((kind, help, ours), (fabric.kind, fabric.help, theirs), "metric {name} as Fabric has it");
        }
        let mut families = self.families.lock();
        if let Some(known) = families.get(name) {
            return take(known);
        }
        let family = make();
        match &family {
            Family::Counter(counter) => self.register(counter.clone()),
            Family::Gauge(gauge) => self.register(gauge.clone()),
            Family::Histogram(histogram) => self.register(histogram.family.clone()),
        }
        families.insert(name.to_owned(), family.clone());
        take(&family)
    }

    /// Adds metrics whose values are looked up when they are asked for.
    pub(crate) fn register(&self, collector: impl Collector + 'static) {
        // It fails for a name that is registered already, which `family` sees to.
        self.registry.register(Box::new(collector)).ok();
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.gather()).unwrap_or_default()
    }

    pub(crate) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
}

/// Histograms of one name.
#[derive(Debug, Clone)]
pub struct HistogramVec {
    family: prometheus::HistogramVec,
    name: Arc<str>,
    labels: Arc<[String]>,
    samples: Samples,
}

impl HistogramVec {
    fn new(name: &str, help: &str, labels: &[&str], samples: Samples) -> Self {
        let bounds = catalogue::find(name).and_then(|metric| metric.bounds.clone());
        let options = HistogramOpts::new(name, help).buckets(bounds.unwrap_or_else(|| SECONDS.to_vec()));
        let family =
            prometheus::HistogramVec::new(options, labels).expect("the name and labels are constants of the code");
        Self { family, name: name.into(), labels: labels.iter().map(|&label| label.to_owned()).collect(), samples }
    }

    /// The histogram with these values of its labels.
    pub fn with_label_values<V: AsRef<str> + Debug>(&self, values: &[V]) -> Histogram {
        let bucket = || {
            let value = |label: &str| {
                let place = self.labels.iter().position(|name| name == label);
                place.and_then(|place| values.get(place)).map_or("unknown", AsRef::as_ref)
            };
            catalogue::find(&self.name).map(|metric| metric.statsd_name(value))
        };
        let sample = self.samples.are_wanted().then(bucket).flatten().map(|bucket| (bucket, self.samples.clone()));
        Histogram { histogram: self.family.with_label_values(values), sample }
    }
}

/// A histogram.
#[derive(Debug)]
pub struct Histogram {
    histogram: prometheus::Histogram,
    /// Where each observation goes too, and under which name.
    sample: Option<(String, Samples)>,
}

impl Histogram {
    /// Takes an observation, in seconds.
    pub fn observe(&self, seconds: f64) {
        self.histogram.observe(seconds);
        if let Some((bucket, samples)) = &self.sample {
            samples.add(bucket, seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_gets_the_same_metric() {
        let metrics = Metrics::new();
        let ask = || metrics.counter("endorser_proposals_received", "The number of proposals received.", &[]);
        let none: [&str; 0] = [];
        ask().with_label_values(&none).inc();
        ask().with_label_values(&none).inc();
        assert!(metrics.text().contains("endorser_proposals_received 2"), "{}", metrics.text());
    }

    #[test]
    fn histograms_have_the_bounds_that_fabric_gives_them() {
        let metrics = Metrics::new();
        let help = "Time taken in seconds for committing block changes to state db.";
        metrics.histogram("ledger_statedb_commit_time", help, &["channel"]).with_label_values(&["ch"]).observe(0.02);
        let text = metrics.text();
        assert!(text.contains("ledger_statedb_commit_time_bucket{channel=\"ch\",le=\"0.015\"} 0"), "{text}");
        assert!(text.contains("ledger_statedb_commit_time_bucket{channel=\"ch\",le=\"0.05\"} 1"), "{text}");
    }

    #[test]
    #[should_panic(expected = "as Fabric has it")]
    #[cfg(debug_assertions)]
    fn a_metric_that_differs_from_fabrics_is_noticed() {
        Metrics::new().gauge("ledger_blockchain_height", "Height.", &["channel"]);
    }
}
