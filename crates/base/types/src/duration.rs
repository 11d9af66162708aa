use std::fmt;
use std::time::Duration;

/// A duration in the notation that channel configurations and configuration files use, that of Go's `time` package:
/// `7s`, `1m0s`, `1.5h`, `250ms`. Kept in nanoseconds; may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

/// A text that is no [`GoDuration`]; worded as Go words it, because operators know these texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not a number with a unit, or out of range.
    #[error("time: invalid duration \"{0}\"")]
    Form(String),
    /// A number without a unit.
    #[error("time: missing unit in duration \"{0}\"")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit \"{unit}\" in duration \"{text}\"")]
    UnknownUnit {
        /// What stands where a unit should.
        unit: String,
        /// The whole text.
        text: String,
    },
}

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

impl GoDuration {
    /// Takes a number of nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The number of nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The duration of the standard library; `None` when negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    /// Parses Go's notation: an optional sign and numbers with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`), or `0`.
    pub fn parse(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration::Form(text.to_owned());
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if unsigned == "0" {
            return Ok(Self(0));
        }
        if unsigned.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(invalid());
            }
            if unit.is_empty() {
                return Err(InvalidDuration::NoUnit(text.to_owned()));
            }
            let scale = unit_nanos(unit)
                .ok_or_else(|| InvalidDuration::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
            let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
            total += i128::from(whole) * i128::from(scale) + fraction_nanos(fraction, scale);
            // The largest magnitude is that of the most negative number.
            if total > i128::from(i64::MAX) + 1 {
                return Err(invalid());
            }
            rest = next;
        }
        i64::try_from(if negative { -total } else { total }).map(Self).map_err(|_| invalid())
    }
}

fn unit_nanos(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// The nanoseconds of the digits behind a point. Digits finer than a nanosecond of an hour are dropped.
fn fraction_nanos(digits: &str, scale: i64) -> i128 {
    let mut value: i128 = 0;
    let mut divisor: i128 = 1;
    for digit in digits.bytes().take(18) {
        value = value * 10 + i128::from(digit - b'0');
        divisor *= 10;
    }
    value * i128::from(scale) / divisor
}

impl From<Duration> for GoDuration {
    /// Saturates at about 292 years.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    /// As Go prints it: `1m0s`, `1.5s`, `250ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let magnitude = self.0.unsigned_abs();
        let second = SECOND.unsigned_abs();
        if magnitude == 0 {
            return f.write_str("0s");
        }
        if magnitude < second {
            let (unit, scale) = if magnitude < MICROSECOND.unsigned_abs() {
                ("ns", 1)
            } else if magnitude < MILLISECOND.unsigned_abs() {
                ("µs", MICROSECOND.unsigned_abs())
            } else {
                ("ms", MILLISECOND.unsigned_abs())
            };
            return write_decimal(f, magnitude, scale, unit);
        }
        let minutes = magnitude / MINUTE.unsigned_abs();
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        write_decimal(f, magnitude % MINUTE.unsigned_abs(), second, "s")
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, value: u64, scale: u64, unit: &str) -> fmt::Result {
    write!(f, "{}", value / scale)?;
    if !value.is_multiple_of(scale) {
        let width = scale.ilog10() as usize;
        let digits = format!("{:0width$}", value % scale);
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, nanos, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("7s", 7 * SECOND, "7s"),
            ("1m0s", MINUTE, "1m0s"),
            ("60s", MINUTE, "1m0s"),
            ("1.5s", 1_500 * MILLISECOND, "1.5s"),
            (".5h", 30 * MINUTE, "30m0s"),
            ("250ms", 250 * MILLISECOND, "250ms"),
            ("1h1m1.001s", HOUR + MINUTE + 1_001 * MILLISECOND, "1h1m1.001s"),
            ("100h", 100 * HOUR, "100h0m0s"),
            ("-2us", -2 * MICROSECOND, "-2µs"),
            ("1500ns", 1_500, "1.5µs"),
            ("3ns", 3, "3ns"),
            ("9223372036854775807ns", i64::MAX, "2562047h47m16.854775807s"),
        ] {
            let duration = GoDuration::parse(text).unwrap();
            assert_eq!(duration.nanos(), nanos, "{text}");
            assert_eq!(duration.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn every_duration_reads_back_as_it_was_written() {
        let mut nanos: i64 = 1;
        while let Some(next) = nanos.checked_mul(7) {
            for value in [nanos, -nanos, nanos - 1, next / 2] {
                let duration = GoDuration::from_nanos(value);
                assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
            }
            nanos = next;
        }
        for value in [i64::MAX, i64::MIN, 0] {
            let duration = GoDuration::from_nanos(value);
            assert_eq!(GoDuration::parse(&duration.to_string()), Ok(duration));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_in_gos_words() {
        for (text, message) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            (".s", "time: invalid duration \".s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("soon", "time: invalid duration \"soon\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("3000000000h", "time: invalid duration \"3000000000h\""),
        ] {
            assert_eq!(GoDuration::parse(text).unwrap_err().to_string(), message);
        }
    }
}
