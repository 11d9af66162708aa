//! Whom to ask: what the channel's peers and policies make possible.

use std::collections::{BTreeMap, VecDeque};

use rand::seq::SliceRandom;
use ripstop_channel_config::ChannelConfig;
use ripstop_discovery::{Group, Layout, PlanError};
use ripstop_ledger::Ledger;
use ripstop_lifecycle::{Committed, definition};
use ripstop_proto::protos;
use ripstop_types::MspId;
use tonic::Status;

use crate::endorser::{Endorser, best_first};
use crate::plan::Plan;
use crate::proposal::{Audience, Proposal};
use crate::roster::{Roster, SYSTEM_CHAINCODES};
use crate::service::Gateway;

/// The interest in a chaincode of which nothing else is known.
pub(crate) fn interest_in(chaincode: &str) -> protos::ChaincodeInterest {
    protos::ChaincodeInterest {
        chaincodes: vec![protos::ChaincodeCall { name: chaincode.to_owned(), ..Default::default() }],
    }
}

impl Gateway {
    /// Who may endorse first, in order: peers of the gateway's own organization that run the chaincode, and, where it has none,
    /// those that satisfy the chaincode's policy, unless the proposal must stay at home.
    pub(crate) fn first_endorsers(&self, ledger: &Ledger, proposal: &Proposal) -> Result<VecDeque<Endorser>, Status> {
        let mut known = self.endorsers(ledger, &proposal.chaincode);
        if let Some(own) = known.remove(self.peers.local_org()) {
            return Ok(own.into());
        }
        if proposal.audience == Audience::Trusted {
            let text = "no endorsers found in the gateway's organization; retry specifying endorsing organization(s) to protect transient data";
            return Err(Status::failed_precondition(text));
        }
        let interest = interest_in(&proposal.chaincode);
        let plan = self.plan(ledger, &interest, proposal).map_err(Status::failed_precondition)?;
        Ok(plan.into_endorsers().into())
    }

