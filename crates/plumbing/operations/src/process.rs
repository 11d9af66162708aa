//! What the process itself is like: under the names that Prometheus' client for Go gives to processes and to its runtime,
//! as far as there is something true to say.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType, Summary};

use ripstop_transport::ConnectionCounts;

use crate::Metrics;

impl Metrics {
    /// Adds what the process uses: `process_*`, and of `go_*` the tasks, the threads, and that no memory is collected.
    pub fn observe_process(&self) {
        self.register(ProcessCollector::for_self());
        let received = "Number of bytes received by the process over the network.";
        self.look_up(MetricType::COUNTER, "process_network_receive_bytes_total", received, || octets("InOctets"));
        let sent = "Number of bytes sent by the process over the network.";
        self.look_up(MetricType::COUNTER, "process_network_transmit_bytes_total", sent, || octets("OutOctets"));
        let memory = "Maximum amount of virtual memory available in bytes.";
        self.look_up(MetricType::GAUGE, "process_virtual_memory_max_bytes", memory, || {
            let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
            Some(limit.unwrap_or(u64::MAX) as f64)
        });
        self.look_up(MetricType::GAUGE, "go_goroutines", "Number of goroutines that currently exist.", || {
            Some(tokio::runtime::Handle::try_current().ok()?.metrics().num_alive_tasks() as f64)
        });
        self.look_up(MetricType::GAUGE, "go_threads", "Number of OS threads created.", || {
            Some(std::fs::read_dir("/proc/self/task").ok()?.count() as f64)
        });
        let pauses = "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.";
        self.look_up(MetricType::SUMMARY, "go_gc_duration_seconds", pauses, || Some(0.0));
    }

    /// Counts the connections of gRPC servers.
    pub fn observe_connections(&self, counts: &ConnectionCounts) {
        let (opened, closed) = (counts.clone(), counts.clone());
        let help = "gRPC connections opened. Open minus closed is the active number of connections.";
        self.look_up(MetricType::COUNTER, "grpc_comm_conn_opened", help, move || Some(opened.opened() as f64));
        let help = "gRPC connections closed. Open minus closed is the active number of connections.";
        self.look_up(MetricType::COUNTER, "grpc_comm_conn_closed", help, move || Some(closed.closed() as f64));
    }

    /// Says which release of Fabric the node stands for.
    pub fn set_fabric_version(&self, version: &str) {
        self.gauge("fabric_version", "The active version of Fabric.", &["version"])
            .with_label_values(&[version])
            .set(1);
    }

    /// Adds a metric without labels whose value is looked up whenever metrics are asked for; it is left out where there is
    /// none.
    pub(crate) fn look_up(
        &self,
        kind: MetricType,
        name: &'static str,
        help: &'static str,
        value: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default());
        let desc = desc.expect("the name is a constant of the code");
        self.register(LookedUp { desc, kind, value: Box::new(value) });
    }
}

/// A metric without labels whose value is looked up.
struct LookedUp {
    desc: Desc,
    kind: MetricType,
    value: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl Collector for LookedUp {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(value) = (self.value)() else { return Vec::new() };
        let mut metric = Metric::default();
        match self.kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            // Nothing was observed yet.
            MetricType::SUMMARY => metric.set_summary(Summary::default()),
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

/// The bytes that came in or went out, as the kernel counts them for this network.
fn octets(field: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|name| name == field)?;
    values.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_tells_what_it_uses() {
        let metrics = Metrics::new();
        metrics.observe_process();
        let text = metrics.text();
        for line in [
            "# TYPE process_cpu_seconds_total counter",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_open_fds gauge",
            "# TYPE process_network_receive_bytes_total counter",
            "# TYPE process_virtual_memory_max_bytes gauge",
            "# TYPE go_gc_duration_seconds summary\ngo_gc_duration_seconds_sum 0\ngo_gc_duration_seconds_count 0\n",
            "# TYPE go_goroutines gauge",
            "# TYPE go_threads gauge",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
