use std::collections::BTreeMap;
use std::fmt;

/// How important a log line is. Fabric has more names than tracing has levels; see [`Level::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `debug`. Also switches on what tracing calls `trace`.
    Debug,
    /// `info`.
    Info,
    /// `warn`.
    Warn,
    /// `error`.
    Error,
    /// `dpanic`: above everything a node prints in normal operation.
    Dpanic,
    /// `panic`.
    Panic,
    /// `fatal`.
    Fatal,
}

impl Level {
    /// Reads a level as specifications name it, in any case; `notice` is info, `warning` warn, `critical` error
    /// (Fabric: `flogging.NameToLevel`).
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "debug" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "critical" => Self::Error,
            "dpanic" => Self::Dpanic,
            "panic" => Self::Panic,
            "fatal" => Self::Fatal,
            _ => return None,
        })
    }

    /// The level of a tracing event.
    pub(crate) fn of(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            _ => Self::Debug,
        }
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Dpanic => "dpanic",
            Self::Panic => "panic",
            Self::Fatal => "fatal",
        }
    }

    /// The four letters of a log line.
    pub(crate) const fn letters(self) -> &'static str {
        match self {
            Self::Debug => "DEBU",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERRO",
            Self::Dpanic => "DPAN",
            Self::Panic => "PANI",
            Self::Fatal => "FATA",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A logging specification that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// A segment names no level.
    #[error("invalid logging specification '{spec}': bad segment '{segment}'")]
    Segment {
        /// The whole specification.
        spec: String,
        /// The segment.
        segment: String,
    },
    /// A segment has a level but no logger.
    #[error("invalid logging specification '{spec}': no logger specified in segment '{segment}'")]
    NoLogger {
        /// The whole specification.
        spec: String,
        /// The segment.
        segment: String,
    },
    /// A logger's name has characters that no logger has.
    #[error("invalid logging specification '{spec}': bad logger name '{name}'")]
    LoggerName {
        /// The whole specification.
        spec: String,
        /// The name.
        name: String,
    },
}

/// Which loggers print from which level on: `[<logger>[,<logger>...]=]<level>[:...]` (`FABRIC_LOGGING_SPEC`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    default: Level,
    loggers: BTreeMap<String, Level>,
}

impl LogSpec {
    /// Reads a specification. The empty one is `info`; of several defaults the last counts.
    pub fn parse(spec: &str) -> Result<Self, InvalidSpec> {
        let mut parsed = Self { default: Level::Info, loggers: BTreeMap::new() };
        for segment in spec.split(':') {
            let bad_segment = || InvalidSpec::Segment { spec: spec.to_owned(), segment: segment.to_owned() };
            match segment.split('=').collect::<Vec<_>>().as_slice() {
                [""] => parsed.default = Level::Info,
                [level] => parsed.default = Level::parse(level).ok_or_else(bad_segment)?,
                ["", _] => {
                    return Err(InvalidSpec::NoLogger { spec: spec.to_owned(), segment: segment.to_owned() });
                }
                [loggers, level] => {
                    let level = Level::parse(level).ok_or_else(bad_segment)?;
                    for logger in loggers.split(',') {
                        if !is_logger_name(logger.strip_suffix('.').unwrap_or(logger)) {
                            return Err(InvalidSpec::LoggerName { spec: spec.to_owned(), name: logger.to_owned() });
                        }
                        parsed.loggers.insert(logger.to_owned(), level);
                    }
                }
                _ => return Err(bad_segment()),
            }
        }
        Ok(parsed)
    }

    /// The level from which on a logger prints: its own, that of its longest dotted prefix, or the default. A name in the
    /// specification that ends with a dot means exactly that logger.
    pub fn level(&self, logger: &str) -> Level {
        if self.loggers.is_empty() {
            return self.default;
        }
        let exact = format!("{logger}.");
        let mut candidate = exact.as_str();
        loop {
            if let Some(level) = self.loggers.get(candidate) {
                return *level;
            }
            match candidate.rfind('.') {
                Some(end) if end > 0 => candidate = &candidate[..end],
                _ => return self.default,
            }
        }
    }

    /// The lowest level that any logger prints.
    pub(crate) fn lowest(&self) -> Level {
        self.loggers.values().copied().fold(self.default, Level::min)
    }
}

impl fmt::Display for LogSpec {
    /// The specification in the order Fabric prints it: loggers by name, then the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (logger, level) in &self.loggers {
            write!(f, "{logger}={level}:")?;
        }
        self.default.fmt(f)
    }
}

fn is_logger_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | ':' | '-');
    name.split('.').all(|part| !part.is_empty() && part.chars().all(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_read_as_fabric_reads_them() {
        let good = [
            ("", "info"),
            ("debug", "debug"),
            ("WARNING", "warn"),
            ("gossip=debug:info", "gossip=debug:info"),
            ("info:gossip,msp=warning", "gossip=warn:msp=warn:info"),
            ("a.b.=error", "a.b.=error:info"),
            ("debug:warn", "warn"),
        ];
        for (spec, expected) in good {
            assert_eq!(LogSpec::parse(spec).unwrap().to_string(), expected, "{spec}");
        }
        let bad = [
            ("foo", "invalid logging specification 'foo': bad segment 'foo'"),
            ("=debug", "invalid logging specification '=debug': no logger specified in segment '=debug'"),
            ("a=b=c", "invalid logging specification 'a=b=c': bad segment 'a=b=c'"),
            ("a=loud", "invalid logging specification 'a=loud': bad segment 'a=loud'"),
            (".a=debug", "invalid logging specification '.a=debug': bad logger name '.a'"),
        ];
        for (spec, expected) in bad {
            assert_eq!(LogSpec::parse(spec).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_longest_dotted_prefix_decides() {
        let spec = LogSpec::parse("gossip=warn:gossip.privdata=debug:core.=error:info").unwrap();
        let levels = [
            ("gossip", Level::Warn),
            ("gossip.comm", Level::Warn),
            ("gossip.privdata.x", Level::Debug),
            ("gossipx", Level::Info),
            ("core", Level::Error),
            ("core.chaincode", Level::Info),
        ];
        for (logger, level) in levels {
            assert_eq!(spec.level(logger), level, "{logger}");
        }
    }
}
