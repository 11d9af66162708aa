//! The loop: things happen, the machine decides, and what it decides is done before the next thing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ripstop_gossip::{ChannelInput, Effect, Endpoint, Input, Node, PkiId, SignedMessage};
use ripstop_runtime::TaskGroup;
use ripstop_types::{ChannelId, MspId};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::channel::Follower;
use crate::config::Spreading;
use crate::conversation::Conversations;
use crate::dial::{Dialler, Wanted};
use crate::door::{DoorKeeper, Leadership, ReceivedBlock};
use crate::event::{DialEnd, Event};
use crate::handle::{Join, Shared};
use crate::notes;
use crate::router::Inside;
use crate::serve::Serving;
use crate::stream::Undelivered;

/// How many peers of one organization are dialled at once, and how many endpoints of which it is not known who is there. Others
/// wait: an organization whose peers are where nobody answers keeps only itself waiting.
const DIALS: usize = 16;
/// How many peers of one organization may wait to be dialled. What is for others is dropped.
const WAITING_DIALS: usize = 1024;

/// Everything the loop holds.
pub(crate) struct Driver {
    pub(crate) node: Node,
    pub(crate) shared: Arc<Shared>,
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) dialler: Arc<Dialler>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) tasks: TaskGroup,
    pub(crate) spreading: Spreading,
    pub(crate) work: Work,
}

/// What is under way.
#[derive(Default)]
pub(crate) struct Work {
    channels: BTreeMap<ChannelId, Open>,
    /// Peers that are being dialled, and what waits for them. As many messages wait for each as for a stream.
    dialled: HashMap<PkiId, Vec<SignedMessage>>,
    /// Endpoints that are being dialled to find out who is there.
    probed: HashSet<Endpoint>,
    /// By organization; there are no more of them than the channels know.
    dials: BTreeMap<Option<MspId>, Arc<Dials>>,
}

/// Who of an organization is being dialled.
#[derive(Debug)]
struct Dials {
    waiting: Arc<Semaphore>,
    running: Semaphore,
}

impl Default for Dials {
    fn default() -> Self {
        Self { waiting: Arc::new(Semaphore::new(WAITING_DIALS)), running: Semaphore::new(DIALS) }
    }
}

/// A channel that this peer is in.
struct Open {
    keeper: DoorKeeper,
    /// Blocks for which there is no room behind the door. The machine has its own bound for what is on its way.
    waiting: VecDeque<ReceivedBlock>,
    /// Ends what follows the ledger.
    _follower: DropGuard,
}

impl Driver {
    /// Runs until the group is told to stop. Verifying signatures takes the time of this thread, which is nobody else's.
    pub(crate) async fn run(mut self) {
        let stopping = self.tasks.cancelled();
        tokio::pin!(stopping);
        self.act();
        loop {
            let wake = self.conversations.clock.until(self.node.wake_at());
            tokio::select! {
                () = &mut stopping => break,
                Some(event) = self.events.recv() => self.happened(event),
                () = self.shared.wishes.changed.notified() => self.wished(),
                () = wake => self.input(Input::Wake),
            }
            self.publish();
        }
        self.input(Input::Stopping);
        self.conversations.streams.close_all();
    }

    /// Hands the machine what happened, and does all that it decides.
    fn input(&mut self, input: Input) {
        let now = self.conversations.clock.now();
        self.node.handle(now, input, &self.conversations.router.trust);
        self.act();
    }

    fn act(&mut self) {
        while let Some(effect) = self.node.poll_effect() {
            self.do_it(effect);
        }
    }

