//! Reading ranges of the log by binary `COPY`, which costs a third of row-wise queries: the rows come
//! as the server's own bytes, and their members are borrowed from them.
//!
//! The columns are [`COLUMNS`], in this order, and [`Rows`] reads no others. A value that no program of
//! this project writes is not an error here: it is handed out as it is, for the caller to judge.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use obsqra_types::{RecordedAt, Seq};
use sqlx::postgres::PgPoolCopyExt;

use crate::{Store, StoreError, row};

pub(super) const COLUMNS: &str = "seq, kind, schema_version, chain_id, block_number, branch_epoch, \
                       occurred_at, recorded_at, payload, content_hash, hash";
pub(super) const COLUMN_COUNT: u16 = 11;
pub(super) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Flags and the length of the header's extension, of which there is none.
const HEADER_TAIL: usize = 8;
/// Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin.
pub(super) const EPOCH_2000: i64 = 946_684_800_000_000;

/// An entry as its row holds it; times in microseconds since 1970, `None` where they are infinite.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawEntry<'a> {
    pub(super) seq: i64,
    pub(super) kind: i16,
    pub(super) version: i16,
    pub(super) chain: &'a [u8],
    pub(super) block_number: Option<i64>,
    pub(super) branch_epoch: Option<i32>,
    pub(super) occurred_at: Option<Option<i64>>,
    pub(super) recorded_at: Option<RecordedAt>,
    pub(super) payload: &'a [u8],
    pub(super) content_hash: &'a [u8],
    pub(super) hash: &'a [u8],
}

/// The rows after a position and at or before another, as `COPY` sends them: each piece holds whole rows.
pub(super) async fn copy_range(
    store: &Store,
    after: Seq,
    up_to: Seq,
) -> Result<BoxStream<'static, Result<Bytes, sqlx::Error>>, StoreError> {
    copy_where(store, (after, up_to), "").await
}

/// As [`copy_range`], of the rows that hold a condition too. It begins with `AND` or is empty.
pub(super) async fn copy_where(
    store: &Store,
    (after, up_to): (Seq, Seq),
    condition: &str,
) -> Result<BoxStream<'static, Result<Bytes, sqlx::Error>>, StoreError> {
    // `COPY` takes no parameters; both ends are numbers.
    let (after, up_to) = (row::to_i64(after.0, "seq")?, row::to_i64(up_to.0, "seq")?);
    let statement = format!(
        "COPY (SELECT {COLUMNS} FROM log WHERE seq > {after} AND seq <= {up_to}{condition} ORDER BY seq) \
         TO STDOUT (FORMAT binary)"
    );
    Ok(store.pool.copy_out_raw(&statement).await?)
}

/// Copies a range out and drops it: what any reading of it by `COPY` costs at least. Returns the rows.
///
/// # Errors
/// When the database fails.
pub async fn copy_out_nowhere(store: &Store, after: Seq, up_to: Seq) -> Result<u64, StoreError> {
    let mut pieces = copy_range(store, after, up_to).await?;
    let mut count = 0;
    while let Some(piece) = pieces.next().await {
        // Each piece is a row, but for the last, which is the two bytes of the trailer.
        count += u64::from(piece?.len() > 2);
    }
    Ok(count)
}

/// The server sent something else than rows of these columns.
#[derive(Debug)]
pub(super) struct NotRows;

/// Reads the rows of the pieces of one `COPY`.
#[derive(Debug, Default)]
pub(super) struct Rows {
    begun: bool,
}

