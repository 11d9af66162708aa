//! How messages travel over gRPC: as everywhere, but none is decoded that would take far more memory than bytes.

use std::marker::PhantomData;

use prost::bytes::Buf;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use crate::take_values;

/// How many values the lists and maps of a message may hold together: several times as many as any message of Fabric's
/// protocols has that is not larger than messages may be.
const MAX_VALUES: usize = 1 << 20;

/// The codec of all services and clients of this crate.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Name + Default + Send + 'static> Codec for BoundedCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// Decodes one message after the other.
#[derive(Debug)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let raw = buffer.copy_to_bytes(buffer.remaining());
        if !take_values::<U>(&raw, &mut { MAX_VALUES }) {
            return Err(Status::resource_exhausted(format!("a message holds more than {MAX_VALUES} values")));
        }
        // Fabric's services say Internal here, as gRPC for Go does.
        U::decode(raw).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
