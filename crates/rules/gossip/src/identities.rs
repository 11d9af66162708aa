use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ripstop_types::MspId;

use crate::handshake::judge_identity;
use crate::{Content, IdentityRefusal, Message, Moment, PkiId, SelfDescription, SignedMessage, Standing, Tag, Trust};

/// How many identities of one organization are kept; further ones are refused.
const MAX_PER_ORGANIZATION: usize = 1 << 14;
/// How many bytes the identities of one organization have together, each counted once more where it can be passed on; further
/// ones are refused.
const MAX_BYTES_PER_ORGANIZATION: usize = 64 << 20;
/// How many identities are kept in all; further ones are refused.
const MAX_IDENTITIES: usize = 1 << 16;
/// How many refused identities are remembered. All are forgotten when there are more.
const MAX_REFUSED: usize = 1 << 14;
/// How many identities are judged anew in one step when configurations changed. Each takes a good part of a millisecond.
const JUDGED_AT_ONCE: usize = 64;
/// After how long an identity that nobody needed is forgotten (Fabric: `usageThreshold`).
const UNUSED: Duration = Duration::from_secs(3600);

/// Who is behind a PKI-ID. Each of them was valid when it was put here, and is judged anew when configurations change.
#[derive(Debug)]
pub(crate) struct Identities {
    me: PkiId,
    known: BTreeMap<PkiId, Known>,
    per_organization: BTreeMap<MspId, Share>,
    expirations: BTreeSet<(Moment, PkiId)>,
    // Peers whose identities are not trusted: they are neither judged nor asked for again for a while.
    refused: BTreeMap<PkiId, IdentityRefusal>,
    // Those that were not judged since configurations changed.
    suspects: VecDeque<PkiId>,
    next_purge: Moment,
}

/// An identity.
#[derive(Debug)]
pub(crate) struct Known {
    /// Whose it is. Others that keep the id keep a copy of this one: one out of a message would keep the message.
    pub(crate) pki_id: PkiId,
    /// As it travels.
    pub(crate) identity: Bytes,
    /// Its organization.
    pub(crate) organization: MspId,
    /// The identity as its peer signed it, for those that pull; others learn of a peer only in its own words.
    message: Option<SignedMessage>,
    used: Moment,
    expires: Option<Moment>,
}

/// What one organization has of the identities that are kept.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    count: usize,
    bytes: usize,
}

impl Known {
    fn bytes(&self) -> usize {
        self.identity.len() + self.message.as_ref().map_or(0, |message| message.envelope().payload.len())
    }
}

