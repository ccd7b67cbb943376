//! Canonical bytes: deterministic CBOR (RFC 8949 section 4.2.1) out of definite arrays, unsigned
//! integers, byte strings, text strings, booleans and null.
//!
//! There are no maps, floats or tags, so the shortest form of each item is the only choice left, and
//! `minicbor` always takes it. A felt is a byte string of 32 bytes, big-endian; a 128-bit integer one
//! of 16 bytes. Decoding refuses what encoding would not have written.

use minicbor::{Decoder, Encoder};
use obsqra_types::{Felt, Hash32, felt_from_bytes};

/// Bytes are not the canonical form of what they should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not CBOR, or another shape.
    #[error("malformed payload: {0}")]
    Malformed(String),
    /// An array has another number of items.
    #[error("malformed payload: an array of {found} items where {expected} belong")]
    Length {
        /// Items the layout has.
        expected: u64,
        /// Items found.
        found: u64,
    },
    /// A value lies outside its type.
    #[error("malformed payload: {0} is out of range")]
    Range(&'static str),
    /// Bytes follow the value.
    #[error("malformed payload: bytes after its end")]
    Trailing,
    /// The bytes decode, but another encoding of the same value is the canonical one.
    #[error("payload is not in canonical form")]
    NotCanonical,
}

impl From<minicbor::decode::Error> for DecodeError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A value with one canonical encoding.
pub(crate) trait Canonical: Sized {
    fn write(&self, out: &mut Writer);
    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Appends canonical items to a buffer.
pub(crate) struct Writer(Encoder<Vec<u8>>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Encoder::new(Vec::with_capacity(bytes)))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_writer()
    }

    // Writing to a Vec cannot fail: its error type is `Infallible`.
    fn put(&mut self, write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written<'_>) -> &mut Self {
        match write(&mut self.0) {
            Ok(_) | Err(_) => self,
        }
    }

    pub(crate) fn array(&mut self, items: usize) -> &mut Self {
        self.put(|e| e.array(items as u64))
    }

    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        self.put(|e| e.u64(value))
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.put(|e| e.str(value))
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.put(|e| e.bytes(value))
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.put(Encoder::null)
    }

    pub(crate) fn felt(&mut self, value: &Felt) -> &mut Self {
        self.bytes(&value.to_bytes_be())
    }

    pub(crate) fn felts(&mut self, values: &[Felt]) -> &mut Self {
        self.array(values.len());
        for value in values {
            self.felt(value);
        }
        self
    }

    pub(crate) fn u128(&mut self, value: u128) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn option<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T),
    ) -> &mut Self {
        match value {
            Some(value) => {
                write(self, value);
                self
            }
            None => self.null(),
        }
    }

    pub(crate) fn list<T: Canonical>(&mut self, values: &[T]) -> &mut Self {
        self.array(values.len());
        for value in values {
            value.write(self);
        }
        self
    }
}

type Written<'a> =
    Result<&'a mut Encoder<Vec<u8>>, minicbor::encode::Error<core::convert::Infallible>>;

/// Reads canonical items from bytes.
pub(crate) struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Decoder::new(bytes))
    }

    pub(crate) fn array(&mut self, expected: u64) -> Result<(), DecodeError> {
        let found = self.any_array()?;
        if found == expected { Ok(()) } else { Err(DecodeError::Length { expected, found }) }
    }

    pub(crate) fn any_array(&mut self) -> Result<u64, DecodeError> {
        self.0.array()?.ok_or_else(|| DecodeError::Malformed("array of indefinite length".into()))
    }

    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        Ok(self.0.u64()?)
    }

    pub(crate) fn uint8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        u8::try_from(self.uint()?).map_err(|_| DecodeError::Range(what))
    }

    pub(crate) fn uint32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.uint()?).map_err(|_| DecodeError::Range(what))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        Ok(self.0.str()?)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        Ok(self.0.bytes()?)
    }

    pub(crate) fn felt(&mut self) -> Result<Felt, DecodeError> {
        let bytes = self.bytes()?.try_into().map_err(|_| DecodeError::Range("felt"))?;
        felt_from_bytes(bytes).ok_or(DecodeError::Range("felt"))
    }

    pub(crate) fn felts(&mut self) -> Result<Vec<Felt>, DecodeError> {
        let count = self.any_array()?;
        (0..count).map(|_| self.felt()).collect()
    }

    pub(crate) fn hash(&mut self) -> Result<Hash32, DecodeError> {
        Hash32::try_from(self.bytes()?).map_err(|_| DecodeError::Range("digest"))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        let bytes = self.bytes()?.try_into().map_err(|_| DecodeError::Range("128-bit integer"))?;
        Ok(u128::from_be_bytes(bytes))
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.0.datatype()? == minicbor::data::Type::Null {
            self.0.null()?;
            return Ok(None);
        }
        read(self).map(Some)
    }

    pub(crate) fn list<T: Canonical>(&mut self) -> Result<Vec<T>, DecodeError> {
        let count = self.any_array()?;
        (0..count).map(|_| T::read(self)).collect()
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.0.position() == self.0.input().len() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}