    fn publish(&mut self) {
        let view = self.node.view(&self.conversations.router.trust);
        let metrics = &self.conversations.metrics;
        if !Arc::ptr_eq(&self.shared.views.borrow(), &view) {
            // The metrics first: whoever is woken by the view finds them in step.
            let me = view.me.as_ref().map(|me| &me.member.pki_id);
            for channel in self.work.channels.keys() {
                let members = view.channels.get(channel);
                let others = members.map_or(0, |members| members.keys().filter(|id| Some(*id) != me).count());
                metrics.knows(channel.as_str(), others);
            }
            self.shared.views.send_replace(view);
        }
        for (channel, open) in &mut self.work.channels {
            open.pass_on();
            let behind_the_door = open.keeper.blocks.max_capacity() - open.keeper.blocks.capacity();
            metrics.waits(channel.as_str(), open.waiting.len() + behind_the_door);
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Connected { contact, dialled } => self.input(Input::Connected { contact, dialled }),
            Event::Dialled(end) => self.dialled(end),
            Event::Received { from, message, _turn } => self.input(Input::Received { from, message }),
            // While this waited another stream of the peer may have come up, and been told of.
            Event::Ended(pki_id) if self.conversations.streams.get(&pki_id).is_some() => {}
            Event::Ended(pki_id) => self.input(Input::Closed { pki_id }),
            Event::Send { to, endpoint, message } => self.send(to, endpoint, message),
            Event::Channel(channel, input) => self.input(Input::Channel(channel, input)),
            Event::TrustChanged => self.input(Input::TrustChanged),
            Event::Refused { channel, number, from } => {
                if let Some(open) = self.work.channels.get_mut(&channel) {
                    // The machine gives all of them again.
                    open.waiting.clear();
                }
                self.input(Input::Channel(channel, ChannelInput::Refused { number, from }));
            }
        }
    }

    fn wished(&mut self) {
        let wishes = std::mem::take(&mut *self.shared.wishes.channels.lock());
        for (channel, Join { ledger, chaincodes, keeper }) in wishes {
            let inside = Inside { ledger: Arc::clone(&ledger), private: keeper.private.clone() };
            self.conversations.router.open(channel.clone(), inside);
            let follower = Follower {
                ledger,
                chaincodes,
                leadership: keeper.leadership.subscribe(),
                events: self.conversations.events.clone(),
                metrics: self.conversations.metrics.clone(),
                organization: self.dialler.me.organization.clone(),
                spreading: self.spreading,
            };
            let superseded = CancellationToken::new();
            let following = superseded.clone().run_until_cancelled_owned(follower.follow());
            self.conversations.spawn("follower of a channel", async move {
                following.await;
            });
            let open = Open { keeper, waiting: VecDeque::new(), _follower: superseded.drop_guard() };
            self.work.channels.insert(channel, open);
        }
    }

