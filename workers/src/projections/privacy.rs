//! Privacy pools: transfers to and from chambers, summed up by size.
//!
//! A chamber has no event for what is put in and taken out, so the transfers of watched tokens are counted.
//! The size of a transfer is the decade of its amount; a transfer of nothing has none and is not counted,
//! and neither is one from a chamber to itself.

use std::collections::BTreeMap;

use obsqra_protocols::{Contracts, Role, Transfer, WatchedContract};
use obsqra_store::projection::privacy_pool::PrivacyPoolRow;
use obsqra_store::projection::{HistoryRow, OPEN, Ranges};
use obsqra_types::{ChainId, ContractAddress, Seq, U256, U512};

use super::rows::out_of_range;
use crate::WorkError;

type Key = <PrivacyPoolRow as HistoryRow>::Key;

/// What transfers of one block add to a pool and decade.
#[derive(Clone, Debug, Default)]
struct Change {
    deposits: i64,
    withdrawals: i64,
    deposited: U512,
    withdrawn: U512,
}

/// What transfers add to pools, by pool and decade, then by height.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolChanges(BTreeMap<Key, PoolChange>);

/// What transfers add to one pool and decade, by height. There is at least one height.
#[derive(Clone, Debug)]
pub(super) struct PoolChange {
    protocol: String,
    by_height: BTreeMap<i64, Change>,
}

impl PoolChanges {
    /// Takes in a transfer in a block, for the chambers that `counts` says.
    pub(super) fn note(
        &mut self,
        (chain, height): (&ChainId, i64),
        contracts: &Contracts,
        transfer: &Transfer,
        counts: impl Fn(&ContractAddress) -> bool,
    ) {
        let Some(bucket) = bucket(transfer.amount).filter(|_| transfer.from != transfer.to) else {
            return;
        };
        let amount = U512::from(transfer.amount);
        let mut change = |account: &ContractAddress, add: fn(&mut Change, U512)| {
            if let Some(chamber) = chamber(contracts, account).filter(|_| counts(account)) {
                let bytes = |address: &ContractAddress| address.0.to_bytes_be().to_vec();
                let key =
                    (chain.to_string(), bytes(&chamber.address), bytes(&transfer.token), bucket);
                let protocol = chamber.protocol.to_string();
                let pool = self
                    .0
                    .entry(key)
                    .or_insert_with(|| PoolChange { protocol, by_height: BTreeMap::new() });
                add(pool.by_height.entry(height).or_default(), amount);
            }
        };
        change(&transfer.to, Change::deposit);
        change(&transfer.from, Change::withdraw);
    }

    /// By pool and decade.
    pub(super) fn into_pools(self) -> impl Iterator<Item = (Key, PoolChange)> {
        self.0.into_iter()
    }
}

impl Change {
    // Neither a count nor a sum comes near its bound: a count is below the number of log entries, and a
    // sum below that times 2²⁵⁶.
    fn deposit(&mut self, amount: U512) {
        self.deposits = self.deposits.saturating_add(1);
        self.deposited = self.deposited.saturating_add(amount);
    }

    fn withdraw(&mut self, amount: U512) {
        self.withdrawals = self.withdrawals.saturating_add(1);
        self.withdrawn = self.withdrawn.saturating_add(amount);
    }

    fn of(row: &PrivacyPoolRow) -> Self {
        Self {
            deposits: row.deposits,
            withdrawals: row.withdrawals,
            deposited: row.deposited,
            withdrawn: row.withdrawn,
        }
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        Some(Self {
            deposits: self.deposits.checked_add(other.deposits)?,
            withdrawals: self.withdrawals.checked_add(other.withdrawals)?,
            deposited: self.deposited.checked_add(other.deposited)?,
            withdrawn: self.withdrawn.checked_add(other.withdrawn)?,
        })
    }
}

impl PoolChange {
    /// The lowest height with a change.
    pub(super) fn lowest(&self) -> i64 {
        self.by_height.keys().next().copied().unwrap_or(OPEN)
    }

    /// The rows that stand with the changes, known from a position on, where those of `standing` stood
    /// without them. `standing` are the rows that hold at the lowest height or above it, lowest first: they
    /// follow each other without a gap, since sums are never unknown again.
    pub(super) fn rows(
        &self,
        key: &Key,
        standing: &[PrivacyPoolRow],
        seq: Seq,
    ) -> Result<Vec<PrivacyPoolRow>, WorkError> {
        let from_seq = i64::try_from(seq.0).map_err(|_| out_of_range(seq))?;
        let mut begins: Vec<i64> = standing.iter().map(|row| row.ranges.from_block).collect();
        begins.extend(self.by_height.keys());
        begins.sort_unstable();
        begins.dedup();
        let ends = begins.iter().skip(1).copied().chain([OPEN]);
        let (mut stood, mut added) = (Change::default(), Change::default());
        let mut standing = standing.iter().peekable();
        let mut rows = Vec::with_capacity(begins.len());
        for (from_block, to_block) in begins.iter().copied().zip(ends) {
            if let Some(row) = standing.next_if(|row| row.ranges.from_block == from_block) {
                stood = Change::of(row);
            }
            if let Some(change) = self.by_height.get(&from_block) {
                added = added.plus(change).ok_or_else(|| out_of_range(seq))?;
            }
            let sums = stood.plus(&added).ok_or_else(|| out_of_range(seq))?;
            let ranges = Ranges { from_block, to_block, from_seq, to_seq: OPEN };
            rows.push(self.row(key, sums, ranges));
        }
        Ok(rows)
    }

    fn row(&self, key: &Key, sums: Change, ranges: Ranges) -> PrivacyPoolRow {
        let Change { deposits, withdrawals, deposited, withdrawn } = sums;
        let (chain_id, chamber, token, bucket) = key.clone();
        PrivacyPoolRow {
            chain_id,
            protocol: self.protocol.clone(),
            chamber,
            token,
            bucket,
            ranges,
            deposits,
            withdrawals,
            deposited,
            withdrawn,
        }
    }
}

/// The chamber that an account is.
pub(super) fn chamber<'a>(
    contracts: &'a Contracts,
    account: &ContractAddress,
) -> Option<&'a WatchedContract> {
    contracts.get(account).filter(|contract| contract.role == Role::Chamber)
}

/// The k of 10ᵏ ≤ amount < 10ᵏ⁺¹; `None` for nothing.
fn bucket(amount: U256) -> Option<i16> {
    let digits = i16::try_from(amount.to_string().len()).ok()?;
    (!amount.is_zero()).then_some(digits - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests;
