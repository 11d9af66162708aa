use std::sync::LazyLock;

use bytes::Bytes;
use ripstop_block_store::encode_block;
use ripstop_channel_config::{ChannelConfig, update};
use ripstop_crypto::SigningIdentity;
use ripstop_proto::{Message, common, protos};
use ripstop_proto_json::{Document, Form};
use ripstop_rwset::{RangeRecorder, RwSetBuilder};
use ripstop_snapshot::{Part, SignableMetadata};
use ripstop_testkit::{Channel, DraftTransaction, Organization, meta_policy, signed_block};
use ripstop_types::{BlockNumber, ChannelId, Height};

use crate::snapshots::SnapshotPlace;
use crate::{discovery, gossip};

/// The channel of all seeds.
const CHANNEL: &str = "mychannel";

/// Valid bytes of every kind, to begin from, and the channel they belong to.
#[derive(Debug)]
pub(crate) struct Seeds {
    /// The channel's configuration.
    pub(crate) config: ChannelConfig,
    /// Who orders.
    pub(crate) orderer: SigningIdentity,
    /// A `common.Envelope` with a transaction that is valid but for its chaincode, which nobody defined.
    pub(crate) envelope: Bytes,
    /// A `common.Block`.
    pub(crate) block: Bytes,
    /// A `common.Block` as JSON.
    pub(crate) json: Bytes,
    /// A block as it stands in a block file.
    pub(crate) record: Bytes,
    /// A `rwset.TxReadWriteSet` with everything that one can hold.
    pub(crate) rwset: Bytes,
    /// A `rwset.TxPvtReadWriteSet`.
    pub(crate) private_rwset: Bytes,
    /// A certificate in PEM.
    pub(crate) certificate: Bytes,
    /// An `msp.SerializedIdentity`.
    pub(crate) identity: Bytes,
    /// A `common.SignaturePolicyEnvelope`.
    pub(crate) policy: Bytes,
    /// A policy as people write it.
    pub(crate) policy_text: Bytes,
    /// A `common.Config`.
    pub(crate) tree: Bytes,
    /// A `common.ConfigUpdate`.
    pub(crate) config_update: Bytes,
    /// A `gossip.Envelope` with a membership request.
    pub(crate) gossip_request: Bytes,
    /// A `gossip.Envelope` with identities.
    pub(crate) gossip_update: Bytes,
    /// A `gossip.Envelope` with blocks.
    pub(crate) gossip_blocks: Bytes,
    /// A `gossip.Envelope` with a state info.
    pub(crate) gossip_state_info: Bytes,
    /// A `gossip.Envelope` with a handshake.
    pub(crate) gossip_establish: Bytes,
    /// A `gossip.Envelope` with private data, and how their collection is defined.
    pub(crate) gossip_private: Bytes,
    /// A `gossip.Envelope` with private data that were asked for.
    pub(crate) gossip_private_answer: Bytes,
    /// A `discovery.Request` for those who have to endorse calls.
    pub(crate) discovery_endorsers: Bytes,
    /// A `discovery.Request` for peers and the configuration.
    pub(crate) discovery_peers: Bytes,
    /// A state file of a snapshot, behind its place in [`SnapshotPlace::files`].
    pub(crate) snapshot_state: Bytes,
    /// The numbers of a state file's entries, likewise.
    pub(crate) snapshot_counts: Bytes,
    /// Transaction ids of a snapshot, likewise.
    pub(crate) snapshot_tx_ids: Bytes,
    /// Definitions of collections in a snapshot, likewise.
    pub(crate) snapshot_collections: Bytes,
    /// What a snapshot says of itself, likewise.
    pub(crate) snapshot_metadata: Bytes,
}

static SEEDS: LazyLock<Seeds> = LazyLock::new(Seeds::make);

