use std::sync::Arc;

use ripstop_gossip::{Node, PkiId, SelfDescription};
use ripstop_transport::Crowd;

use crate::ask::Questions;
use crate::clock::Clock;
use crate::config::{GossipConfig, GossipParts};
use crate::conversation::{Conversations, Security};
use crate::dial::Dialler;
use crate::door::Leadership;
use crate::event::Events;
use crate::handle::Shared;
use crate::metrics::GossipMetrics;
use crate::router::Router;
use crate::run::{Driver, Work};
use crate::server::GossipService;
use crate::stream::Streams;
use crate::trust::ChannelTrust;

/// The loop, not running yet, and the service of the same peer.
pub(crate) struct Assembled {
    pub(crate) driver: Driver,
    pub(crate) service: GossipService,
}

/// Puts a peer's gossip together.
pub(crate) fn assemble(config: GossipConfig, parts: GossipParts) -> Assembled {
    let identity = parts.signer.identity();
    let me = SelfDescription {
        pki_id: PkiId::of(identity),
        identity: identity.raw.clone(),
        organization: identity.msp_id.clone(),
        endpoint: config.endpoint,
        external_endpoint: config.external_endpoint,
    };
    tracing::info!(target: "gossip.service", "Initialize gossip with endpoint {}", me.endpoint);
    let options = config.options;
    let (clock, metrics, tasks) = (Clock::start(), GossipMetrics::new(&parts.metrics), parts.tasks);
    let trust = ChannelTrust::new(Arc::clone(&parts.ledgers), parts.local_msp, parts.signer);
    let (events, happened) = Events::new();
    let node = Node::new(options.clone(), me.clone(), clock.now(), rand::random(), &trust);
    let conversations = Arc::new(Conversations {
        streams: Streams::default(),
        router: Router::new(trust, Questions::default(), tasks.clone()),
        events,
        metrics,
        clock,
        patience: options.conn_timeout,
        inbox: options.recv_buff_size,
        security: if config.tls.is_some() { Security::Tls } else { Security::Plain },
    });
    let service = GossipService {
        conversations: Arc::clone(&conversations),
        me: me.clone(),
        tls: config.tls.as_ref().map(|tls| tls.server.clone()),
        outbox: options.send_buff_size,
        messages: config.messages,
        doorway: Crowd::default(),
        rooms: Crowd::default(),
    };
    let dialler = Arc::new(Dialler {
        me,
        ledgers: parts.ledgers,
        tls: config.tls,
        dial_timeout: options.dial_timeout,
        conn_timeout: options.conn_timeout,
        outbox: options.send_buff_size,
        messages: config.messages,
        keepalive: config.keepalive,
        trusted: Default::default(),
    });
    let at_first = if options.org_leader { Leadership::Leads } else { Leadership::Follows };
    let (shared, spreading) = (Arc::new(Shared::new(at_first)), config.spreading);
    let driver =
        Driver { node, shared, conversations, dialler, events: happened, tasks, spreading, work: Work::default() };
    Assembled { driver, service }
}
