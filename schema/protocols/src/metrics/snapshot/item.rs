//! How each value inside a snapshot is written and read.
//!
//! One value after the other, no maps, no names: a snapshot is read by the version that wrote it.

use minicbor::{Decoder, Encoder};
use obsqra_events::SetDigest;
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, Felt, Hash32, MarketId,
    ProtocolId, Seq, U256, U512, UnixSeconds, felt_from_bytes,
};

use super::super::anomalies::Signals;
use super::super::block::{FoldTip, Span};
use super::super::causes::EventTally;
use super::super::conservation::Faults;
use super::super::day_totals::DayTotals;
use super::super::gaps::{Gap, PriceGaps};
use super::super::growth::{Growth, Indices};
use super::super::reserve::{Book, Rates};
use super::super::signed::SignedAmount;
use super::super::stated::Holdings;
use super::super::suppliers::Suppliers;
use super::super::trades::{DayWindow, Flows, LiquidityFlows, ShareFlows, Summed, Volumes};
use super::{Taken, malformed};
use crate::decoders::Statement;
use crate::{I129, PoolKey, TokenPair};

pub(super) struct Out(Encoder<Vec<u8>>);

pub(super) struct In<'a>(Decoder<'a>);

/// A value inside a snapshot.
pub(super) trait Item: Sized {
    fn put(&self, out: &mut Out);
    fn take(input: &mut In<'_>) -> Taken<Self>;
}

impl Out {
    pub(super) fn new() -> Self {
        Self(Encoder::new(Vec::new()))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_writer()
    }

    // Writing to a Vec cannot fail: its error type is `Infallible`.
    fn write<E>(&mut self, write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), E>) {
        match write(&mut self.0) {
            Ok(()) | Err(_) => {}
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.write(|encoder| encoder.bytes(bytes).map(|_| ()));
    }

    /// A number without its leading zero bytes: most amounts are far below 256 bits.
    fn number(&mut self, bytes: &[u8]) {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        self.bytes(&bytes[zeros..]);
    }
}

impl<'a> In<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Decoder::new(bytes))
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.0.position()
    }

    fn bytes<const N: usize>(&mut self) -> Taken<[u8; N]> {
        let bytes = self.0.bytes()?;
        bytes.try_into().or_else(|_| malformed("bytes of another width"))
    }

    /// A number without its leading zero bytes.
    fn number<const N: usize>(&mut self) -> Taken<[u8; N]> {
        let digits = self.0.bytes()?;
        let mut bytes = [0; N];
        match N.checked_sub(digits.len()) {
            Some(zeros) if digits.first() != Some(&0) => {
                bytes[zeros..].copy_from_slice(digits);
                Ok(bytes)
            }
            _ => malformed("a number that is too wide or not in its shortest form"),
        }
    }
}

impl Item for u64 {
    fn put(&self, out: &mut Out) {
        out.write(|encoder| encoder.u64(*self).map(|_| ()));
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        Ok(input.0.u64()?)
    }
}

impl Item for u32 {
    fn put(&self, out: &mut Out) {
        out.write(|encoder| encoder.u32(*self).map(|_| ()));
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        Ok(input.0.u32()?)
    }
}

impl Item for bool {
    fn put(&self, out: &mut Out) {
        out.write(|encoder| encoder.bool(*self).map(|_| ()));
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        Ok(input.0.bool()?)
    }
}

impl Item for String {
    fn put(&self, out: &mut Out) {
        out.write(|encoder| encoder.str(self).map(|_| ()));
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        Ok(input.0.str()?.to_owned())
    }
}

