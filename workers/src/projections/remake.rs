//! The projector's way to make read models of another program anew: beside the live rows, which it leaves where they
//! stand until the new ones are whole.
//!
//! It holds the projector's lease all the time, so nothing moves the live position. The lease of the tables beside is
//! renewed by progress alone: a process that lost the projector's lease must not keep the next one waiting.

use obsqra_store::projection::beside::Swap;
use obsqra_store::projection::state::READ_MODELS;
use obsqra_store::{Fence, Lease, LeaseKeeper, Store, StoreError};
use obsqra_types::{ChainId, Partition, Seq};

use super::making::{MAKING_TTL, Making};
use super::rebuild::give_back;
use crate::WorkError;

/// Read models that are made instead of live ones.
#[derive(Debug)]
pub(super) struct Remake {
    making: Making,
    holder: String,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remade {
    /// There is more to fold.
    Partly,
    /// All is folded, and somebody reads the live ones: later.
    Waits,
    /// They are the live ones now.
    Whole,
}

impl Remake {
    /// Begins with empty tables; `None` while somebody else makes read models.
    pub(super) async fn begin(
        store: &Store,
        chain: &ChainId,
        projector: &Fence,
    ) -> Result<Option<Self>, WorkError> {
        let holder = format!("{}/{}", projector.partition, projector.epoch.0);
        let lease = Lease::acquire(store, Partition::Rebuilder, &holder, MAKING_TTL).await?;
        let Some(lease) = lease else {
            tracing::info!("waiting: other read models are being made");
            return Ok(None);
        };
        tracing::info!("the read models are those of another program and are made anew");
        Ok(Some(Self { making: Making::begin(store, chain, lease).await?, holder }))
    }

    /// Goes on after an error; `None` where somebody else makes read models by now.
    pub(super) async fn resume(self) -> Result<Option<Self>, WorkError> {
        let Self { making, holder } = self;
        match making.resume().await {
            Ok(making) => Ok(Some(Self { making, holder })),
            Err(WorkError::Store(StoreError::LeaseLost(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the tables up.
    pub(super) async fn close(self) {
        self.making.close().await;
    }

    /// Works a stretch towards the position that the live ones stand for.
    pub(super) async fn work(
        &mut self,
        projector: &LeaseKeeper,
        live: Seq,
    ) -> Result<Remade, WorkError> {
        if self.making.position() < live {
            self.making.fold(live).await?;
            return Ok(Remade::Partly);
        }
        self.making.analyze().await?;
        if !self.making.is_seen_by_all().await? {
            return Ok(Remade::Waits);
        }
        let others = self.making.others_rest(&self.holder).await?;
        let names = READ_MODELS.map(String::from);
        let swapped = self.making.swap(&names, (projector.fence(), &others)).await;
        give_back(others).await;
        Ok(match swapped? {
            Swap::Done => Remade::Whole,
            Swap::Busy => Remade::Waits,
        })
    }
}