    /// One peer of each named organization.
    pub(crate) fn plan_for_orgs(
        &self,
        ledger: Option<&Ledger>,
        proposal: &Proposal,
        orgs: &[String],
    ) -> Result<Plan, Status> {
        let mut known = ledger.map(|ledger| self.endorsers(ledger, &proposal.chaincode)).unwrap_or_default();
        let orgs: Vec<_> = orgs.iter().map(|org| MspId::new(org)).collect();
        let missing: Vec<_> = orgs.iter().filter(|org| !known.contains_key(org)).collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|org| org.as_str()).collect();
            let text = format!("failed to find any endorsing peers for org(s): {}", names.join(", "));
            return Err(Status::unavailable(self.explained(text, ledger, proposal, missing)));
        }
        known.retain(|org, _| orgs.contains(org));
        let groups: Vec<_> = (0..).map(Group).zip(known.into_values()).collect();
        let layout = Layout { quantities_by_group: groups.iter().map(|(group, _)| (*group, 1)).collect() };
        Ok(Plan::new([layout], groups))
    }

    /// Who may evaluate, in order: peers of the gateway's own organization before others, and those with the highest ledger
    /// first (Fabric: `registry.evaluator`). Without targets every organization is one.
    pub(crate) fn evaluators(&self, ledger: &Ledger, chaincode: &str, targets: &[MspId]) -> VecDeque<Endorser> {
        let mut known = self.endorsers(ledger, chaincode);
        if !targets.is_empty() {
            known.retain(|org, _| targets.contains(org));
        }
        let own = known.remove(self.peers.local_org()).unwrap_or_default();
        let mut others: Vec<_> = known.into_values().flatten().collect();
        best_first(&mut others);
        own.into_iter().chain(others).collect()
    }

    /// Puts behind Fabric's words which of these organizations lacks what, if the client may know.
    pub(crate) fn explained<'a>(
        &self,
        text: String,
        ledger: Option<&Ledger>,
        proposal: &Proposal,
        orgs: impl IntoIterator<Item = &'a MspId>,
    ) -> String {
        let Some(ledger) = ledger.filter(|ledger| self.may_know_peers(proposal, &ledger.config())) else {
            return text;
        };
        let (Proposal { channel, chaincode, .. }, roster) = (proposal, self.roster(ledger));
        if roster.having(chaincode).is_empty() && !is_defined(ledger, chaincode) {
            return format!("{text}: no chaincode {chaincode} is defined in channel {channel}");
        }
        match roster.lacking(orgs, &[chaincode]) {
            Some(lacking) => format!("{text}: {lacking}"),
            None => text,
        }
    }

    /// All that can run a chaincode, by organization, best first.
    fn endorsers(&self, ledger: &Ledger, chaincode: &str) -> BTreeMap<MspId, Vec<Endorser>> {
        self.roster(ledger).having(chaincode)
    }

    /// The combinations of peers that satisfy every policy of an interest.
    ///
    /// # Errors
    /// There are none, in Fabric's words; behind them stands what is lacking, if the client may know.
    pub(crate) fn plan(
        &self,
        ledger: &Ledger,
        interest: &protos::ChaincodeInterest,
        proposal: &Proposal,
    ) -> Result<Plan, String> {
        let roster = self.roster(ledger);
        let planned = self.discovery.endorsement_plan(ledger.channel_id(), interest);
        let mut descriptor = planned.map_err(|error| {
            let (config, Proposal { channel, tx_id, .. }) = (ledger.config(), proposal);
            let explained = explanation(&error, &roster, &config, interest);
            tracing::error!(target: "gateway", channel, txID = tx_id, error = explained, "PeersForEndorsement failed.");
            let why = if self.may_know_peers(proposal, &config) { explained } else { headline(&error) };
            format!("no combination of peers can be derived which satisfy the endorsement policy: {why}")
        })?;
        // Clients that need not ask all organizations should not all ask the same ones.
        descriptor.layouts.shuffle(&mut rand::rng());
        descriptor.layouts.sort_by_key(|layout| layout.quantities_by_group.values().sum::<u32>());
        Ok(roster.plan(descriptor))
    }
}

/// Whether a channel has such a chaincode. What cannot be read is taken for one: others will say what is wrong with it.
fn is_defined(ledger: &Ledger, chaincode: &str) -> bool {
    let (state, system) = (ledger.snapshot(), SYSTEM_CHAINCODES.contains(&chaincode));
    system || !matches!(definition(&mut Committed(&*state), chaincode), Ok(None))
}

/// Why there is no plan, for members of the channel.
fn explanation(
    error: &PlanError,
    roster: &Roster,
    config: &ChannelConfig,
    interest: &protos::ChaincodeInterest,
) -> String {
    if !matches!(error, PlanError::NoCombination(_) | PlanError::NotInstalled(_)) {
        return error.to_string();
    }
    let orgs = config.application().into_iter().flat_map(|application| application.organizations.values());
    let chaincodes: Vec<_> = interest.chaincodes.iter().map(|call| call.name.as_str()).collect();
    match roster.lacking(orgs.map(|org| &org.msp_id), &chaincodes) {
        Some(lacking) => format!("{error}; {lacking}"),
        None => error.to_string(),
    }
}

/// The same for everybody, who asks being unknown: no more than Fabric says.
fn headline(error: &PlanError) -> String {
    match error {
        PlanError::NoCombination(_) => "no peer combination can satisfy the endorsement policy".to_owned(),
        PlanError::NotInstalled(_) => "required chaincodes are not installed on sufficient peers".to_owned(),
        PlanError::NoMetadata { chaincode, channel, .. } => {
            format!("No metadata was found for chaincode {chaincode} in channel {channel}")
        }
        _ => "endorsement policy cannot be satisfied".to_owned(),
    }
}
