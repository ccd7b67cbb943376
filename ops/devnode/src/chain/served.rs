//! A block as it is served: sealed, with the truth about it, and with the bodies that were asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::block::SealedBlock;
use super::encode::{Body, Detail};
use super::producer::ProducedBlock;
use crate::seeded::BlockTruth;
use crate::spec::BodyStyle;

type Bodies = [Option<Arc<Body>>; BodyStyle::COUNT];

/// A served block; nodes with the same blocks share it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) block: SealedBlock,
    pub(crate) truth: Option<BlockTruth>,
    bodies: Mutex<Bodies>,
}

/// Whether a body is kept after it was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Body,
    Nothing,
}

impl Served {
    pub(crate) fn new(produced: ProducedBlock) -> Arc<Self> {
        Arc::new(Self {
            block: produced.block,
            truth: produced.truth,
            bodies: Mutex::new(Bodies::default()),
        })
    }

    /// The body at a level of detail; only the one with receipts can be kept.
    pub(crate) fn body(&self, detail: Detail, style: BodyStyle, keep: Keep) -> Arc<Body> {
        if detail != Detail::Receipts {
            return Arc::new(Body::encode(&self.block, detail, style));
        }
        if let Some(body) = self.lock().get(style.index()).and_then(Option::as_ref) {
            return Arc::clone(body);
        }
        let body = Arc::new(Body::encode(&self.block, detail, style));
        if keep == Keep::Body
            && let Some(place) = self.lock().get_mut(style.index())
        {
            *place = Some(Arc::clone(&body));
        }
        body
    }

    pub(crate) fn drop_bodies(&self) {
        *self.lock() = Bodies::default();
    }

    fn lock(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
