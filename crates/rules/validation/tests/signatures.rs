//! Signatures on blocks, by header and by number.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_crypto::SigningIdentity;
use ripstop_proto::{Message, common};
use ripstop_testkit::{Channel, Organization, value};
use ripstop_types::{Block, BlockNumber, ChannelId, MetadataSlot, SerializedIdentity};
use ripstop_validation::verify_signatures;

/// How a signature names its signer.
enum Named {
    Header,
    Number(u32),
    /// Both; then the header counts.
    Both(u32),
}

struct Scene {
    organization: Organization,
    signers: Vec<SigningIdentity>,
}

impl Scene {
    fn new() -> Self {
        let organization = Organization::new("OrdererMSP");
        let signers = (0..3).map(|index| organization.orderer(&format!("orderer{index}"))).collect();
        Self { organization, signers }
    }

    /// A channel whose consenters 11, 12 and 13 are the three signers.
    fn config(&self, capability: &'static str) -> ChannelConfig {
        let channel = Channel { channel_capability: capability, ..Channel::new(&self.organization, []) };
        let mut root = channel.group();
        let consenters = self.signers.iter().zip(11..).map(|(signer, id)| {
            let identity = SerializedIdentity::parse(signer.identity().raw.clone()).unwrap();
            common::Consenter {
                id,
                host: "orderer.test".into(),
                port: 7050,
                msp_id: identity.msp_id.as_str().to_owned(),
                identity: identity.id_bytes,
                ..Default::default()
            }
        });
        let orderers = common::Orderers { consenter_mapping: consenters.collect() };
        root.groups.get_mut("Orderer").unwrap().values.extend([value("Orderers", &orderers)]);
        let config = common::Config { sequence: 0, channel_group: Some(root) };
        ChannelConfig::new(ChannelId::new("mychannel").unwrap(), config).unwrap()
    }

    fn block(&self, signatures: &[(usize, Named)]) -> Block {
        let mut block = Block::new(BlockNumber::new(7), Bytes::from_static(b"before"), vec![Bytes::from_static(b"x")]);
        let value = Bytes::from_static(b"signed value");
        let signatures = signatures.iter().map(|(signer, named)| {
            let signer = &self.signers[*signer];
            let nonce = Bytes::from_static(b"nonce");
            let header = common::SignatureHeader { creator: signer.identity().raw.clone(), nonce: nonce.clone() };
            let header = Bytes::from(header.encode_to_vec());
            let number =
                |identifier| Bytes::from(common::IdentifierHeader { identifier, nonce: nonce.clone() }.encode_to_vec());
            let (signature_header, identifier_header, signed) = match named {
                Named::Header => (header.clone(), Bytes::new(), header),
                Named::Number(id) => (Bytes::new(), number(*id), number(*id)),
                Named::Both(id) => (header.clone(), number(*id), header),
            };
            let message = [value.as_ref(), &signed, &block.header.to_der()].concat();
            let signature = signer.sign(&message).unwrap();
            common::MetadataSignature { signature_header, identifier_header, signature }
        });
        let metadata = common::Metadata { value: value.clone(), signatures: signatures.collect() };
        block.metadata.set(MetadataSlot::Signatures, metadata.encode_to_vec().into());
        block
    }
}

#[test]
fn signers_are_named_by_header_or_by_number() {
    let scene = Scene::new();
    let newest = scene.config("V3_0");
    let check = |config: &ChannelConfig, signatures: &[(usize, Named)]| {
        let block = scene.block(signatures);
        verify_signatures(&block.header, &block.metadata, config).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(check(&newest, &[(0, Named::Header)]), Ok(()));
    assert_eq!(check(&newest, &[(0, Named::Number(11))]), Ok(()));
    assert_eq!(check(&newest, &[(0, Named::Both(12))]), Ok(()));
    // An unknown number counts for nothing, but does no harm.
    assert_eq!(check(&newest, &[(0, Named::Number(99)), (1, Named::Number(12))]), Ok(()));
    let refused = check(&newest, &[(0, Named::Number(99))]).unwrap_err();
    assert!(refused.contains("do not satisfy /Channel/Orderer/BlockValidation"), "{refused}");
    let refused = check(&newest, &[(0, Named::Number(12))]).unwrap_err();
    assert!(refused.contains("The signature is invalid"), "{refused}");
    assert!(check(&newest, &[]).is_err());
    // Before V3_0 nobody is named by number.
    let older = scene.config("V2_0");
    assert_eq!(check(&older, &[(0, Named::Header)]), Ok(()));
    assert!(check(&older, &[(0, Named::Number(11))]).is_err());
}
