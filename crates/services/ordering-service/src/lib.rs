//! Orders messages into blocks: broadcast, channels, consensus drive loop, participation.
mod wal;
