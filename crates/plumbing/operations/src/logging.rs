use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use prometheus::IntCounterVec;
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::format::{Colors, Entry, Format};
use crate::{InvalidSpec, Level, LogSpec, Metrics};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The specification is wrong.
    #[error(transparent)]
    Spec(#[from] InvalidSpec),
    /// The format is wrong.
    #[error("{0}")]
    Format(String),
    /// Logging was started before.
    #[error("logging was started already")]
    Started,
}

/// Changes the logging specification while the process runs. Clones control the same logging.
#[derive(Debug, Clone)]
pub struct LogControl {
    spec: Arc<RwLock<LogSpec>>,
    counters: Arc<OnceLock<LineCounters>>,
}

/// Counts lines by level.
#[derive(Debug)]
struct LineCounters {
    checked: IntCounterVec,
    written: IntCounterVec,
}

impl LogControl {
    /// Control over nothing.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        let spec = LogSpec::parse("info").expect("a level is a specification");
        Self { spec: Arc::new(RwLock::new(spec)), counters: Arc::default() }
    }

    /// The specification in effect.
    pub fn spec(&self) -> LogSpec {
        self.spec.read().clone()
    }

    /// Counts lines from now on.
    pub fn count_lines(&self, metrics: &Metrics) {
        let counter = |name, help| metrics.counter(name, help, &["level"]);
        let counters = LineCounters {
            checked: counter(
                "logging_entries_checked",
                "Number of log entries checked against the active logging level",
            ),
            written: counter("logging_entries_written", "Number of log entries that are written"),
        };
        // Who comes second finds the lines counted already.
        self.counters.set(counters).ok();
    }

    /// Puts another specification into effect; a wrong one changes nothing.
    pub fn activate(&self, spec: &str) -> Result<(), InvalidSpec> {
        let spec = LogSpec::parse(spec)?;
        *self.spec.write() = spec;
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }
}

/// Starts logging to standard error for the whole process, with the values of `FABRIC_LOGGING_SPEC` and
/// `FABRIC_LOGGING_FORMAT`; none or empty means Fabric's defaults.
pub fn start_logging(spec: Option<&str>, format: Option<&str>) -> Result<LogControl, LoggingError> {
    let spec = LogSpec::parse(spec.unwrap_or_default())?;
    let format = Format::parse(format.unwrap_or_default()).map_err(|error| LoggingError::Format(error.to_string()))?;
    let control = LogControl { spec: Arc::new(RwLock::new(spec)), counters: Arc::default() };
    let colors = if std::io::stderr().is_terminal() { Colors::On } else { Colors::Off };
    let lines = Lines { control: control.clone(), format, colors, sequence: AtomicU64::new(1) };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
        .map_err(|_| LoggingError::Started)?;
    Ok(control)
}

/// Turns events into lines.
struct Lines {
    control: LogControl,
    format: Format,
    colors: Colors,
    sequence: AtomicU64,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = Level::of(metadata.level());
        if let Some(counters) = self.control.counters.get().filter(|_| metadata.is_event()) {
            counters.checked.with_label_values(&[level.name()]).inc();
        }
        // Libraries below us are silent but for warnings, unless they are asked for by name.
        let module = module(metadata.target());
        let spec = self.control.spec.read();
        if module == "grpc" && level < Level::Warn {
            spec.level(module) < Level::Info
        } else {
            level >= spec.level(module)
        }
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        // The specification may change: ask for each event anew.
        tracing::subscriber::Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.control.spec.read().lowest() {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            _ => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let span = context.event_span(event).map(|span| span.name());
        let place = metadata.module_path().and_then(|path| path.rsplit("::").next()).unwrap_or("main");
        let entry = Entry {
            time: OffsetDateTime::now_utc(),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            level: Level::of(metadata.level()),
            module: fields.logger.as_deref().unwrap_or_else(|| module(metadata.target())),
            function: fields.function.as_deref().or(span).unwrap_or(place),
            message: &fields.message,
            fields: &fields.others,
        };
        if let Some(counters) = self.control.counters.get() {
            counters.written.with_label_values(&[entry.level.name()]).inc();
        }
        let mut line = String::with_capacity(160);
        if self.format.write(&mut line, &entry, self.colors).is_ok() {
            // Nothing can be done about a standard error that is closed.
            std::io::stderr().lock().write_all(line.as_bytes()).ok();
        }
    }
}

/// The logger that Fabric would use. Events name it as their target; without one the crate decides. (A field `logger` takes
/// its place in the line, for names that are not known when the program is compiled.)
fn module(target: &str) -> &str {
    let krate = target.split("::").next().unwrap_or(target);
    match krate {
        "ripstop_deliver" => "deliveryClient",
        "ripstop_ledger" | "ripstop_state_db" | "ripstop_private_store" => "kvledger",
        "ripstop_block_store" => "blkstorage",
        "ripstop_committer" | "ripstop_validation" => "committer",
        "ripstop_ordering_service" => "orderer.common.server",
        "ripstop_peer" => "nodeCmd",
        "ripstop_orderer" => "orderer.common.server",
        "ripstop_channel_config" => "common.channelconfig",
        "h2" | "hyper" | "hyper_util" | "tonic" | "tower" | "rustls" | "axum" | "mio" | "tokio" => "grpc",
        other => other.strip_prefix("ripstop_").unwrap_or(other),
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    function: Option<String>,
    logger: Option<String>,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "function" => self.function = Some(format!("{value:?}")),
            "logger" => self.logger = Some(format!("{value:?}")),
            name => self.others.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            "function" => self.function = Some(value.to_owned()),
            "logger" => self.logger = Some(value.to_owned()),
            name => self.others.push((name, value.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_a_target_get_a_logger_by_their_crate() {
        assert_eq!(module("ripstop_endorser::simulate"), "endorser");
        assert_eq!(module("ripstop_ordering_service::broadcast"), "orderer.common.server");
        assert_eq!(module("orderer.consensus.etcdraft"), "orderer.consensus.etcdraft");
        assert_eq!(module("h2::proto"), "grpc");
    }
}
