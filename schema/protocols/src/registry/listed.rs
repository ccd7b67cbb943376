//! Which markets count: whose protocol opens markets by its own governance, or that the registry lists.
//!
//! Anyone can open a pool, and choose what its events say. A market that counts gives prices and takes part in
//! its protocol's inputs; any other has its own figures and changes none beside them. A contract that the
//! registry names is listed by that, one that a factory announced is not; of contracts that hold many pools
//! each pool is listed by itself.

use std::fmt;

use obsqra_types::{ContractAddress, Felt, ProtocolId, felt_hex, parse_felt};

use super::{Registry, TokenPair};
use crate::PoolKey;
use crate::decoders::MarketRef;

/// How the pools inside one contract are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PoolNames {
    /// By their keys, in the one contract that holds all.
    Keys,
    /// By the contract and a number there.
    Numbers,
}

/// A pool inside a contract that holds many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ListedPool {
    /// By its key.
    Key(PoolKey),
    /// By the contract that holds it and its number there.
    Number {
        /// The contract.
        contract: ContractAddress,
        /// The number.
        pool: Felt,
    },
}

/// The id that registry files use, each felt as minimal hex: of a key `token0/token1/fee/tick_spacing/extension`,
/// else `contract/number`.
impl fmt::Display for ListedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Number { contract, pool } => write!(f, "{contract}/{}", felt_hex(pool)),
        }
    }
}

impl ListedPool {
    /// Reads an id; `None` for another form, another spelling, and a key that no pool can have.
    pub(crate) fn parse(names: PoolNames, id: &str) -> Option<Self> {
        let parts: Vec<&str> = id.split('/').collect();
        let felt = |text: &str| parse_felt(text);
        let pool = match (names, parts.as_slice()) {
            (PoolNames::Keys, [token0, token1, fee, tick_spacing, extension]) => {
                let key = PoolKey {
                    token0: ContractAddress(felt(token0)?),
                    token1: ContractAddress(felt(token1)?),
                    fee: hex_u128(fee)?,
                    tick_spacing: hex_u128(tick_spacing)?,
                    extension: ContractAddress(felt(extension)?),
                };
                key.tokens().is_ordered().then_some(Self::Key(key))?
            }
            (PoolNames::Numbers, [contract, pool]) => {
                Self::Number { contract: ContractAddress(felt(contract)?), pool: felt(pool)? }
            }
            _ => return None,
        };
        (pool.to_string() == id).then_some(pool)
    }
}

fn hex_u128(text: &str) -> Option<u128> {
    u128::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

impl TokenPair {
    /// Whether the tokens stand as a pool has them: by their value, which is not a felt's own order.
    pub(crate) fn is_ordered(&self) -> bool {
        self.token0.0.to_bytes_be() < self.token1.0.to_bytes_be()
    }
}

impl Registry {
    /// Whether a market of listed tokens counts.
    pub(crate) fn lists(&self, protocol: &ProtocolId, market: &MarketRef) -> bool {
        let pool = match *market {
            // Such reserves are opened by the protocol's governance alone.
            MarketRef::Reserve(_) | MarketRef::ShareToken(_) => return true,
            MarketRef::Pair(contract, _)
            | MarketRef::PoolContract(contract, _)
            | MarketRef::PoolReserve { contract, pool: None, .. } => {
                let named = self.contract(&contract);
                return named.is_some_and(|named| named.protocol == *protocol);
            }
            MarketRef::Pool(key) => ListedPool::Key(key),
            MarketRef::PoolReserve { contract, pool: Some(pool), .. }
            | MarketRef::LendingPool { contract, pool } => ListedPool::Number { contract, pool },
        };
        self.protocol(protocol).is_some_and(|entry| entry.markets.contains_key(&pool))
    }
}
