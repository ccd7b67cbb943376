//! The types that queries and subscriptions return.

mod activity;
mod allocation;
mod anomaly;
mod event;
mod head;
mod page;
mod price;
mod privacy_pool;
mod protocol;
mod risk;
mod token;

pub(super) use activity::{Activity, ActivityKind};
pub(super) use allocation::Allocation;
pub(super) use anomaly::{Anomaly, Severity};
pub(super) use event::Event;
pub(super) use head::Head;
pub(super) use page::{BlockPageCursor, PageCursor};
pub(super) use price::Price;
pub(super) use privacy_pool::PrivacyPool;
use protocol::Absent;
pub(super) use protocol::Protocol;
use risk::Cause;
pub(super) use risk::RiskScore;
pub(super) use token::Token;

use chrono::{DateTime, Utc};
use obsqra_types::{BlockNumber, UnixSeconds};

use crate::error::ApiError;

/// A height as GraphQL's 32-bit `Int`.
fn height(number: BlockNumber) -> Result<i32, ApiError> {
    i32::try_from(number.0).map_err(|_| ApiError::Range("block number"))
}

fn int(value: u32, what: &'static str) -> Result<i32, ApiError> {
    i32::try_from(value).map_err(|_| ApiError::Range(what))
}

fn instant(timestamp: UnixSeconds) -> Result<DateTime<Utc>, ApiError> {
    timestamp.to_datetime().ok_or(ApiError::Range("timestamp"))
}
