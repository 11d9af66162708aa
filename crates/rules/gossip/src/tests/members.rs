use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ripstop_types::{ChannelId, MspId};

use super::network::{Network, World, internal};
use crate::{AnchorPeer, ChannelInput, ChannelOrganizations, Input, NoteLevel, Options, SelfDescription};

const MINUTE: Duration = Duration::from_secs(60);

fn bootstrap(number: usize) -> Options {
    Options { bootstrap: vec![internal(number)], ..Options::default() }
}

/// Some peers of an organization, all of which know the first.
fn organization(network: &mut Network, name: &str, count: usize) -> Vec<usize> {
    let first = network.peers.len();
    (0..count).map(|_| network.add(name, bootstrap(first))).collect()
}

/// Everybody is in a channel of all organizations whose anchor peers are these.
fn join(network: &mut Network, anchors: &[usize]) {
    let organizations = anchor_peers(network, anchors);
    for index in 0..network.peers.len() {
        let input = ChannelInput::Joined { organizations: organizations.clone(), height: 1, chaincodes: Vec::new() };
        network.input(index, Input::Channel(ChannelId::new("mychannel").unwrap(), input));
    }
}

fn anchor_peers(network: &Network, anchors: &[usize]) -> ChannelOrganizations {
    let mut by_organization = BTreeMap::<MspId, Vec<AnchorPeer>>::new();
    for peer in &network.peers {
        by_organization.entry(peer.about.organization.clone()).or_default();
    }
    for index in anchors {
        let about = &network.peers[*index].about;
        let (host, _) = about.external_endpoint.split_once(':').unwrap();
        let anchor = AnchorPeer { host: host.to_owned(), port: 7051 };
        by_organization.get_mut(&about.organization).unwrap().push(anchor);
    }
    ChannelOrganizations { sequence: 1, anchors: by_organization }
}

#[test]
fn a_bootstrap_peer_makes_two_peers_know_each_other_at_once() {
    let mut network = Network::new(1);
    organization(&mut network, "Org1MSP", 2);
    let took = network.run_until(Duration::from_secs(1), Network::all_know_all);
    assert!(took.is_some());
    let view = network.peers[0].view();
    let other = view.alive.values().next().unwrap();
    assert_eq!(
        (other.member.endpoint.as_str(), other.member.internal_endpoint.as_str()),
        ("peer1.outside:7051", "peer1.inside:7051")
    );
    assert_eq!(other.organization, MspId::new("Org1MSP"));
    assert_eq!(view.me.as_ref().unwrap().member.internal_endpoint, internal(0));
}

#[test]
fn an_organisation_knows_all_its_peers_within_seconds_whatever_is_lost() {
    let mut network = Network::new(2);
    network.loss = 25;
    organization(&mut network, "Org1MSP", 20);
    let took = network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    assert!(took < Duration::from_secs(30), "{took:?}");
    // And goes on knowing them.
    for _ in 0..30 {
        network.run(Duration::from_secs(4));
        assert!(network.all_know_all());
    }
}

#[test]
fn anchor_peers_join_organisations_and_internal_endpoints_stay_inside() {
    let mut network = Network::new(3);
    let one = organization(&mut network, "Org1MSP", 4);
    let two = organization(&mut network, "Org2MSP", 4);
    join(&mut network, &[one[0], two[0]]);
    let took = network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    assert!(took < Duration::from_secs(15), "{took:?}");
    network.run(MINUTE);
    for peer in &mut network.peers {
        let organization = peer.about.organization.clone();
        for known in peer.view().alive.values() {
            let is_own = known.organization == organization;
            assert_eq!(known.member.internal_endpoint.is_empty(), !is_own, "{}", known.member.pki_id);
            assert_eq!(known.alive.has_secret(), is_own);
            assert!(!known.member.endpoint.is_empty());
        }
        assert!(peer.closed.is_empty(), "{:?}", peer.closed);
        assert_eq!(peer.node.counters().refused, 0);
    }
}

#[test]
fn a_peer_without_external_endpoint_is_known_inside_only_and_knows_nobody_outside() {
    let mut network = Network::new(4);
    let one = organization(&mut network, "Org1MSP", 3);
    let mut hidden = Network::describe(3, "Org1MSP");
    hidden.external_endpoint.clear();
    let hidden = network.add_as(hidden, bootstrap(one[0]));
    let two = organization(&mut network, "Org2MSP", 3);
    join(&mut network, &[one[0], two[0]]);
    network.run(Duration::from_secs(120));
    let known = |network: &mut Network, index: usize| network.peers[index].view().alive.len();
    assert_eq!(known(&mut network, hidden), 3);
    for index in one {
        assert_eq!(known(&mut network, index), 6);
    }
    for index in two {
        assert_eq!(known(&mut network, index), 5);
    }
    assert!(network.peers[hidden].noted("External endpoint is empty"));
    assert!(network.peers[hidden].noted("isn't in our org(Org2MSP) and we have no external endpoint, skipping"));
}

