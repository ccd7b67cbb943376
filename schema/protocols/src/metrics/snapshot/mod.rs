//! A fold's state as bytes, so that a reader need not fold from the first block again.
//!
//! A snapshot holds what events set, the contracts that they announced among it, and nothing that
//! follows from it: figures are computed again, so that a state read back yields the same outputs as one
//! that was never written. It is bound to the bytes of the registry and to the version of the
//! definitions. It is a cache, not part of the log.

mod item;
mod variant;

use std::sync::Arc;

use obsqra_types::{ContractAddress, Felt, Hash32, ProtocolId, Seq};

use super::causes::EventTally;
use super::fold::MetricFold;
use super::market::{Body, Identity, Market};
use super::pool::Pool;
use super::reserve::Reserve;
use super::stated::StatedReserve;
use super::trades::{Hours, UsdcSide, Volumes};
use crate::decoders::MarketRef;
use crate::{Contracts, METRICS_VERSION, Registry, WatchedContract};
use item::{In, Item, Out};

/// The version of the layout.
const LAYOUT: u32 = 4;

/// Bytes are no snapshot that this fold can go on from.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// Not CBOR, or another shape.
    #[error("snapshot: {0}")]
    Malformed(String),
    /// Written by another version of the definitions or of the layout.
    #[error("snapshot of version {0}")]
    OtherVersion(String),
    /// Written under another registry.
    #[error("snapshot under the registry {found}, not {expected}")]
    OtherRegistry {
        /// Digest of the registry at hand.
        expected: Hash32,
        /// Digest of the registry that it was written under.
        found: Hash32,
    },
}

impl From<minicbor::decode::Error> for SnapshotError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

type Taken<T> = Result<T, SnapshotError>;

fn malformed<T>(what: &str) -> Taken<T> {
    Err(SnapshotError::Malformed(what.to_owned()))
}

impl MetricFold {
    /// The state as bytes; equal states have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new();
        (version(), self.registry().hash(), self.registry_seq.0).put(&mut out);
        self.span.put(&mut out);
        self.contracts.children().cloned().collect::<Vec<_>>().put(&mut out);
        let tallies: Vec<_> =
            self.tallies.iter().map(|(id, tally)| (id.clone(), tally.clone())).collect();
        tallies.put(&mut out);
        self.gaps.put(&mut out);
        self.opened_pools.iter().copied().collect::<Vec<_>>().put(&mut out);
        let mut markets: Vec<_> = self.markets.iter().collect();
        markets.sort_by(|a, b| {
            (&a.identity.protocol, &a.identity.id).cmp(&(&b.identity.protocol, &b.identity.id))
        });
        (markets.len() as u64).put(&mut out);
        for market in markets {
            let identity = &market.identity;
            (identity.protocol.clone(), identity.reference, market.state_seq).put(&mut out);
            (market.peak_tvl, market.faults).put(&mut out);
            put_body(&market.body, &mut out);
        }
        out.into_bytes()
    }

    /// Reads a state back, to go on from.
    ///
    /// # Errors
    /// When the bytes are no snapshot, or one of another version or registry.
    pub fn decode(registry: Arc<Registry>, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = In::new(bytes);
        let found: String = Item::take(&mut input)?;
        if found != version() {
            return Err(SnapshotError::OtherVersion(found));
        }
        let found = Hash32::take(&mut input)?;
        if found != registry.hash() {
            return Err(SnapshotError::OtherRegistry { expected: registry.hash(), found });
        }
        let mut fold = Self::new(Arc::clone(&registry), Seq(u64::take(&mut input)?));
        fold.span = Item::take(&mut input)?;
        let children: Vec<WatchedContract> = Item::take(&mut input)?;
        fold.contracts = Contracts::with_children(registry, children);
        fold.tallies = Vec::<(ProtocolId, EventTally)>::take(&mut input)?.into_iter().collect();
        fold.gaps = Item::take(&mut input)?;
        let opened_pools: Vec<(ContractAddress, Felt)> = Item::take(&mut input)?;
        fold.opened_pools = Arc::new(opened_pools.into_iter().collect());
        for _ in 0..u64::take(&mut input)? {
            take_market(&mut fold, &mut input)?;
        }
        if input.position() != bytes.len() {
            return malformed("bytes after its end");
        }
        fold.recompute();
        Ok(fold)
    }
}

