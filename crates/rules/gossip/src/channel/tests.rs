use std::time::Duration;

use bytes::Bytes;

use super::network::{Network, block, organizations};
use crate::{
    AnnouncedChaincode, ChannelInput, Content, DataKind, Leadership, Logger, Message, Options, PeerTime, SignedMessage,
    StateInfo, StateOptions, StatePayload, Tag,
};

const SECOND: Duration = Duration::from_secs(1);

fn followers() -> Options {
    Options { org_leader: false, ..Options::default() }
}

fn elected() -> Options {
    Options { org_leader: false, use_leader_election: true, ..Options::default() }
}

fn state_info(network: &Network, of: usize, change: impl FnOnce(&mut StateInfo)) -> Message {
    let Content::StateInfo(mut info) = network.peers[of].channel.own.message().message().content.clone() else {
        panic!("a state info");
    };
    change(&mut info);
    Message { nonce: 0, channel: None, tag: Tag::ChannelOrOrganization, content: Content::StateInfo(info) }
}

fn later(info: &mut StateInfo) {
    info.time.sequence += 1_000_000;
}

#[test]
fn members_learn_of_each_other_though_every_third_message_is_lost() {
    for seed in 0..3 {
        let mut network =
            Network::new(seed, &["Org1"; 12].into_iter().chain(["Org2"; 12]).collect::<Vec<_>>(), &followers());
        network.loss = 0.33;
        network.join();
        network.run(40 * SECOND);
        assert!(network.everybody_sees_everybody(), "seed {seed}");
        network.input(3, ChannelInput::Height(77));
        network.run(44 * SECOND);
        assert!((0..24).filter(|peer| *peer != 3).all(|peer| network.seen_by(peer)[&3] == 77), "seed {seed}");
    }
}

#[test]
fn a_small_network_is_complete_within_a_second() {
    let mut network = Network::new(1, &["Org1", "Org1", "Org2"], &followers());
    network.join();
    network.run(SECOND);
    assert!(network.everybody_sees_everybody());
}

