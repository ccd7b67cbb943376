//! Realised volatility of an asset over 1, 7 and 30 days, from hourly volume-weighted prices.
//!
//! The only part of the truth that uses floating point: it is a check and never becomes part of the chain.

use super::super::tokens::Token;
use super::super::trades::{Sums, Windows};
use super::prices::unit_price;

/// Days, hours, and the fewest hours with a price, of each window.
const WINDOWS: [(f64, u64, usize); 3] = [(1.0, 24, 18), (7.0, 168, 120), (30.0, 720, 514)];

/// Volatilities of a token over the hours before one, in bps; `None` where too few hours had a swap.
pub(super) fn before(
    windows: &mut Windows,
    hour: u64,
    token: Token,
    token_is_first: bool,
) -> [Option<u32>; 3] {
    match windows.volatilities {
        Some((known, values)) if known == hour => values,
        _ => {
            let prices = hourly_prices(windows, token, token_is_first);
            let values = WINDOWS.map(|window| over(&prices, hour, window));
            windows.volatilities = Some((hour, values));
            values
        }
    }
}

fn hourly_prices(windows: &Windows, token: Token, token_is_first: bool) -> Vec<(u64, f64)> {
    let price = |sums: &Sums| {
        let (base, quote) = if token_is_first {
            (sums.amount0, sums.amount1)
        } else {
            (sums.amount1, sums.amount0)
        };
        unit_price(quote, base, token).filter(|price| !price.is_zero())
    };
    let hours = windows.hours.iter();
    hours.filter_map(|(hour, sums)| Some((*hour, f64::from(price(sums)?)))).collect()
}

fn over(prices: &[(u64, f64)], hour: u64, (days, hours, fewest): (f64, u64, usize)) -> Option<u32> {
    let inside = prices.iter().filter(|(at, _)| *at < hour && at + hours >= hour);
    let present: Vec<f64> = inside.map(|(_, price)| *price).collect();
    if present.len() < fewest {
        return None;
    }
    let steps = present.iter().zip(present.iter().skip(1));
    let squares: f64 = steps.map(|(earlier, later)| (later / earlier).ln().powi(2)).sum();
    floor_to_bps(10_000.0 * (squares * 365.0 / days).sqrt())
}

/// The integer below a float that is not negative, at most 10,000.
fn floor_to_bps(value: f64) -> Option<u32> {
    let text = format!("{:.0}", value.floor().min(10_000.0));
    text.parse().ok()
}