fn version() -> String {
    format!("{METRICS_VERSION}/{LAYOUT}")
}

fn take_market(fold: &mut MetricFold, input: &mut In<'_>) -> Taken<()> {
    let (protocol, reference): (ProtocolId, MarketRef) = Item::take(input)?;
    let state_seq = Item::take(input)?;
    let (peak_tvl, faults) = Item::take(input)?;
    let identity = Identity::new(fold.registry(), &protocol, reference);
    let side = identity.usdc.map(|usdc| usdc.side);
    let body = take_body(side.as_ref(), input)?;
    let expected = Market::new(identity.clone()).body;
    if std::mem::discriminant(&expected) != std::mem::discriminant(&body) {
        return malformed("market of another kind");
    }
    let identity = Arc::new(identity);
    fold.insert(Market { identity, state_seq, peak_tvl, faults, body });
    Ok(())
}

fn put_body(body: &Body, out: &mut Out) {
    match body {
        Body::Unlisted => 0u64.put(out),
        Body::Reserve(reserve) => {
            (1u64, reserve.book.clone(), reserve.rates, reserve.reserve_factor).put(out);
            (reserve.indices, reserve.growth, reserve.index_fell, reserve.signals).put(out);
        }
        Body::Stated(reserve) => {
            (3u64, reserve.opened_at, reserve.newest, reserve.base, reserve.index_fell).put(out);
            (reserve.holdings.clone(), reserve.day.clone(), reserve.signals).put(out);
        }
        Body::Pool(pool) => {
            (2u64, pool.opened_at, pool.state, pool.unsettled).put(out);
            (pool.fee_millionths, pool.fee_unknown).put(out);
            (pool.balance0, pool.balance1).put(out);
            pool.day.put(out);
            (pool.provided.clone(), pool.outflow).put(out);
            pool.hours.items().map(|hour| (hour.hour, hour.volumes)).collect::<Vec<_>>().put(out);
        }
    }
}

fn take_body(side: Option<&UsdcSide>, input: &mut In<'_>) -> Taken<Body> {
    match u64::take(input)? {
        0 => Ok(Body::Unlisted),
        1 => {
            let (book, rates, reserve_factor) = Item::take(input)?;
            let (indices, growth, index_fell, signals) = Item::take(input)?;
            let reserve =
                Reserve { book, rates, reserve_factor, indices, growth, index_fell, signals };
            Ok(Body::Reserve(Box::new(reserve)))
        }
        2 => {
            let (opened_at, state, unsettled) = Item::take(input)?;
            let (fee_millionths, fee_unknown) = Item::take(input)?;
            let (balance0, balance1) = Item::take(input)?;
            let day = Item::take(input)?;
            let (provided, outflow) = Item::take(input)?;
            let mut hours = Hours::default();
            for (hour, volumes) in Vec::<(u64, Volumes)>::take(input)? {
                if let Some(side) = side {
                    hours.add(hour, &volumes, side);
                }
            }
            let pool = Pool {
                opened_at,
                state,
                balance0,
                balance1,
                day,
                provided,
                outflow,
                hours,
                unsettled,
                fee_millionths,
                fee_unknown,
            };
            Ok(Body::Pool(Box::new(pool)))
        }
        3 => {
            let (opened_at, newest, base, index_fell) = Item::take(input)?;
            let (holdings, day, signals) = Item::take(input)?;
            let reserve =
                StatedReserve { opened_at, newest, base, index_fell, holdings, day, signals };
            Ok(Body::Stated(Box::new(reserve)))
        }
        _ => malformed("unknown kind of market"),
    }
}