#[test]
fn nothing_is_said_when_nothing_changes_but_requests_and_their_answers() {
    let mut network = Network::new(1, &["Org1", "Org1", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    let before = network.sent;
    network.run(40 * SECOND);
    // Ten times each of three peers asks both others, and those of one organization whether there are blocks.
    assert_eq!(network.sent - before, 10 * (3 * 2 * 2 + 2));
}

#[test]
fn a_peer_without_an_external_endpoint_is_known_in_its_organisation_only() {
    let mut network = Network::new(2, &["Org1", "Org1", "Org2"], &followers());
    network.peers[0].hide();
    let hidden = network.peers[0].known.clone();
    network.split(&[0, 1, 2]);
    network.split(&[0, 0, 0]);
    assert!(network.peers[1].alive[&hidden.member.pki_id].member.endpoint.is_empty());
    network.join();
    network.run(20 * SECOND);
    assert!(network.seen_by(1).contains_key(&0));
    assert!(!network.seen_by(2).contains_key(&0));
}

#[test]
fn peers_of_an_organisation_that_leaves_the_channel_are_cut_off_at_once() {
    let mut network = Network::new(3, &["Org1", "Org1", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    assert_eq!(network.seen_by(0).len(), 2);
    network.input(0, ChannelInput::Reconfigured(organizations(&["Org1"], 2)));
    assert_eq!(network.seen_by(0).keys().collect::<Vec<_>>(), [&1]);

    let news = network.signed(2, state_info(&network, 2, later));
    network.receive(0, 2, &news);
    network.receive(0, 1, &news);
    assert_eq!(network.seen_by(0).len(), 1);
    let sent = network.sent;
    let mac = super::members::channel_mac(network.id(2), &network.peers[2].channel.id);
    let content = Content::StateInfoRequest { channel_mac: mac };
    let request = Message { nonce: 0, channel: None, tag: Tag::ChannelOrOrganization, content };
    network.receive(0, 2, &SignedMessage::unsigned(request));
    assert_eq!(network.sent, sent, "a snapshot was given to a peer that is not in the channel");

    network.input(0, ChannelInput::Reconfigured(organizations(&["Org1", "Org2"], 1)));
    assert_eq!(network.seen_by(0).len(), 1, "an older configuration came into force");
    network.input(0, ChannelInput::Reconfigured(organizations(&["Org1", "Org2"], 3)));
    network.run(10 * SECOND);
    assert_eq!(network.seen_by(0).len(), 2);
}

#[test]
fn peers_that_do_not_satisfy_the_readers_policy_any_more_are_cut_off() {
    let mut network = Network::new(3, &["Org1", "Org1", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    network.peers[0].set_readers(&["Org1"]);
    network.with(0, |channel, surroundings| channel.trust_changed(surroundings));
    network.run(10 * SECOND);
    assert_eq!(network.seen_by(0).keys().collect::<Vec<_>>(), [&1]);
    network.receive(0, 2, &network.block_message(1, block(1)));
    assert_eq!(network.peers[0].height, 1, "a block of a peer that is no reader was taken");
    network.receive(0, 1, &network.block_message(1, block(1)));
    assert_eq!(network.peers[0].height, 2);
}

#[test]
fn who_was_away_while_the_readers_changed_is_judged_by_the_new_ones() {
    let mut network = Network::new(3, &["Org1", "Org1", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    network.split(&[0, 0, 1]);
    network.peers[0].set_readers(&["Org1"]);
    network.with(0, |channel, surroundings| channel.trust_changed(surroundings));
    network.run(SECOND);
    network.split(&[0, 0, 0]);
    assert_eq!(network.seen_by(0).keys().collect::<Vec<_>>(), [&1]);
}

#[test]
fn state_infos_that_are_forged_stale_or_of_another_channel_are_not_believed() {
    let mut network = Network::new(4, &["Org1", "Org1", "Org2", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    let of_two = |network: &Network| network.seen_by(0)[&2];
    assert_eq!(of_two(&network), 1);
    let higher = |info: &mut StateInfo| {
        later(info);
        info.height = 1000;
    };
    let message = state_info(&network, 2, higher);
    let forged = network.signed(3, message.clone());
    network.receive(0, 3, &forged);
    let stale = network.signed(2, state_info(&network, 2, |info| info.height = 1000));
    network.receive(0, 2, &stale);
    let earlier_process = |info: &mut StateInfo| {
        higher(info);
        info.time = PeerTime { incarnation: info.time.incarnation - 1, sequence: u64::MAX };
    };
    network.receive(0, 2, &network.signed(2, state_info(&network, 2, earlier_process)));
    let other_channel = |info: &mut StateInfo| {
        higher(info);
        info.channel_mac = Bytes::from_static(&[7; 32]);
    };
    network.receive(0, 2, &network.signed(2, state_info(&network, 2, other_channel)));
    assert_eq!(of_two(&network), 1);
    network.receive(0, 3, &network.signed(2, message));
    assert_eq!(of_two(&network), 1000);
    let about_me = network.signed(0, state_info(&network, 0, higher));
    network.receive(0, 2, &about_me);
    assert!(!network.seen_by(0).contains_key(&0));
}

#[test]
fn a_state_info_that_is_too_large_does_not_hide_those_behind_it() {
    let mut network = Network::new(4, &["Org1", "Org2", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    let large = state_info(&network, 1, |info| {
        later(info);
        let chaincode =
            |_| AnnouncedChaincode { name: "c".repeat(1000), version: String::new(), metadata: Bytes::new() };
        info.chaincodes = (0..100).map(chaincode).collect();
    });
    let higher = state_info(&network, 2, |info| {
        later(info);
        info.height = 1000;
    });
    let elements = [network.signed(1, large), network.signed(2, higher)];
    let content = Content::StateInfoSnapshot(elements.iter().map(|info| info.envelope().clone()).collect());
    let snapshot = Message {
        nonce: 0,
        channel: Some(network.peers[0].channel.id.clone()),
        tag: Tag::ChannelOrOrganization,
        content,
    };
    network.receive(0, 1, &network.signed(1, snapshot));
    assert_eq!(network.seen_by(0)[&2], 1000);
}

#[test]
fn who_says_something_new_all_the_time_is_not_passed_on_all_the_time() {
    let mut network = Network::new(5, &["Org1"; 8], &followers());
    network.join();
    network.run(10 * SECOND);
    let before = network.sent;
    for step in 1..1000 {
        let message = state_info(&network, 7, |info| info.time.sequence += step * 1_000_000);
        let message = network.signed(7, message);
        network.receive(0, 7, &message);
        network.run(Duration::from_millis(1));
    }
    assert!(network.sent - before < 500, "{} messages", network.sent - before);
}

#[test]
fn who_says_that_it_left_the_channel_is_no_member() {
    let mut network = Network::new(6, &["Org1"; 3], &followers());
    network.join();
    network.run(10 * SECOND);
    let left = |info: &mut StateInfo| {
        later(info);
        info.left_channel = true;
    };
    let message = network.signed(2, state_info(&network, 2, left));
    network.receive(0, 2, &message);
    assert_eq!(network.seen_by(0).keys().collect::<Vec<_>>(), [&1]);
}

#[test]
fn members_that_come_and_go_are_reported_in_fabrics_words() {
    let mut network = Network::new(7, &["Org1", "Org1"], &followers());
    network.join();
    network.run(6 * SECOND);
    network.split(&[0, 1]);
    network.run(6 * SECOND);
    let expected = [
        "[[testchannel] Membership view has changed. peers went online:  [[peer1:7051]] , current view:  [[peer1:7051]]]",
        "[[testchannel] Membership view has changed. peers went offline:  [[peer1:7051]] , current view:  []]",
    ];
    assert_eq!(network.peers[0].logged(Logger::Channel), expected);
}

#[test]
fn a_member_that_comes_back_with_another_identity_went_online() {
    let mut network = Network::new(7, &["Org1", "Org1", "Org1"], &followers());
    network.split(&[0, 0, 1]);
    network.peers[2].reached_at("peer1:7051");
    network.join();
    network.run(6 * SECOND);
    network.split(&[0, 1, 0]);
    network.run(6 * SECOND);
    let expected = "[[testchannel] Membership view has changed. peers went online:  [[peer1:7051]] , current view:  [[peer1:7051]]]";
    assert_eq!(network.peers[0].logged(Logger::Channel), [expected; 2]);
}

#[test]
fn each_organisation_has_one_leader_also_when_messages_are_lost() {
    for seed in 0..10 {
        let mut network = Network::new(seed, &["Org1", "Org1", "Org1", "Org2", "Org2", "Org3"], &elected());
        network.loss = 0.2;
        network.join();
        network.run(120 * SECOND);
        let organizations: Vec<_> = network
            .leaders()
            .iter()
            .map(|leader| network.peers[*leader].known.organization.as_str().to_owned())
            .collect();
        assert_eq!(organizations, ["Org1", "Org2", "Org3"], "seed {seed}");
    }
}

#[test]
fn another_peer_leads_within_the_time_outs_when_the_leader_dies() {
    for seed in 0..10 {
        let mut network = Network::new(seed, &["Org1"; 5], &elected());
        network.join();
        network.run(40 * SECOND);
        let [leader] = network.leaders()[..] else { panic!("seed {seed}") };
        let bound = crate::takeover_bound(&elected().election);
        network.kill(leader, bound + SECOND);
        assert_eq!(network.leaders().len(), 1, "seed {seed}");
    }
}

#[test]
fn each_partition_has_a_leader_and_one_steps_down_when_they_meet() {
    for seed in 0..10 {
        let mut network = Network::new(seed, &["Org1"; 6], &elected());
        network.join();
        network.run(40 * SECOND);
        network.split(&[0, 0, 0, 1, 1, 1]);
        network.run(60 * SECOND);
        let leaders = network.leaders();
        assert_eq!(leaders.len(), 2, "seed {seed}");
        assert!(leaders[0] < 3 && leaders[1] >= 3);
        network.split(&[0; 6]);
        network.run(20 * SECOND);
        let lowest = leaders.into_iter().min_by_key(|leader| network.id(*leader).clone()).unwrap();
        assert_eq!(network.leaders(), [lowest], "seed {seed}");
    }
}

#[test]
fn a_leader_that_reaches_no_orderer_lets_another_lead() {
    let mut network = Network::new(8, &["Org1"; 3], &elected());
    network.join();
    network.run(40 * SECOND);
    let [first] = network.leaders()[..] else { panic!("one leader") };
    network.input(first, ChannelInput::OrderersUnreachable);
    assert!(network.leaders().is_empty());
    network.run(45 * SECOND);
    let [second] = network.leaders()[..] else { panic!("one leader") };
    assert_ne!(first, second);
}

/// A declaration of one peer that another one signed, of a process that began in the far future.
fn declaration(network: &Network, by: usize, of: usize, sequence: u64) -> SignedMessage {
    let pki_id = network.id(of).clone();
    let time = PeerTime { incarnation: u64::MAX, sequence };
    let content = Content::Leadership(Leadership { pki_id, time, is_declaration: true });
    let channel = Some(network.peers[0].channel.id.clone());
    network.signed(by, Message { nonce: 0, channel, tag: Tag::ChannelAndOrganization, content })
}

#[test]
fn a_leader_whose_clock_was_put_back_while_it_was_away_is_heard_again() {
    let mut network = Network::new(10, &["Org1", "Org1"], &elected());
    network.join();
    network.run(40 * SECOND);
    let [leader] = network.leaders()[..] else { panic!("one leader") };
    network.receive(1 - leader, leader, &declaration(&network, leader, leader, 1));
    network.split(&[0, 1]);
    network.run(40 * SECOND);
    assert_eq!(network.leaders().len(), 2);
    network.split(&[0, 0]);
    network.run(40 * SECOND);
    assert_eq!(network.leaders(), [leader]);
}

#[test]
fn who_leads_another_organisation_is_nobodys_leader() {
    let mut network = Network::new(9, &["Org1", "Org1", "Org2"], &elected());
    network.join();
    network.run(40 * SECOND);
    let leader = network.leaders()[0];
    let other = 1 - leader;
    // Of another organization, forged by it, and forged by a peer of the own organization.
    network.receive(leader, 2, &declaration(&network, 2, 2, 1));
    network.receive(leader, 2, &declaration(&network, 2, other, 2));
    network.receive(leader, other, &declaration(&network, 2, other, 3));
    assert!(network.peers[leader].leads);
    // The lower peer leads, whoever did before.
    network.receive(leader, other, &declaration(&network, other, other, 4));
    assert_eq!(network.peers[leader].leads, network.id(leader) < network.id(other));
}

#[test]
fn blocks_that_are_pushed_and_lost_are_pulled() {
    for seed in 0..3 {
        let mut network = Network::new(seed, &["Org1"; 8], &elected());
        network.join();
        network.run(40 * SECOND);
        network.loss = 0.1;
        for _ in 0..40 {
            network.ordered += 1;
            network.run(2 * SECOND);
        }
        network.run(20 * SECOND);
        let heights: Vec<_> = network.peers.iter().map(|peer| peer.height).collect();
        assert_eq!(heights, [41; 8], "seed {seed}");
        assert!(network.peers.iter().all(|peer| peer.served == 0));
    }
}

#[test]
fn blocks_are_pulled_within_the_organisation_only() {
    let mut network = Network::new(1, &["Org1", "Org1", "Org2"], &elected());
    network.join();
    network.run(40 * SECOND);
    let follower = (0..2).find(|peer| !network.peers[*peer].leads).unwrap();
    // The block came to the leader of one organization only.
    network.input(1 - follower, ChannelInput::Pulled { number: 1, block: block(1) });
    network.run(20 * SECOND);
    assert_eq!(network.peers[follower].height, 2);
    assert_eq!(network.peers[2].height, 1);
}

#[test]
fn the_members_of_a_small_channel_are_told_with_each_change() {
    let mut network = Network::new(1, &["Org1", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    let heights = |network: &mut Network| {
        let mut heights = None;
        network.with(0, |channel, surroundings| {
            let members = channel.members(surroundings);
            heights = members.map(|members| members.into_values().map(|member| member.height).max());
        });
        heights
    };
    assert_eq!(heights(&mut network), Some(Some(1)));
    assert_eq!(heights(&mut network), None);
    network.input(1, ChannelInput::Height(5));
    network.run(4 * SECOND);
    assert_eq!(heights(&mut network), Some(Some(5)));
}

#[test]
fn who_sends_state_infos_that_nobody_signed_is_not_verified_any_more() {
    let mut network = Network::new(1, &["Org1", "Org1", "Org2"], &followers());
    network.join();
    network.run(10 * SECOND);
    for step in 1..200 {
        let message = state_info(&network, 2, |info| info.time.sequence += step);
        let forged = network.signed(1, message);
        network.receive(0, 1, &forged);
    }
    let news = |info: &mut StateInfo| {
        later(info);
        info.height = 9;
    };
    let true_one = network.signed(2, state_info(&network, 2, news));
    network.receive(0, 1, &true_one);
    assert_eq!(network.seen_by(0)[&2], 1, "who forges is heard");
    network.receive(0, 2, &true_one);
    assert_eq!(network.seen_by(0)[&2], 9, "others are not heard");
}

/// A message that a hostile peer might send: anything that can be parsed.
fn anything(network: &mut Network) -> (usize, SignedMessage) {
    let mut random = fastrand::Rng::with_seed(network.random.u64(..));
    let number = |random: &mut fastrand::Rng| match random.u8(..4) {
        0 => random.u64(..30),
        1 => network.peers[0].height.wrapping_add(random.u64(..5)).wrapping_sub(2),
        2 => u64::MAX - random.u64(..3),
        _ => random.u64(..),
    };
    let by = random.usize(1..network.peers.len());
    let about = random.usize(..network.peers.len());
    let payload = |random: &mut fastrand::Rng| {
        let number = number(random);
        let block = if random.bool() { block(number) } else { Bytes::from("made up") };
        StatePayload { number, block, private_data: Vec::new() }
    };
    let digests = |random: &mut fastrand::Rng| -> Vec<Bytes> {
        let digits = ["", "007", "-1", "18446744073709551616", "\u{661}"];
        let odd = digits.into_iter().map(Bytes::from);
        odd.chain((0..random.usize(..20)).map(|_| Bytes::from(number(random).to_string()))).collect()
    };
    let (kind, nonce) = (DataKind::Blocks, random.u64(..4));
    let time = PeerTime { incarnation: number(&mut random), sequence: number(&mut random) };
    let pki_id = network.id(about).clone();
    let mut message = state_info(network, about, |info| {
        info.time = time;
        info.height = number(&mut random);
        info.left_channel = random.u8(..8) == 0;
    });
    if random.u8(..4) > 0 {
        message.channel = Some(network.peers[0].channel.id.clone());
        message.content = match random.u8(..10) {
            0 => Content::Block(payload(&mut random)),
            1 => Content::Hello { nonce, metadata: Bytes::new(), kind },
            2 => Content::Digest { nonce, digests: digests(&mut random), kind },
            3 => Content::Request { nonce, digests: digests(&mut random), kind },
            4 => {
                let payload = payload(&mut random);
                let data = vec![network.block_message(payload.number, payload.block).envelope().clone()];
                Content::Update { nonce, data, kind }
            }
            5 => Content::StateRequest { start: number(&mut random), end: number(&mut random) },
            6 => Content::StateResponse((0..random.usize(..5)).map(|_| payload(&mut random)).collect()),
            7 => Content::Leadership(Leadership { pki_id, time, is_declaration: random.bool() }),
            8 => Content::StateInfoRequest {
                channel_mac: super::members::channel_mac(&pki_id, &network.peers[0].channel.id),
            },
            _ => Content::StateInfoSnapshot(vec![network.signed(by, message.clone()).envelope().clone()]),
        };
    }
    (by, network.signed(if random.bool() { by } else { about }, message))
}

#[test]
fn no_message_makes_a_peer_panic_or_keep_more_than_its_bounds() {
    let options = Options { state: StateOptions { enabled: true, ..StateOptions::default() }, ..elected() };
    for seed in 0..20 {
        let mut network = Network::new(seed, &["Org1", "Org1", "Org1", "Org2"], &options);
        network.join();
        network.run(20 * SECOND);
        for peer in 1..4 {
            network.peers[peer].runs = false;
        }
        for step in 0..1000 {
            let (by, message) = anything(&mut network);
            network.receive(0, by, &message);
            if step % 20 == 0 {
                let pause = Duration::from_millis(network.random.u64(..4000));
                network.run(pause);
            }
            let channel = &network.peers[0].channel;
            assert!(channel.waiting_blocks() <= 40, "seed {seed}: {} blocks wait", channel.waiting_blocks());
            assert!(channel.early.len() <= super::EARLY && channel.members.present().len() <= 3);
        }
    }
}

#[test]
fn what_a_peer_says_of_its_height_does_not_grow_with_the_number_of_peers() {
    let published_in_a_minute = |peers: usize| {
        let mut network = Network::new(1, &vec!["Org1"; peers], &followers());
        (1..peers).for_each(|peer| network.peers[peer].runs = false);
        network.join();
        network.run(60 * SECOND);
        let before = network.sent;
        for height in 2..602 {
            network.input(0, ChannelInput::Height(height));
            network.run(Duration::from_millis(100));
        }
        network.sent - before
    };
    // Fifteen times three peers are told, and fifteen times three asked; of five hundred, about a fourth of it.
    let (few, many) = (published_in_a_minute(100), published_in_a_minute(500));
    assert!((80..=90).contains(&few), "{few} messages");
    assert!((15..=30).contains(&many), "{many} messages");
}

#[test]
fn who_says_hello_once_gets_blocks_once() {
    let mut network = Network::new(1, &["Org1", "Org1"], &followers());
    network.join();
    network.run(10 * SECOND);
    network.peers[1].runs = false;
    network.input(0, ChannelInput::Pulled { number: 1, block: block(1) });
    network.run(SECOND);
    let step = |network: &Network, content| {
        let channel = Some(network.peers[0].channel.id.clone());
        SignedMessage::unsigned(Message { nonce: 0, channel, tag: Tag::ChannelAndOrganization, content })
    };
    let kind = DataKind::Blocks;
    let before = network.sent;
    network.receive(0, 1, &step(&network, Content::Hello { nonce: 5, metadata: Bytes::new(), kind }));
    for _ in 0..100 {
        let digests = vec![Bytes::from_static(b"1"); 100];
        network.receive(0, 1, &step(&network, Content::Request { nonce: 5, digests, kind }));
    }
    assert_eq!(network.sent - before, 2, "a digest and an update");
}
