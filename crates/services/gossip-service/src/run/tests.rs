use ripstop_gossip::handshake::{Purpose, judge, offer};
use ripstop_gossip::{Content, DataKind, Message, Options, SelfDescription, Tag};
use ripstop_keys::SigningIdentity;
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_testkit::Organization;
use ripstop_transport::{Keepalive, MessageLimits};
use tempfile::TempDir;

use super::*;
use crate::assemble::assemble;
use crate::config::{GossipConfig, GossipParts};
use crate::stream::{Leaving, Outbox, Stream};
use crate::trust::ChannelTrust;

/// A peer without TLS, and the keys of another one of its organization.
struct Stage {
    driver: Driver,
    other: SigningIdentity,
    others_trust: ChannelTrust,
    _directory: TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let organization = Organization::new("Org1MSP");
        let other = organization.peer("peer1");
        let ledgers = Arc::new(Ledgers::open(directory.path(), LedgerOptions::default()).unwrap());
        let local_msp = Arc::new(LocalMsp::new(&organization.msp_config()).unwrap());
        let config = GossipConfig {
            options: Options::default(),
            endpoint: "127.0.0.1:1".into(),
            external_endpoint: "127.0.0.1:1".into(),
            tls: None,
            messages: MessageLimits::default(),
            keepalive: Keepalive::default(),
            spreading: Spreading::Keep,
        };
        let parts = GossipParts {
            ledgers: Arc::clone(&ledgers),
            local_msp: Arc::clone(&local_msp),
            signer: organization.peer("peer0"),
            metrics: Metrics::new(),
            tasks: TaskGroup::root("peer"),
        };
        let others_trust = ChannelTrust::new(ledgers, local_msp, other.clone());
        Self { driver: assemble(config, parts).driver, other, others_trust, _directory: directory }
    }

    /// The other peer opens a stream, of which the machine is told.
    fn opens(&mut self) -> (Stream, Leaving) {
        let identity = self.other.identity();
        let about = SelfDescription {
            pki_id: PkiId::of(identity),
            identity: identity.raw.clone(),
            organization: identity.msp_id.clone(),
            endpoint: "127.0.0.1:2".into(),
            external_endpoint: "127.0.0.1:2".into(),
        };
        let hello = offer(&about, Default::default(), Purpose::Talk, &self.others_trust);
        let conversations = Arc::clone(&self.driver.conversations);
        let (contact, _) = judge(&conversations.router.trust, conversations.clock.now(), &hello, None).unwrap();
        let (outbox, leaving) = Outbox::new(10, &hello, &conversations.metrics);
        let stream = Stream::new(contact.clone(), "127.0.0.1:2".into(), outbox);
        assert!(conversations.streams.admit(&stream));
        self.driver.happened(Event::Connected { contact, dialled: None });
        (stream, leaving)
    }

    /// It says something; whether the machine listens.
    fn is_heard(&mut self) -> bool {
        let content = Content::Hello { nonce: 1, metadata: Default::default(), kind: DataKind::Identities };
        let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content };
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let refused = self.driver.node.counters().refused;
        self.driver.happened(Event::Received {
            from: PkiId::of(self.other.identity()),
            message: SignedMessage::unsigned(message),
            _turn: [permit(), permit(), permit()],
        });
        self.driver.node.counters().refused == refused
    }
}

#[tokio::test]
async fn the_end_of_a_stream_is_not_the_end_of_the_one_that_came_after_it() {
    let mut stage = Stage::new();
    let pki_id = PkiId::of(stage.other.identity());
    let conversations = Arc::clone(&stage.driver.conversations);
    let (first, _first) = stage.opens();
    assert!(conversations.streams.forget(&first));
    // Before the loop is told of the end there is another stream.
    let (second, _second) = stage.opens();
    stage.driver.happened(Event::Ended(pki_id.clone()));
    assert!(stage.is_heard());
    assert!(conversations.streams.forget(&second));
    stage.driver.happened(Event::Ended(pki_id));
    assert!(!stage.is_heard());
}
