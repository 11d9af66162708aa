use std::fmt::{self, Write};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::Level;

/// Fabric's default (fabric-lib-go, `flogging.defaultFormat`).
const DEFAULT: &str = "%{color}%{time:2006-01-02 15:04:05.000 MST} %{id:04x} %{level:.4s}%{color:reset} [%{module}] %{color:bold}%{shortfunc}%{color:reset} -> %{message}";

/// A `FABRIC_LOGGING_FORMAT` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("logging format '{format}' is invalid: {reason}")]
pub(crate) struct InvalidFormat {
    format: String,
    reason: String,
}

/// One log line before it is printed.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) time: OffsetDateTime,
    /// Counts the lines of this process.
    pub(crate) sequence: u64,
    pub(crate) level: Level,
    pub(crate) module: &'a str,
    pub(crate) function: &'a str,
    pub(crate) message: &'a str,
    /// Structured fields, already as text.
    pub(crate) fields: &'a [(&'static str, String)],
}

/// How log lines look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// As the pattern says.
    Pattern(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Color,
    ColorBold,
    ColorReset,
    Time,
    Id { width: usize, hex: bool },
    Level { length: Option<usize> },
    Module,
    Function,
    Message,
}

impl Format {
    /// Reads a format: `json`, `logfmt`, or text with verbs such as `%{message}`; empty is Fabric's default.
    pub(crate) fn parse(format: &str) -> Result<Self, InvalidFormat> {
        let format = match format {
            "json" => return Ok(Self::Json),
            "logfmt" => return Ok(Self::Logfmt),
            "" => DEFAULT,
            other => other,
        };
        let invalid = |reason: String| InvalidFormat { format: format.to_owned(), reason };
        let mut pieces = Vec::new();
        let mut rest = format;
        while let Some((text, after)) = rest.split_once("%{") {
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            let (verb, after) = after.split_once('}').ok_or_else(|| invalid("a verb is not closed".to_owned()))?;
            pieces.push(piece(verb).ok_or_else(|| invalid(format!("unknown verb: {verb}")))?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self::Pattern(pieces))
    }

    /// Appends one line, with its end.
    pub(crate) fn write(&self, out: &mut String, entry: &Entry<'_>, colors: Colors) -> fmt::Result {
        match self {
            Self::Json => write_json(out, entry),
            Self::Logfmt => write_logfmt(out, entry),
            Self::Pattern(pieces) => write_pattern(out, pieces, entry, colors),
        }
    }
}

/// Whether escape sequences for colours are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    On,
    Off,
}

fn piece(verb: &str) -> Option<Piece> {
    let (name, argument) = verb.split_once(':').unwrap_or((verb, ""));
    Some(match (name, argument) {
        ("color", "") => Piece::Color,
        ("color", "bold") => Piece::ColorBold,
        ("color", "reset") => Piece::ColorReset,
        ("time", _) => Piece::Time,
        ("id", argument) => {
            let (digits, hex) = match argument.strip_suffix('x') {
                Some(digits) => (digits, true),
                None => (argument.strip_suffix('d').unwrap_or(argument), false),
            };
            Piece::Id { width: digits.parse().unwrap_or(0), hex }
        }
        ("level", argument) => {
            Piece::Level { length: argument.strip_prefix('.').and_then(|a| a.strip_suffix('s')?.parse().ok()) }
        }
        ("module", _) => Piece::Module,
        ("shortfunc" | "longfunc", _) => Piece::Function,
        ("message", _) => Piece::Message,
        _ => return None,
    })
}

fn write_pattern(out: &mut String, pieces: &[Piece], entry: &Entry<'_>, colors: Colors) -> fmt::Result {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Color if colors == Colors::On => write!(out, "\x1b[{}m", color(entry.level))?,
            Piece::ColorBold if colors == Colors::On => write!(out, "\x1b[{};1m", color(entry.level))?,
            Piece::ColorReset if colors == Colors::On => out.push_str("\x1b[0m"),
            Piece::Color | Piece::ColorBold | Piece::ColorReset => {}
            Piece::Time => write_time(out, entry.time)?,
            Piece::Id { width, hex: true } => write!(out, "{:0width$x}", entry.sequence)?,
            Piece::Id { width, hex: false } => write!(out, "{:0width$}", entry.sequence)?,
            Piece::Level { length } => {
                let letters = entry.level.to_string().to_ascii_uppercase();
                match length {
                    Some(4) => out.push_str(entry.level.letters()),
                    Some(length) => out.extend(letters.chars().take(*length)),
                    None => out.push_str(&letters),
                }
            }
            Piece::Module => out.push_str(entry.module),
            Piece::Function => out.push_str(entry.function),
            Piece::Message => one_line(out, entry.message),
        }
    }
    for (key, value) in entry.fields {
        write!(out, " {key}=")?;
        write_value(out, value)?;
    }
    out.push('\n');
    Ok(())
}

