use std::sync::Mutex;

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_interop::{CHANNEL, DraftProposal, Network, Site};
use ripstop_peer::client::{BlockRequest, Orderer, Patience, Peer, Seek};
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::{common, protos};
use ripstop_testkit::Organization;
use ripstop_types::{ChannelId, MspId, SerializedIdentity};
use tonic::Status;
use tonic::transport::Channel;

/// What a request came to: a status by name or number, and the words with it.
pub(crate) type Outcome = (String, String);

/// The network, everybody who sends something to it, and what went wrong so far.
pub(crate) struct World {
    pub(crate) site: Site,
    /// The first peer of the first organization.
    pub(crate) peer: Channel,
    pub(crate) orderer: Channel,
    pub(crate) user: SigningIdentity,
    pub(crate) admin: SigningIdentity,
    /// Of the second organization.
    pub(crate) neighbour: SigningIdentity,
    pub(crate) expired: SigningIdentity,
    /// Says that it is of the first organization, which knows nothing of it.
    pub(crate) forged: SigningIdentity,
    /// Of an organization that nobody knows.
    pub(crate) foreign: SigningIdentity,
    failures: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn new(network: &Network) -> Self {
        let site = Site::open(network.directory());
        Self {
            peer: site.peer(1).channel(),
            orderer: site.orderer().channel(),
            user: site.user(1, "User1"),
            admin: site.user(1, "Admin"),
            neighbour: site.user(2, "User1"),
            expired: site.expired(1),
            forged: Organization::new("Org1MSP").client("forger"),
            foreign: Organization::new("NobodyMSP").client("stranger"),
            failures: Mutex::default(),
            site,
        }
    }

    /// The user's certificate under the name of another organization.
    pub(crate) fn misplaced(&self) -> Bytes {
        SerializedIdentity::new(MspId::new("Org2MSP"), self.user.identity().id_bytes.clone()).raw
    }

    /// Notes it where an outcome is not the expected one.
    pub(crate) fn expect(&self, name: &str, outcome: &Outcome, status: &str, words: &str) {
        if outcome.0 != status || !outcome.1.contains(words) {
            self.fail(format!("{name}: expected {status} with \"{words}\", got {}: {}", outcome.0, outcome.1));
        }
    }

    pub(crate) fn fail(&self, failure: String) {
        self.failures.lock().expect("no test thread panics").push(failure);
    }

    /// Sends a proposal to the endorser.
    pub(crate) async fn propose(&self, proposal: protos::SignedProposal) -> Outcome {
        let mut client = EndorserClient::new(self.peer.clone()).max_encoding_message_size(usize::MAX);
        match client.process_proposal(proposal).await {
            Ok(answer) => {
                let answer = answer.into_inner().response.unwrap_or_default();
                let payload = String::from_utf8_lossy(&answer.payload).into_owned();
                (answer.status.to_string(), if answer.status == 200 { payload } else { answer.message })
            }
            Err(status) => outcome_of(&status),
        }
    }

    /// Makes sure that the network does its work after what happened.
    pub(crate) async fn still_works(&self, after: &str) {
        let query = DraftProposal::new(&self.user, CHANNEL, "asset-transfer", &[b"AssetExists", b"asset1"]);
        let outcome = self.propose(query.sign(&self.user)).await;
        self.expect(&format!("a query after {after}"), &outcome, "200", "true");
        // The orderer may go on meanwhile: batches are cut by time.
        if self.height(&Peer::new(&self.site.peer(1), None)).await.is_none() {
            self.fail(format!("after {after} the peer does not come to the orderer's height"));
        }
        for panic in self.site.panics() {
            self.fail(format!("after {after}: {panic}"));
        }
    }

    async fn orderer_height(&self) -> Option<u64> {
        let channel = ChannelId::new(CHANNEL).expect("it is a channel");
        let asked = BlockRequest { channel: &channel, seek: Seek::Newest, patience: Patience::Strict };
        let newest = Orderer::new(&self.site.orderer(), None).block(asked, &self.user).await;
        newest.ok().map(|block| block.number().get() + 1)
    }

    /// The height of a peer once it has what the orderer has.
    async fn height(&self, peer: &Peer) -> Option<u64> {
        let newest = self.orderer_height().await?.checked_sub(1)?;
        let channel = ChannelId::new(CHANNEL).expect("it is a channel");
        let asked = BlockRequest { channel: &channel, seek: Seek::Number(newest), patience: Patience::Strict };
        peer.block(asked, &self.user).await.ok().map(|block| block.number().get() + 1)
    }

    /// Fails the test if anything was noted.
    pub(crate) fn finish(&self) {
        let failures = self.failures.lock().expect("no test thread panics");
        assert!(failures.is_empty(), "{} of the answers are not right:\n{}", failures.len(), failures.join("\n"));
    }
}

pub(crate) fn outcome_of(status: &Status) -> Outcome {
    (format!("{:?}", status.code()), status.message().to_owned())
}

/// The name of a status of Broadcast or Deliver.
pub(crate) fn status_name(status: i32) -> String {
    common::Status::try_from(status).map_or_else(|_| status.to_string(), |status| status.as_str_name().to_owned())
}
