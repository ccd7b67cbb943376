//! Replays as Parquet: a row an entry, the manifest in the footer under `obsqra.replay`, its root under
//! `obsqra.root`.
//!
//! A row group ends after a fixed number of rows or payload bytes, whatever batches the rows come in, so that the
//! same entries give the same file. Only the columns of one group are in memory. Hashes and payloads are not worth a
//! dictionary or statistics; positions and times rise, and are stored as differences.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::encode::Encoder;
use super::{Manifest, ReplayError, SCHEMA, Selected};

/// Where a row group ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupLimit {
    /// Most rows.
    pub rows: usize,
    /// Payload bytes, reached by the last row.
    pub bytes: usize,
}

/// The groups of every replay: other groups are another file.
const GROUP: GroupLimit = GroupLimit { rows: 50_000, bytes: 32 << 20 };
/// Bytes of a digest.
const DIGEST: usize = 32;

/// `block_time` is that of the block's header. Numbers are signed, as in the tables of the log.
const COLUMNS: &str = "
message entry {
  REQUIRED INT64 seq;
  REQUIRED INT64 recorded_at (TIMESTAMP(MICROS,true));
  REQUIRED BYTE_ARRAY kind (STRING);
  REQUIRED INT32 version;
  REQUIRED BYTE_ARRAY chain_id (STRING);
  OPTIONAL INT64 block_number;
  OPTIONAL INT32 branch_epoch;
  OPTIONAL INT64 block_time (TIMESTAMP(MILLIS,true));
  REQUIRED BYTE_ARRAY payload;
  REQUIRED FIXED_LEN_BYTE_ARRAY(32) content_hash;
  REQUIRED FIXED_LEN_BYTE_ARRAY(32) hash;
}";

/// Writes a file of row groups.
pub struct ParquetEncoder<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    group: Group,
    limit: GroupLimit,
}

impl<W: Write + Send> std::fmt::Debug for ParquetEncoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetEncoder").finish_non_exhaustive()
    }
}