impl Rows {
    /// Hands each row of a piece to `take`, until that returns an error.
    pub(super) fn read<'a, E>(
        &mut self,
        piece: &'a [u8],
        mut take: impl FnMut(RawEntry<'a>) -> Result<(), E>,
    ) -> Result<Result<(), E>, NotRows> {
        let mut input = Input(piece);
        if !self.begun {
            if input.bytes(SIGNATURE.len())? != SIGNATURE {
                return Err(NotRows);
            }
            input.bytes(HEADER_TAIL)?;
            self.begun = true;
        }
        while !input.0.is_empty() {
            let columns = input.number(i16::from_be_bytes)?;
            if columns == -1 {
                break;
            }
            if u16::try_from(columns) != Ok(COLUMN_COUNT) {
                return Err(NotRows);
            }
            if let Err(error) = take(input.entry()?) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], NotRows> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NotRows)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize, T>(&mut self, read: fn([u8; N]) -> T) -> Result<T, NotRows> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(NotRows)?;
        self.0 = rest;
        Ok(read(*taken))
    }

    /// A column; `None` for null.
    fn column(&mut self) -> Result<Option<&'a [u8]>, NotRows> {
        match self.number(i32::from_be_bytes)? {
            -1 => Ok(None),
            length => self.bytes(usize::try_from(length).map_err(|_| NotRows)?).map(Some),
        }
    }

    fn filled(&mut self) -> Result<&'a [u8], NotRows> {
        self.column()?.ok_or(NotRows)
    }

    fn filled_number<const N: usize, T>(&mut self, read: fn([u8; N]) -> T) -> Result<T, NotRows> {
        self.filled()?.try_into().map(read).map_err(|_| NotRows)
    }

    fn number_or_null<const N: usize, T>(
        &mut self,
        read: fn([u8; N]) -> T,
    ) -> Result<Option<T>, NotRows> {
        let bytes = self.column()?;
        bytes.map(|bytes| bytes.try_into().map(read).map_err(|_| NotRows)).transpose()
    }

    fn entry(&mut self) -> Result<RawEntry<'a>, NotRows> {
        Ok(RawEntry {
            seq: self.filled_number(i64::from_be_bytes)?,
            kind: self.filled_number(i16::from_be_bytes)?,
            version: self.filled_number(i16::from_be_bytes)?,
            chain: self.filled()?,
            block_number: self.number_or_null(i64::from_be_bytes)?,
            branch_epoch: self.number_or_null(i32::from_be_bytes)?,
            occurred_at: self.number_or_null(i64::from_be_bytes)?.map(since_1970),
            recorded_at: since_1970(self.filled_number(i64::from_be_bytes)?).map(RecordedAt),
            payload: self.filled()?,
            content_hash: self.filled()?,
            hash: self.filled()?,
        })
    }
}

/// Infinite times are the ends of the range.
fn since_1970(since_2000: i64) -> Option<i64> {
    since_2000.checked_add(EPOCH_2000).filter(|_| since_2000 != i64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; HEADER_TAIL]].concat()
    }

    fn row(seq: i64) -> Vec<u8> {
        let mut bytes = COLUMN_COUNT.to_be_bytes().to_vec();
        let mut put = |value: Option<&[u8]>| {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            bytes.extend(length.to_be_bytes());
            bytes.extend(value.unwrap_or_default());
        };
        put(Some(&seq.to_be_bytes()));
        put(Some(&11i16.to_be_bytes()));
        put(Some(&1i16.to_be_bytes()));
        put(Some(b"SN_MAIN"));
        put(None);
        put(None);
        put(None);
        put(Some(&5i64.to_be_bytes()));
        put(Some(b"payload"));
        put(Some(&[1; 32]));
        put(Some(&[2; 32]));
        bytes
    }

    fn seqs(pieces: &[Vec<u8>]) -> Result<Vec<i64>, NotRows> {
        let (mut rows, mut seqs) = (Rows::default(), Vec::new());
        for piece in pieces {
            let taken = rows.read(piece, |entry| {
                assert_eq!(entry.recorded_at, Some(RecordedAt(EPOCH_2000 + 5)));
                assert_eq!((entry.chain, entry.payload), (&b"SN_MAIN"[..], &b"payload"[..]));
                assert!(entry.block_number.is_none() && entry.occurred_at.is_none());
                seqs.push(entry.seq);
                Ok::<(), ()>(())
            })?;
            assert_eq!(taken, Ok(()));
        }
        Ok(seqs)
    }

    #[test]
    fn rows_are_read_whatever_pieces_they_come_in() {
        let trailer = (-1i16).to_be_bytes().to_vec();
        let together = [header(), row(7), row(8), trailer.clone()].concat();
        assert_eq!(seqs(&[together]).unwrap(), [7, 8]);
        assert_eq!(seqs(&[header(), row(7), row(8), trailer]).unwrap(), [7, 8]);
        assert_eq!(seqs(&[header()]).unwrap(), [0i64; 0]);
    }

    #[test]
    fn what_is_not_rows_is_refused() {
        let whole = [header(), row(7)].concat();
        for end in (1..whole.len()).filter(|end| *end != header().len()) {
            assert!(seqs(&[whole[..end].to_vec()]).is_err(), "cut at {end}");
        }
        assert!(seqs(&[row(7)]).is_err());
        let mut other = whole.clone();
        other[header().len() + 1] = 10;
        assert!(seqs(&[other]).is_err());
        let mut huge = whole;
        huge[header().len() + 2] = 0x7f;
        assert!(seqs(&[huge]).is_err());
    }

    #[test]
    fn infinite_times_are_none() {
        assert_eq!(since_1970(i64::MAX), None);
        assert_eq!(since_1970(i64::MIN), None);
        assert_eq!(since_1970(0), Some(EPOCH_2000));
    }
}
