use std::collections::BTreeMap;

use ripstop_proto::discovery::query::Query as Question;
use ripstop_proto::discovery::query_result::Result as Answer;
use ripstop_proto::discovery::{
    ChaincodeQuery, ChaincodeQueryResult, ConfigResult, Error, Peer, PeerMembershipResult, Peers, Query, QueryResult,
};
use ripstop_proto::protos::ChaincodeInterest;
use ripstop_types::ChannelId;

use crate::config::config_result;
use crate::peers::{Audience, live_peers, public};
use crate::{Discovery, PlanError, endorsement, text};

/// How many interests one query may hold.
const MAX_INTERESTS: usize = 64;

impl Discovery {
    /// Answers a query, whoever asks it: access is the caller's business. What cannot be answered is said in the answer.
    pub fn answer(&self, query: &Query) -> QueryResult {
        let channel = ChannelId::new(&query.channel).ok();
        let answer = match (channel, &query.query) {
            (None, Some(Question::LocalPeers(_))) if query.channel.is_empty() => {
                Ok(Answer::Members(self.live_members()))
            }
            (Some(channel), Some(Question::ConfigQuery(_))) => self.configuration(&channel).map(Answer::ConfigResult),
            (Some(channel), Some(Question::PeerQuery(asked))) => {
                let anything = ChaincodeInterest::default();
                let members = self.channel_members(&channel, asked.filter.as_ref().unwrap_or(&anything));
                members.map(Answer::Members).map_err(|error| error.to_string())
            }
            (Some(channel), Some(Question::CcQuery(asked))) => {
                self.descriptors(&channel, asked).map(Answer::CcQueryRes)
            }
            _ => Err("unknown or missing request type".to_owned()),
        };
        answer.map_or_else(error, |answer| QueryResult { result: Some(answer) })
    }

    fn configuration(&self, channel: &ChannelId) -> Result<ConfigResult, String> {
        let told = self.ledger(channel).map(|ledger| config_result(ledger.config().config()));
        let failed = |why: String| {
            tracing::error!(target: "discovery", "Failed fetching config for channel {channel}: {why}");
            format!("failed fetching config for channel {channel}: {why}")
        };
        told.ok_or_else(|| failed("this peer has not joined it".to_owned()))?.map_err(|error| failed(error.to_string()))
    }

    fn descriptors(&self, channel: &ChannelId, query: &ChaincodeQuery) -> Result<ChaincodeQueryResult, String> {
        let interests = &query.interests;
        if interests.is_empty() {
            return Err("chaincode query must have at least one chaincode interest".to_owned());
        }
        if interests.len() > MAX_INTERESTS {
            return Err(format!("chaincode query has {} interests, and may have {MAX_INTERESTS}", interests.len()));
        }
        for interest in interests {
            if interest.chaincodes.is_empty() {
                return Err(PlanError::NoChaincode.to_string());
            }
            if interest.chaincodes.iter().any(|call| call.name.is_empty()) {
                return Err("chaincode name in interest cannot be empty".to_owned());
            }
        }
        let planned = interests.iter().map(|interest| {
            let planned = self.plan(channel, interest, Audience::Applications);
            planned.map(Into::into).map_err(|error| {
                let interest = text::interest(interest);
                tracing::error!(target: "discovery", "Failed constructing descriptor for chaincode {interest}: {error}");
                format!("failed constructing descriptor for {interest}: {error}")
            })
        });
        Ok(ChaincodeQueryResult { content: planned.collect::<Result<_, _>>()? })
    }

    /// The peers of a channel that can serve an interest; all of them where it is empty.
    fn channel_members(
        &self,
        channel: &ChannelId,
        interest: &ChaincodeInterest,
    ) -> Result<PeerMembershipResult, PlanError> {
        let at = self.channel(channel)?;
        let requirements = at.requirements(interest)?;
        let peers = self.channel_peers(channel, Audience::Applications);
        let members = endorsement::entitled(&requirements, &peers, at.config.msps());
        let told = members.into_iter().filter(|member| member.runs_all).map(|member| {
            let candidate = &member.peer.candidate;
            (candidate.organization.as_str().to_owned(), candidate.as_ref().into())
        });
        Ok(by_organization(told))
    }

    /// The peers that are alive, whatever channels they are in.
    fn live_members(&self) -> PeerMembershipResult {
        by_organization(live_peers(&self.view()).map(|peer| {
            let (membership_info, identity) = (Some(public(&peer.alive)), peer.identity.clone());
            (peer.organization.as_str().to_owned(), Peer { state_info: None, membership_info, identity })
        }))
    }
}

/// An answer that says why there is none.
pub(crate) fn error(content: String) -> QueryResult {
    QueryResult { result: Some(Answer::Error(Error { content })) }
}

fn by_organization(peers: impl IntoIterator<Item = (String, Peer)>) -> PeerMembershipResult {
    let mut peers_by_org: BTreeMap<String, Peers> = BTreeMap::new();
    for (organization, peer) in peers {
        peers_by_org.entry(organization).or_default().peers.push(peer);
    }
    PeerMembershipResult { peers_by_org }
}
