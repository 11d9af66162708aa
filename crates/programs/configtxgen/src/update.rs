//! Unsigned updates of channels: those that name anchor peers, and those that once asked a system channel for a new one.

use bytes::Bytes;
use ripstop_channel_config::{key, update};
use ripstop_proto::{Message, common};
use ripstop_types::{ChannelId, HeaderType, Timestamp};

use crate::encode::{ADMINS, add_value};
use crate::error::Within;
use crate::{Profile, ProfileError};

impl Profile {
    /// The transaction that asks a system channel for a channel with this profile. Where the profile of the system channel
    /// is known, more than the peers' side may differ from it.
    pub fn channel_creation(
        &self,
        channel_id: &ChannelId,
        system_channel: Option<&Self>,
        timestamp: Timestamp,
    ) -> Result<common::Envelope, ProfileError> {
        let template = match system_channel {
            None => self.default_template().within("could not generate default config template")?,
            Some(system) => {
                let group = system.channel_group().within("could not parse system channel config")?;
                self.template_of(group).within("could not create config template")?
            }
        };
        let update = self.creation_update(channel_id, template).within("config update generation failure")?;
        Ok(unsigned(channel_id, &update, timestamp))
    }

    /// The transaction with which an organization of the profile names its anchor peers, in a channel whose first block was
    /// made of the profile without them and that never changed. (Fabric 2 counted on a channel that a system channel had
    /// made, and thereby changed once; there are none any more.)
    pub fn anchor_peers_update(
        &self,
        channel_id: &ChannelId,
        organization: &str,
        timestamp: Timestamp,
    ) -> Result<common::Envelope, ProfileError> {
        if organization.is_empty() {
            return refuse("must specify an organization to update the anchor peer for");
        }
        if self.application.is_none() {
            return refuse("cannot update anchor peers without an application section");
        }
        let updated = self.channel_group().within("error parsing profile as channel group")?;
        let mut original = updated.clone();
        let application = original.groups.get_mut(key::APPLICATION);
        let Some(group) = application.and_then(|application| application.groups.get_mut(organization)) else {
            return refuse(format!("org with name '{organization}' does not exist in config"));
        };
        if group.values.remove(key::ANCHOR_PEERS).is_none() {
            return refuse(format!("org '{organization}' does not have any anchor peers defined"));
        }
        let mut update = compute(original, updated)?;
        update.channel_id = channel_id.as_str().to_owned();
        Ok(unsigned(channel_id, &update, timestamp))
    }

    /// What a channel is taken to be before anybody configured its peers' side.
    fn default_template(&self) -> Result<common::ConfigGroup, ProfileError> {
        let mut group = self.channel_group().within("error parsing configuration")?;
        let Some(application) = group.groups.get_mut(key::APPLICATION) else {
            return refuse("channel template configs must contain an application section");
        };
        application.values.clear();
        application.policies.clear();
        Ok(group)
    }

    /// What a channel is in a system channel with this tree before anybody configured its peers' side.
    fn template_of(&self, mut system: common::ConfigGroup) -> Result<common::ConfigGroup, ProfileError> {
        let Some(consortiums) = system.groups.remove(key::CONSORTIUMS) else {
            return refuse(
                "supplied system channel group does not appear to be system channel (missing consortiums group)",
            );
        };
        let Some(consortium) = consortiums.groups.get(&self.consortium) else {
            return refuse(format!("supplied system channel group is missing '{}' consortium", self.consortium));
        };
        let Some(application) = &self.application else {
            return refuse("supplied channel creation profile does not contain an application section");
        };
        let mut template = common::ConfigGroup::default();
        template.policies.insert(ADMINS.into(), common::ConfigPolicy::default());
        for organization in &application.organizations {
            let Some(member) = consortium.groups.get(&organization.name) else {
                let (consortium, name) = (&self.consortium, &organization.name);
                return refuse(format!("consortium {consortium} does not contain member org {name}"));
            };
            template.groups.insert(organization.name.clone(), member.clone());
        }
        system.groups.insert(key::APPLICATION.into(), template);
        add_value(&mut system, key::CONSORTIUM, &common::Consortium { name: self.consortium.clone() }, ADMINS);
        Ok(system)
    }

    fn creation_update(
        &self,
        channel_id: &ChannelId,
        template: common::ConfigGroup,
    ) -> Result<common::ConfigUpdate, ProfileError> {
        if self.application.is_none() {
            return refuse("cannot define a new channel with no Application section");
        }
        if self.consortium.is_empty() {
            return refuse("cannot define a new channel with no Consortium value");
        }
        let group = self.channel_group().within("could not turn parse profile into channel group")?;
        let mut update = compute(template, group)?;
        update.channel_id = channel_id.as_str().to_owned();
        // The system channel learns from this value of both sets which consortium is meant.
        let name = common::Consortium { name: self.consortium.clone() }.encode_to_vec().into();
        let read = common::ConfigValue::default();
        let written = common::ConfigValue { value: name, ..Default::default() };
        update.read_set.get_or_insert_default().values.insert(key::CONSORTIUM.into(), read);
        update.write_set.get_or_insert_default().values.insert(key::CONSORTIUM.into(), written);
        Ok(update)
    }
}

fn refuse<T>(problem: impl Into<String>) -> Result<T, ProfileError> {
    Err(ProfileError::Refused(problem.into()))
}

fn compute(original: common::ConfigGroup, updated: common::ConfigGroup) -> Result<common::ConfigUpdate, ProfileError> {
    let config = |group| common::Config { sequence: 0, channel_group: Some(group) };
    update::compute(&config(original), &config(updated)).map_err(ProfileError::Update)
}

/// An update in its envelope, for others to sign.
fn unsigned(channel_id: &ChannelId, update: &common::ConfigUpdate, timestamp: Timestamp) -> common::Envelope {
    let channel_header = common::ChannelHeader {
        r#type: HeaderType::ConfigUpdate.number(),
        timestamp: Some(prost_types::Timestamp { seconds: timestamp.seconds, nanos: timestamp.nanos }),
        channel_id: channel_id.as_str().to_owned(),
        ..Default::default()
    };
    let content = common::ConfigUpdateEnvelope { config_update: update.encode_to_vec().into(), signatures: Vec::new() };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: Bytes::new(),
        }),
        data: content.encode_to_vec().into(),
    };
    common::Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() }
}
