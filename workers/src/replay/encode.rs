//! Replays as text and as CBOR. Both end with the manifest: one without it was cut off.

use std::io::Write;

use obsqra_events::{entry_body, export_entry, export_manifest};
use serde_json::json;

use super::{Manifest, ReplayError, Selected};
use crate::WorkError;

/// A format. The bytes depend on the entries and the manifest alone, never on how they come in.
pub trait Encoder {
    /// Writes the next entry.
    ///
    /// # Errors
    /// When it cannot be written, or cannot be read from the log.
    fn put(&mut self, selected: &Selected) -> Result<(), ReplayError>;

    /// Writes what comes after the last entry.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(self, manifest: &Manifest) -> Result<(), ReplayError>;
}

/// A JSON object a line: the body that the bus's messages have, with the entry's kind, version, hash, time and
/// payload beside it. The last line is the manifest.
#[derive(Debug)]
pub struct NdjsonEncoder<W>(W);

impl<W: Write> NdjsonEncoder<W> {
    /// Nothing is written yet.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Encoder for NdjsonEncoder<W> {
    fn put(&mut self, selected: &Selected) -> Result<(), ReplayError> {
        let entry = &selected.entry;
        let fact = entry.draft.fact();
        let fact = fact.map_err(|source| WorkError::Entry { seq: entry.seq, source })?;
        let mut body = entry_body(entry, &fact, &selected.context);
        body["kind"] = json!(entry.draft.kind.name());
        body["version"] = json!(entry.draft.version);
        body["recordedAt"] = json!(entry.recorded_at.0.to_string());
        body["hash"] = json!(entry.hash.to_string());
        body["payload"] = json!(hex::encode(&entry.draft.payload));
        serde_json::to_writer(&mut self.0, &body)?;
        Ok(self.0.write_all(b"\n")?)
    }

    fn finish(mut self, manifest: &Manifest) -> Result<(), ReplayError> {
        self.0.write_all(manifest.line()?.as_bytes())?;
        Ok(self.0.write_all(b"\n")?)
    }
}

/// A CBOR sequence with the items of entries that `obsqra log export` writes, and the manifest as the last item.
#[derive(Debug)]
pub struct CborEncoder<W>(W);

impl<W: Write> CborEncoder<W> {
    /// Nothing is written yet.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Encoder for CborEncoder<W> {
    fn put(&mut self, selected: &Selected) -> Result<(), ReplayError> {
        Ok(self.0.write_all(&export_entry(&selected.entry))?)
    }

    fn finish(mut self, manifest: &Manifest) -> Result<(), ReplayError> {
        Ok(self.0.write_all(&export_manifest(&manifest.line()?))?)
    }
}
