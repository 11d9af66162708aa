//! Logging, metrics, health and version, under the names Fabric gives them.
//!
//! What question this crate answers: *how do operators see what a node does?* Existing dashboards, log shippers and
//! scripts must keep working, so lines, level names, logging specifications, metric names and HTTP paths are Fabric's.
//!
//! Call [`start_logging`] first thing in a program; serve an [`Operations`] endpoint when the configuration names an
//! address; count what happens in a [`Metrics`] registry and wrap gRPC routes with [`Metrics::observe`].
//!
//! Invariants: log lines go to standard error, one a line, whatever the message holds; a wrong logging specification
//! changes nothing.
//!
//! Absent: statsd, profiling.

mod certificates;
mod format;
mod http;
mod logging;
mod metrics;
mod spec;

pub use certificates::Certificates;
pub use http::{Health, Operations, Version};
pub use logging::{LogControl, LoggingError, start_logging};
pub use metrics::Metrics;
pub use spec::{InvalidSpec, Level, LogSpec};