/// The colours of fabric-lib-go's `fabenc`: magenta, blue, yellow, red.
const fn color(level: Level) -> u8 {
    match level {
        Level::Debug => 36,
        Level::Info => 34,
        Level::Warn => 33,
        Level::Error => 31,
        Level::Dpanic | Level::Panic | Level::Fatal => 35,
    }
}

fn write_time(out: &mut String, time: OffsetDateTime) -> fmt::Result {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3] UTC");
    out.push_str(&time.format(format).map_err(|_| fmt::Error)?);
    Ok(())
}

/// A hostile message must not look like several lines.
fn one_line(out: &mut String, message: &str) {
    for c in message.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x1b' => out.push_str("\\x1b"),
            c => out.push(c),
        }
    }
}

fn write_value(out: &mut String, value: &str) -> fmt::Result {
    if value.is_empty() || value.contains([' ', '=', '"', '\n', '\r']) {
        write!(out, "{}", serde_json::Value::from(value))
    } else {
        out.push_str(value);
        Ok(())
    }
}

fn write_json(out: &mut String, entry: &Entry<'_>) -> fmt::Result {
    let mut object = serde_json::Map::new();
    object.insert("level".to_owned(), entry.level.to_string().into());
    object.insert("ts".to_owned(), (entry.time.unix_timestamp_nanos() as f64 / 1e9).into());
    object.insert("name".to_owned(), entry.module.into());
    object.insert("caller".to_owned(), entry.function.into());
    object.insert("msg".to_owned(), entry.message.into());
    for (key, value) in entry.fields {
        object.insert((*key).to_owned(), value.as_str().into());
    }
    writeln!(out, "{}", serde_json::Value::Object(object))
}

fn write_logfmt(out: &mut String, entry: &Entry<'_>) -> fmt::Result {
    write!(out, "ts={:.6} ", entry.time.unix_timestamp_nanos() as f64 / 1e9)?;
    write!(out, "level={} name={} caller={} msg=", entry.level, entry.module, entry.function)?;
    write_value(out, entry.message)?;
    for (key, value) in entry.fields {
        write!(out, " {key}=")?;
        write_value(out, value)?;
    }
    out.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &str, colors: Colors) -> String {
        let fields = [("channel", "testchannel".to_owned()), ("why", "two words".to_owned())];
        let entry = Entry {
            time: OffsetDateTime::from_unix_timestamp_nanos(1_795_167_122_252_000_000).unwrap(),
            sequence: 0x5f,
            level: Level::Info,
            module: "orderer.consensus.etcdraft",
            function: "run",
            message: "Raft leader changed: 0 -> 1\nforged",
            fields: &fields,
        };
        let mut out = String::new();
        Format::parse(format).unwrap().write(&mut out, &entry, colors).unwrap();
        out
    }

    #[test]
    fn the_default_line_is_fabrics() {
        assert_eq!(
            line("", Colors::Off),
            "2026-11-20 09:32:02.252 UTC 005f INFO [orderer.consensus.etcdraft] run -> Raft leader changed: 0 -> 1\\nforged channel=testchannel why=\"two words\"\n"
        );
        assert!(line("", Colors::On).starts_with("\x1b[34m2026-11-20 09:32:02.252 UTC 005f INFO\x1b[0m ["));
    }

    #[test]
    fn other_formats_hold_the_same() {
        assert_eq!(line("%{level} %{message}", Colors::Off).split(' ').next(), Some("INFO"));
        let json: serde_json::Value = serde_json::from_str(&line("json", Colors::Off)).unwrap();
        assert_eq!(json["msg"], "Raft leader changed: 0 -> 1\nforged");
        assert_eq!(json["channel"], "testchannel");
        assert!(
            line("logfmt", Colors::Off).contains("level=info name=orderer.consensus.etcdraft caller=run msg=\"Raft")
        );
        assert!(Format::parse("%{nonsense}").is_err());
        assert!(Format::parse("%{message").is_err());
    }
}
