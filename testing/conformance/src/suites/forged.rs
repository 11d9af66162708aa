use bytes::Bytes;
use ripstop_types::{Block, BlockMetadata, MetadataSlot, data_hash};

use super::replay::Replay;
use crate::{Fixtures, Report};

/// Blocks that no honest orderer sent: each must be refused with the right reason, and the true block be taken after all.
pub fn forged(report: &mut Report) {
    const TOPIC: &str = "forged blocks refused";
    let fixtures = Fixtures::open("golden");
    let mut blocks = fixtures.blocks("blocks-orderer").into_iter();
    let genesis = blocks.next().expect("the chain has a genesis block");
    let Some(mut replay) = report.check(TOPIC, "genesis block", Replay::begin(genesis)) else { return };
    let foreign = Fixtures::open("quirks").blocks("wedge/blocks-orderer");
    let rest: Vec<Block> = blocks.collect();
    // Up to the first blocks with chaincode: configuration blocks and ordinary ones are among them.
    for (index, block) in rest.iter().take(14).enumerate() {
        let number = usize::try_from(block.number().get()).unwrap_or_default();
        for (name, forgery, reason) in forgeries(block, rest.get(index + 1), foreign.get(number)) {
            let name = format!("block {number}, {name}");
            match replay.commit(forgery) {
                Ok(_) => report.difference(TOPIC, format!("{name}: taken")),
                Err(error) if error.contains(reason) => report.equal(TOPIC, 1),
                Err(error) => report.difference(TOPIC, format!("{name}: expected '{reason}', actual '{error}'")),
            }
        }
        if report.check(TOPIC, "the true block", replay.commit(block.clone())).is_none() {
            return;
        }
    }
}

fn forgeries(block: &Block, next: Option<&Block>, foreign: Option<&Block>) -> Vec<(&'static str, Block, &'static str)> {
    let with = |change: &dyn Fn(&mut Block)| {
        let mut forgery = block.clone();
        change(&mut forgery);
        forgery
    };
    let rehash = |forgery: &mut Block| forgery.header.data_hash = data_hash(&forgery.data).to_bytes();
    let flip = |bytes: &Bytes, at: usize| {
        let mut bytes = bytes.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        Bytes::from(bytes)
    };
    let signatures = block.metadata.get(MetadataSlot::Signatures);
    let signed = |forgery: Bytes| with(&|block| block.metadata.set(MetadataSlot::Signatures, forgery.clone()));
    let is_config = block.config_envelope().is_some();
    let mut forgeries = vec![
        ("an empty block", with(&|block| block.data.clear()), "has no data"),
        ("no metadata", with(&|block| block.metadata = BlockMetadata::new(vec![])), "does not have metadata"),
        ("another header before", with(&|block| block.header.previous_hash = Bytes::new()), "Header.PreviousHash"),
        ("changed data", with(&|block| block.data.push(block.data[0].clone())), "Header.DataHash is different"),
        (
            "changed data and hash",
            with(&|block| {
                block.data.push(block.data[0].clone());
                rehash(block);
            }),
            "do not satisfy /Channel/Orderer/BlockValidation",
        ),
        ("no signature", signed(Bytes::new()), "do not satisfy /Channel/Orderer/BlockValidation"),
        ("a broken signature", signed(flip(&signatures, signatures.len() - 1)), "The signature is invalid"),
        ("a changed signed value", signed(flip(&signatures, 5)), "do not satisfy /Channel/Orderer/BlockValidation"),
        ("metadata that does not decode", signed(Bytes::from_static(&[0xff])), "does not decode"),
    ];
    if !is_config {
        let twice = with(&|block| {
            // The signature once more: Go would keep one.
            block.data[0] = [block.data[0].as_ref(), &[0x12, 0x01, 0x00]].concat().into();
            rehash(block);
        });
        forgeries.push(("a transaction with two signatures", twice, "trailing bytes"));
    }
    if let Some(next) = next {
        forgeries.push(("a block too early", next.clone(), "expected block number is"));
    }
    if let Some(foreign) = foreign {
        forgeries.push(("a block of another channel", foreign.clone(), "Header.PreviousHash"));
    }
    forgeries
}
