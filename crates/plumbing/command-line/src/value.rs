//! Values of flags as Go's libraries read them, and refuse them.

use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;
use std::time::Duration;

use ripstop_types::GoDuration;

/// A whole number, refused as Go's library refuses it.
pub fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error| not_parsed("ParseInt", text, &error))
}

/// A whole number that is not negative.
pub fn unsigned(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| not_parsed("ParseUint", text, &error))
}

fn not_parsed(function: &str, text: &str, error: &ParseIntError) -> String {
    let reason = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing \"{text}\": {reason}")
}

/// A boolean in any of Go's spellings.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("strconv.ParseBool: parsing \"{other}\": invalid syntax")),
    }
}

/// A path, which may be empty: scripts pass variables that are not set.
pub fn path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

/// A duration in Go's notation that is not negative.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = GoDuration::parse(text).map_err(|error| error.to_string())?;
    duration.to_std().ok_or_else(|| format!("duration \"{text}\" is negative"))
}
