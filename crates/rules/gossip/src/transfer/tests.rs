use std::time::Duration;

use bytes::Bytes;

use super::slots::Slots;
use super::{Accepted, Offered, Origin};
use crate::channel::network::{Network, block};
use crate::{ChannelInput, Content, Logger, Message, Options, PkiId, SignedMessage, StateOptions, StatePayload, Tag};

const SECOND: Duration = Duration::from_secs(1);

fn fetching() -> Options {
    let state = StateOptions { enabled: true, ..StateOptions::default() };
    Options { org_leader: false, state, ..Options::default() }
}

fn not_fetching() -> Options {
    Options { state: StateOptions::default(), ..fetching() }
}

/// Peers that all have many blocks, but for the first.
fn behind(seed: u64, peers: usize, height: u64, options: &Options) -> Network {
    let mut network = Network::new(seed, &vec!["Org1"; peers], options);
    (1..peers).for_each(|peer| network.peers[peer].height = height);
    network.join();
    network
}

fn claim(network: &Network, by: usize, height: u64) -> SignedMessage {
    let channel = network.peers[0].channel.id();
    let pki_id = network.id(by).clone();
    let info = crate::StateInfo {
        channel_mac: crate::channel::members::channel_mac(&pki_id, channel),
        pki_id,
        time: crate::PeerTime { incarnation: u64::MAX, sequence: 1 },
        height,
        left_channel: false,
        chaincodes: Vec::new(),
    };
    let content = Content::StateInfo(info);
    network.signed(by, Message { nonce: 0, channel: None, tag: Tag::ChannelOrOrganization, content })
}

fn ask(network: &Network, start: u64, end: u64) -> SignedMessage {
    let channel = Some(network.peers[0].channel.id().clone());
    let content = Content::StateRequest { start, end };
    SignedMessage::unsigned(Message { nonce: 5, channel, tag: Tag::ChannelOrOrganization, content })
}

#[test]
fn a_peer_that_begins_far_behind_catches_up_at_once() {
    let mut network = behind(1, 4, 1000, &fetching());
    network.run(8 * SECOND);
    assert_eq!(network.peers[0].height, 1000);
    assert!(network.peers[0].refused.is_empty());
    let served: Vec<_> = network.peers[1..].iter().map(|peer| peer.served).collect();
    assert!(served.iter().all(|served| *served > 10), "one peer alone had to serve: {served:?}");
}

#[test]
fn a_peer_that_is_far_behind_asks_for_whole_batches() {
    let mut network = behind(1, 2, 3000, &fetching());
    network.run(20 * SECOND);
    assert_eq!(network.peers[0].height, 3000);
    let batches = 3000 / u32::try_from(fetching().state.batch_size).unwrap();
    assert!(network.peers[1].served <= batches + 2, "{} questions for {batches} batches", network.peers[1].served);
}

#[test]
fn a_peer_catches_up_though_every_fifth_message_is_lost() {
    for seed in 0..5 {
        let mut network = behind(seed, 4, 200, &fetching());
        network.loss = 0.2;
        network.run(200 * SECOND);
        assert_eq!(network.peers[0].height, 200, "seed {seed}");
    }
}

#[test]
fn the_only_peer_that_has_blocks_is_asked_again_soon_however_long_it_was_silent() {
    let mut network = behind(1, 2, 100, &fetching());
    network.loss = 1.0;
    let claim = claim(&network, 1, 100);
    network.receive(0, 1, &claim);
    network.run(600 * SECOND);
    assert_eq!(network.peers[0].height, 1);
    network.loss = 0.0;
    network.run(80 * SECOND);
    assert_eq!(network.peers[0].height, 100);
}

#[test]
fn without_state_transfer_nobody_is_asked() {
    let mut network = behind(1, 3, 100, &not_fetching());
    network.run(30 * SECOND);
    assert_eq!(network.peers[0].height, 1);
    assert!(network.peers.iter().all(|peer| peer.served == 0));
}

