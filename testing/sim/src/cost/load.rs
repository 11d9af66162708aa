//! What a peer sends in a second while nothing happens: how often the rules say, how large the encodings are.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::{Content, DataKind, Message, Moment, Options, PeerTime, SignedMessage, StateInfo, Tag};
use ripstop_types::MspId;

use super::one::{alive, size};
use super::{CERTIFICATE, SIGNATURE, organizations};
use crate::trust::{Authority, Credentials, Reach, describe};

/// Of how many peers the machine's intervals are those of the settings; of more they grow.
pub(super) const FEW: usize = 128;

/// What a peer sends in a second.
pub(super) struct Load {
    pub(super) messages: f64,
    pub(super) bytes: f64,
    /// Of each kind in a thousand seconds: how many, and their bytes.
    pub(super) by_kind: BTreeMap<&'static str, (u64, u64)>,
}

/// The load in a network of so many peers, in which a peer pushes so many alive messages a second and the intervals are so
/// many times those of the settings.
pub(super) fn of(peers: usize, pushes: f64, stretch: u32) -> Load {
    let options = Options::default();
    let sizes = Sizes::new(peers);
    let often =
        |interval: Duration, count: usize, stretch: u32| count as f64 / interval.saturating_mul(stretch).as_secs_f64();
    let asks = often(options.pull_interval, options.pull_peer_num, stretch);
    let state_infos = often(options.request_state_info_interval, options.pull_peer_num, stretch);
    let blocks = often(options.pull_interval, options.pull_peer_num, 1);
    let kinds = [
        ("alive", pushes, sizes.alive),
        ("membership request", asks, sizes.request),
        ("membership response", asks, sizes.response),
        ("hello", asks + blocks, sizes.hello),
        ("digest", asks, sizes.digest),
        ("state info request", state_infos, sizes.state_info_request),
        ("state infos", state_infos, sizes.state_infos),
    ];
    Load {
        messages: kinds.iter().map(|(_, often, _)| often).sum(),
        bytes: kinds.iter().map(|(_, often, size)| often * size).sum(),
        by_kind: kinds
            .iter()
            .map(|(kind, often, size)| (*kind, ((often * 1000.0) as u64, (often * size * 1000.0) as u64)))
            .collect(),
    }
}

/// Mean sizes in bytes.
struct Sizes {
    alive: f64,
    request: f64,
    response: f64,
    hello: f64,
    digest: f64,
    state_info_request: f64,
    state_infos: f64,
}

impl Sizes {
    fn new(peers: usize) -> Self {
        let now = Moment::from_nanoseconds(1_700_000_000_000_000_000);
        let organization = MspId::new("Org1MSP");
        let mut authority = Authority::default();
        let identity = authority.issue("peer1", &organization, CERTIFICATE);
        let authority = Rc::new(authority);
        let trust = Credentials::of(&authority, &identity, SIGNATURE);
        let about = describe(peers / 2, &organization, identity, Reach::Everybody);
        let with_secret = alive(&about, PeerTime { incarnation: now.nanoseconds(), sequence: 100 }, &trust);
        let without = with_secret.without_secret();
        let pki_id = about.pki_id.as_bytes().clone();
        let unsigned = |nonce, content| {
            size(&SignedMessage::unsigned(Message { nonce, channel: None, tag: Tag::Everybody, content })) as f64
        };
        // Of one's own organization: all that is known, or all of the organization; of another: both organizations.
        let each = peers as f64 / organizations(peers) as f64;
        let is_own = if peers > 1 { (each - 1.0) / (peers as f64 - 1.0) } else { 0.0 };
        let mix = |own: f64, other: f64| own * is_own + other * (1.0 - is_own);
        let many = |count: f64, content: &dyn Fn(usize) -> Content| unsigned(1, content(count as usize));
        let answer = |count, message: &SignedMessage| {
            let of = |count| Content::MembershipResponse {
                alive: vec![message.envelope().clone(); count],
                dead: Vec::new(),
            };
            many(count, &of)
        };
        let digests = |count| {
            let of = |count| Content::Digest {
                nonce: u64::MAX,
                digests: vec![pki_id.clone(); count],
                kind: DataKind::Identities,
            };
            many(count, &of)
        };
        let request = |message: &SignedMessage| {
            unsigned(0, Content::MembershipRequest { about_me: Box::new(message.clone()), known: Vec::new() })
        };
        let info = StateInfo {
            pki_id: about.pki_id.clone(),
            channel_mac: Bytes::from_static(&[7; 32]),
            time: PeerTime { incarnation: now.nanoseconds(), sequence: now.nanoseconds() },
            height: 1000,
            left_channel: false,
            chaincodes: Vec::new(),
        };
        let info =
            Message { nonce: 0, channel: None, tag: Tag::ChannelOrOrganization, content: Content::StateInfo(info) };
        let info = SignedMessage::signed(info, &trust).envelope().clone();
        Self {
            alive: size(&without) as f64,
            request: mix(request(&with_secret), request(&without)),
            response: mix(answer(each, &with_secret), answer(2.0 * each, &without)),
            hello: unsigned(0, Content::Hello { nonce: u64::MAX, metadata: Bytes::new(), kind: DataKind::Identities }),
            digest: mix(digests(peers as f64), digests(2.0 * each)),
            state_info_request: unsigned(0, Content::StateInfoRequest { channel_mac: Bytes::from_static(&[7; 32]) }),
            state_infos: unsigned(0, Content::StateInfoSnapshot(vec![info; peers])),
        }
    }
}
