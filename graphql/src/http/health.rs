//! Health and metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use obsqra_store::StoreError;
use obsqra_store::read::{Position, position};
use serde_json::{Value, json};

use crate::limits::{HEALTH_TIMEOUT, MAX_NODE_SILENCE};
use crate::server::AppState;

/// The server answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}

pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], (state.metrics)()).into_response()
}

/// Whether what the server depends on is there and the read models are near the chain's head.
pub(super) async fn ready(State(state): State<AppState>) -> Response {
    let shared = state.api.shared();
    let look = async {
        let position = position::load(&shared.store, &shared.chain).await?;
        Ok((position, position::node_silent_for(&shared.store, &shared.chain).await?))
    };
    let found = tokio::time::timeout(HEALTH_TIMEOUT, look).await.ok();
    let node_silent_for = found.as_ref().and_then(|found| found.as_ref().ok()?.1);
    let health = Health {
        read_models: ReadModels::from(found.map(|found| found.map(|(position, _)| position))),
        node_silent_for,
        bus: (state.bus)(),
        max_lag_blocks: state.max_lag_blocks,
    };
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(health.to_json())).into_response()
}

/// What a look at the database gave.
enum ReadModels {
    Unreachable,
    Empty,
    At(Position),
}

impl From<Option<Result<Option<Position>, StoreError>>> for ReadModels {
    fn from(found: Option<Result<Option<Position>, StoreError>>) -> Self {
        match found {
            Some(Ok(Some(position))) => Self::At(position),
            Some(Ok(None)) => Self::Empty,
            Some(Err(_)) | None => Self::Unreachable,
        }
    }
}

struct Health {
    read_models: ReadModels,
    /// Seconds since the follower last heard from its node; `None` where it never did.
    node_silent_for: Option<u64>,
    bus: bool,
    max_lag_blocks: u64,
}

impl Health {
    fn is_ready(&self) -> bool {
        self.bus
            && self.hears_node()
            && self.lag_blocks().is_some_and(|lag| lag <= self.max_lag_blocks)
    }

    fn hears_node(&self) -> bool {
        self.node_silent_for.is_none_or(|seconds| seconds <= MAX_NODE_SILENCE)
    }

    /// `None` where it cannot be told.
    fn lag_blocks(&self) -> Option<u64> {
        match &self.read_models {
            ReadModels::At(position) => Some(position.lag_blocks()),
            ReadModels::Empty | ReadModels::Unreachable => None,
        }
    }

    fn to_json(&self) -> Value {
        let position = match &self.read_models {
            ReadModels::At(position) => Some(position),
            ReadModels::Empty | ReadModels::Unreachable => None,
        };
        let lag = self.lag_blocks();
        json!({
            "ready": self.is_ready(),
            "checks": {
                "database": { "up": !matches!(self.read_models, ReadModels::Unreachable) },
                "bus": { "up": self.bus },
                "node": { "up": self.hears_node(), "silentForSeconds": self.node_silent_for },
                "projection": {
                    "up": position.is_some(),
                    "seq": position.map(|position| position.seq.to_string()),
                    "blockNumber": position.map(|position| position.block.0),
                },
                "lag": {
                    "up": lag.is_some_and(|lag| lag <= self.max_lag_blocks),
                    "blocks": lag,
                    "maxBlocks": self.max_lag_blocks,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use obsqra_types::{BlockHash, BlockNumber, Felt, Seq, UnixSeconds};

    use super::*;

    fn behind(lag_blocks: u64) -> ReadModels {
        ReadModels::At(Position {
            seq: Seq(9),
            block: BlockNumber(100),
            hash: BlockHash(Felt::ONE),
            timestamp: UnixSeconds(0),
            finalized: None,
            chain_head: BlockNumber(100 + lag_blocks),
        })
    }

    #[test]
    fn ready_means_everything_is_up_and_near_the_head() {
        let check = |read_models, bus| {
            Health { read_models, node_silent_for: Some(3), bus, max_lag_blocks: 5 }.is_ready()
        };
        assert!(check(behind(5), true));
        assert!(!check(behind(6), true));
        assert!(!check(behind(0), false));
        assert!(!check(ReadModels::Empty, true));
        assert!(!check(ReadModels::Unreachable, true));
    }

    #[test]
    fn a_follower_that_hears_nothing_is_not_ready() {
        let silent = |seconds| Health {
            read_models: behind(0),
            node_silent_for: Some(seconds),
            bus: true,
            max_lag_blocks: 5,
        };
        assert!(silent(MAX_NODE_SILENCE).is_ready());
        assert!(!silent(MAX_NODE_SILENCE + 1).is_ready());
    }

    #[test]
    fn a_check_that_cannot_be_made_is_not_up() {
        let health = Health {
            read_models: ReadModels::Unreachable,
            node_silent_for: None,
            bus: true,
            max_lag_blocks: 5,
        };
        let shown = health.to_json();
        assert_eq!(shown["checks"]["database"]["up"], false);
        assert_eq!(shown["checks"]["lag"], json!({"up": false, "blocks": null, "maxBlocks": 5}));
        assert_eq!(shown["checks"]["bus"]["up"], true);
    }
}
