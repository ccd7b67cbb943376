//! Arguments as clients give them, checked and turned into what reads take. Each refusal names its
//! argument.

use async_graphql::InputObject;
use obsqra_store::read::event;
use obsqra_store::read::{Direction, PageRequest};
use obsqra_types::{
    BlockCursor, BlockNumber, ContractAddress, Cursor, InvalidCursor, ProtocolId, Seq, parse_felt,
};

use crate::error::ApiError;
use crate::limits::{DEFAULT_PAGE_ROWS, MAX_FILTER_VALUES, MAX_PAGE_ROWS};

/// Paging arguments of a connection.
pub(super) struct Paging {
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) last: Option<i32>,
    pub(super) before: Option<String>,
}

impl Paging {
    /// The page asked for, of a list by position: `first` rows from the start of the range unless `last`
    /// is given.
    pub(super) fn request(self) -> Result<PageRequest, ApiError> {
        self.read(|text| Cursor::decode(text).map(|cursor| cursor.0))
    }

    /// As [`Paging::request`], of a list in block order.
    pub(super) fn block_request(self) -> Result<PageRequest<BlockCursor>, ApiError> {
        self.read(BlockCursor::decode)
    }

    fn read<At>(
        self,
        decode: impl Fn(&str) -> Result<At, InvalidCursor>,
    ) -> Result<PageRequest<At>, ApiError> {
        let (direction, size) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_input("last", "give either `first` or `last`, not both"));
            }
            (first, None) => (Direction::Forward, page_size("first", first)?),
            (None, last) => (Direction::Backward, page_size("last", last)?),
        };
        Ok(PageRequest {
            after: decoded("after", self.after.as_deref(), &decode)?,
            before: decoded("before", self.before.as_deref(), &decode)?,
            direction,
            size,
        })
    }
}

fn page_size(argument: &'static str, rows: Option<i32>) -> Result<u32, ApiError> {
    let Some(rows) = rows else {
        return Ok(DEFAULT_PAGE_ROWS);
    };
    u32::try_from(rows).ok().filter(|rows| (1..=MAX_PAGE_ROWS).contains(rows)).ok_or_else(|| {
        let problem = format!("{rows} is not between 1 and {MAX_PAGE_ROWS}");
        ApiError::bad_input(argument, problem)
    })
}

/// Reads a cursor of a list by position.
pub(super) fn cursor(argument: &'static str, text: Option<&str>) -> Result<Option<Seq>, ApiError> {
    decoded(argument, text, &|text: &str| Cursor::decode(text).map(|cursor| cursor.0))
}

fn decoded<At>(
    argument: &'static str,
    text: Option<&str>,
    decode: &impl Fn(&str) -> Result<At, InvalidCursor>,
) -> Result<Option<At>, ApiError> {
    text.map(decode).transpose().map_err(|error| ApiError::bad_input(argument, error.to_string()))
}

/// How many rows a page may hold, for its cost. Sizes out of range are refused when the page is
/// read.
pub(super) fn page_cost(first: Option<i32>, last: Option<i32>) -> usize {
    let rows =
        first.or(last).and_then(|rows| u32::try_from(rows).ok()).unwrap_or(DEFAULT_PAGE_ROWS);
    usize::try_from(rows.min(MAX_PAGE_ROWS)).unwrap_or(usize::MAX)
}

/// Which events to return. Conditions that are left out do not restrict; those given must all hold.
#[derive(InputObject)]
pub(crate) struct EventFilter {
    /// Only events of these protocols: keys such as `zklend`, at most 100.
    protocols: Option<Vec<String>>,
    /// Only events with these decoded names, such as `Deposit`; at most 100. An event that fits no
    /// layout has no name.
    names: Option<Vec<String>>,
    /// Only events that these contracts emitted: felts in hex, with or without leading zeros; at
    /// most 100.
    contracts: Option<Vec<String>>,
    /// Only events of this block and later ones (height).
    from_block: Option<i32>,
    /// Only events of this block and earlier ones (height, inclusive).
    to_block: Option<i32>,
}

impl EventFilter {
    pub(super) fn checked(self) -> Result<event::EventFilter, ApiError> {
        Ok(event::EventFilter {
            protocols: list("protocols", self.protocols, |text| {
                ProtocolId::new(text).map_err(|error| error.to_string())
            })?,
            names: list("names", self.names, |text| Ok(text.to_owned()))?,
            contracts: contracts("contracts", self.contracts)?,
            from_block: height("fromBlock", self.from_block)?,
            to_block: height("toBlock", self.to_block)?,
        })
    }
}

