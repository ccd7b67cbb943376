//! The name of an allocation policy, such as `balanced`.

use std::fmt;

/// A policy's name: 1 to 32 characters of `a-z`, `0-9` and `_`, so that it is a NATS subject token as
/// it stands.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(String);

/// The text is no policy name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no policy name: expected 1 to 32 characters of a-z, 0-9 and _")]
pub struct InvalidPolicyId(String);

impl PolicyId {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// When the text is empty, longer than 32 characters, or holds another character.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidPolicyId> {
        let id = id.into();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if id.is_empty() || id.len() > 32 || !id.bytes().all(plain) {
            return Err(InvalidPolicyId(id));
        }
        Ok(Self(id))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for PolicyId {
    type Err = InvalidPolicyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_subject_token() {
        assert!(PolicyId::new("balanced_2").is_ok());
        let long = "a".repeat(33);
        for bad in ["", "Balanced", "a.b", "a b", "*", long.as_str()] {
            assert!(PolicyId::new(bad).is_err(), "{bad:?}");
        }
    }
}