    fn do_it(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, endpoint, message } => self.send(to, endpoint, message),
            Effect::Connect { endpoint } => {
                // There are not more of these than the configurations name.
                if self.work.probed.insert(endpoint.clone()) && !self.dial(endpoint.clone(), None) {
                    self.work.probed.remove(&endpoint);
                }
            }
            Effect::Close { pki_id, reason } => {
                tracing::debug!(target: "gossip.comm", "Closing connection for {pki_id}: {reason}");
                self.conversations.streams.close(&pki_id);
            }
            Effect::Block { channel, number, block, private_data, from } => {
                if let Some(open) = self.work.channels.get_mut(&channel) {
                    open.waiting.push_back(ReceivedBlock { number, block, private_data, from });
                }
            }
            Effect::ServeBlocks { channel, to, nonce, start, end } => self.serve(channel, &to, nonce, start, end),
            Effect::Lead { channel } => self.lead(&channel, Leadership::Leads),
            Effect::Follow { channel } => self.lead(&channel, Leadership::Follows),
            Effect::Note(note) => notes::write(&note),
        }
    }

    fn lead(&self, channel: &ChannelId, leadership: Leadership) {
        if let Some(open) = self.work.channels.get(channel) {
            open.keeper.leadership.send_replace(leadership);
        }
        // Fabric shows elections only.
        if self.node.options().use_leader_election {
            let leads = u64::from(leadership == Leadership::Leads);
            self.conversations.metrics.leads(channel.as_str(), leads);
        }
    }

    fn send(&mut self, to: PkiId, endpoint: Endpoint, message: SignedMessage) {
        if let Some(stream) = self.conversations.streams.get(&to) {
            match stream.outbox().try_send(&message) {
                Ok(()) => return,
                Err(Undelivered::Overflow) => {
                    tracing::debug!(target: "gossip.comm", "Buffer to {} overflowed, dropping message", stream.address());
                    return;
                }
                Err(Undelivered::Closed) => {}
            }
        }
        if let Some(waiting) = self.work.dialled.get_mut(&to) {
            if waiting.len() < self.dialler.outbox {
                waiting.push(message);
            } else {
                self.conversations.metrics.overflows.inc();
            }
            return;
        }
        // It spoke on a stream that has ended, and nobody knows where it listens.
        if endpoint.is_empty() {
            tracing::debug!(target: "gossip.comm", "No way to {to}, dropping message");
            return;
        }
        let organization = self.node.identity(&to).map(|(_, organization)| organization.clone());
        if self.dial(endpoint, Some(Wanted { pki_id: to.clone(), organization })) {
            self.work.dialled.insert(to, vec![message]);
        } else {
            self.conversations.metrics.overflows.inc();
        }
    }

    /// Dials in a task of its own; `false` when too many wait for that.
    fn dial(&mut self, endpoint: Endpoint, wanted: Option<Wanted>) -> bool {
        let (dialler, conversations) = (Arc::clone(&self.dialler), Arc::clone(&self.conversations));
        let organization = wanted.as_ref().and_then(|wanted| wanted.organization.clone());
        let dials = Arc::clone(self.work.dials.entry(organization).or_default());
        let Ok(place) = Arc::clone(&dials.waiting).try_acquire_owned() else { return false };
        self.conversations.spawn("dialling another peer", async move {
            let Ok(_room) = dials.running.acquire().await else { return };
            drop(place);
            let reached = dialler.dial(&conversations, &endpoint, wanted.as_ref()).await;
            let wanted = wanted.map(|wanted| wanted.pki_id);
            conversations.events.push(Event::Dialled(DialEnd { endpoint, wanted, reached })).await;
        });
        true
    }

    fn dialled(&mut self, end: DialEnd) {
        let DialEnd { endpoint, wanted, reached } = end;
        let Some(wanted) = wanted else {
            self.work.probed.remove(&endpoint);
            if let Err(reason) = reached {
                self.input(Input::Unreachable { endpoint, pki_id: None, reason });
            }
            return;
        };
        let waiting = self.work.dialled.remove(&wanted).unwrap_or_default();
        // It may have dialled this peer meanwhile.
        if let Some(stream) = self.conversations.streams.get(&wanted) {
            for message in waiting {
                stream.outbox().try_send(&message).ok();
            }
            return;
        }
        let reason = match reached {
            Ok(found) if found.pki_id == wanted => "it hung up at once".to_owned(),
            // The machine was told who is there.
            Ok(_) => return,
            Err(reason) => reason,
        };
        // The dead are tried again and again.
        match self.shared.views.borrow().alive.contains_key(&wanted) {
            true => {
                tracing::warn!(target: "gossip.comm", "Failed obtaining connection for {endpoint}, PKIid:{wanted} reason: {reason}");
            }
            false => tracing::debug!(target: "gossip.comm", "{endpoint}, PKIid:{wanted} is still dead: {reason}"),
        }
        self.input(Input::Unreachable { endpoint, pki_id: Some(wanted), reason });
    }

    fn serve(&self, channel: ChannelId, to: &PkiId, nonce: u64, start: u64, end: u64) {
        let router = &self.conversations.router;
        let (Some(inside), Some(stream)) = (router.inside(&channel), self.conversations.streams.get(to)) else {
            return;
        };
        // One that asks faster asks again later anyway.
        let Some(room) = stream.room_for_blocks() else {
            tracing::debug!(target: "gossip.state", "{:?} asks for blocks of {channel} before it has those it asked for", stream.contact());
            return;
        };
        // Room for what surrounds blocks in a message.
        let limit = self.dialler.messages.send / 10 * 9;
        let serving = Serving { channel, inside, stream, nonce, start, end, limit, _room: room };
        self.conversations.spawn("blocks for another peer", serving.serve());
    }
}

impl Open {
    /// Puts waiting blocks behind the door as far as there is room.
    fn pass_on(&mut self) {
        while let Some(block) = self.waiting.pop_front() {
            match self.keeper.blocks.try_send(block) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(block)) => return self.waiting.push_front(block),
                // Nobody takes blocks: there is nothing to wait for.
                Err(mpsc::error::TrySendError::Closed(_)) => return self.waiting.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