impl Seeds {
    /// The seeds; keys and signatures are new in each process.
    pub(crate) fn get() -> &'static Self {
        &SEEDS
    }

    fn make() -> Self {
        let ordering = Organization::new("OrdererMSP");
        let orgs = [Organization::new("Org1MSP"), Organization::new("Org2MSP")];
        let config = Channel::new(&ordering, &orgs).config();
        let (orderer, client) = (ordering.orderer("orderer"), orgs[0].client("client"));
        let peers: Vec<SigningIdentity> = orgs.iter().map(|org| org.peer("peer0")).collect();
        let (rwset, private_rwset) = sets();
        let mut draft = DraftTransaction::new(CHANNEL, &client, &peers);
        draft.results = rwset.clone();
        let event =
            protos::ChaincodeEvent { chaincode_id: "basic".into(), event_name: "e".into(), ..Default::default() };
        draft.events = event.encode_to_vec().into();
        let envelope = draft.bytes();
        let block = signed_block(&orderer, BlockNumber::new(5), "before".into(), vec![envelope.clone(); 2]);
        let mut edited = config.clone();
        if let Some(root) = &mut edited.channel_group {
            root.policies.extend([meta_policy("New", "ANY Readers")]);
        }
        let change = update::compute(&config, &edited).expect("a policy was added");
        let change = common::ConfigUpdate { channel_id: CHANNEL.to_owned(), ..change };
        let policy = common::SignaturePolicyEnvelope {
            rule: Some(common::SignaturePolicy {
                r#type: Some(common::signature_policy::Type::NOutOf(common::signature_policy::NOutOf {
                    n: 1,
                    rules: (0..2)
                        .map(|index| common::SignaturePolicy {
                            r#type: Some(common::signature_policy::Type::SignedBy(index)),
                        })
                        .collect(),
                })),
            }),
            identities: ["Org1MSP", "Org2MSP"].map(member).to_vec(),
            ..Default::default()
        };
        let (identity, snapshot) = (client.identity(), SnapshotPlace::make());
        let [gossip_request, gossip_update, gossip_blocks, gossip_state_info] = gossip::seeds();
        let [gossip_establish, gossip_private, gossip_private_answer] = gossip::private_seeds(&policy);
        let [discovery_endorsers, discovery_peers] = discovery::seeds(&policy);
        Self {
            tree: config.encode_to_vec().into(),
            config: ChannelConfig::new(ChannelId::new(CHANNEL).expect("it is a channel"), config)
                .expect("the configuration is valid"),
            orderer,
            envelope,
            record: encode_block(&block).into(),
            json: json(&block.to_proto()),
            block: block.to_proto().encode_to_vec().into(),
            rwset,
            private_rwset,
            certificate: identity.id_bytes.clone(),
            identity: identity.raw.clone(),
            policy: policy.encode_to_vec().into(),
            policy_text: Bytes::from_static(
                b"OutOf(2, 'Org1MSP.peer', AND('Org2MSP.admin', OR('Org3MSP.member', 'A.client')))",
            ),
            config_update: change.encode_to_vec().into(),
            gossip_request,
            gossip_update,
            gossip_blocks,
            gossip_state_info,
            gossip_establish,
            gossip_private,
            gossip_private_answer,
            discovery_endorsers,
            discovery_peers,
            snapshot_state: snapshot.seed(Part::PublicState.data_file()),
            snapshot_counts: snapshot.seed(Part::PublicState.metadata_file()),
            snapshot_tx_ids: snapshot.seed(Part::TxIds.data_file()),
            snapshot_collections: snapshot.seed(Part::ConfigHistory.data_file()),
            snapshot_metadata: snapshot.seed(SignableMetadata::FILE),
        }
    }
}

fn json(block: &common::Block) -> Bytes {
    let document = Document::parse(&Form::block(), &block.encode_to_vec()).expect("it is a block");
    document.to_json().expect("its transactions are whole").into()
}

fn member(msp: &str) -> common::MspPrincipal {
    let role = common::MspRole { msp_identifier: msp.to_owned(), role: 0 };
    common::MspPrincipal { principal_classification: 0, principal: role.encode_to_vec().into() }
}

/// Reads, ranges, writes, metadata and private data of one transaction.
fn sets() -> (Bytes, Bytes) {
    let version = Some(Height::new(BlockNumber::new(1), 2));
    let mut set = RwSetBuilder::new();
    set.read("basic", "key", version);
    set.read("basic", "absent", None);
    set.write("basic", "key", "value".into());
    set.write("basic", "gone", Bytes::new());
    let policy = [("VALIDATION_PARAMETER".to_owned(), Bytes::from_static(b"policy"))];
    set.write_metadata("basic", "key", policy.clone().into());
    set.private_read("basic", "coll", "secret", version);
    set.private_write("basic", "coll", "secret", "value".into());
    set.private_write_metadata("basic", "coll", "secret", policy.into());
    set.private_purge("basic", "coll", "old");
    let mut range = RangeRecorder::with_degree(2).expect("two is enough");
    for number in 0..9 {
        range.add(ripstop_rwset::KvRead { key: format!("k{number}"), version });
    }
    let query = ripstop_rwset::RangeQuery {
        start_key: "k".to_owned(),
        end_key: "l".to_owned(),
        exhausted: true,
        reads: range.finish(),
    };
    set.range_query("basic", query);
    let (public, private) = set.build();
    (public.encode(), private.map(|private| private.encode()).unwrap_or_default())
}
