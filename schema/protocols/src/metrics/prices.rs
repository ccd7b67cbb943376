//! The prices that a fold tells: one of a listed token for each source.

use obsqra_types::{ContractAddress, PriceUsdc};

use super::fold::MetricFold;
use super::oracle::OracleKey;
use super::quotes::{PriceSource, TokenPrice};

impl MetricFold {
    /// The price of a listed token at the end of the newest block.
    pub(super) fn token_price(&self, token: &ContractAddress) -> Option<TokenPrice> {
        let listed = self.registry().token(token)?;
        let pool = self.quotes.pool(token).map(|place| &self.markets[place].identity);
        Some(TokenPrice {
            token: *token,
            symbol: listed.symbol.clone(),
            source: PriceSource::Pools,
            price: self
                .quotes
                .price(self.registry(), token)
                .map(PriceUsdc)
                .map_err(|absence| absence.reason),
            market: pool.map(|identity| (identity.protocol.clone(), identity.id.clone())),
        })
    }

    /// The price that a protocol's oracle gives for a listed token at the end of the newest block.
    pub(super) fn oracle_price(&self, key: &OracleKey) -> Option<TokenPrice> {
        let (protocol, token) = key;
        let listed = self.registry().token(token)?;
        let found = self.oracle_prices.get(key)?;
        let market = &self.markets.get(found.market)?.identity;
        Some(TokenPrice {
            token: *token,
            symbol: listed.symbol.clone(),
            source: PriceSource::Oracle(protocol.clone()),
            price: found.price.clone().map(PriceUsdc).map_err(|absence| absence.reason),
            market: Some((protocol.clone(), market.id.clone())),
        })
    }

    /// The prices of all listed tokens that a pool could give, and those that oracles give, at the end of
    /// the newest block.
    pub fn prices(&self) -> impl Iterator<Item = TokenPrice> {
        let tokens = self.index.tokens_with_usdc_pools();
        let of_pools = tokens.filter_map(|token| self.token_price(&token));
        of_pools.chain(self.oracle_prices.keys().filter_map(|key| self.oracle_price(key)))
    }
}
