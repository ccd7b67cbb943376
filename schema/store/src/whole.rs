//! Whole numbers in decimal digits, as the database's `numeric` takes them over the wire: digits to the base 10,000,
//! the most significant first, behind their number, the weight of the first, the sign and the scale.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, Postgres};
use sqlx::{Encode, Type};

/// `numeric` in the catalog, the same in every database.
const NUMERIC: Oid = Oid(1700);
/// Decimal digits of one digit to the base 10,000.
const GROUP: usize = 4;
const POSITIVE: i16 = 0x0000;
const NEGATIVE: i16 = 0x4000;

/// A whole number of decimal digits, with `-` before a negative one.
#[derive(Clone, Debug)]
pub(crate) struct Whole(pub(crate) String);

impl Whole {
    /// Number of digits to the base 10,000, weight, sign, scale, digits.
    fn members(&self) -> Result<Vec<i16>, BoxDynError> {
        let (sign, digits) = match self.0.strip_prefix('-') {
            Some(digits) => (NEGATIVE, digits),
            None => (POSITIVE, self.0.as_str()),
        };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err("not a whole number in decimal digits".into());
        }
        let significant = digits.trim_start_matches('0').as_bytes();
        let groups = significant.rchunks(GROUP).rev().map(|group| {
            group.iter().fold(0_i16, |value, digit| value * 10 + i16::from(*digit - b'0'))
        });
        let count = i16::try_from(significant.len().div_ceil(GROUP))?;
        let header = [count, (count - 1).max(0), sign, 0];
        Ok(header.into_iter().chain(groups).collect())
    }
}

impl Type<Postgres> for Whole {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(NUMERIC)
    }
}

impl Encode<'_, Postgres> for Whole {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        for member in self.members()? {
            out.extend(member.to_be_bytes());
        }
        Ok(IsNull::No)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    fn members(digits: &str) -> Vec<i16> {
        Whole(digits.to_owned()).members().unwrap()
    }

    #[test]
    fn digits_are_grouped_by_four_from_the_right() {
        assert_eq!(members("0"), [0, 0, POSITIVE, 0]);
        assert_eq!(members("7"), [1, 0, POSITIVE, 0, 7]);
        assert_eq!(members("9999"), [1, 0, POSITIVE, 0, 9999]);
        assert_eq!(members("10000"), [2, 1, POSITIVE, 0, 1, 0]);
        assert_eq!(members("-0012345678"), [2, 1, NEGATIVE, 0, 1234, 5678]);
        assert_eq!(members("123456789"), [3, 2, POSITIVE, 0, 1, 2345, 6789]);
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        for bad in ["", "-", "1.5", "+1", "1e3", " 1", "１"] {
            assert!(Whole(bad.to_owned()).members().is_err(), "{bad}");
        }
    }
}
