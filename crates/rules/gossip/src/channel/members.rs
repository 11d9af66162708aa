use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::gossip as wire;
use ripstop_types::{ChannelId, Digest, MspId};

use crate::allowance::{Allowance, Rate};
use crate::roster::Roster;
use crate::{ChannelMember, Content, KnownPeer, Moment, PkiId, SignedMessage, StateInfo, Surroundings};

/// How many state infos of one organization are held. Those of further peers are refused.
const STATE_INFOS_PER_ORGANIZATION: usize = 16_384;

/// How large a state info may be, in bytes. A larger one is refused.
const STATE_INFO_BYTES: usize = 64 * 1024;

/// How many bytes the state infos of one organization have together. When there is no room, new ones are refused.
const STATE_INFO_BYTES_PER_ORGANIZATION: usize = 64 * 1024 * 1024;

/// How often a peer may say something new of itself. What is more is ignored until it is asked for again.
const NEWS: Rate = Rate { burst: 6, every: Duration::from_millis(500) };

/// How many state infos are judged anew in one step when the trust changed.
const JUDGED_AT_ONCE: usize = 64;

/// How large an answer with state infos becomes at most, in bytes. When there are more, each answer holds others.
const SNAPSHOT_BYTES: usize = 16 * 1024 * 1024;

/// How many of the peers that claim the greatest heights are looked at when a random one is not high enough.
const HIGHEST_LOOKED_AT: usize = 64;

/// Who is in a channel, as they say it themselves, and who could be.
#[derive(Debug)]
pub(crate) struct Members {
    channel: ChannelId,
    organizations: BTreeSet<MspId>,
    held: BTreeMap<PkiId, Held>,
    per_organization: BTreeMap<MspId, Share>,
    // The height of each member that is alive and has not left.
    heights: BTreeSet<(u64, PkiId)>,
    // Those whose state infos were not judged since the trust changed.
    suspects: VecDeque<PkiId>,
    neighbours: Roster,
    colleagues: Roster,
    present: Roster,
    companions: Roster,
    revision: u64,
    shape: u64,
}

/// A state info that was verified.
#[derive(Debug)]
struct Held {
    message: SignedMessage,
    organization: MspId,
    // Since when the peer is not alive. It may come back with the same state info.
    gone_since: Option<Moment>,
    news: Allowance,
}

/// Whom state infos are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Peers of the own organization.
    Colleagues,
    /// Peers of other organizations.
    Others,
}

/// What one organization has of the state infos that are held.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    count: usize,
    bytes: usize,
}

/// What became of a state info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Learned {
    /// It was new; whether it is said further is another question.
    News,
    /// It says nothing new.
    Stale,
    /// Nobody knows its sender (yet).
    Unknown,
    /// It is not believed.
    Refused(&'static str),
}

/// The name of a channel, hidden from who does not know it.
pub(crate) fn channel_mac(peer: &PkiId, channel: &ChannelId) -> Bytes {
    Bytes::copy_from_slice(Digest::of_parts([&peer.as_bytes()[..], channel.as_str().as_bytes()]).as_bytes())
}

/// The state info that a message holds.
pub(crate) fn state_info(message: &SignedMessage) -> Option<&StateInfo> {
    match &message.message().content {
        Content::StateInfo(info) => Some(info),
        _ => None,
    }
}

