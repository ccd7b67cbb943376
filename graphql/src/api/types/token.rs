//! Tokens, as the registry lists them.

use async_graphql::SimpleObject;
use obsqra_protocols::Registry;
use obsqra_types::ContractAddress;

/// A token.
#[derive(SimpleObject)]
pub(crate) struct Token {
    /// Contract of the token: a felt in hex without leading zeros.
    address: String,
    /// Symbol; null where the adopted registry does not list the token. Two tokens may share one.
    symbol: Option<String>,
    /// Decimal places of a whole token; null where the adopted registry does not list the token.
    decimals: Option<i32>,
}

impl Token {
    pub(crate) fn new(address: &ContractAddress, registry: &Registry) -> Self {
        let listed = registry.token(address);
        Self {
            address: address.to_string(),
            symbol: listed.map(|token| token.symbol.clone()),
            decimals: listed.map(|token| token.decimals.into()),
        }
    }
}
