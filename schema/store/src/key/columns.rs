//! What the statements about keys take of facts, a column each, in the facts' order.

use super::standing::{Stated, subject};
use crate::{StoreError, row};

/// Chain, height and branch of each fact's block.
#[derive(Default)]
pub(super) struct Places {
    pub(super) chains: Vec<String>,
    pub(super) numbers: Vec<i64>,
    pub(super) epochs: Vec<i32>,
}

/// What else names a derived fact.
#[derive(Default)]
pub(super) struct Names {
    pub(super) kinds: Vec<i16>,
    pub(super) versions: Vec<i16>,
    pub(super) subjects: Vec<String>,
}

impl Places {
    pub(super) fn of<'a>(facts: impl Iterator<Item = &'a Stated<'a>>) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for stated in facts {
            columns.push(stated)?;
        }
        Ok(columns)
    }

    pub(super) fn push(&mut self, stated: &Stated<'_>) -> Result<(), StoreError> {
        let block = stated.block()?;
        self.chains.push(stated.first.chain.to_string());
        self.numbers.push(row::to_i64(block.number.0, "block number")?);
        self.epochs.push(row::to_i32(block.epoch.0, "branch epoch")?);
        Ok(())
    }
}

impl Names {
    pub(super) fn of<'a>(facts: impl Iterator<Item = &'a Stated<'a>>) -> Self {
        let mut columns = Self::default();
        for stated in facts {
            columns.kinds.push(stated.first.kind.code());
            columns.versions.push(stated.first.version);
            columns.subjects.push(subject(&stated.fact.key));
        }
        columns
    }
}
