//! What the command and the server do alike, with the words of each error that both use.

use ripstop_channel_config::update;
use ripstop_proto::{Message as _, common};
use ripstop_proto_json::{Document, Form};

/// The message type of that name.
pub(crate) fn form(name: &str) -> Result<Form, String> {
    Form::named(name).ok_or_else(|| format!("proto: not found: Fabric has no message type {name:?}"))
}

/// Reads a configuration.
pub(crate) fn config(raw: &[u8]) -> Result<common::Config, String> {
    ripstop_proto::read(raw).map_err(|error| {
        format!("proto: cannot parse invalid wire-format data: this is no common.Config ({error}); an envelope or a block holds one")
    })
}

/// The bytes of the update that leads from one configuration to another, as Go writes them.
pub(crate) fn update(original: &common::Config, updated: &common::Config, channel: &str) -> Result<Vec<u8>, String> {
    let mut update = update::compute(original, updated).map_err(|error| error.to_string())?;
    update.channel_id = channel.to_owned();
    let document =
        Document::parse(&Form::config_update(), &update.encode_to_vec()).map_err(|error| error.to_string())?;
    Ok(document.to_bytes())
}
