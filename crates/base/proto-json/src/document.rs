use ripstop_proto::schema::{self, Message};

use crate::binary::{self, MalformedMessage};
use crate::dynamic::Dynamic;
use crate::place::{Group, Place};
use crate::populate::{self, FromJsonError};
use crate::timestamp;
use crate::tree::{self, ToJsonError};

/// What a document is: a type of message, and where in Fabric's messages it stands.
#[derive(Debug, Clone)]
pub struct Form {
    pub(crate) schema: &'static Message,
    pub(crate) place: Place,
}

impl Form {
    /// The message type of that name, such as `common.Block`. `None` if Fabric has no such message, or one that is text in
    /// JSON.
    pub fn named(name: &str) -> Option<Self> {
        let schema = schema::message(name).filter(|message| message.name != timestamp::NAME)?;
        Some(Self { schema, place: Place::Anywhere })
    }

    /// A block.
    pub fn block() -> Self {
        Self::known("common.Block", Place::Anywhere)
    }

    /// A transaction, or whatever else was signed.
    pub fn envelope() -> Self {
        Self::known("common.Envelope", Place::Anywhere)
    }

    /// An update of a configuration.
    pub fn config_update() -> Self {
        Self::known("common.ConfigUpdate", Place::Anywhere)
    }

    /// A group of the configuration that is an organization of the applications.
    pub fn application_organization() -> Self {
        Self::known("common.ConfigGroup", Place::Group(Group::ApplicationOrganization))
    }

    /// A group of the configuration that is an organization of the orderers.
    pub fn orderer_organization() -> Self {
        Self::known("common.ConfigGroup", Place::Group(Group::OrdererOrganization))
    }

    fn known(name: &str, place: Place) -> Self {
        Self { schema: schema::message(name).expect("our own .proto files have this message"), place }
    }

    /// The name of the message type.
    pub fn name(&self) -> &'static str {
        self.schema.name
    }
}

/// A message that can be written in either form.
#[derive(Debug, Clone)]
pub struct Document {
    message: Dynamic,
    place: Place,
}

impl Document {
    /// Reads the bytes of a message. What the bytes inside of it hold is looked at by [`Self::to_json`].
    pub fn parse(form: &Form, raw: &[u8]) -> Result<Self, MalformedMessage> {
        Ok(Self { message: binary::parse(form.schema, raw, 0)?, place: form.place.clone() })
    }

    /// Reads the first JSON object in a text.
    pub fn from_json(form: &Form, json: &[u8]) -> Result<Self, FromJsonError> {
        Ok(Self { message: populate::document(json, form)?, place: form.place.clone() })
    }

    /// The message as indented JSON, which ends with the line.
    pub fn to_json(&self) -> Result<String, ToJsonError> {
        Ok(tree::text(&tree::object(&self.message, &self.place, 0)?))
    }

    /// The bytes of the message.
    pub fn to_bytes(&self) -> Vec<u8> {
        binary::to_bytes(&self.message)
    }
}
