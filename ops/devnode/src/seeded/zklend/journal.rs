//! What a reserve remembers of its last blocks beyond its state: when the accumulators were synced, at
//! which terms, and what flash loans left behind. Only the truth reads it.
//!
//! All of a block happens at one instant, its timestamp.

use ruint::aliases::U256;

/// What interest accrues by, at scale 10²⁷.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::seeded) struct Terms {
    pub(in crate::seeded) lending_rate: u128,
    pub(in crate::seeded) borrowing_rate: u128,
    pub(in crate::seeded) reserve_factor: u128,
}

/// The accumulators after the last sync of an instant, at scale 10²⁷.
#[derive(Debug, Clone, Copy)]
pub(in crate::seeded) struct Instant {
    /// Seconds since 1970.
    pub(in crate::seeded) at: u64,
    pub(in crate::seeded) lending_accumulator: U256,
    pub(in crate::seeded) debt_accumulator: U256,
    /// The terms before the first sync of the instant.
    pub(in crate::seeded) before: Terms,
}

/// A flash loan when it was told.
#[derive(Debug, Clone, Copy)]
pub(in crate::seeded) struct FlashLoanNote {
    pub(in crate::seeded) at: u64,
    pub(in crate::seeded) raw_supply: u128,
    pub(in crate::seeded) lending_accumulator: U256,
    /// The fee it owed.
    pub(in crate::seeded) fee: u128,
}

/// The two newest instants with a sync, and the flash loans of the newest one with any.
#[derive(Debug, Clone)]
pub(in crate::seeded) struct Journal {
    /// The instant before the newest one.
    pub(in crate::seeded) earlier: Option<Instant>,
    pub(in crate::seeded) newest: Instant,
    pub(in crate::seeded) flash_loans: Vec<FlashLoanNote>,
}

impl Journal {
    /// The opening of a reserve counts as a sync.
    pub(super) fn opened(newest: Instant) -> Self {
        Self { earlier: None, newest, flash_loans: Vec::new() }
    }

    /// Notes a sync. Of several in one instant the last accumulators and the first terms count.
    pub(super) fn synced(&mut self, sync: Instant) {
        if self.newest.at == sync.at {
            self.newest = Instant { before: self.newest.before, ..sync };
        } else {
            self.earlier = Some(self.newest);
            self.newest = sync;
        }
    }

    /// Notes a flash loan and forgets those of earlier instants.
    pub(super) fn flash_loaned(&mut self, loan: FlashLoanNote) {
        self.flash_loans.retain(|other| other.at == loan.at);
        self.flash_loans.push(loan);
    }
}
