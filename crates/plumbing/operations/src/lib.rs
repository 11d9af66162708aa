//! Logging, metrics, health and version, under the names Fabric gives them.
//!
//! What question this crate answers: *how do operators see what a node does?* Existing dashboards, log shippers and
//! scripts must keep working, so lines, level names, logging specifications, metric names and HTTP paths are Fabric's.
//!
//! Call [`start_logging`] first thing in a program; serve an [`Operations`] endpoint when the configuration names an
//! address; count what happens in a [`Metrics`] registry, wrap gRPC routes with [`Metrics::observe`], and push what was
//! counted with a [`StatsdPusher`] where the configuration asks for it. Which metrics Fabric has is a table,
//! `fabric_metrics.tsv`.
//!
//! Invariants: log lines go to standard error, one a line, whatever the message holds; a wrong logging specification
//! changes nothing.
//!
//! Absent: profiles taken by the process itself; [`Profiling`] says how to take them from outside.

mod catalogue;
mod certificates;
mod format;
mod grpc;
mod http;
mod logging;
mod metrics;
mod process;
mod profile;
mod spec;
mod statsd;

pub use catalogue::{FabricMetric, MetricKind, Standing, fabric_metrics};
pub use certificates::Certificates;
pub use http::{Health, Operations, Version};
pub use logging::{LogControl, LoggingError, start_logging};
pub use metrics::{Histogram, HistogramVec, Metrics};
pub use profile::Profiling;
pub use spec::{InvalidSpec, Level, LogSpec};
pub use statsd::{StatsdPusher, StatsdTarget};
