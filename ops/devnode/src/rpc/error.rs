//! Errors as JSON-RPC and the Starknet specification number them.

use serde_json::{Value, json};

/// An error of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpcError {
    code: i64,
    message: &'static str,
    data: Option<String>,
}

impl RpcError {
    pub(crate) const BLOCK_NOT_FOUND: Self = Self::of(24, "Block not found");
    pub(crate) const PAGE_SIZE_TOO_BIG: Self = Self::of(31, "Requested page size is too big");
    pub(crate) const NO_BLOCKS: Self = Self::of(32, "There are no blocks");
    pub(crate) const INVALID_CONTINUATION_TOKEN: Self =
        Self::of(33, "The supplied continuation token is invalid or unknown");
    pub(crate) const TOO_MANY_KEYS: Self = Self::of(34, "Too many keys provided in a filter");
    pub(crate) const INVALID_SUBSCRIPTION_ID: Self = Self::of(66, "Invalid subscription id");
    pub(crate) const TOO_MANY_BLOCKS_BACK: Self =
        Self::of(68, "Cannot go back more than 1024 blocks");
    pub(crate) const PARSE_ERROR: Self = Self::of(-32_700, "Parse error");
    pub(crate) const METHOD_NOT_FOUND: Self = Self::of(-32_601, "Method not found");
    pub(crate) const RATE_LIMITED: Self = Self::of(429, "Too many requests");
    pub(crate) const INTERNAL: Self = Self::of(-32_603, "Internal error");

    const fn of(code: i64, message: &'static str) -> Self {
        Self { code, message, data: None }
    }

    pub(crate) fn invalid_params(why: impl Into<String>) -> Self {
        Self { data: Some(why.into()), ..Self::of(-32_602, "Invalid params") }
    }

    pub(crate) fn invalid_request(why: impl Into<String>) -> Self {
        Self { data: Some(why.into()), ..Self::of(-32_600, "Invalid Request") }
    }

    /// The error object.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Some(data) => json!({ "code": self.code, "message": self.message, "data": data }),
            None => json!({ "code": self.code, "message": self.message }),
        }
    }
}
