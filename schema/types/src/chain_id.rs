//! The name of a chain, such as `SN_MAIN`.

use std::fmt;

use crate::Felt;

/// A chain's name: 1 to 31 characters out of `A-Z`, `0-9` and `_`, so that it fits a felt and a NATS
/// subject token alike.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(String);

/// The text is no chain id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no chain id: expected 1 to 31 characters of A-Z, 0-9 and _")]
pub struct InvalidChainId(String);

impl ChainId {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// When the text is empty, longer than 31 characters, or holds another character.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidChainId> {
        let name = name.into();
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > 31 || !name.bytes().all(plain) {
            return Err(InvalidChainId(name));
        }
        Ok(Self(name))
    }

    /// Reads the felt that `starknet_chainId` answers: the name's ASCII bytes, big-endian.
    ///
    /// # Errors
    /// When the bytes are no chain id.
    pub fn from_felt(felt: &Felt) -> Result<Self, InvalidChainId> {
        let bytes = felt.to_bytes_be();
        let name: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
        let text = String::from_utf8_lossy(&name).into_owned();
        Self::new(text)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the felt that nodes answer.
    #[must_use]
    pub fn to_felt(&self) -> Felt {
        Felt::from_bytes_be_slice(self.0.as_bytes())
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ChainId {
    type Err = InvalidChainId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_felt_are_the_same_chain() {
        let main = ChainId::new("SN_MAIN").unwrap();
        assert_eq!(main.to_felt(), Felt::from_hex_unchecked("0x534e5f4d41494e"));
        assert_eq!(ChainId::from_felt(&main.to_felt()), Ok(main));
    }

    #[test]
    fn other_characters_are_refused() {
        for bad in ["", "sn_main", "SN.MAIN", "SN MAIN", "SN_MAIN_SN_MAIN_SN_MAIN_SN_MAIN_"] {
            assert!(ChainId::new(bad).is_err(), "{bad:?}");
        }
        assert!(ChainId::from_felt(&Felt::from(0x00ff_u32)).is_err());
    }
}
