//! Good messages with a few bits turned, from a seed that is printed. Nothing is expected of the answers but that they
//! are answers.

use bytes::Bytes;
use futures_util::StreamExt as _;
use ripstop_interop::{CHANNEL, DraftProposal, Random};
use ripstop_peer::client::{Invocation, Peer, endorse_on_all};
use ripstop_proto::{common, protos};
use ripstop_types::HeaderType;

use crate::world::{Outcome, World};

/// How many spoilt messages of a kind are sent.
const ROUNDS: usize = 300;
/// How many spoilt blocks: one that still describes a channel makes one.
const BLOCKS: usize = 60;
/// How many are under way at once.
const AT_ONCE: usize = 8;
const SEED: u64 = 20_240_101;

/// Notes it where a server did not answer at all.
fn judge(world: &World, outcome: &Outcome) {
    if ["Internal", "Unavailable", "Cancelled", "DeadlineExceeded", "none"].contains(&outcome.0.as_str()) {
        world.fail(format!("a spoilt message has the outcome {}: {}", outcome.0, outcome.1));
    }
}

/// Proposals: some with a signature that fits what was spoilt.
pub(crate) async fn proposals(world: &World) {
    let mut random = Random::from_environment(SEED);
    let mut proposals = Vec::new();
    for round in 0..ROUNDS {
        let good = DraftProposal::new(&world.user, CHANNEL, "asset-transfer", &[b"AssetExists", b"asset1"]);
        let good = good.sign(&world.user);
        let proposal_bytes = Bytes::from(random.spoil(&good.proposal_bytes));
        let signature = match round % 3 {
            0 => good.signature,
            _ => world.user.sign(&proposal_bytes).expect("the key signs"),
        };
        proposals.push(protos::SignedProposal { proposal_bytes, signature });
    }
    let outcomes = futures_util::stream::iter(proposals)
        .map(|proposal| async move { [world.propose(proposal.clone()).await, world.evaluate(Some(proposal)).await] });
    let outcomes: Vec<_> = outcomes.buffer_unordered(AT_ONCE).collect().await;
    for [endorsed, evaluated] in outcomes {
        judge(world, &endorsed);
        // The gateway says "unavailable" of its own accord where it does not know the channel.
        if !evaluated.1.contains("failed to get config for channel") {
            judge(world, &evaluated);
        }
    }
}

/// Endorsed transactions, signed as spoilt: the orderer orders them, and every peer has to judge them.
pub(crate) async fn envelopes(world: &World) {
    let mut random = Random::from_environment(SEED);
    let peers = [1, 2].map(|organisation| Peer::new(&world.site.peer(organisation), None));
    let args = ["asset1", "Spoilt"].map(|arg| Bytes::from_static(arg.as_bytes()));
    let proposal = Invocation::new(CHANNEL, "asset-transfer", "TransferAsset", args)
        .propose(&world.user, HeaderType::EndorserTransaction)
        .expect("the key signs");
    let responses = endorse_on_all(&peers, &proposal).await.expect("the peers endorse");
    let good = proposal.assemble(&responses, &world.user).expect("the endorsements agree");
    let mut envelopes = Vec::new();
    for round in 0..ROUNDS {
        let payload = Bytes::from(random.spoil(&good.payload));
        let signature = match round % 4 {
            0 => good.signature.clone(),
            _ => world.user.sign(&payload).expect("the key signs"),
        };
        envelopes.push(common::Envelope { payload, signature });
    }
    let outcomes: Vec<_> = futures_util::stream::iter(envelopes)
        .map(|envelope| world.broadcast(envelope))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    outcomes.iter().for_each(|outcome| judge(world, outcome));
}

/// First blocks of a channel, to the orderer and to a peer.
pub(crate) async fn blocks(world: &World) {
    let mut random = Random::from_environment(SEED);
    let genesis = world.site.genesis_block();
    for _ in 0..BLOCKS {
        let block = random.spoil(&genesis);
        judge(world, &world.join(&block).await);
        let join = DraftProposal::new(&world.admin, "", "cscc", &[b"JoinChain", &block]).sign(&world.admin);
        judge(world, &world.propose(join).await);
    }
}
