//! Whom to ask: what the channel's peers and policies make possible.

use std::collections::{BTreeMap, VecDeque};

use ripstop_channel_config::ChannelConfig;
use ripstop_discovery::{Group, Layout};
use ripstop_ledger::Ledger;
use ripstop_lifecycle::{collection, collection_endorsement_policy, validation_info};
use ripstop_proto::{common, protos};
use ripstop_types::MspId;
use tonic::Status;

use crate::endorser::Endorser;
use crate::layout;
use crate::plan::Plan;
use crate::proposal::{Audience, Proposal};
use crate::service::Gateway;

/// What to say when too few peers are known.
pub(crate) const UNAVAILABLE: &str = "failed to select a set of endorsers that satisfy the endorsement policy due to unavailability of peers: \
    the channel's configuration names no anchor peer for the other organisations whose endorsement is needed";

impl Gateway {
    /// Who may endorse first, in order: the gateway's own organisation, and then, in case none of its peers has the
    /// chaincode, the others, unless the proposal must stay at home.
    pub(crate) fn first_endorsers(&self, ledger: &Ledger, proposal: &Proposal) -> Result<VecDeque<Endorser>, Status> {
        let mut peers = self.peers.endorsers(&ledger.config());
        let mut candidates: VecDeque<_> = peers.remove(self.peers.local_org()).unwrap_or_default().into();
        if proposal.audience == Audience::Anyone {
            candidates.extend(peers.into_values().flatten());
        }
        Ok(candidates)
    }

    /// One peer of each named organisation.
    pub(crate) fn plan_for_orgs(&self, ledger: Option<&Ledger>, orgs: &[String]) -> Result<Plan, Status> {
        let mut peers = ledger.map(|ledger| self.peers.endorsers(&ledger.config())).unwrap_or_default();
        let missing: Vec<_> =
            orgs.iter().filter(|org| !peers.contains_key(&MspId::new(org))).map(String::as_str).collect();
        if !missing.is_empty() {
            let text = format!("failed to find any endorsing peers for org(s): {}", missing.join(", "));
            return Err(Status::unavailable(text));
        }
        peers.retain(|org, _| orgs.iter().any(|named| MspId::new(named) == *org));
        let groups: Vec<_> = (0..).map(Group).zip(peers.into_values()).collect();
        let layout = Layout { quantities_by_group: groups.iter().map(|(group, _)| (*group, 1)).collect() };
        Ok(Plan::new([layout], groups))
    }

    /// The combinations of peers that satisfy every policy of an interest; or, in words, that there are none.
    pub(crate) fn plan(&self, ledger: &Ledger, interest: &protos::ChaincodeInterest) -> Result<Plan, String> {
        let underivable =
            |why: String| format!("no combination of peers can be derived which satisfy the endorsement policy: {why}");
        let config = ledger.config();
        let layouts = layouts_of(ledger, &config, interest).map_err(underivable)?;
        if layouts.is_empty() {
            let names: Vec<_> = interest.chaincodes.iter().map(|call| call.name.as_str()).collect();
            return Err(underivable(format!(
                "the endorsement policy of chaincode(s) [{}] cannot be satisfied by peers of the channel's organisations",
                names.join(" ")
            )));
        }
        let peers = self.peers.endorsers(&config);
        let mut groups: BTreeMap<MspId, Group> = BTreeMap::new();
        let mut group_of = |org: MspId| {
            let next = Group(groups.len() as u32);
            *groups.entry(org).or_insert(next)
        };
        let layouts: Vec<_> = layouts
            .into_iter()
            .map(|layout| Layout {
                quantities_by_group: layout.0.into_iter().map(|(org, count)| (group_of(org), count as u32)).collect(),
            })
            .collect();
        let members = groups.into_iter().map(|(org, group)| (group, peers.get(&org).cloned().unwrap_or_default()));
        Ok(Plan::new(layouts, members))
    }
}

/// The layouts that satisfy all calls of an interest.
fn layouts_of(
    ledger: &Ledger,
    config: &ChannelConfig,
    interest: &protos::ChaincodeInterest,
) -> Result<Vec<layout::Layout>, String> {
    let empty = common::ConfigGroup::default();
    let channel = config.config().channel_group.as_ref().unwrap_or(&empty);
    let state = ledger.snapshot();
    let mut demands = Vec::new();
    let mut entitled: Option<Vec<MspId>> = None;
    for call in &interest.chaincodes {
        let undefined =
            || format!("no metadata was found for chaincode {} in channel {}", call.name, ledger.channel_id());
        if !call.disregard_namespace_policy && call.collection_names.is_empty() {
            let info = validation_info(state.as_ref(), config, &call.name).ok().flatten().ok_or_else(undefined)?;
            demands.push(layout::of_application_policy(&info.policy, channel));
        }
        for name in &call.collection_names {
            let unknown =
                || format!("collection {name} doesn't exist in collection config for chaincode {}", call.name);
            let policy = collection_endorsement_policy(state.as_ref(), config, &call.name, name).ok().flatten();
            demands.push(layout::of_application_policy(&policy.ok_or_else(unknown)?, channel));
            if !call.no_private_reads {
                let found = collection(state.as_ref(), config, &call.name, name).ok().flatten().ok_or_else(unknown)?;
                let members = member_orgs(&found);
                entitled = Some(match entitled {
                    Some(so_far) => so_far.into_iter().filter(|org| members.contains(org)).collect(),
                    None => members,
                });
            }
        }
        demands.extend(call.key_policies.iter().map(layout::of_signature_policy));
    }
    let mut layouts = layout::all_of(demands.iter().map(Vec::as_slice));
    if let Some(entitled) = entitled {
        layouts.retain(|layout| layout.0.keys().all(|org| entitled.contains(org)));
    }
    Ok(layouts)
}

/// The organisations that a collection's data is distributed to.
fn member_orgs(collection: &protos::StaticCollectionConfig) -> Vec<MspId> {
    use protos::collection_policy_config::Payload;
    let Some(Payload::SignaturePolicy(policy)) =
        collection.member_orgs_policy.as_ref().and_then(|policy| policy.payload.as_ref())
    else {
        return Vec::new();
    };
    layout::orgs_of(policy)
}
