use bytes::Bytes;
use prost::Message;
use ripstop_keys::{EnvelopeHeader, SignError, SigningIdentity, sign_envelope};
use ripstop_proto::{common, orderer};
use ripstop_types::{ChannelId, HeaderType};

/// A place in a chain of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The first block that is kept.
    Oldest,
    /// The last block there is.
    Newest,
    /// The block of this number.
    Number(u64),
}

/// Whether an orderer whose channel lost its quorum should answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It refuses.
    Strict,
    /// It delivers what it has.
    BestEffort,
}

/// A single block that a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct BlockRequest<'a> {
    /// The channel.
    pub channel: &'a ChannelId,
    /// Where the block stands.
    pub seek: Seek,
    /// Whether a node in trouble should answer.
    pub patience: Patience,
}

impl Seek {
    fn position(self) -> orderer::SeekPosition {
        use orderer::seek_position::Type;
        let place = match self {
            Self::Oldest => Type::Oldest(orderer::SeekOldest {}),
            Self::Newest => Type::Newest(orderer::SeekNewest {}),
            Self::Number(number) => Type::Specified(orderer::SeekSpecified { number }),
        };
        orderer::SeekPosition { r#type: Some(place) }
    }

    /// Asks for the block at this place and no other, and waits until it is there.
    pub(super) fn only(self, patience: Patience) -> orderer::SeekInfo {
        orderer::SeekInfo {
            start: Some(self.position()),
            stop: Some(self.position()),
            error_response: match patience {
                Patience::Strict => orderer::seek_info::SeekErrorResponse::Strict as i32,
                Patience::BestEffort => orderer::seek_info::SeekErrorResponse::BestEffort as i32,
            },
            ..Default::default()
        }
    }

    /// Asks for the block at this place and all that follow, for ever.
    pub(super) fn onwards(self) -> orderer::SeekInfo {
        let stop = Some(Self::Number(u64::MAX).position());
        orderer::SeekInfo { start: Some(self.position()), stop, ..Default::default() }
    }
}

/// The signed request that asks for blocks.
pub(super) fn seek_envelope(
    channel: &ChannelId,
    seek: orderer::SeekInfo,
    tls_certificate_hash: &Bytes,
    signer: &SigningIdentity,
) -> Result<common::Envelope, SignError> {
    let header = EnvelopeHeader {
        kind: HeaderType::DeliverSeekInfo,
        channel_id: Some(channel),
        tx_id: None,
        extension: Bytes::new(),
        tls_cert_hash: tls_certificate_hash.clone(),
        timestamp: super::proposal::now(),
    };
    sign_envelope(signer, &header, seek.encode_to_vec().into())
}
