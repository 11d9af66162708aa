use std::collections::BTreeMap;

use prost::Message;
use ripstop_proto::common::signature_policy::Type as Rule;
use ripstop_proto::common::{self, implicit_meta_policy, policy::PolicyType};
use ripstop_proto::{msp as wire, protos};
use ripstop_types::MspId;

/// How many ways to satisfy a policy are looked at; of the rest nobody will notice the lack.
const MAX_LAYOUTS: usize = 512;
/// How deep policies may refer to policies.
const MAX_DEPTH: usize = 16;

/// One way to satisfy a policy: how many endorsements each organisation gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Layout(pub(crate) BTreeMap<MspId, usize>);

impl Layout {
    fn one(org: MspId) -> Self {
        Self(BTreeMap::from([(org, 1)]))
    }

    /// Both demands by different signers: a signature policy counts each identity once.
    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.0.clone();
        for (org, count) in &other.0 {
            *sum.entry(org.clone()).or_default() += count;
        }
        Self(sum)
    }

    /// Both demands by the same signers, where different policies judge the same set.
    fn and(&self, other: &Self) -> Self {
        let mut both = self.0.clone();
        for (org, count) in &other.0 {
            let entry = both.entry(org.clone()).or_default();
            *entry = (*entry).max(*count);
        }
        Self(both)
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }

    fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(org, count)| self.0.get(org).is_some_and(|own| own >= count))
    }
}

/// Drops ways that contain another one, and puts those with few endorsements first.
fn minimal(mut layouts: Vec<Layout>) -> Vec<Layout> {
    layouts.sort_by_key(|layout| (layout.total(), layout.clone()));
    layouts.dedup();
    let mut kept: Vec<Layout> = Vec::new();
    for layout in layouts {
        if !kept.iter().any(|smaller| layout.contains(smaller)) {
            kept.push(layout);
        }
    }
    kept.truncate(MAX_LAYOUTS);
    kept
}

fn product(left: &[Layout], right: &[Layout], join: impl Fn(&Layout, &Layout) -> Layout) -> Vec<Layout> {
    let mut joined: Vec<Layout> = Vec::new();
    'all: for a in left {
        for b in right {
            if joined.len() >= MAX_LAYOUTS {
                break 'all;
            }
            joined.push(join(a, b));
        }
    }
    minimal(joined)
}

/// All ways to satisfy several policies at once. Without any policy there is one way: no endorsement.
pub(crate) fn all_of<'a>(policies: impl IntoIterator<Item = &'a [Layout]>) -> Vec<Layout> {
    policies.into_iter().fold(vec![Layout::default()], |so_far, next| product(&so_far, next, Layout::and))
}

/// The ways to satisfy `needed` of these, joining with `join`.
fn choose(needed: usize, options: &[Vec<Layout>], join: fn(&Layout, &Layout) -> Layout) -> Vec<Layout> {
    // ways[k]: how k of the options looked at so far can be satisfied.
    let mut ways: Vec<Vec<Layout>> = vec![Vec::new(); needed.saturating_add(1).min(options.len() + 1)];
    if needed > options.len() {
        return Vec::new();
    }
    if let Some(none) = ways.first_mut() {
        none.push(Layout::default());
    }
    for option in options {
        for k in (1..ways.len()).rev() {
            let fewer = ways.get(k - 1).cloned().unwrap_or_default();
            let more = product(&fewer, option, join);
            if let Some(way) = ways.get_mut(k) {
                way.extend(more);
                *way = minimal(std::mem::take(way));
            }
        }
    }
    ways.pop().unwrap_or_default()
}

/// The ways in which peers can satisfy a signature policy.
pub(crate) fn of_signature_policy(policy: &common::SignaturePolicyEnvelope) -> Vec<Layout> {
    let orgs: Vec<Option<MspId>> = policy.identities.iter().map(peer_org).collect();
    policy.rule.as_ref().map(|rule| of_rule(rule, &orgs, 0)).unwrap_or_default()
}

