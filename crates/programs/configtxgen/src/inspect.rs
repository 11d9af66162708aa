//! Blocks, transactions and organizations as JSON.

use ripstop_command_line::os_text;
use ripstop_proto::Message as _;
use ripstop_proto_json::{Document, Form, MalformedMessage, ToJsonError};

use crate::{ConfigTx, ProfileError};

/// Why there is no JSON.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file that is named cannot be read.
    #[error("could not read {what} {path}: {cause}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Its name.
        path: String,
        /// What the operating system says.
        cause: String,
    },
    /// A file does not hold what it should.
    #[error("error unmarshalling to {what}: {cause}")]
    Message {
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        cause: MalformedMessage,
    },
    /// Something inside of a message is not what it should be.
    #[error("malformed {what} contents: {cause}")]
    Contents {
        /// What the message is.
        what: &'static str,
        /// What is wrong.
        cause: ToJsonError,
    },
    /// The file has no such organization.
    #[error("organization {name} not found: {file} has {}", .known.join(", "))]
    NoOrganization {
        /// The name.
        name: String,
        /// The file.
        file: String,
        /// The organizations that it has.
        known: Vec<String>,
    },
    /// The organization is not described as it should be.
    #[error("bad org definition for org {name}: {cause}")]
    Organization {
        /// Its name.
        name: String,
        /// What is wrong.
        cause: ProfileError,
    },
}

/// The block in a file.
pub(crate) fn block(path: &str) -> Result<String, InspectError> {
    file(path, ["block", "block"], &Form::block())
}

/// The transaction in a file.
pub(crate) fn transaction(path: &str) -> Result<String, InspectError> {
    file(path, ["channel create tx", "transaction"], &Form::envelope())
}

/// The message in a file. Fabric calls a file and what is in it by different names.
fn file(path: &str, [file, what]: [&'static str; 2], form: &Form) -> Result<String, InspectError> {
    let raw = std::fs::read(path).map_err(|error| InspectError::File {
        what: file,
        path: path.to_owned(),
        cause: os_text(&error),
    })?;
    json(what, form, &raw)
}

fn json(what: &'static str, form: &Form, raw: &[u8]) -> Result<String, InspectError> {
    let document = Document::parse(form, raw).map_err(|cause| InspectError::Message { what, cause })?;
    document.to_json().map_err(|cause| InspectError::Contents { what, cause })
}

impl ConfigTx {
    /// The group of an organization as JSON, as it stands in a channel's configuration: among the orderers if it has
    /// endpoints of orderers, else among the applications.
    pub fn organization_json(&self, name: &str) -> Result<String, InspectError> {
        let Some(organization) = self.organizations.iter().find(|organization| organization.name == name) else {
            return Err(InspectError::NoOrganization {
                name: name.to_owned(),
                file: self.file.display().to_string(),
                known: self.organizations.iter().map(|organization| organization.name.clone()).collect(),
            });
        };
        let (form, group) = if organization.orderer_endpoints.is_empty() {
            (Form::application_organization(), organization.application_group())
        } else {
            let channel = self.capabilities.get("Channel").cloned().unwrap_or_default();
            (Form::orderer_organization(), organization.orderer_group(&channel))
        };
        let group = group.map_err(|cause| InspectError::Organization { name: name.to_owned(), cause })?;
        json("organization", &form, &group.encode_to_vec())
    }
}