/// Reads a list of contracts.
pub(super) fn contracts(
    argument: &'static str,
    values: Option<Vec<String>>,
) -> Result<Option<Vec<ContractAddress>>, ApiError> {
    list(argument, values, |text| {
        parse_felt(text)
            .map(ContractAddress)
            .ok_or_else(|| format!("`{text}` is no felt: expected 0x and at most 64 hex digits"))
    })
}

fn list<T>(
    argument: &'static str,
    values: Option<Vec<String>>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Vec<T>>, ApiError> {
    let Some(values) = values else {
        return Ok(None);
    };
    if values.len() > MAX_FILTER_VALUES {
        let problem =
            format!("{} values where at most {MAX_FILTER_VALUES} are allowed", values.len());
        return Err(ApiError::bad_input(argument, problem));
    }
    values
        .iter()
        .map(|text| read(text).map_err(|problem| ApiError::bad_input(argument, problem)))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn no_felt(text: &str) -> String {
    format!("`{text}` is no felt: expected 0x and at most 64 hex digits")
}

/// Reads the address of a contract or an account.
pub(super) fn address(argument: &'static str, text: &str) -> Result<ContractAddress, ApiError> {
    let felt = parse_felt(text).map(ContractAddress);
    felt.ok_or_else(|| ApiError::bad_input(argument, no_felt(text)))
}

/// As [`address`], where the argument may be left out.
pub(super) fn optional_address(
    argument: &'static str,
    text: Option<&str>,
) -> Result<Option<ContractAddress>, ApiError> {
    text.map(|text| address(argument, text)).transpose()
}

/// Reads a height of a range.
pub(super) fn height(
    argument: &'static str,
    number: Option<i32>,
) -> Result<Option<BlockNumber>, ApiError> {
    number
        .map(|number| u64::try_from(number).map(BlockNumber))
        .transpose()
        .map_err(|_| ApiError::bad_input(argument, "a block number is not negative"))
}

#[cfg(test)]
mod tests {
    use obsqra_types::Felt;

    use super::*;

    fn page(
        first: Option<i32>,
        last: Option<i32>,
        after: Option<&str>,
    ) -> Result<PageRequest, String> {
        Paging { first, after: after.map(str::to_owned), last, before: None }
            .request()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_page_has_one_direction_and_a_bounded_size() {
        let request = page(None, None, None).unwrap();
        assert_eq!((request.direction, request.size), (Direction::Forward, DEFAULT_PAGE_ROWS));
        let request = page(None, Some(100), Some("s1:a")).unwrap();
        assert_eq!((request.direction, request.size), (Direction::Backward, 100));
        assert_eq!(request.after, Some(Seq(10)));
        for (first, last, after, argument) in [
            (Some(1), Some(1), None, "last"),
            (Some(0), None, None, "first"),
            (Some(101), None, None, "first"),
            (None, Some(-1), None, "last"),
            (None, None, Some("10"), "after"),
        ] {
            let problem = page(first, last, after).unwrap_err();
            assert!(problem.starts_with(&format!("`{argument}`: ")), "{problem}");
        }
    }

    fn filter() -> EventFilter {
        EventFilter {
            protocols: None,
            names: None,
            contracts: None,
            from_block: None,
            to_block: None,
        }
    }

    #[test]
    fn a_contract_may_be_padded_and_a_bad_one_is_named() {
        let contracts = Some(vec!["0x00012".to_owned(), "0x12".to_owned()]);
        let checked = EventFilter { contracts, ..filter() }.checked().unwrap();
        assert_eq!(checked.contracts, Some(vec![ContractAddress(Felt::from(0x12)); 2]));
        let contracts = Some(vec!["0xzz".to_owned()]);
        let problem = EventFilter { contracts, ..filter() }.checked().unwrap_err().to_string();
        assert!(problem.starts_with("`contracts`: `0xzz`"), "{problem}");
    }

    #[test]
    fn lists_are_bounded_and_heights_not_negative() {
        let names = Some(vec!["Deposit".to_owned(); MAX_FILTER_VALUES + 1]);
        assert!(EventFilter { names, ..filter() }.checked().is_err());
        assert!(EventFilter { from_block: Some(-1), ..filter() }.checked().is_err());
        let protocols = Some(vec!["ZKLEND".to_owned()]);
        assert!(EventFilter { protocols, ..filter() }.checked().is_err());
    }
}