impl<T: Item> Item for Option<T> {
    fn put(&self, out: &mut Out) {
        match self {
            Some(value) => {
                true.put(out);
                value.put(out);
            }
            None => false.put(out),
        }
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        if bool::take(input)? { T::take(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Item> Item for Vec<T> {
    fn put(&self, out: &mut Out) {
        (self.len() as u64).put(out);
        self.iter().for_each(|item| item.put(out));
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        (0..u64::take(input)?).map(|_| T::take(input)).collect()
    }
}

macro_rules! tuple_item {
    ($($name:ident $place:tt),+) => {
        impl<$($name: Item),+> Item for ($($name,)+) {
            fn put(&self, out: &mut Out) {
                $(self.$place.put(out);)+
            }

            fn take(input: &mut In<'_>) -> Taken<Self> {
                Ok(($($name::take(input)?,)+))
            }
        }
    };
}

tuple_item!(A 0, B 1);
tuple_item!(A 0, B 1, C 2);
tuple_item!(A 0, B 1, C 2, D 3);
tuple_item!(A 0, B 1, C 2, D 3, E 4);

/// Declares how a value is written as another and made from it.
macro_rules! item_as {
    ($type:ty as $via:ty, |$value:ident| $put:expr, |$taken:pat_param| $take:expr) => {
        impl Item for $type {
            fn put(&self, out: &mut Out) {
                let $value = self;
                Item::put(&$put, out);
            }

            fn take(input: &mut In<'_>) -> Taken<Self> {
                let $taken = <$via as Item>::take(input)?;
                $take
            }
        }
    };
}

impl<const N: usize> Item for [u8; N] {
    fn put(&self, out: &mut Out) {
        out.bytes(self);
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        input.bytes()
    }
}

/// Declares an unsigned integer of that many bytes.
macro_rules! number_item {
    ($type:ty, $bytes:literal) => {
        impl Item for $type {
            fn put(&self, out: &mut Out) {
                let bytes: [u8; $bytes] = self.to_be_bytes();
                out.number(&bytes);
            }

            fn take(input: &mut In<'_>) -> Taken<Self> {
                Ok(Self::from_be_bytes(input.number::<$bytes>()?))
            }
        }
    };
}

number_item!(u128, 16);
number_item!(U256, 32);
number_item!(U512, 64);

item_as!(Hash32 as [u8; 32], |v| v.0, |bytes| Ok(Self(bytes)));
item_as!(Felt as [u8; 32], |v| v.to_bytes_be(), |bytes| {
    felt_from_bytes(&bytes).map_or_else(|| malformed("felt out of range"), Ok)
});
item_as!(Seq as u64, |v| v.0, |seq| Ok(Self(seq)));
item_as!(UnixSeconds as u64, |v| v.0, |seconds| Ok(Self(seconds)));
item_as!(BlockNumber as u64, |v| v.0, |number| Ok(Self(number)));
item_as!(BranchEpoch as u64, |v| u64::from(v.0), |epoch| {
    u32::try_from(epoch).map(Self).or_else(|_| malformed("epoch out of range"))
});
item_as!(BlockHash as Felt, |v| v.0, |felt| Ok(Self(felt)));
item_as!(ContractAddress as Felt, |v| v.0, |felt| Ok(Self(felt)));
item_as!(ProtocolId as String, |v| v.as_str().to_owned(), |id| {
    Self::new(id).or_else(|error| malformed(&error.to_string()))
});
item_as!(
    BlockRef as (BlockNumber, BranchEpoch, UnixSeconds),
    |v| (v.number, v.epoch, v.timestamp),
    |(number, epoch, timestamp)| Ok(Self { number, epoch, timestamp })
);
item_as!(
    FoldTip as (BlockRef, BlockHash, Seq, Seq),
    |v| (v.block, v.hash, v.applied_seq, v.last_seq),
    |(block, hash, applied_seq, last_seq)| Ok(Self { block, hash, applied_seq, last_seq })
);
item_as!(
    Span as (BlockNumber, UnixSeconds, FoldTip, UnixSeconds),
    |v| (v.first_block, v.first_time, v.tip, v.now),
    |(first_block, first_time, tip, now)| Ok(Self { first_block, first_time, tip, now })
);
item_as!(
    EventTally as (Seq, Seq, u64, Hash32),
    |v| (v.first, v.last, v.count, v.digest.to_hash()),
    |(first, last, count, digest)| {
        Ok(Self { first, last, count, digest: SetDigest::from_hash(&digest) })
    }
);
item_as!(SignedAmount as (U256, bool), |v| (v.magnitude, v.negative), |(magnitude, negative)| Ok(
    Self { magnitude, negative }
));
item_as!(I129 as (u128, bool), |v| (v.magnitude(), v.is_negative()), |(magnitude, negative)| Ok(
    Self::new(magnitude, negative)
));
item_as!(Volumes as (U512, U512), |v| (v.side0, v.side1), |(side0, side1)| Ok(Self {
    side0,
    side1
}));
item_as!(Flows as (Volumes, Volumes), |v| (v.moved, v.fees), |(moved, fees)| Ok(Self {
    moved,
    fees
}));
item_as!(Indices as (U256, U256, u64), |v| (v.lending, v.debt, v.at), |(lending, debt, at)| Ok(
    Self { lending, debt, at }
));
item_as!(Rates as (U256, U256, bool), |v| (v.lending, v.borrowing, v.is_net), |(
    lending,
    borrowing,
    is_net,
)| Ok(Self {
    lending,
    borrowing,
    is_net
}));
item_as!(MarketId as String, |v| v.0.clone(), |id| Ok(Self(id)));
item_as!(Gap as (u64, Option<(ProtocolId, MarketId)>), |v| (v.since, v.told.clone()), |(
    since,
    told,
)| Ok(
    Self { since, told }
));
item_as!(
    PriceGaps as Vec<(ContractAddress, Gap)>,
    |v| v.0.iter().map(|(token, gap)| (*token, gap.clone())).collect::<Vec<_>>(),
    |gaps| Ok(Self(gaps.into_iter().collect()))
);
item_as!(
    Statement as ((U256, U256, U256, U256, U256), (U256, Option<U256>), u64, Option<U256>),
    |v| {
        let Statement { available, nominal_debt, debt_accumulator, unit, fee_rate, .. } = *v;
        let amounts = (available, nominal_debt, debt_accumulator, unit, fee_rate);
        (amounts, (v.total_shares, v.held_shares), v.at, v.oracle_price)
    },
    |(amounts, (total_shares, held_shares), at, oracle_price)| {
        let (available, nominal_debt, debt_accumulator, unit, fee_rate) = amounts;
        Ok(Self {
            available,
            nominal_debt,
            debt_accumulator,
            unit,
            fee_rate,
            total_shares,
            held_shares,
            at,
            oracle_price,
        })
    }
);
item_as!(
    Growth as (Indices, Option<Rates>, Option<U256>, U512),
    |v| (v.base, v.rates, v.reserve_factor, v.flash_fees),
    |(base, rates, reserve_factor, flash_fees)| {
        Ok(Self { base, rates, reserve_factor, flash_fees })
    }
);
item_as!(
    Signals as (bool, bool, Option<u64>, bool),
    |v| (v.near_zero, v.outflow, v.high_since, v.high_told),
    |(near_zero, outflow, high_since, high_told)| {
        Ok(Self { near_zero, outflow, high_since, high_told })
    }
);
item_as!(ShareFlows as (U512, U512), |v| (v.came, v.left), |(came, left)| Ok(Self { came, left }));

impl<T: Summed + Item> Item for DayWindow<T> {
    fn put(&self, out: &mut Out) {
        self.items().copied().collect::<Vec<_>>().put(out);
    }

    fn take(input: &mut In<'_>) -> Taken<Self> {
        let mut day = Self::default();
        for (instant, flows) in Vec::<(u64, T)>::take(input)? {
            day.add(instant, &flows);
        }
        Ok(day)
    }
}

item_as!(
    Faults as (bool, bool, bool, bool),
    |v| (v.index_fell, v.negative, v.overdrawn, v.flows),
    |(index_fell, negative, overdrawn, flows)| {
        Ok(Self { index_fell, negative, overdrawn, flows })
    }
);
item_as!(
    Suppliers as Vec<(ContractAddress, SignedAmount)>,
    |v| v.holdings().map(|(account, raw)| (*account, *raw)).collect::<Vec<_>>(),
    |holdings| {
        let mut all = Self::default();
        for (account, SignedAmount { magnitude, negative }) in holdings {
            if all.add(account, magnitude, negative).is_none() {
                return malformed("a holding outside its range");
            }
        }
        Ok(all)
    }
);
item_as!(
    Book as (
        (UnixSeconds, Option<ContractAddress>),
        Option<SignedAmount>,
        Option<SignedAmount>,
        Option<Suppliers>,
        DayWindow<ShareFlows>
    ),
    |v| {
        let opened = (v.opened_at, v.share_token);
        (opened, v.raw_supply, v.raw_debt, v.suppliers.clone(), v.day.clone())
    },
    |((opened_at, share_token), raw_supply, raw_debt, suppliers, day)| {
        Ok(Self { opened_at, share_token, raw_supply, raw_debt, suppliers, day })
    }
);
item_as!(
    Holdings as (bool, Option<Suppliers>, bool, bool),
    |v| (v.pool_opened, v.suppliers.clone(), v.untold, v.complete),
    |(pool_opened, suppliers, untold, complete)| {
        Ok(Self { pool_opened, suppliers, untold, complete })
    }
);
item_as!(
    DayTotals as (Option<U256>, Vec<(u64, U256)>),
    |v| {
        let (before, since) = v.items();
        (before, since.copied().collect::<Vec<_>>())
    },
    |(before, since)| Ok(Self::of(before, since))
);
item_as!(LiquidityFlows as (Volumes, Volumes), |v| (v.came, v.left), |(came, left)| Ok(Self {
    came,
    left
}));
item_as!(TokenPair as (ContractAddress, ContractAddress), |v| (v.token0, v.token1), |(
    token0,
    token1,
)| Ok(Self {
    token0,
    token1
}));
item_as!(
    PoolKey as (ContractAddress, ContractAddress, u128, u128, ContractAddress),
    |v| (v.token0, v.token1, v.fee, v.tick_spacing, v.extension),
    |(token0, token1, fee, tick_spacing, extension)| {
        Ok(Self { token0, token1, fee, tick_spacing, extension })
    }
);