fn of_rule(rule: &common::SignaturePolicy, orgs: &[Option<MspId>], depth: usize) -> Vec<Layout> {
    if depth > MAX_DEPTH {
        return Vec::new();
    }
    match &rule.r#type {
        Some(Rule::SignedBy(index)) => {
            let org = usize::try_from(*index).ok().and_then(|index| orgs.get(index)).cloned().flatten();
            org.map(Layout::one).into_iter().collect()
        }
        Some(Rule::NOutOf(out_of)) => {
            let options: Vec<_> = out_of.rules.iter().map(|rule| of_rule(rule, orgs, depth + 1)).collect();
            choose(usize::try_from(out_of.n).unwrap_or(0), &options, Layout::plus)
        }
        None => Vec::new(),
    }
}

/// The organisation whose peers satisfy a principal; none where peers cannot satisfy it.
fn peer_org(principal: &common::MspPrincipal) -> Option<MspId> {
    use common::msp_principal::Classification;
    let bytes = principal.principal.clone();
    let id = match principal.principal_classification() {
        Classification::Role => {
            let role = common::MspRole::decode(bytes).ok()?;
            if !matches!(role.role(), common::msp_role::MspRoleType::Member | common::msp_role::MspRoleType::Peer) {
                return None;
            }
            role.msp_identifier
        }
        Classification::OrganizationUnit => common::OrganizationUnit::decode(bytes).ok()?.msp_identifier,
        Classification::Identity => wire::SerializedIdentity::decode(bytes).ok()?.mspid,
        Classification::Anonymity | Classification::Combined => return None,
    };
    Some(MspId::new(&id))
}

/// The organisations that a signature policy names.
pub(crate) fn orgs_of(policy: &common::SignaturePolicyEnvelope) -> Vec<MspId> {
    policy.identities.iter().filter_map(peer_org).collect()
}

/// The ways in which peers can satisfy a chaincode's endorsement policy, a `protos.ApplicationPolicy`.
pub(crate) fn of_application_policy(policy: &[u8], channel: &common::ConfigGroup) -> Vec<Layout> {
    use protos::application_policy::Type;
    match protos::ApplicationPolicy::decode(policy).ok().and_then(|policy| policy.r#type) {
        Some(Type::SignaturePolicy(policy)) => of_signature_policy(&policy),
        Some(Type::ChannelConfigPolicyReference(path)) => of_path(&path, channel),
        None => Vec::new(),
    }
}