impl Members {
    /// Nobody, until organizations are known.
    pub(crate) fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            organizations: BTreeSet::new(),
            held: BTreeMap::new(),
            per_organization: BTreeMap::new(),
            heights: BTreeSet::new(),
            suspects: VecDeque::new(),
            neighbours: Roster::default(),
            colleagues: Roster::default(),
            present: Roster::default(),
            companions: Roster::default(),
            revision: 0,
            shape: 0,
        }
    }

    /// Living peers of the channel's organizations; whether they are in the channel is not known of all.
    pub(crate) const fn neighbours(&self) -> &Roster {
        &self.neighbours
    }

    /// Living peers of the own organization, in this channel or not.
    pub(crate) const fn colleagues(&self) -> &Roster {
        &self.colleagues
    }

    /// Living members of the channel.
    pub(crate) const fn present(&self) -> &Roster {
        &self.present
    }

    /// Living members of the channel that are of the own organization.
    pub(crate) const fn companions(&self) -> &Roster {
        &self.companions
    }

    /// The organizations that are in the channel.
    pub(crate) const fn organizations(&self) -> &BTreeSet<MspId> {
        &self.organizations
    }

    /// Whether an organization is in the channel.
    pub(crate) fn has_organization(&self, organization: &MspId) -> bool {
        self.organizations.contains(organization)
    }

    /// A number that grows whenever something changed.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// A number that grows whenever somebody came or went, or what is known of a peer otherwise than by its state info.
    pub(crate) const fn shape(&self) -> u64 {
        self.shape
    }

    /// The greatest height that a member claims.
    pub(crate) fn highest(&self) -> u64 {
        self.heights.last().map_or(0, |(height, _)| *height)
    }

    /// The height that a member claims.
    pub(crate) fn height_of(&self, peer: &PkiId) -> Option<u64> {
        if !self.present.contains(peer) {
            return None;
        }
        self.held.get(peer).and_then(|held| state_info(&held.message)).map(|info| info.height)
    }

    /// A random member that claims to have a block and that `accept` takes.
    pub(crate) fn holder_of(
        &self,
        block: u64,
        random: &mut fastrand::Rng,
        accept: impl Fn(&PkiId) -> bool,
    ) -> Option<PkiId> {
        let has = |peer: &PkiId| self.height_of(peer).is_some_and(|height| height > block) && accept(peer);
        if let Some(peer) = self.present.choose(random, 1, HIGHEST_LOOKED_AT, has).pop() {
            return Some(peer);
        }
        let mut highest: Vec<_> = self
            .heights
            .iter()
            .rev()
            .take(HIGHEST_LOOKED_AT)
            .take_while(|(height, _)| *height > block)
            .filter(|(_, peer)| accept(peer))
            .map(|(_, peer)| peer)
            .collect();
        match highest.len() {
            0 => None,
            count => Some(highest.swap_remove(random.usize(..count)).clone()),
        }
    }

    /// Takes the organizations that are in the channel now, and forgets what is known of peers of others at once.
    pub(crate) fn configure(&mut self, surroundings: &Surroundings<'_>, organizations: BTreeSet<MspId>) {
        self.organizations = organizations;
        self.neighbours.clear();
        self.colleagues.clear();
        self.present.clear();
        self.companions.clear();
        self.heights.clear();
        self.per_organization.clear();
        self.revision += 1;
        self.shape += 1;
        let (organizations, per_organization) = (&self.organizations, &mut self.per_organization);
        self.held.retain(|_, held| {
            let stays = organizations.contains(&held.organization);
            if stays {
                held.gone_since = held.gone_since.or(Some(surroundings.now));
                per_organization.entry(held.organization.clone()).or_default().add(&held.message);
            }
            stays
        });
        for peer in surroundings.alive.values() {
            self.appeared(surroundings, peer);
        }
        self.suspect_all();
    }

    /// All state infos are to be judged anew: the trust or the configuration changed.
    pub(crate) fn suspect_all(&mut self) {
        self.suspects = self.held.keys().cloned().collect();
    }

    /// Whether some of them are still to be judged anew.
    pub(crate) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Judges some of them anew, and forgets those that are not believed any more. Says whether there were any.
    pub(crate) fn judge_some(&mut self, surroundings: &Surroundings<'_>) -> bool {
        let some = self.suspects.len().min(JUDGED_AT_ONCE);
        let (suspects, before) = (self.suspects.drain(..some).collect::<Vec<_>>(), self.held.len());
        for peer in suspects {
            let Some(held) = self.held.get(&peer) else { continue };
            let living = surroundings.alive.get(&peer);
            // Of who is not alive nobody can say whether it would be believed now: it has to say so again.
            if living.is_some_and(|living| self.believes(surroundings, living, &held.message)) {
                continue;
            }
            self.displace(&peer);
            self.shape += 1;
            if let Some(held) = self.held.remove(&peer)
                && let Some(share) = self.per_organization.get_mut(&held.organization)
            {
                share.take(&held.message);
            }
        }
        self.held.len() < before
    }

    /// A peer is alive.
    pub(crate) fn appeared(&mut self, surroundings: &Surroundings<'_>, peer: &KnownPeer) {
        let id = &peer.member.pki_id;
        if surroundings.is_own(&peer.organization) {
            self.colleagues.add(id);
        }
        if !self.has_organization(&peer.organization) {
            return;
        }
        self.neighbours.add(id);
        self.shape += 1;
        if let Some(held) = self.held.get_mut(id) {
            held.gone_since = None;
            self.place(surroundings, id);
        }
    }

    /// A peer is not alive any more. What it said is kept for a while.
    pub(crate) fn vanished(&mut self, peer: &PkiId, now: Moment) {
        self.displace(peer);
        self.shape += 1;
        self.neighbours.remove(peer);
        self.colleagues.remove(peer);
        if let Some(held) = self.held.get_mut(peer) {
            held.gone_since = Some(now);
        }
    }

    /// Forgets what peers said that are not alive for longer than `retention`.
    pub(crate) fn sweep(&mut self, now: Moment, retention: Duration) {
        let per_organization = &mut self.per_organization;
        self.held.retain(|_, held| {
            let keep = held.gone_since.is_none_or(|since| now.since(since) <= retention);
            if !keep && let Some(share) = per_organization.get_mut(&held.organization) {
                share.take(&held.message);
            }
            keep
        });
    }

    /// Whether a state info is newer than what is known of its sender.
    pub(crate) fn is_news(&self, info: &StateInfo) -> bool {
        self.held
            .get(&info.pki_id)
            .and_then(|held| state_info(&held.message))
            .is_none_or(|known| known.time < info.time)
    }

    /// Takes a state info of another peer, if it is news and its sender a member. Verifies the signature, behind all that is
    /// cheaper.
    pub(crate) fn learn(&mut self, surroundings: &Surroundings<'_>, message: &SignedMessage) -> Learned {
        let Some(info) = state_info(message) else { return Learned::Refused("not a state info") };
        if info.pki_id == surroundings.me.member.pki_id || !self.is_news(info) {
            return Learned::Stale;
        }
        let Some(peer) = surroundings.alive.get(&info.pki_id) else { return Learned::Unknown };
        if !self.has_organization(&peer.organization) {
            return Learned::Refused("its organisation is not in the channel");
        }
        if info.channel_mac != channel_mac(&info.pki_id, &self.channel) {
            return Learned::Refused("it has an invalid MAC");
        }
        if is_too_large(message) {
            return Learned::Refused("it is too large");
        }
        let share = self.per_organization.get(&peer.organization).copied().unwrap_or_default();
        let is_full = share.count >= STATE_INFOS_PER_ORGANIZATION && !self.held.contains_key(&info.pki_id);
        if is_full || share.bytes + size(message) > STATE_INFO_BYTES_PER_ORGANIZATION {
            return Learned::Refused("there are too many");
        }
        if !self.believes(surroundings, peer, message) {
            return Learned::Refused("its sender does not satisfy the channel's readers policy");
        }
        // Only what is verified counts: others could use up a peer's allowance by what they make up.
        if self.held.get_mut(&info.pki_id).is_some_and(|held| !held.news.take(surroundings.now, NEWS)) {
            return Learned::Stale;
        }
        self.hold(surroundings, peer, message);
        Learned::News
    }

    /// The state infos that some may see: peers of the own organization without an external endpoint are nobody else's
    /// concern.
    pub(crate) fn snapshot(&self, surroundings: &mut Surroundings<'_>, audience: Audience) -> Vec<wire::Envelope> {
        let mut first = [0; 32];
        surroundings.random.fill(&mut first);
        let first = PkiId::claimed(Bytes::copy_from_slice(&first));
        let mut bytes = 0;
        let mut elements = Vec::new();
        for (peer, held) in self.held.range(&first..).chain(self.held.range(..&first)) {
            let Some(living) = surroundings.alive.get(peer) else { continue };
            let shown = audience == Audience::Colleagues
                || !living.member.endpoint.is_empty()
                || !surroundings.is_own(&living.organization);
            if held.gone_since.is_some() || !shown {
                continue;
            }
            bytes += held.message.envelope().payload.len();
            if bytes > SNAPSHOT_BYTES {
                break;
            }
            elements.push(held.message.envelope().clone());
        }
        elements
    }

    /// The members that are alive.
    pub(crate) fn view(&self, surroundings: &Surroundings<'_>) -> BTreeMap<PkiId, ChannelMember> {
        let member = |peer: &PkiId| {
            let living = surroundings.alive.get(peer)?;
            channel_member(living, &self.held.get(peer)?.message)
        };
        self.present.iter().filter_map(|peer| Some((peer.clone(), member(peer)?))).collect()
    }

    fn believes(&self, surroundings: &Surroundings<'_>, peer: &KnownPeer, message: &SignedMessage) -> bool {
        let envelope = message.envelope();
        surroundings.trust.verify_reader(&self.channel, &peer.identity, &envelope.payload, &envelope.signature)
    }

    fn hold(&mut self, surroundings: &Surroundings<'_>, peer: &KnownPeer, message: &SignedMessage) {
        let id = &peer.member.pki_id;
        let was_present = self.present.contains(id);
        self.displace(id);
        match self.held.get_mut(id) {
            Some(held) => {
                let share = self.per_organization.entry(held.organization.clone()).or_default();
                share.take(&held.message);
                share.add(message);
                held.message = message.clone();
                held.gone_since = None;
            }
            None => {
                self.per_organization.entry(peer.organization.clone()).or_default().add(message);
                let held = Held {
                    message: message.clone(),
                    organization: peer.organization.clone(),
                    gone_since: None,
                    news: Allowance::default(),
                };
                self.held.insert(id.clone(), held);
            }
        }
        self.place(surroundings, id);
        if was_present != self.present.contains(id) {
            self.shape += 1;
        }
    }

    fn place(&mut self, surroundings: &Surroundings<'_>, peer: &PkiId) {
        self.revision += 1;
        let Some(held) = self.held.get(peer) else { return };
        let Some(info) = state_info(&held.message).filter(|info| !info.left_channel) else { return };
        self.heights.insert((info.height, peer.clone()));
        self.present.add(peer);
        if surroundings.is_own(&held.organization) {
            self.companions.add(peer);
        }
    }

    fn displace(&mut self, peer: &PkiId) {
        self.revision += 1;
        if let Some(info) = self.held.get(peer).and_then(|held| state_info(&held.message)) {
            self.heights.remove(&(info.height, peer.clone()));
        }
        self.present.remove(peer);
        self.companions.remove(peer);
    }
}

impl Share {
    fn add(&mut self, message: &SignedMessage) {
        self.count += 1;
        self.bytes += size(message);
    }

    fn take(&mut self, message: &SignedMessage) {
        self.count -= 1;
        self.bytes -= size(message);
    }
}

/// Whether no honest peer would say so much of itself.
pub(crate) fn is_too_large(message: &SignedMessage) -> bool {
    size(message) > STATE_INFO_BYTES
}

fn size(message: &SignedMessage) -> usize {
    let envelope = message.envelope();
    envelope.payload.len() + envelope.signature.len()
}

/// What a living peer says of itself in a channel.
pub(crate) fn channel_member(peer: &Arc<KnownPeer>, message: &SignedMessage) -> Option<ChannelMember> {
    let info = state_info(message)?;
    Some(ChannelMember {
        peer: Arc::clone(peer),
        state_info: message.clone(),
        height: info.height,
        chaincodes: info.chaincodes.clone(),
    })
}