#[test]
fn a_peer_that_crashes_is_dead_for_everybody_and_lives_again_when_it_comes_back() {
    let mut network = Network::new(5);
    organization(&mut network, "Org1MSP", 6);
    network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    network.kill(4);
    let took = network.run_until(MINUTE, Network::all_know_all).expect("death is seen");
    assert!(took <= Duration::from_secs(28), "{took:?}");
    assert!(
        network.peers[0].noted("Closing connection to Endpoint: peer4.outside:7051, InternalEndpoint: peer4.inside")
    );
    network.restart(4, bootstrap(0));
    let took = network.run_until(MINUTE, Network::all_know_all).expect("life is seen");
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[test]
fn two_halves_forget_each_other_and_meet_again() {
    let mut network = Network::new(6);
    organization(&mut network, "Org1MSP", 6);
    network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    for a in 0..3 {
        (3..6).for_each(|b| network.cut(a, b));
    }
    network.run(MINUTE);
    for peer in &mut network.peers {
        assert_eq!(peer.view().alive.len(), 2);
    }
    network.heal();
    let took = network.run_until(MINUTE, Network::all_know_all).expect("the halves meet");
    assert!(took < Duration::from_secs(40), "{took:?}");
}

#[test]
fn who_is_gone_for_long_is_forgotten_but_bootstrap_and_anchor_peers_are_not() {
    let mut network = Network::new(7);
    let peers = organization(&mut network, "Org1MSP", 4);
    let options = Options { bootstrap: vec![internal(peers[0])], msg_expiration_factor: 2, ..Options::default() };
    let watcher = network.add("Org1MSP", options);
    join(&mut network, &[peers[1]]);
    network.run(MINUTE);
    assert!(network.all_know_all());
    (0..3).for_each(|index| network.kill(index));
    network.run(Duration::from_secs(60));
    let watcher = &network.peers[watcher];
    let text = format!(
        "Removing member: Endpoint: peer2.outside:7051, InternalEndpoint: peer2.inside:7051, PKIID: {}",
        network.peers[2].about.pki_id
    );
    assert!(watcher.noted(&text));
    for number in 0..2 {
        let text = format!("Do not remove bootstrap or anchor peer endpoint peer{number}.outside:7051 from membership");
        assert_eq!(watcher.notes.iter().filter(|note| note.text == text).count(), 1);
        assert!(watcher.notes.iter().any(|note| note.text == text && note.level == NoteLevel::Debug));
    }
    assert!(!watcher.noted("Removing member: Endpoint: peer0"));
}

#[test]
fn a_bootstrap_peer_of_another_organisation_is_refused() {
    let mut network = Network::new(8);
    network.add("Org1MSP", Options::default());
    network.add("Org2MSP", bootstrap(0));
    network.run(MINUTE);
    assert!(network.peers[1].noted("peer0.inside:7051 isn't in our organization, cannot be a bootstrap peer"));
    assert!(network.peers[0].view().alive.is_empty() && network.peers[1].view().alive.is_empty());
}

#[test]
fn bootstrap_peers_that_are_not_there_are_tried_until_they_are() {
    let mut network = Network::new(9);
    let options = Options { bootstrap: vec![internal(1), internal(0)], ..Options::default() };
    network.add("Org1MSP", options);
    network.run(Duration::from_secs(80));
    assert!(network.peers[0].noted("Could not connect to Endpoint: peer1.inside:7051"));
    network.add("Org1MSP", Options::default());
    assert!(network.run_until(Duration::from_secs(30), Network::all_know_all).is_some());
}

#[test]
fn who_renews_its_certificate_takes_the_place_of_who_it_was() {
    let mut network = Network::new(10);
    organization(&mut network, "Org1MSP", 3);
    network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    // Twice: the second time a dead peer is remembered besides.
    for renewal in 0..2 {
        let last = network.peers.len() - 1;
        let old = network.peers[last].id();
        network.kill(last);
        if renewal == 1 {
            network.run(MINUTE);
        }
        let mut renewed = Network::describe(99 + renewal, "Org1MSP");
        renewed.endpoint = internal(2);
        renewed.external_endpoint = "peer2.outside:7051".to_owned();
        network.add_as(renewed, bootstrap(0));
        network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
        network.run(MINUTE);
        let dialled_before: Vec<_> = network.peers.iter().map(|peer| peer.dialled_for(&old)).collect();
        network.run(MINUTE);
        assert!(network.all_know_all());
        // Nobody tries the old one any more, the new one itself least of all.
        let dialled: Vec<_> = network.peers.iter().map(|peer| peer.dialled_for(&old)).collect();
        assert_eq!(dialled, dialled_before);
        assert_eq!(network.peers.last().unwrap().dialled_for(&old), 0);
    }
    assert!(network.peers[0].noted("Peer peer2.inside:7051 changed its PKI-ID from"));
}

#[test]
fn who_takes_the_place_of_an_only_neighbour_is_asked_in_its_place() {
    let mut network = Network::new(19);
    network.add("Org1MSP", bootstrap(1));
    network.add("Org1MSP", Options::default());
    network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    network.kill(1);
    network.run(MINUTE);
    // Nobody introduces the new one.
    let renewed = SelfDescription { endpoint: internal(1), ..Network::describe(99, "Org1MSP") };
    network.add_as(renewed, Options::default());
    assert!(network.run_until(MINUTE, Network::all_know_all).is_some());
}

#[test]
fn identities_of_peers_that_began_long_ago_come_by_pull() {
    let mut network = Network::new(11);
    organization(&mut network, "Org1MSP", 8);
    network.run(Duration::from_secs(90));
    // Now alive messages do not carry identities any more.
    network.add("Org1MSP", bootstrap(0));
    let took = network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn anchor_peers_of_an_older_configuration_are_not_learned() {
    let mut network = Network::new(18);
    let peers = organization(&mut network, "Org1MSP", 1);
    join(&mut network, &peers);
    let mut older = anchor_peers(&network, &[]);
    older.sequence = 0;
    older.anchors.get_mut(&MspId::new("Org1MSP")).unwrap().push(AnchorPeer { host: "old".to_owned(), port: 1 });
    let channel = ChannelId::new("mychannel").unwrap();
    network.input(0, Input::Channel(channel, ChannelInput::Reconfigured(older)));
    assert!(!network.peers[0].noted("{old 1}"));
}

/// The first and the third peer are in a channel of both organizations; the second, of the organization of the first, is in
/// none, and trusts only its own organization. Gives back how it joins.
fn outsider(network: &mut Network) -> Input {
    organization(network, "Org1MSP", 2);
    organization(network, "Org2MSP", 1);
    let world = World { distrusted: ["Org2MSP".to_owned()].into(), ..World::default() };
    network.peers[1].trust.world = Rc::new(RefCell::new(world));
    // By now alive messages do not carry identities any more.
    network.run(Duration::from_secs(30));
    let organizations = anchor_peers(network, &[0, 2]);
    let joins = || {
        let input = ChannelInput::Joined { organizations: organizations.clone(), height: 1, chaincodes: Vec::new() };
        Input::Channel(ChannelId::new("mychannel").unwrap(), input)
    };
    [0, 2].into_iter().for_each(|index| network.input(index, joins()));
    network.run(Duration::from_secs(120));
    assert_eq!(network.peers[0].view().alive.len(), 2);
    assert_eq!(network.peers[1].view().alive.len(), 1);
    joins()
}

#[test]
fn an_identity_that_is_not_trusted_is_asked_for_once() {
    let mut network = Network::new(17);
    outsider(&mut network);
    let second = &network.peers[1];
    let refused = second.notes.iter().filter(|note| note.text.contains("Failed validating identity message"));
    assert_eq!(refused.count(), 1);
    assert!(second.closed.is_empty());
}

#[test]
fn who_was_refused_is_known_within_seconds_of_joining_a_channel_that_vouches_for_it() {
    let mut network = Network::new(20);
    let joins = outsider(&mut network);
    network.peers[1].trust.world = Rc::clone(&network.world);
    network.input(1, joins);
    let took = network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_configuration_that_names_the_same_anchor_peers_disturbs_nobody() {
    let mut network = Network::new(21);
    let one = organization(&mut network, "Org1MSP", 2);
    let two = organization(&mut network, "Org2MSP", 2);
    join(&mut network, &[one[0], two[0]]);
    network.run(MINUTE);
    let asked = |network: &Network| network.peers[one[1]].sent["MembershipRequest"];
    let said = |network: &Network| network.peers[one[1]].notes.len();
    let before = (asked(&network), said(&network));
    let newer = ChannelOrganizations { sequence: 2, ..anchor_peers(&network, &[one[0], two[0]]) };
    let channel = ChannelId::new("mychannel").unwrap();
    network.input(one[1], Input::Channel(channel, ChannelInput::Reconfigured(newer)));
    network.run(Duration::from_millis(1));
    assert_eq!((asked(&network), said(&network)), before);
}

#[test]
fn an_organisation_that_is_not_trusted_any_more_is_cut_off_at_once() {
    let mut network = Network::new(12);
    let one = organization(&mut network, "Org1MSP", 3);
    let two = organization(&mut network, "Org2MSP", 3);
    join(&mut network, &[one[0], two[0]]);
    network.run_until(MINUTE, Network::all_know_all).expect("a minute is enough");
    network.world.borrow_mut().distrusted.insert("Org2MSP".to_owned());
    for index in &one {
        network.input(*index, Input::TrustChanged);
        let peer = &mut network.peers[*index];
        assert_eq!(peer.view().alive.len(), 2);
        assert_eq!(peer.closed.len(), 3);
        assert!(two.iter().all(|_| peer.noted("from membership")));
    }
    network.run(MINUTE);
    assert!(one.iter().all(|index| network.peers[*index].view().alive.len() == 2));
    // Trusted again, they are met again.
    network.world.borrow_mut().distrusted.clear();
    (0..6).for_each(|index| network.input(index, Input::TrustChanged));
    let organizations = anchor_peers(&network, &[one[0], two[0]]);
    for index in 0..6 {
        let input = ChannelInput::Reconfigured(ChannelOrganizations { sequence: 2, ..organizations.clone() });
        network.input(index, Input::Channel(ChannelId::new("mychannel").unwrap(), input));
    }
    assert!(network.run_until(MINUTE, Network::all_know_all).is_some());
}

#[test]
fn many_identities_are_judged_anew_in_steps_and_those_with_streams_first() {
    let mut network = Network::new(14);
    network.add("Org1MSP", Options::default());
    let strangers: Vec<_> = (100..300).map(|number| Network::describe(number, "Org2MSP")).collect();
    for stranger in &strangers {
        let trust = network.connect_stranger(0, stranger);
        network.tell(0, &stranger.pki_id, &super::hostile::signed_alive(stranger, 1, &trust));
    }
    for stranger in &strangers[5..] {
        network.input(0, Input::Closed { pki_id: stranger.pki_id.clone() });
    }
    network.world.borrow_mut().distrusted.insert("Org2MSP".to_owned());
    network.input(0, Input::TrustChanged);
    let closed: Vec<_> = network.peers[0].closed.iter().map(|(pki_id, _)| pki_id.clone()).collect();
    assert_eq!(closed.len(), 64);
    assert!(strangers[..5].iter().all(|stranger| closed.contains(&stranger.pki_id)));
    assert_eq!(network.peers[0].view().alive.len(), 200 - 64);
    network.run(Duration::from_millis(10));
    assert!(network.peers[0].view().alive.is_empty());
}

#[test]
fn a_peer_whose_certificate_ends_is_forgotten_then() {
    let mut network = Network::new(13);
    let ends = network.now + Duration::from_secs(40);
    network.world.borrow_mut().expirations.insert("peer1".to_owned(), ends);
    organization(&mut network, "Org1MSP", 3);
    network.run(Duration::from_secs(39));
    assert!(network.all_know_all());
    network.run(Duration::from_secs(2));
    for index in [0, 2] {
        let gone = network.peers[1].id();
        let peer = &mut network.peers[index];
        assert_eq!(peer.view().alive.len(), 1);
        assert!(peer.closed.contains(&(gone.clone(), "gossipping peer identity expired".to_owned())));
        assert!(peer.node.identity(&gone).is_none());
    }
    network.run(MINUTE);
    assert_eq!(network.peers[0].view().alive.len(), 1);
}

#[test]
fn a_view_is_the_same_as_long_as_nothing_changes() {
    let mut network = Network::new(14);
    let alone = network.add("Org1MSP", Options::default());
    let first = network.peers[alone].view();
    network.run(MINUTE);
    assert!(std::sync::Arc::ptr_eq(&first, &network.peers[alone].view()));
    network.add("Org1MSP", bootstrap(alone));
    network.run(Duration::from_secs(1));
    assert!(!std::sync::Arc::ptr_eq(&first, &network.peers[alone].view()));
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = || {
        let mut network = Network::new(15);
        network.loss = 10;
        organization(&mut network, "Org1MSP", 8);
        network.run(Duration::from_secs(40));
        network.kill(3);
        network.run(Duration::from_secs(40));
        let of = |peer: &super::network::Peer| (peer.notes.clone(), peer.sent.clone(), peer.node.counters());
        network.peers.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(history(), history());
}

#[test]
fn who_stops_does_nothing_any_more() {
    let mut network = Network::new(16);
    organization(&mut network, "Org1MSP", 2);
    network.run(MINUTE);
    network.input(1, Input::Stopping);
    let sent = network.peers[1].sent.clone();
    network.run(MINUTE);
    assert_eq!(network.peers[1].sent, sent);
    assert_eq!(network.peers[1].node.wake_at(), None);
    assert!(network.peers[0].view().alive.is_empty());
}
