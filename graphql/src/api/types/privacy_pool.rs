//! Privacy pools: what is visible of what goes through them.

use async_graphql::{Context, Object};
use obsqra_store::read::privacy_pool;
use obsqra_types::{BlockCursor, U256};

use super::{Token, height};
use crate::context::RequestContext;
use crate::error::ApiError;

/// The decade of the highest amount, 2²⁵⁶ − 1.
const MAX_BUCKET: u8 = 77;

/// A chamber, a token and a decade of amounts.
pub(crate) struct PrivacyPool(pub(crate) privacy_pool::PrivacyPool);

impl PrivacyPool {
    /// Where it stands in a history.
    pub(crate) fn cursor(&self) -> BlockCursor {
        self.0.cursor()
    }

    /// Reads a decade that an argument names.
    pub(crate) fn bucket_argument(number: i32) -> Result<u8, ApiError> {
        let bucket = u8::try_from(number).ok().filter(|bucket| *bucket <= MAX_BUCKET);
        bucket.ok_or_else(|| {
            let problem = format!("{number} is not between 0 and {MAX_BUCKET}");
            ApiError::bad_input("bucket", problem)
        })
    }
}

/// What went into the chamber of a privacy pool and came out of it, of one token and one decade of amounts:
/// transfers of the token to the chamber and from it in the blocks of the log, from its first block on. What
/// was in the chamber before is not counted.
#[Object]
impl PrivacyPool {
    /// Key of the protocol, such as `mist_cash`.
    async fn protocol(&self) -> &str {
        self.0.protocol.as_str()
    }

    /// The contract that holds the tokens: a felt in hex without leading zeros.
    async fn chamber(&self) -> String {
        self.0.chamber.to_string()
    }

    /// The token.
    async fn token(&self, ctx: &Context<'_>) -> Result<Token, ApiError> {
        let registry = RequestContext::of(ctx)?.registry().await?;
        Ok(Token::new(&self.0.token, &registry))
    }

    /// The decade: k of 10^k ≤ amount < 10^(k+1), in the token's smallest unit; 0 to 77.
    async fn bucket(&self) -> i32 {
        self.0.bucket.into()
    }

    /// The least amount of the decade, 10^k, in the token's smallest unit: a decimal integer.
    async fn least_amount(&self) -> Result<String, ApiError> {
        let least = U256::from(10u8).checked_pow(U256::from(self.0.bucket));
        Ok(least.ok_or(ApiError::Range("bucket"))?.to_string())
    }

    /// Transfers to the chamber.
    async fn deposits(&self) -> Result<i32, ApiError> {
        count(self.0.deposits)
    }

    /// Transfers from the chamber.
    async fn withdrawals(&self) -> Result<i32, ApiError> {
        count(self.0.withdrawals)
    }

    /// Sum of the deposits, in the token's smallest unit: a decimal integer.
    async fn deposited(&self) -> String {
        self.0.deposited.to_string()
    }

    /// Sum of the withdrawals, in the token's smallest unit: a decimal integer.
    async fn withdrawn(&self) -> String {
        self.0.withdrawn.to_string()
    }

    /// Deposits less withdrawals of the decade, not below 0: an upper bound of the deposits among which a
    /// withdrawal of that size hides. It is smaller in truth where one account deposited several times, or
    /// where a deposit was withdrawn in parts of another decade.
    async fn anonymity_set(&self) -> Result<i32, ApiError> {
        count(self.0.anonymity_set)
    }

    /// Height of the block from which these values hold.
    async fn block_number(&self) -> Result<i32, ApiError> {
        height(self.0.since)
    }
}

fn count(transfers: u64) -> Result<i32, ApiError> {
    i32::try_from(transfers).map_err(|_| ApiError::Range("number of transfers"))
}
