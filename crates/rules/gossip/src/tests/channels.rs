//! Channels of whole nodes: membership, identities and streams as they are.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use ripstop_types::{ChannelId, MspId};

use super::network::{Network, internal};
use crate::{
    AnchorPeer, ChannelInput, ChannelOrganizations, Content, Input, Message, Options, SignedMessage, StateOptions,
    StatePayload, Tag,
};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn block(number: u64) -> Bytes {
    Bytes::from(format!("block {number}"))
}

pub(super) fn answer(channel: ChannelId, nonce: u64, numbers: RangeInclusive<u64>) -> SignedMessage {
    let payload = |number| StatePayload { number, block: block(number), private_data: Vec::new() };
    let content = Content::StateResponse(numbers.map(payload).collect());
    let (channel, tag) = (Some(channel), Tag::ChannelOrOrganization);
    SignedMessage::unsigned(Message { nonce, channel, tag, content })
}

fn channel() -> ChannelId {
    ChannelId::new("businesschannel").unwrap()
}

fn join(network: &mut Network, peer: usize) {
    let anchors = [("Org1MSP", 0), ("Org2MSP", 1)].map(|(name, first)| {
        let anchor = AnchorPeer { host: format!("peer{first}.outside"), port: 7051 };
        (MspId::new(name), vec![anchor])
    });
    let organizations = ChannelOrganizations { sequence: 1, anchors: anchors.into() };
    let height = network.peers[peer].height;
    let input = ChannelInput::Joined { organizations, height, chaincodes: Vec::new() };
    network.input(peer, Input::Channel(channel(), input));
}

/// Peers of two organizations in turn, which begin with the first of each; it is the anchor peer, too.
fn organizations(seed: u64, peers: usize, options: &Options) -> Network {
    let mut network = Network::new(seed);
    for number in 0..peers {
        let bootstrap = if number < 2 { Vec::new() } else { vec![internal(number % 2)] };
        let organization = if number % 2 == 0 { "Org1MSP" } else { "Org2MSP" };
        network.add(organization, Options { bootstrap, ..options.clone() });
        join(&mut network, number);
    }
    network
}

fn members(network: &mut Network, peer: usize) -> usize {
    network.peers[peer].view().channels.get(&channel()).map_or(0, |members| members.len())
}

fn leaders(network: &Network) -> Vec<usize> {
    (0..network.peers.len()).filter(|peer| network.peers[*peer].leads).collect()
}

#[test]
fn nodes_learn_who_is_in_a_channel_and_who_is_not_any_more() {
    let mut network = organizations(1, 8, &Options { org_leader: false, ..Options::default() });
    let all = |network: &mut Network, count| (0..8).all(|peer| members(network, peer) == count);
    let took = network.run_until(20 * SECOND, |network| all(network, 8));
    assert!(took.is_some_and(|took| took < 8 * SECOND), "{took:?}");
    network.kill(7);
    let took = network.run_until(60 * SECOND, |network| (0..7).all(|peer| members(network, peer) == 7));
    assert!(took.is_some(), "who died is still there");
}

#[test]
fn nodes_elect_a_leader_and_another_when_it_dies_and_stop_leading_at_the_end() {
    let options = Options { org_leader: false, use_leader_election: true, ..Options::default() };
    for seed in 0..2 {
        let mut network = organizations(seed, 8, &options);
        network.run(60 * SECOND);
        let before = leaders(&network);
        assert_eq!((before.len(), (before[0] + before[1]) % 2), (2, 1), "seed {seed}: {before:?}");
        network.kill(before[0]);
        network.run(60 * SECOND);
        let after = leaders(&network);
        assert_eq!((after.len(), (after[0] + after[1]) % 2), (2, 1), "seed {seed}: {after:?}");
        assert!(!after.contains(&before[0]));
        network.input(after[0], Input::Stopping);
        assert_eq!(leaders(&network).len(), 1);
    }
}

#[test]
fn a_node_that_was_away_for_long_is_in_step_within_seconds() {
    let state = StateOptions { enabled: true, ..StateOptions::default() };
    let options = Options { org_leader: false, state, ..Options::default() };
    let mut network = organizations(3, 6, &options);
    network.run(20 * SECOND);
    for peer in 0..6 {
        network.peers[peer].height = 2000;
        network.input(peer, Input::Channel(channel(), ChannelInput::Height(2000)));
    }
    network.run(20 * SECOND);
    let late = network.add("Org1MSP", Options { bootstrap: vec![internal(0)], ..options });
    join(&mut network, late);
    let took = network.run_until(60 * SECOND, |network| network.peers[late].height == 2000);
    assert!(took.is_some_and(|took| took < 15 * SECOND), "{took:?}");
}

#[test]
fn blocks_of_a_leader_come_to_all_nodes_of_its_organisation() {
    let options = Options { org_leader: false, use_leader_election: true, ..Options::default() };
    let mut network = organizations(4, 12, &options);
    network.run(60 * SECOND);
    let leaders = leaders(&network);
    let leader = leaders[0];
    for number in 1..30 {
        network.peers[leader].height = number + 1;
        network.input(leader, Input::Channel(channel(), ChannelInput::Height(number + 1)));
        network.input(leader, Input::Channel(channel(), ChannelInput::Pulled { number, block: block(number) }));
        network.run(SECOND / 2);
    }
    network.run(10 * SECOND);
    for (number, peer) in network.peers.iter().enumerate() {
        let expected = if number % 2 == leader % 2 { 30 } else { 1 };
        assert_eq!(peer.height, expected, "peer {number}, leader {leader}");
    }
}

#[test]
fn partitions_elect_leaders_and_the_lowest_is_left_when_they_meet() {
    let options = Options { org_leader: false, use_leader_election: true, ..Options::default() };
    let mut network = organizations(6, 12, &options);
    network.run(60 * SECOND);
    let (left, right) = ([0, 2, 4], [6, 8, 10]);
    for (a, b) in left.iter().flat_map(|a| right.map(|b| (*a, b))) {
        network.cut(a, b);
    }
    // Whoever cannot reach a peer hears of it from the other organization still; only members that are cut off wholly count.
    for (a, b) in right.iter().flat_map(|a| [1, 3, 5, 7, 9, 11].map(|b| (*a, b))) {
        network.cut(a, b);
    }
    network.run(120 * SECOND);
    let of_first =
        |network: &Network| -> Vec<_> { leaders(network).into_iter().filter(|peer| peer % 2 == 0).collect() };
    let apart = of_first(&network);
    assert!(apart.len() == 2 && apart[0] < 6 && apart[1] >= 6, "{apart:?}");
    network.heal();
    network.run(90 * SECOND);
    let lowest = apart.into_iter().min_by_key(|peer| network.peers[*peer].id()).unwrap();
    assert_eq!(of_first(&network), [lowest]);
}

#[test]
fn the_same_seed_gives_the_same_history_of_a_channel() {
    let state = StateOptions { enabled: true, ..StateOptions::default() };
    let options = Options { org_leader: false, use_leader_election: true, state, ..Options::default() };
    let history = |seed| {
        let mut network = organizations(seed, 6, &options);
        network.loss = 10;
        network.run(60 * SECOND);
        network.peers[2].height = 100;
        network.input(2, Input::Channel(channel(), ChannelInput::Height(100)));
        network.run(30 * SECOND);
        let told = |peer: &super::network::Peer| (peer.height, peer.leads, peer.sent.clone(), peer.notes.clone());
        network.peers.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
