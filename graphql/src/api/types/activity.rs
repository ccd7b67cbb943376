//! What wallets did.

use async_graphql::{Context, Enum, Object};
use chrono::{DateTime, Utc};
use obsqra_protocols as protocols;
use obsqra_store::read::activity;
use obsqra_types::{BlockCursor, ContractAddress};

use super::{Token, height, instant, int};
use crate::context::RequestContext;
use crate::error::ApiError;

/// What kind of thing a wallet did.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "protocols::ActivityKind")]
pub(crate) enum ActivityKind {
    /// Put a token into a protocol.
    Deposit,
    /// Took a token out of a protocol.
    Withdrawal,
    /// Took a loan.
    Borrow,
    /// Paid a loan back.
    Repay,
    /// Had its loan paid back by the counterparty, who took collateral.
    Liquidation,
    /// Paid a token and got another.
    Swap,
}

impl ActivityKind {
    /// The names of some kinds as rows have them.
    pub(crate) fn names(kinds: Vec<Self>) -> Vec<String> {
        let name = |kind| protocols::ActivityKind::from(kind).name().to_owned();
        kinds.into_iter().map(name).collect()
    }
}

/// How far an activity can be relied on.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActivityStatus {
    /// Its block stands and may still be reverted.
    Provisional,
    /// Its block is accepted on L1: it cannot be reverted.
    Final,
    /// Its block was reverted: on the chain as it is now, it did not happen there.
    Retracted,
}

/// One thing that an event says a wallet did.
pub(crate) struct Activity(pub(crate) activity::Activity);

impl Activity {
    /// Where it stands in a list.
    pub(crate) fn cursor(&self) -> BlockCursor {
        self.0.cursor
    }
}

/// One thing that an event of a watched contract says a wallet did. Felts are hex without leading zeros,
/// amounts decimal integers in the token's smallest unit.
#[Object]
impl Activity {
    /// Position of the event's log entry: a decimal integer. An event may tell of several activities.
    async fn seq(&self) -> String {
        self.0.event.to_string()
    }

    /// How far it can be relied on, by what is known at the position of the answer.
    async fn status(&self, ctx: &Context<'_>) -> Result<ActivityStatus, ApiError> {
        let finalized = RequestContext::of(ctx)?.pinned()?.position.finalized;
        Ok(match self.0.reverted_at {
            Some(_) => ActivityStatus::Retracted,
            None if finalized.is_some_and(|finalized| self.0.block() <= finalized) => {
                ActivityStatus::Final
            }
            None => ActivityStatus::Provisional,
        })
    }

    /// Position of the log entry that reverted its block: a decimal integer; null while the block stands.
    async fn retracted_seq(&self) -> Option<String> {
        self.0.reverted_at.map(|seq| seq.to_string())
    }

    /// What the wallet did.
    async fn kind(&self) -> Result<ActivityKind, ApiError> {
        let mut kinds = protocols::ActivityKind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.name() == self.0.kind);
        kind.map(ActivityKind::from).ok_or(ApiError::Range("activity kind"))
    }

    /// Key of the protocol, such as `zklend`.
    async fn protocol(&self) -> &str {
        self.0.protocol.as_str()
    }

    /// The contract that emitted the event: a felt.
    async fn contract(&self) -> String {
        self.0.contract.to_string()
    }

    /// The account that the event names as acting: a felt. Where a router or a position manager stands
    /// between, it is that.
    async fn wallet(&self) -> String {
        self.0.wallet.to_string()
    }

    /// The other account that the event names, such as a liquidator: a felt; null where there is none.
    async fn counterparty(&self) -> Option<String> {
        self.0.counterparty.map(|account| account.to_string())
    }

    /// The token; null where neither the event nor the registry names it.
    async fn token(&self, ctx: &Context<'_>) -> Result<Option<Token>, ApiError> {
        token(ctx, self.0.token).await
    }

    /// How much of the token; of a swap, what was paid.
    async fn amount(&self) -> String {
        self.0.amount.to_string()
    }

    /// The token that came out of a swap, or was taken as collateral in a liquidation; null for others.
    async fn counter_token(&self, ctx: &Context<'_>) -> Result<Option<Token>, ApiError> {
        token(ctx, self.0.counter_token).await
    }

    /// How much of the counter token.
    async fn counter_amount(&self) -> Option<String> {
        self.0.counter_amount.map(|amount| amount.to_string())
    }

    /// Height of the block.
    async fn block_number(&self) -> Result<i32, ApiError> {
        height(self.0.block())
    }

    /// Hash of the block: a felt.
    async fn block_hash(&self) -> String {
        self.0.block_hash.to_string()
    }

    /// Hash of the transaction that emitted the event: a felt.
    async fn transaction_hash(&self) -> String {
        self.0.transaction.to_string()
    }

    /// Place of the event in its block, counted over all events of the block from 0.
    async fn event_index(&self) -> Result<i32, ApiError> {
        int(self.0.index.0, "event index")
    }

    /// Header timestamp of the block, to the second.
    async fn timestamp(&self) -> Result<DateTime<Utc>, ApiError> {
        instant(self.0.timestamp)
    }
}

async fn token(
    ctx: &Context<'_>,
    address: Option<ContractAddress>,
) -> Result<Option<Token>, ApiError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let registry = RequestContext::of(ctx)?.registry().await?;
    Ok(Some(Token::new(&address, &registry)))
}
