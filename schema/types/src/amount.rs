//! Ratios, prices and values, each with its scale in the type.

use std::fmt;

use crate::U256;

/// Basis points: 1/10,000. A ratio of two amounts may exceed 10,000 where its definition lets it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Bps(pub u32);

impl Bps {
    /// 100 %.
    pub const ONE: Self = Self(10_000);
}

/// A ratio does not fit 31 bits of basis points.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("ratio exceeds the range of basis points")]
pub struct InvalidBps;

impl TryFrom<U256> for Bps {
    type Error = InvalidBps;

    fn try_from(value: U256) -> Result<Self, InvalidBps> {
        // 31 bits: what a column and a GraphQL Int hold.
        i32::try_from(value)
            .ok()
            .and_then(|value| u32::try_from(value).ok())
            .map(Self)
            .ok_or(InvalidBps)
    }
}

/// A price: USDC per whole token, scale 10⁻¹⁸.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PriceUsdc(pub U256);

impl PriceUsdc {
    /// The price of USDC itself.
    pub const ONE: Self = Self(U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]));
    /// Decimal places of the scale.
    pub const DECIMALS: usize = 18;
}

impl fmt::Display for PriceUsdc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, &self.0, Self::DECIMALS)
    }
}

/// A value in USDC's smallest unit, scale 10⁻⁶.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UsdcValue(pub U256);

impl UsdcValue {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// Decimal places of the scale.
    pub const DECIMALS: usize = 6;
}

impl fmt::Display for UsdcValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, &self.0, Self::DECIMALS)
    }
}

/// A rate: a share of the principal per year, not compounded, scale 10⁻¹⁸.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RateE18(pub U256);

impl RateE18 {
    /// Decimal places of the scale.
    pub const DECIMALS: usize = 18;
}

impl fmt::Display for RateE18 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, &self.0, Self::DECIMALS)
    }
}

/// An amount of a token in its smallest unit; the token's decimals stand in the registry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RawAmount(pub U256);

impl fmt::Display for RawAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signed ratio in parts per billion, scale 10⁻⁹.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SignedPpb(pub i64);

/// Writes an integer of the given scale as a decimal number with all its places.
fn write_scaled(f: &mut fmt::Formatter<'_>, value: &U256, decimals: usize) -> fmt::Result {
    let digits = format!("{value:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    write!(f, "{whole}.{fraction}")
}

/// A market's id inside its protocol; what it is made of is the protocol's own matter.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MarketId(pub String);

impl fmt::Display for MarketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_values_print_all_their_places() {
        assert_eq!(PriceUsdc::ONE.to_string(), "1.000000000000000000");
        assert_eq!(UsdcValue(U256::from(7u8)).to_string(), "0.000007");
        assert_eq!(UsdcValue(U256::from(12_345_678u32)).to_string(), "12.345678");
        assert_eq!(
            RateE18(U256::from(25_000_000_000_000_000u64)).to_string(),
            "0.025000000000000000"
        );
        assert_eq!(UsdcValue::ZERO.to_string(), "0.000000");
    }
}