impl<W: Write + Send> ParquetEncoder<W> {
    /// Writes the beginning of the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: W) -> Result<Self, ReplayError> {
        Self::with_groups(out, GROUP)
    }

    /// As [`Self::new`], with groups of another size.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_groups(out: W, limit: GroupLimit) -> Result<Self, ReplayError> {
        let schema = Arc::new(parse_message_type(COLUMNS)?);
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties()))?;
        Ok(Self { writer, group: Group::default(), limit })
    }

    fn flush(&mut self) -> Result<(), ReplayError> {
        let group = std::mem::take(&mut self.group);
        if group.seq.is_empty() {
            return Ok(());
        }
        let mut rows = self.writer.next_row_group()?;
        group.write(&mut rows)?;
        rows.close()?;
        Ok(())
    }
}

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for rising in ["seq", "recorded_at", "block_number", "block_time"] {
        let column = ColumnPath::from(rising);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for opaque in ["payload", "content_hash", "hash"] {
        let column = ColumnPath::from(opaque);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    properties.set_column_compression(ColumnPath::from("payload"), Compression::SNAPPY).build()
}

impl<W: Write + Send> Encoder for ParquetEncoder<W> {
    fn put(&mut self, selected: &Selected) -> Result<(), ReplayError> {
        self.group.push(selected)?;
        let (rows, bytes) = (self.group.seq.len(), self.group.payload.bytes.len());
        if rows >= self.limit.rows || bytes >= self.limit.bytes {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self, manifest: &Manifest) -> Result<(), ReplayError> {
        self.flush()?;
        let told = [(SCHEMA, manifest.line()?), ("obsqra.root", manifest.root.clone())];
        for (key, value) in told {
            let key = key.strip_suffix(".v1").unwrap_or(key);
            self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        self.writer.close()?;
        Ok(())
    }
}

/// The columns of a row group.
#[derive(Default)]
struct Group {
    seq: Vec<i64>,
    recorded_at: Vec<i64>,
    kind: Vec<ByteArray>,
    version: Vec<i32>,
    chain: Vec<ByteArray>,
    /// 1 where the entry belongs to a block, as Parquet marks what is not null.
    has_block: Vec<i16>,
    block_number: Vec<i64>,
    branch_epoch: Vec<i32>,
    block_time: Vec<i64>,
    payload: EndToEnd,
    content_hash: Vec<u8>,
    hash: Vec<u8>,
}

/// Values of different lengths, and where each ends.
#[derive(Default)]
struct EndToEnd {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Group {
    fn push(&mut self, selected: &Selected) -> Result<(), ReplayError> {
        let entry = &selected.entry;
        let draft = &entry.draft;
        let range = |what| ReplayError::Range { seq: entry.seq, what };
        let long = |value: u64, what| i64::try_from(value).map_err(|_| range(what));
        self.seq.push(long(entry.seq.0, "seq")?);
        self.recorded_at.push(entry.recorded_at.0);
        self.kind.push(Bytes::from_static(draft.kind.name().as_bytes()).into());
        self.version.push(draft.version.into());
        // Entries of one chain share its name.
        let name = draft.chain.as_str().as_bytes();
        let chain = self.chain.last().filter(|last| last.data() == name).cloned();
        self.chain.push(chain.unwrap_or_else(|| Bytes::copy_from_slice(name).into()));
        self.has_block.push(i16::from(draft.block.is_some()));
        if let Some(block) = draft.block {
            self.block_number.push(long(block.number.0, "block number")?);
            let epoch = i32::try_from(block.epoch.0).map_err(|_| range("branch epoch"))?;
            self.branch_epoch.push(epoch);
            let millis = block.timestamp.0.saturating_mul(1_000);
            self.block_time.push(long(millis, "block time")?);
        }
        self.payload.bytes.extend_from_slice(&draft.payload);
        self.payload.ends.push(self.payload.bytes.len());
        self.content_hash.extend_from_slice(draft.content_hash.as_bytes());
        self.hash.extend_from_slice(entry.hash.as_bytes());
        Ok(())
    }

    fn write<W: Write + Send>(
        self,
        rows: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ReplayError> {
        column::<Int64Type, W>(rows, &self.seq, None)?;
        column::<Int64Type, W>(rows, &self.recorded_at, None)?;
        column::<ByteArrayType, W>(rows, &self.kind, None)?;
        column::<Int32Type, W>(rows, &self.version, None)?;
        column::<ByteArrayType, W>(rows, &self.chain, None)?;
        let has_block = Some(self.has_block.as_slice());
        column::<Int64Type, W>(rows, &self.block_number, has_block)?;
        column::<Int32Type, W>(rows, &self.branch_epoch, has_block)?;
        column::<Int64Type, W>(rows, &self.block_time, has_block)?;
        column::<ByteArrayType, W>(rows, &self.payload.values(), None)?;
        column::<FixedLenByteArrayType, W>(rows, &digests(self.content_hash), None)?;
        column::<FixedLenByteArrayType, W>(rows, &digests(self.hash), None)
    }
}

impl EndToEnd {
    /// The values, which share one allocation.
    fn values(self) -> Vec<ByteArray> {
        let bytes = Bytes::from(self.bytes);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| bytes.slice(start..*end).into()).collect()
    }
}

fn digests(bytes: Vec<u8>) -> Vec<FixedLenByteArray> {
    let bytes = Bytes::from(bytes);
    let starts = (0..bytes.len()).step_by(DIGEST);
    starts.map(|start| ByteArray::from(bytes.slice(start..start + DIGEST)).into()).collect()
}

/// The next column of a group. `present` marks which rows have a value, where they need not.
fn column<T: DataType, W: Write + Send>(
    rows: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    present: Option<&[i16]>,
) -> Result<(), ReplayError> {
    let column = rows.next_column()?;
    let mut column = column.ok_or_else(|| {
        ::parquet::errors::ParquetError::General("more columns than the schema has".into())
    })?;
    column.typed::<T>().write_batch(values, present, None)?;
    column.close()?;
    Ok(())
}
