//! The key of a protocol, such as `zklend`.

use std::fmt;

/// A protocol's key in the registry: 1 to 32 characters of `a-z`, `0-9` and `_`, so that it is a
/// NATS subject token as it stands.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolId(String);

/// The text is no protocol id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no protocol id: expected 1 to 32 characters of a-z, 0-9 and _")]
pub struct InvalidProtocolId(String);

impl ProtocolId {
    /// Checks and wraps an id.
    ///
    /// # Errors
    /// When the text is empty, longer than 32 characters, or holds another character.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidProtocolId> {
        let id = id.into();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if id.is_empty() || id.len() > 32 || !id.bytes().all(plain) {
            return Err(InvalidProtocolId(id));
        }
        Ok(Self(id))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ProtocolId {
    type Err = InvalidProtocolId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}