#[test]
fn who_claims_heights_and_sends_nothing_stalls_nobody() {
    for seed in 0..5 {
        let mut network = behind(seed, 6, 300, &fetching());
        for liar in 3..6 {
            network.peers[liar].runs = false;
            network.peers[liar].leads = false;
            let claim = claim(&network, liar, u64::MAX);
            network.receive(0, liar, &claim);
        }
        network.run(20 * SECOND);
        assert_eq!(network.peers[0].height, 300, "seed {seed}");
        for peer in 1..3 {
            network.peers[peer].height = 400;
            network.input(peer, ChannelInput::Height(400));
        }
        network.run(40 * SECOND);
        assert_eq!(network.peers[0].height, 400, "seed {seed}");
    }
}

#[test]
fn who_sends_blocks_that_are_made_up_is_asked_last() {
    for seed in 0..5 {
        let mut network = behind(seed, 4, 300, &fetching());
        network.peers[2].fakes = true;
        network.run(30 * SECOND);
        assert_eq!(network.peers[0].height, 300, "seed {seed}");
        let refused = &network.peers[0].refused;
        assert!(refused.len() < 4, "seed {seed}: {refused:?}");
        assert!(refused.iter().all(|(_, from)| from == network.id(2)), "seed {seed}");
    }
}

#[test]
fn blocks_that_a_leader_pushes_come_to_all_of_its_organisation() {
    let options = Options { use_leader_election: true, ..fetching() };
    let mut network = Network::new(3, &["Org1"; 8], &options);
    network.join();
    network.run(40 * SECOND);
    assert_eq!(network.leaders().len(), 1);
    for _ in 0..50 {
        network.ordered += 1;
        network.run(Duration::from_millis(100));
    }
    network.run(15 * SECOND);
    assert!(network.peers.iter().all(|peer| peer.height == 51));
}

#[test]
fn made_up_blocks_are_not_passed_on_and_do_not_displace_true_ones() {
    let options = Options { use_leader_election: true, ..fetching() };
    let mut network = Network::new(4, &["Org1"; 6], &options);
    network.join();
    network.run(40 * SECOND);
    let hostile = (0..6).find(|peer| !network.peers[*peer].leads).unwrap();
    for round in 0..50 {
        let ahead = network.ordered + 3 * (round % 2);
        for victim in (0..6).filter(|peer| *peer != hostile) {
            let message = network.block_message(ahead, Bytes::from("made up"));
            network.receive(victim, hostile, &message);
        }
        network.ordered += 1;
        network.run(Duration::from_millis(200));
    }
    network.run(20 * SECOND);
    for peer in &network.peers {
        assert_eq!(peer.height, 51);
        assert!(peer.refused.iter().all(|(_, from)| from == network.id(hostile)));
        assert!(peer.refused.len() < 8, "{} refused", peer.refused.len());
    }
}

#[test]
fn blocks_far_ahead_are_not_kept_and_a_peer_without_state_transfer_says_that_it_cannot_catch_up() {
    let mut network = behind(5, 2, 1, &not_fetching());
    for number in [1, 2, 20, 21, 22, 500, 501, u64::MAX - 1, u64::MAX] {
        let message = network.block_message(number, block(number));
        network.receive(0, 1, &message);
    }
    assert_eq!(network.peers[0].height, 3);
    assert_eq!(network.peers[0].channel.waiting_blocks(), 3);
    let expected = "[testchannel] Current block height (3) is too far behind other peers at height (501) to be able to \
        receive blocks without state transfer which is disabled in the configuration (peer.gossip.state.enabled = false). \
        Consider enabling it or setting the peer explicitly to be a leader (peer.gossip.orgLeader = true) in order to pull \
        blocks directly from the ordering service.";
    assert_eq!(network.peers[0].logged(Logger::State)[1..], [expected]);
}