impl Identities {
    /// Begins with the own identity, which is neither judged nor forgotten.
    pub(crate) fn new(now: Moment, me: &SelfDescription, trust: &dyn Trust) -> Self {
        let content =
            Content::Identity { pki_id: me.pki_id.clone(), identity: me.identity.clone(), metadata: Bytes::new() };
        let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content };
        let known = Known {
            pki_id: me.pki_id.clone(),
            identity: me.identity.clone(),
            organization: me.organization.clone(),
            message: Some(SignedMessage::signed(message, trust)),
            used: now,
            expires: None,
        };
        let own = Share { count: 1, bytes: known.bytes() };
        Self {
            me: me.pki_id.clone(),
            known: BTreeMap::from([(me.pki_id.clone(), known)]),
            per_organization: BTreeMap::from([(me.organization.clone(), own)]),
            expirations: BTreeSet::new(),
            refused: BTreeMap::new(),
            suspects: VecDeque::new(),
            next_purge: now + UNUSED / 10,
        }
    }

    /// The identity of a peer.
    pub(crate) fn get(&self, pki_id: &PkiId) -> Option<&Known> {
        self.known.get(pki_id)
    }

    /// The identity of a peer that something has to be verified with.
    pub(crate) fn use_one(&mut self, now: Moment, pki_id: &PkiId) -> Option<&Known> {
        let known = self.known.get_mut(pki_id)?;
        known.used = now;
        Some(known)
    }

    /// Adds an identity, if it is valid. One that is there already is not judged again.
    pub(crate) fn put(
        &mut self,
        now: Moment,
        trust: &dyn Trust,
        pki_id: &PkiId,
        identity: &Bytes,
    ) -> Result<&Known, IdentityRefusal> {
        if !self.known.contains_key(pki_id) {
            let standing = self.judge(now, trust, pki_id, identity)?;
            self.insert(now, standing, pki_id, identity)?;
        }
        let known = self.known.get_mut(pki_id).expect("the identity was found or put there");
        known.used = now;
        Ok(known)
    }

    /// Adds an identity as its peer signed it, which can be passed on. What is there already stays.
    pub(crate) fn put_signed(
        &mut self,
        now: Moment,
        trust: &dyn Trust,
        message: &SignedMessage,
    ) -> Result<(), IdentityRefusal> {
        let Content::Identity { pki_id, identity, .. } = &message.message().content else {
            return Err(IdentityRefusal::Unreadable("it is another message".into()));
        };
        let standing = match self.known.get(pki_id) {
            Some(known) if known.message.is_some() => return Ok(()),
            Some(_) => None,
            None => Some(self.judge(now, trust, pki_id, identity)?),
        };
        let known = self.known.get(pki_id).map_or(identity, |known| &known.identity);
        if !message.is_signed_by(known, trust) {
            return Err(IdentityRefusal::Forged);
        }
        if let Some(standing) = standing {
            self.insert(now, standing, pki_id, identity)?;
        }
        let Some(known) = self.known.get_mut(pki_id) else { return Ok(()) };
        let share = self.per_organization.entry(known.organization.clone()).or_default();
        let bytes = message.envelope().payload.len();
        if share.bytes + bytes > MAX_BYTES_PER_ORGANIZATION {
            return Err(IdentityRefusal::NoRoom(known.organization.to_string()));
        }
        share.bytes += bytes;
        known.message = Some(message.without_secret());
        if known.identity == *identity {
            // The one in the message will do: identities are most of what is kept of a peer.
            known.identity = identity.clone();
        }
        Ok(())
    }

    /// Judges an identity, unless it was refused a while ago.
    fn judge(
        &mut self,
        now: Moment,
        trust: &dyn Trust,
        pki_id: &PkiId,
        identity: &Bytes,
    ) -> Result<Standing, IdentityRefusal> {
        if let Some(refusal) = self.refused.get(pki_id) {
            return Err(refusal.clone());
        }
        let judged = judge_identity(trust, now, pki_id, identity);
        // Only these are about the peer itself, and not about who claims to be it.
        if let Err(refusal @ (IdentityRefusal::Distrusted(_) | IdentityRefusal::Expired)) = &judged {
            if self.refused.len() >= MAX_REFUSED {
                self.refused.clear();
            }
            self.refused.insert(pki_id.clone(), refusal.clone());
        }
        judged
    }

    fn insert(
        &mut self,
        now: Moment,
        standing: Standing,
        pki_id: &PkiId,
        identity: &Bytes,
    ) -> Result<(), IdentityRefusal> {
        let Standing { organization, expires } = standing;
        // In memory of its own, and not in that of the message it came in.
        let identity = Bytes::copy_from_slice(identity);
        let pki_id = PkiId::claimed(Bytes::copy_from_slice(pki_id.as_bytes()));
        let known = Known { pki_id: pki_id.clone(), identity, organization, message: None, used: now, expires };
        let share = self.per_organization.get(&known.organization).copied().unwrap_or_default();
        let share = Share { count: share.count + 1, bytes: share.bytes + known.bytes() };
        let is_full = share.count > MAX_PER_ORGANIZATION || share.bytes > MAX_BYTES_PER_ORGANIZATION;
        if is_full || self.known.len() >= MAX_IDENTITIES {
            return Err(IdentityRefusal::NoRoom(known.organization.to_string()));
        }
        self.per_organization.insert(known.organization.clone(), share);
        if let Some(expires) = expires {
            self.expirations.insert((expires, pki_id.clone()));
        }
        self.known.insert(pki_id, known);
        Ok(())
    }

    /// Whether the identity of a peer is worth asking for: it cannot be passed on yet, and was not refused.
    pub(crate) fn is_missing(&self, pki_id: &PkiId) -> bool {
        self.known.get(pki_id).is_none_or(|known| known.message.is_none()) && !self.refused.contains_key(pki_id)
    }

    /// The identity of a peer, as it can be passed on.
    pub(crate) fn signed(&self, pki_id: &PkiId) -> Option<&SignedMessage> {
        self.known.get(pki_id)?.message.as_ref()
    }

    /// All that can be passed on.
    pub(crate) fn all_signed(&self) -> impl Iterator<Item = (&PkiId, &Known)> {
        self.known.iter().filter(|(_, known)| known.message.is_some())
    }

    /// One more channel vouches: whoever was refused may be trusted now.
    pub(crate) fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    /// All of them are to be judged anew, those first that matter most.
    pub(crate) fn suspect_all(&mut self, matters: impl Fn(&PkiId) -> bool) {
        self.refused.clear();
        let others = self.known.keys().filter(|pki_id| **pki_id != self.me);
        let (mut first, then): (Vec<_>, Vec<_>) = others.cloned().partition(matters);
        first.extend(then);
        self.suspects = first.into();
    }

    /// Whether some of them are still to be judged anew.
    pub(crate) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Judges some of them anew, and gives back those that are not valid any more. They are still there.
    pub(crate) fn distrusted(&mut self, now: Moment, trust: &dyn Trust) -> Vec<(PkiId, String)> {
        let some = self.suspects.len().min(JUDGED_AT_ONCE);
        let judged = self.suspects.drain(..some).filter_map(|pki_id| {
            let known = self.known.get(&pki_id)?;
            let reason = match trust.identify(now, &known.identity) {
                Ok(standing) if standing.organization == known.organization => return None,
                Ok(standing) => format!("its organisation is {} now", standing.organization),
                Err(distrust) => distrust.to_string(),
            };
            Some((pki_id, reason))
        });
        judged.collect()
    }

    /// Gives back those whose certificates ended. They are still there.
    pub(crate) fn expired(&self, now: Moment) -> Vec<PkiId> {
        self.expirations.iter().take_while(|(expires, _)| *expires <= now).map(|(_, pki_id)| pki_id.clone()).collect()
    }

    /// Forgets those that nobody needed for long, `needed` ones excepted.
    pub(crate) fn purge_unused(&mut self, now: Moment, needed: impl Fn(&PkiId) -> bool) {
        if self.next_purge > now {
            return;
        }
        self.next_purge = now + UNUSED / 10;
        self.refused.clear();
        let unused: Vec<_> = self
            .known
            .iter()
            .filter(|(pki_id, known)| now.since(known.used) > UNUSED && **pki_id != self.me && !needed(pki_id))
            .map(|(pki_id, _)| pki_id.clone())
            .collect();
        unused.iter().for_each(|pki_id| self.remove(pki_id));
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, pki_id: &PkiId) {
        let Some(known) = self.known.remove(pki_id) else { return };
        if let Some(expires) = known.expires {
            self.expirations.remove(&(expires, pki_id.clone()));
        }
        if let Some(share) = self.per_organization.get_mut(&known.organization) {
            share.count -= 1;
            share.bytes -= known.bytes();
            if share.count == 0 {
                self.per_organization.remove(&known.organization);
            }
        }
    }

    /// When time alone changes something.
    pub(crate) fn wake_at(&self) -> Moment {
        self.expirations.first().map_or(self.next_purge, |(expires, _)| self.next_purge.min(*expires))
    }
}
