use std::sync::Arc;

use bytes::Bytes;
use ripstop_interop::{CHANNEL, Client, Random, SharedHistory, Site, Work};
use ripstop_peer::client::{Invocation, Orderer, Peer};
use ripstop_proto::lifecycle;
use ripstop_proto::lifecycle::chaincode_source::{Type, Unavailable};

use crate::VICTIM;

/// How many clients work with assets.
const CLIENTS: usize = 6;
/// So many assets are created, changed and deleted, over and over, by all of them.
const ASSETS: usize = 12;
/// The subject of approvals, which are private data of the victim's organization.
pub(crate) const APPROVAL: &str = "approval";

/// A client with what it does.
pub(crate) enum Worker {
    /// Creates, changes and deletes assets; often two at a time one and the same, so that one of them is too late.
    Assets(Client, Random),
    /// Approves the next definition of a chaincode, each time another one.
    Approvals(Client, usize),
}

pub(crate) fn workers(site: &Site, history: &SharedHistory, random: &mut Random) -> Vec<Worker> {
    let peers = [1, 2].map(|organisation| Peer::new(&site.peer(organisation), None));
    let client = |endorsers: &[Peer], user: &str| Client {
        endorsers: endorsers.to_vec(),
        orderer: Orderer::new(&site.orderer(), None),
        witness: peers[VICTIM - 1].clone(),
        user: site.user(VICTIM, user),
        history: Arc::clone(history),
    };
    let assets = (0..CLIENTS).map(|_| Worker::Assets(client(&peers, "User1"), Random::new(random.next())));
    let approvals = Worker::Approvals(client(&peers[VICTIM - 1..VICTIM], "Admin"), 0);
    assets.collect::<Vec<_>>().into_iter().chain([approvals]).collect()
}

impl Work for Worker {
    async fn turn(&mut self) -> Result<(), String> {
        match self {
            Self::Assets(client, random) => {
                let asset = format!("asset-{}", random.below(ASSETS));
                let value = random.below(1000).to_string();
                let (function, args) = match random.below(4) {
                    0 => ("DeleteAsset", vec![asset.as_str()]),
                    1 => ("UpdateAsset", vec![&asset, "blue", "5", "Tomoko", &value]),
                    _ => ("CreateAsset", vec![&asset, "blue", "5", "Tomoko", &value]),
                };
                let args = args.into_iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes()));
                client.submit(&Invocation::new(CHANNEL, "asset-transfer", function, args), &asset).await.map(drop)
            }
            Self::Approvals(client, turn) => {
                *turn += 1;
                let definition = lifecycle::ApproveChaincodeDefinitionForMyOrgArgs {
                    sequence: 1,
                    name: format!("another{}", *turn % 3),
                    version: turn.to_string(),
                    source: Some(lifecycle::ChaincodeSource { r#type: Some(Type::Unavailable(Unavailable {})) }),
                    ..Default::default()
                };
                let call = Invocation::lifecycle(CHANNEL, "ApproveChaincodeDefinitionForMyOrg", &definition);
                client.submit(&call, APPROVAL).await.map(drop)
            }
        }
    }
}