#[test]
fn no_more_is_served_than_a_peer_may_ask_for() {
    let mut network = behind(6, 2, 100, &not_fetching());
    network.run(5 * SECOND);
    for (start, end) in [(5, 4), (0, 11), (0, u64::MAX), (u64::MAX, 0)] {
        network.receive(1, 0, &ask(&network, start, end));
    }
    assert_eq!(network.peers[1].served, 0);
    let sent = network.sent;
    for (start, end) in [(100, 100), (u64::MAX, u64::MAX)] {
        network.receive(1, 0, &ask(&network, start, end));
    }
    assert_eq!((network.peers[1].served, network.sent - sent), (0, 2), "answers that there is nothing");
    for (start, end) in [(0, 0), (0, 10), (95, 105)] {
        network.receive(1, 0, &ask(&network, start, end));
    }
    assert_eq!(network.peers[1].served, 3);
    (0..1000).for_each(|_| network.receive(1, 0, &ask(&network, 0, 9)));
    assert_eq!(network.peers[1].served, 94);
}

#[test]
fn answers_that_nobody_asked_for_are_not_taken() {
    let mut network = behind(7, 3, 1, &fetching());
    network.run(5 * SECOND);
    let payload = StatePayload { number: 1, block: block(1), private_data: Vec::new() };
    let channel = Some(network.peers[0].channel.id().clone());
    let content = Content::StateResponse(vec![payload]);
    let answer = SignedMessage::unsigned(Message { nonce: 1, channel, tag: Tag::ChannelOrOrganization, content });
    network.receive(0, 1, &answer);
    assert_eq!((network.peers[0].height, network.peers[0].channel.waiting_blocks()), (1, 0));
}

fn peer(number: u8) -> PkiId {
    PkiId::claimed(Bytes::copy_from_slice(&[number]))
}

#[test]
fn one_peer_cannot_fill_the_memory_for_blocks_and_the_next_block_finds_room() {
    const MIB: usize = 1024 * 1024;
    let large = Bytes::from(vec![0; 60 * MIB]);
    let block = |number, from, block: &Bytes| Accepted {
        payload: StatePayload { number, block: block.clone(), private_data: Vec::new() },
        from: peer(from),
        origin: Origin::Pushed,
    };
    let mut slots = Slots::default();
    assert_eq!(slots.keep(block(7, 1, &large), 5), Offered::Taken);
    assert_eq!(slots.keep(block(8, 1, &large), 5), Offered::Taken);
    assert_eq!(slots.keep(block(9, 1, &large), 5), Offered::NoRoom);
    assert_eq!(slots.keep(block(10, 2, &large), 5), Offered::Taken);
    assert_eq!(slots.keep(block(11, 2, &large), 5), Offered::Taken);
    assert_eq!(slots.keep(block(12, 3, &large), 5), Offered::NoRoom);
    // The needed block is taken from anybody; the block that is needed last makes room.
    assert_eq!(slots.keep(block(5, 1, &large), 5), Offered::Taken);
    assert!(!slots.has(11) && slots.has(10));
    assert_eq!(slots.remove_below(9).len(), 3);
    slots.remove_of(&peer(2));
    assert_eq!((slots.len(), slots.bytes()), (0, 0));
}

#[test]
fn two_versions_of_a_block_wait_each_of_another_peer() {
    let block = |from, text: &'static str| Accepted {
        payload: StatePayload { number: 3, block: Bytes::from(text), private_data: Vec::new() },
        from: peer(from),
        origin: Origin::Pushed,
    };
    let mut slots = Slots::default();
    assert_eq!(slots.keep(block(1, "fake"), 3), Offered::Taken);
    assert_eq!(slots.keep(block(1, "another fake"), 3), Offered::Known);
    assert_eq!(slots.keep(block(2, "fake"), 3), Offered::Known);
    assert_eq!(slots.keep(block(2, "true"), 3), Offered::Taken);
    assert_eq!(slots.keep(block(3, "third"), 3), Offered::Known);
    assert_eq!(slots.first_of(3), Some(&block(1, "fake")));
    slots.remove_of(&peer(1));
    assert_eq!(slots.first_of(3), Some(&block(2, "true")));
}
