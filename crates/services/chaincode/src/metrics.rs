//! What is counted, under Fabric's names (`core/chaincode/metrics.go`, `core/container/dockercontroller/metrics.go`).

use std::time::Duration;

use prometheus::IntCounterVec;
use ripstop_operations::{HistogramVec, Metrics};

use crate::error::LaunchError;

/// The counters of a host.
pub(crate) struct HostMetrics {
    launch_duration: HistogramVec,
    launch_failures: IntCounterVec,
    launch_timeouts: IntCounterVec,
    requests_received: IntCounterVec,
    requests_completed: IntCounterVec,
    request_duration: HistogramVec,
    execute_timeouts: IntCounterVec,
    build_duration: HistogramVec,
}

impl HostMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let ended = ["type", "channel", "chaincode", "success"];
        Self {
            launch_duration: metrics.histogram(
                "chaincode_launch_duration",
                "The time to launch a chaincode.",
                &["chaincode", "success"],
            ),
            launch_failures: metrics.counter(
                "chaincode_launch_failures",
                "The number of chaincode launches that have failed.",
                &["chaincode"],
            ),
            launch_timeouts: metrics.counter(
                "chaincode_launch_timeouts",
                "The number of chaincode launches that have timed out.",
                &["chaincode"],
            ),
            requests_received: metrics.counter(
                "chaincode_shim_requests_received",
                "The number of chaincode shim requests received.",
                &["type", "channel", "chaincode"],
            ),
            requests_completed: metrics.counter(
                "chaincode_shim_requests_completed",
                "The number of chaincode shim requests completed.",
                &ended,
            ),
            request_duration: metrics.histogram(
                "chaincode_shim_request_duration",
                "The time to complete chaincode shim requests.",
                &ended,
            ),
            execute_timeouts: metrics.counter(
                "chaincode_execute_timeouts",
                "The number of chaincode executions (Init or Invoke) that have timed out.",
                &["chaincode"],
            ),
            build_duration: metrics.histogram(
                "dockercontroller_chaincode_container_build_duration",
                "The time to build a chaincode image in seconds.",
                &["chaincode", "success"],
            ),
        }
    }

    pub(crate) fn launched(&self, id: &str, took: Duration, launched: &Result<(), LaunchError>) {
        match launched {
            Ok(()) => {}
            Err(LaunchError::Timeout(_)) => self.launch_timeouts.with_label_values(&[id]).inc(),
            Err(_) => self.launch_failures.with_label_values(&[id]).inc(),
        }
        self.launch_duration.with_label_values(&[id, word(launched.is_ok())]).observe(took.as_secs_f64());
    }

    pub(crate) fn built<E>(&self, id: &str, took: Duration, built: &Result<(), E>) {
        self.build_duration.with_label_values(&[id, word(built.is_ok())]).observe(took.as_secs_f64());
    }

    pub(crate) fn execution_timed_out(&self, id: &str) {
        self.execute_timeouts.with_label_values(&[id]).inc();
    }

    pub(crate) fn request_received(&self, kind: &str, channel: &str, id: &str) {
        self.requests_received.with_label_values(&[kind, channel, id]).inc();
    }

    pub(crate) fn request_completed<E>(
        &self,
        kind: &str,
        channel: &str,
        id: &str,
        took: Duration,
        outcome: &Result<bytes::Bytes, E>,
    ) {
        let labels = [kind, channel, id, word(outcome.is_ok())];
        self.requests_completed.with_label_values(&labels).inc();
        self.request_duration.with_label_values(&labels).observe(took.as_secs_f64());
    }
}

const fn word(success: bool) -> &'static str {
    if success { "true" } else { "false" }
}
