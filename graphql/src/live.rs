//! The newest position of the read models, for subscriptions: one task of the server watches it, and
//! every subscription waits on the same channel.
//!
//! The channel holds one value, so a subscription that looks late finds the newest position and reads
//! what it missed from its own cursor. Hints of the database only shorten the wait.

use std::time::Duration;

use obsqra_store::notify::{Listener, Signal};
use obsqra_store::read::{Position, position};
use obsqra_store::{Store, StoreError};
use obsqra_types::ChainId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error;
use crate::limits::{MAX_RETRY_DELAY, POSITION_INTERVAL};

const FIRST_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Follows the position until the token is cancelled, through failures of the database.
pub(crate) async fn follow(
    store: Store,
    chain: ChainId,
    newest: watch::Sender<Option<Position>>,
    stop: CancellationToken,
) {
    let mut delay = FIRST_RETRY_DELAY;
    loop {
        let failed = tokio::select! {
            () = stop.cancelled() => return,
            failed = watch_position(&store, &chain, &newest, &mut delay) => failed,
        };
        tracing::warn!(
            cause = %error::chain(&failed),
            retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "cannot follow the position of the read models; subscriptions wait"
        );
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jittered(delay)) => {}
        }
        delay = (delay * 2).min(MAX_RETRY_DELAY);
    }
}

async fn watch_position(
    store: &Store,
    chain: &ChainId,
    newest: &watch::Sender<Option<Position>>,
    delay: &mut Duration,
) -> StoreError {
    let mut listener = match Listener::new(store, Signal::Projection).await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    loop {
        match position::load(store, chain).await {
            Ok(found) => publish(newest, found),
            Err(error) => return error,
        }
        *delay = FIRST_RETRY_DELAY;
        if let Err(error) = listener.wait(POSITION_INTERVAL).await {
            return error;
        }
    }
}

fn publish(newest: &watch::Sender<Option<Position>>, found: Option<Position>) {
    newest.send_if_modified(|last| {
        let changed = *last != found;
        *last = found;
        changed
    });
}

// Servers that lost the same database do not come back to it in step.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::random_range(0.5..1.0))
}
