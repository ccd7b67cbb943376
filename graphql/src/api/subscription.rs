//! Subscriptions. Each reads from its own cursor when the position of the read models moves, in pages
//! of bounded size and only as fast as its client takes the messages, so that nothing is missed,
//! nothing comes twice, and a slow client costs no memory.

use std::collections::VecDeque;
use std::sync::Arc;

use async_graphql::Context;
use futures::{Stream, stream};
use obsqra_store::read::risk_score::{HistoryFilter, history};
use obsqra_store::read::{Direction, PageRequest, Position};
use obsqra_types::Seq;
use tokio::sync::watch;

use super::arguments::cursor;
use super::types::{Head, RiskScore};
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::limits::SUBSCRIPTION_PAGE_ROWS;

/// The root of subscriptions.
pub(crate) struct Subscription;

/// What is told as it becomes known. Everything here is provisional until its block is accepted on
/// L1.
#[async_graphql::Subscription]
impl Subscription {
    /// Each risk score as it is recorded, in order. A score whose block was reverted before it was
    /// sent is left out.
    async fn risk_scored(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Key of a protocol, such as `zklend`; all protocols by default.")]
        protocol: Option<String>,
        #[graphql(
            desc = "The `cursor` of the last score received: begins with the one after it. By \
                          default begins with the next score recorded."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<RiskScore, ApiError>> + use<>, ApiError> {
        let context = Arc::clone(RequestContext::of(ctx)?);
        let cursor = match cursor("after", after.as_deref())? {
            Some(cursor) => cursor,
            None => context.pinned()?.position.seq,
        };
        let protocol = match protocol {
            Some(text) => Some(context.known_protocol("protocol", &text).await?),
            None => None,
        };
        let filter = HistoryFilter { protocol, ..HistoryFilter::default() };
        let live = context.shared.live.subscribe();
        let scores = Scores { context, filter, cursor, ahead: VecDeque::new(), live };
        Ok(stream::unfold(Some(scores), |scores| async move {
            let mut scores = scores?;
            match scores.next().await {
                Ok(Some(score)) => Some((Ok(score), Some(scores))),
                Ok(None) => None,
                // The error ends the subscription; the client resumes with the cursor it has.
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// The newest block that the read models hold: at once, and whenever it changes. A client that
    /// is slower than the chain gets the newest and not each one.
    async fn head(
        &self,
        ctx: &Context<'_>,
    ) -> Result<impl Stream<Item = Result<Head, ApiError>> + use<>, ApiError> {
        let context = Arc::clone(RequestContext::of(ctx)?);
        let mut live = context.shared.live.subscribe();
        live.mark_changed();
        Ok(stream::unfold((context, live), |(context, mut live)| async move {
            let position = next_position(&mut live).await?;
            context.note_position(position);
            let head = Head::new(position, &context.shared.chain);
            Some((head, (context, live)))
        }))
    }
}

/// The next position that was not seen yet; `None` when nothing follows it any more.
async fn next_position(live: &mut watch::Receiver<Option<Position>>) -> Option<Position> {
    loop {
        live.changed().await.ok()?;
        if let Some(position) = *live.borrow_and_update() {
            return Some(position);
        }
    }
}

/// The scores after a cursor, without end.
struct Scores {
    context: Arc<RequestContext>,
    filter: HistoryFilter,
    /// Every score up to here was read.
    cursor: Seq,
    /// Read and not sent yet.
    ahead: VecDeque<RiskScore>,
    live: watch::Receiver<Option<Position>>,
}

impl Scores {
    /// The next score; `None` when nothing follows the position any more.
    async fn next(&mut self) -> Result<Option<RiskScore>, ApiError> {
        loop {
            if let Some(score) = self.ahead.pop_front() {
                return Ok(Some(score));
            }
            // Marked as seen before reading: a position that comes during the read wakes the wait.
            let position = *self.live.borrow_and_update();
            match position {
                Some(position) if position.seq > self.cursor => self.read_ahead(position).await?,
                _ => {
                    if self.live.changed().await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    async fn read_ahead(&mut self, position: Position) -> Result<(), ApiError> {
        let request = PageRequest {
            after: Some(self.cursor),
            before: None,
            direction: Direction::Forward,
            size: SUBSCRIPTION_PAGE_ROWS,
        };
        let shared = &self.context.shared;
        let page =
            history(&shared.store, &shared.chain, position.seq, &self.filter, &request).await?;
        self.context.note_position(position);
        self.cursor = match page.rows.last() {
            Some(last) if page.more => last.entry,
            _ => position.seq,
        };
        self.ahead.extend(RiskScore::list(page.rows));
        Ok(())
    }
}
