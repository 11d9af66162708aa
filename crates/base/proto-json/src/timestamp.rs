//! Points in time, which JSON has as text.

use std::ops::RangeInclusive;

use ripstop_proto::schema::Message;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::dynamic::{Dynamic, Value};

/// The message type of a point in time.
pub(crate) const NAME: &str = "google.protobuf.Timestamp";

/// From the beginning of the year 1 to the end of 9999, in seconds of Unix: the years that text can name.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// How many digits of a second text may have.
const MAX_DIGITS: usize = 9;

/// A time that RFC 3339 has no text for: it has the years 1 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTime {
    /// Outside of those years.
    #[error("google.protobuf.Timestamp: seconds out of range {0}")]
    Seconds(i64),
    /// No part of a second.
    #[error("google.protobuf.Timestamp: nanos out of range {0}")]
    Nanos(i64),
}

/// Writes a time with as many digits as it needs: none, three, six or nine.
pub(crate) fn text(message: &Dynamic) -> Result<String, NoTime> {
    let number = |name| match message.get(name) {
        Some(Value::Signed(number)) => *number,
        _ => 0,
    };
    let (seconds, nanos) = (number("seconds"), number("nanos"));
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|_| SECONDS.contains(&seconds));
    let time = time.ok_or(NoTime::Seconds(seconds))?;
    let part = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000).ok_or(NoTime::Nanos(nanos))?;
    let (date, clock) = (time.date(), time.time());
    let mut digits = format!("{part:09}");
    for _ in 0..3 {
        if let Some(shorter) = digits.strip_suffix("000") {
            digits = shorter.to_owned();
        }
    }
    let point = if digits.is_empty() { "" } else { "." };
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = clock.as_hms();
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}{digits}Z"))
}

/// Reads a time; `None` if the text is none. Go takes neither a space between day and hour nor a leap second.
pub(crate) fn read(schema: &'static Message, text: &str) -> Option<Dynamic> {
    if text.get(10..11) != Some("T") || text.get(17..19) == Some("60") {
        return None;
    }
    let digits = text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| digits <= MAX_DIGITS)?;
    let seconds = Some(time.unix_timestamp()).filter(|seconds| SECONDS.contains(seconds))?;
    let mut message = Dynamic::new(schema);
    message.set(schema.field(1)?, Value::Signed(seconds));
    message.set(schema.field(2)?, Value::Signed(i64::from(time.nanosecond())));
    Some(message)
}
