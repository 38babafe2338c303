//! How messages are read and written: as protobuf, but large ones are looked at before.
//!
//! Invariant: no message is decoded that has more elements than any request may have.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::RpcStatus;
use super::elements::{Shape, shape_of};

/// Messages of up to so many bytes are decoded as they are: they are never large, and small calls
/// pay nothing.
const SMALL: usize = 4 << 10;

/// The codec of all services.
#[derive(Clone, Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Counting<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Counting(ProstCodec::<T, U>::default().decoder())
    }
}

/// Decodes messages that are not too many.
pub struct Counting<U>(ProstDecoder<U>);

impl<U: Message + Default + 'static> Decoder for Counting<U> {
    type Item = U;
    type Error = RpcStatus;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, RpcStatus> {
        use prost::bytes::Buf;
        // All of the message is in one piece of memory.
        if bytes.remaining() > SMALL
            && let Some(shape) = shape_of::<U>()
        {
            Shape::check(shape, bytes.chunk())?;
        }
        self.0.decode(bytes)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