/// The ways in which peers can satisfy a policy of the channel's configuration, such as `/Channel/Application/Endorsement`.
pub(crate) fn of_path(path: &str, channel: &common::ConfigGroup) -> Vec<Layout> {
    let relative = match path.strip_prefix('/') {
        Some(absolute) => absolute.strip_prefix("Channel/"),
        None => Some(path),
    };
    let Some(relative) = relative else { return Vec::new() };
    let (groups, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    let mut group = channel;
    for part in groups.split('/').filter(|part| !part.is_empty()) {
        match group.groups.get(part) {
            Some(child) => group = child,
            None => return Vec::new(),
        }
    }
    of_group_policy(group, name, 0)
}

fn of_group_policy(group: &common::ConfigGroup, name: &str, depth: usize) -> Vec<Layout> {
    if depth > MAX_DEPTH {
        return Vec::new();
    }
    let Some(policy) = group.policies.get(name).and_then(|policy| policy.policy.as_ref()) else { return Vec::new() };
    match PolicyType::try_from(policy.r#type) {
        Ok(PolicyType::Signature) => common::SignaturePolicyEnvelope::decode(policy.value.clone())
            .map(|policy| of_signature_policy(&policy))
            .unwrap_or_default(),
        Ok(PolicyType::ImplicitMeta) => {
            let Ok(meta) = common::ImplicitMetaPolicy::decode(policy.value.clone()) else { return Vec::new() };
            let children: Vec<_> =
                group.groups.values().map(|child| of_group_policy(child, &meta.sub_policy, depth + 1)).collect();
            let needed = match meta.rule() {
                implicit_meta_policy::Rule::Any => children.len().min(1),
                implicit_meta_policy::Rule::All => children.len(),
                implicit_meta_policy::Rule::Majority if children.is_empty() => 0,
                implicit_meta_policy::Rule::Majority => children.len() / 2 + 1,
            };
            choose(needed, &children, Layout::and)
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(org: &str) -> common::MspPrincipal {
        let role =
            common::MspRole { msp_identifier: org.to_owned(), role: common::msp_role::MspRoleType::Member.into() };
        common::MspPrincipal { principal: role.encode_to_vec().into(), ..Default::default() }
    }

    fn signed_by(index: i32) -> common::SignaturePolicy {
        common::SignaturePolicy { r#type: Some(Rule::SignedBy(index)) }
    }

    fn out_of(n: i32, rules: Vec<common::SignaturePolicy>) -> common::SignaturePolicy {
        common::SignaturePolicy { r#type: Some(Rule::NOutOf(common::signature_policy::NOutOf { n, rules })) }
    }

    fn envelope(rule: common::SignaturePolicy, orgs: &[&str]) -> common::SignaturePolicyEnvelope {
        let identities = orgs.iter().map(|org| member(org)).collect();
        common::SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities }
    }

    fn text(layouts: &[Layout]) -> Vec<String> {
        layouts
            .iter()
            .map(|layout| layout.0.iter().map(|(org, n)| format!("{org}{n}")).collect::<Vec<_>>().join("+"))
            .collect()
    }

    #[test]
    fn signature_policies_become_minimal_combinations() {
        let orgs = ["A", "B", "C"];
        let two_of_three = out_of(2, vec![signed_by(0), signed_by(1), signed_by(2)]);
        assert_eq!(text(&of_signature_policy(&envelope(two_of_three.clone(), &orgs))), ["A1+B1", "A1+C1", "B1+C1"]);
        let a_or_two = out_of(1, vec![signed_by(0), two_of_three]);
        assert_eq!(text(&of_signature_policy(&envelope(a_or_two, &orgs))), ["A1", "B1+C1"]);
        let twice_a = out_of(2, vec![signed_by(0), signed_by(0)]);
        assert_eq!(text(&of_signature_policy(&envelope(twice_a, &orgs))), ["A2"]);
        let impossible = out_of(2, vec![signed_by(0), signed_by(7)]);
        assert!(of_signature_policy(&envelope(impossible, &orgs)).is_empty());
    }

    #[test]
    fn implicit_meta_policies_follow_the_organisations() {
        let org = |name: &str| {
            let policy = envelope(out_of(1, vec![signed_by(0)]), &[name]).encode_to_vec();
            let policy = common::Policy { r#type: PolicyType::Signature.into(), value: policy.into() };
            let policy = common::ConfigPolicy { policy: Some(policy), ..Default::default() };
            common::ConfigGroup { policies: [("Endorsement".to_owned(), policy)].into(), ..Default::default() }
        };
        let channel = |rule: implicit_meta_policy::Rule| {
            let meta = common::ImplicitMetaPolicy { sub_policy: "Endorsement".to_owned(), rule: rule.into() };
            let policy = common::Policy { r#type: PolicyType::ImplicitMeta.into(), value: meta.encode_to_vec().into() };
            let policy = common::ConfigPolicy { policy: Some(policy), ..Default::default() };
            let application = common::ConfigGroup {
                groups: ["A", "B", "C"].map(|name| (name.to_owned(), org(name))).into(),
                policies: [("Endorsement".to_owned(), policy)].into(),
                ..Default::default()
            };
            common::ConfigGroup { groups: [("Application".to_owned(), application)].into(), ..Default::default() }
        };
        let path = "/Channel/Application/Endorsement";
        let of = |rule| text(&of_path(path, &channel(rule)));
        assert_eq!(of(implicit_meta_policy::Rule::Any), ["A1", "B1", "C1"]);
        assert_eq!(of(implicit_meta_policy::Rule::Majority), ["A1+B1", "A1+C1", "B1+C1"]);
        assert_eq!(of(implicit_meta_policy::Rule::All), ["A1+B1+C1"]);
        assert!(of_path("/Channel/Nothing/Endorsement", &channel(implicit_meta_policy::Rule::Any)).is_empty());
    }

    #[test]
    fn several_policies_share_endorsements() {
        let one = [Layout::one(MspId::new("A")), Layout::one(MspId::new("B"))];
        let two = [Layout::one(MspId::new("B"))];
        assert_eq!(text(&all_of([&one[..], &two[..]])), ["B1"]);
        assert_eq!(text(&all_of([])), [""]);
    }
}
