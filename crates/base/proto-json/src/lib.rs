//! Fabric's messages as JSON, for people and for `jq`.
//!
//! What question this crate answers: *what does a message say, and what is the message that says this?* Many fields of
//! Fabric's messages are bytes that hold another message. Here they are written as that message, all the way down; so an
//! operator can read a block, change a configuration in an editor, and make a message of it again. [`Document`] is a message
//! between the two forms.
//!
//! No message is mapped by hand: [`ripstop_proto::schema`] tells the fields. Ours is only the table of what their bytes hold
//! (`content`), which for values of a configuration depends on where in the tree they stand (`place`).
//!
//! Invariants: the JSON is that of Fabric's `configtxlator`, byte for byte: names as in the `.proto` files and in the order of
//! the alphabet, fields shown when they are empty, numbers of 64 bits as text, other bytes in base64. Messages come out of JSON
//! with the bytes that Go writes, entries of maps in the order of their keys. What [`Document::to_json`] writes,
//! [`Document::from_json`] reads. Hostile input of either form is refused: no depth, size or content of it panics.
//!
//! Absent: fields that a message type does not know; they are dropped, as by Fabric's tool.

mod binary;
mod content;
mod document;
mod dynamic;
mod place;
mod populate;
#[cfg(test)]
mod tests;
mod timestamp;
mod tree;

pub use binary::MalformedMessage;
pub use content::UnknownContent;
pub use document::{Document, Form};
pub use populate::FromJsonError;
pub use tree::ToJsonError;
