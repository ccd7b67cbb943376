//! Reference prices: a bounded integer random walk a token, and regimes of calm and storm.
//!
//! Venues are not priced by this walk directly; arbitrage pulls each pool towards it.

use super::math::{mul_div_128, pow10, to_u128};
use super::rng::Dice;
use super::tokens::Token;

/// USDC's price and the scale of all prices: 10¹⁸ is one USDC per whole token.
pub(super) const ONE_USDC: u128 = 1_000_000_000_000_000_000;

/// Parts in a million.
const MILLION: u64 = 1_000_000;

/// Blocks a regime lasts: half a day.
const REGIME_BLOCKS: u64 = 72;

/// One token's walk.
#[derive(Debug, Clone)]
struct Walk {
    token: Token,
    price: u128,
    anchor: u128,
    /// Bound of one step in calm times, parts in a million.
    step_ppm: u32,
}

/// All walks.
#[derive(Debug, Clone)]
pub(super) struct ReferencePrices {
    walks: Vec<Walk>,
    storm: u32,
}

impl ReferencePrices {
    pub(super) fn new() -> Self {
        let cent = ONE_USDC / 100;
        let walk = |token, cents: u128, step_ppm| Walk {
            token,
            price: cents * cent,
            anchor: cents * cent,
            step_ppm,
        };
        Self {
            walks: vec![
                walk(Token::Eth, 334_000, 4_200),
                walk(Token::Strk, 46, 7_000),
                walk(Token::Wbtc, 9_440_000, 3_000),
                walk(Token::Usdt, 100, 60),
                walk(Token::WstEth, 397_000, 4_200),
                walk(Token::Unlisted, 2, 9_000),
            ],
            storm: 1,
        }
    }

    /// One block's steps.
    pub(super) fn step(&mut self, dice: &mut Dice, height: u64) {
        if height.is_multiple_of(REGIME_BLOCKS) {
            self.storm = if dice.chance(25) { 3 } else { 1 };
        }
        let common = dice.around_zero(2_400 * self.storm);
        for walk in &mut self.walks {
            let own = dice.around_zero(walk.step_ppm * self.storm);
            let shared = if walk.token == Token::Usdt { 0 } else { common };
            walk.step(own + shared);
        }
    }

    /// USDC per whole token at 10⁻¹⁸.
    pub(super) fn of(&self, token: Token) -> u128 {
        self.walks.iter().find(|walk| walk.token == token).map_or(ONE_USDC, |walk| walk.price)
    }

    /// The raw amount of a token that is worth so many whole USDC, at least 1.
    pub(super) fn amount_worth(&self, token: Token, whole_usdc: u64) -> u128 {
        let scale = to_u128(pow10(token.decimals()));
        mul_div_128(u128::from(whole_usdc) * ONE_USDC, scale, self.of(token)).max(1)
    }
}

impl Walk {
    /// Moves by parts in a million, pulled a little towards the anchor, and stays within a factor of two
    /// of it so that every position of the model's widest range remains in use.
    fn step(&mut self, ppm: i64) {
        let pull = if self.price > self.anchor { -40 } else { 40 };
        let moved = MILLION.saturating_add_signed(ppm + pull);
        let price = mul_div_128(self.price, u128::from(moved), u128::from(MILLION));
        self.price = price.clamp(self.anchor / 2, self.anchor * 2);
    }
}
