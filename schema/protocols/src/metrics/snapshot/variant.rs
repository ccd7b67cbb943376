//! How values of several kinds, and contracts, are written and read: a kind by a number that is its own for
//! good within a layout.

use obsqra_types::{ContractAddress, ProtocolId};

use super::super::pool::PoolState;
use super::item::{In, Item, Out};
use super::{Taken, malformed};
use crate::decoders::MarketRef;
use crate::{TokenPair, WatchedContract};

impl Item for WatchedContract {
    fn put(&self, out: &mut Out) {
        let kind = (self.decoder.name().to_owned(), self.role.name().to_owned());
        (self.address, self.protocol.clone(), kind, self.pair, self.asset).put(out);
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        type Parts = (
            ContractAddress,
            ProtocolId,
            (String, String),
            Option<TokenPair>,
            Option<ContractAddress>,
        );
        let (address, protocol, (decoder, role), pair, asset): Parts = Item::take(input)?;
        let Some(decoder) = crate::Decoder::ALL.iter().copied().find(|d| d.name() == decoder)
        else {
            return malformed("unknown decoder");
        };
        let Some(role) = decoder.roles().iter().copied().find(|known| known.name() == role) else {
            return malformed("unknown role");
        };
        Ok(Self { address, protocol, decoder, role, pair, asset })
    }
}

impl Item for MarketRef {
    fn put(&self, out: &mut Out) {
        match self {
            Self::Reserve(token) => (0u64, *token).put(out),
            Self::Pair(address, tokens) => (1u64, *address, *tokens).put(out),
            Self::Pool(key) => (2u64, *key).put(out),
            // These name reserves that stand under their own reference: never of a market, never read.
            Self::ShareToken(token) => (3u64, *token).put(out),
            Self::LendingPool { contract, pool } => (6u64, *contract, *pool).put(out),
            Self::PoolContract(address, tokens) => (4u64, *address, *tokens).put(out),
            Self::PoolReserve { contract, pool, asset } => {
                (5u64, *contract, *pool, *asset).put(out);
            }
        }
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        match u64::take(input)? {
            0 => Item::take(input).map(Self::Reserve),
            1 => Item::take(input).map(|(address, tokens)| Self::Pair(address, tokens)),
            2 => Item::take(input).map(Self::Pool),
            4 => Item::take(input).map(|(address, tokens)| Self::PoolContract(address, tokens)),
            5 => Item::take(input).map(|(contract, pool, asset)| Self::PoolReserve {
                contract,
                pool,
                asset,
            }),
            _ => malformed("unknown market"),
        }
    }
}

impl Item for PoolState {
    fn put(&self, out: &mut Out) {
        match *self {
            Self::Reserves { reserve0, reserve1 } => (0u64, reserve0, reserve1).put(out),
            Self::Concentrated { sqrt_ratio, tick, liquidity } => {
                (1u64, sqrt_ratio, tick, liquidity).put(out);
            }
        }
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        match u64::take(input)? {
            0 => {
                Item::take(input).map(|(reserve0, reserve1)| Self::Reserves { reserve0, reserve1 })
            }
            1 => Item::take(input).map(|(sqrt_ratio, tick, liquidity)| Self::Concentrated {
                sqrt_ratio,
                tick,
                liquidity,
            }),
            _ => malformed("unknown state of a pool"),
        }
    }
}
