//! Exports: a range of the log as a CBOR sequence (RFC 8742) that another program can verify.
//!
//! Each item is a definite array in canonical form, told apart by its first member:
//!
//! - `["obsqra.export.v1", from, to, previous]`, once, first: the range, both ends included, and the
//!   hash of the entry before it (zeros before entry 1);
//! - `["entry", seq, recorded_at, kind, version, chain, block, payload, content_hash, hash]`, one for
//!   each entry: `kind` is the kind's name, `block` null or `[number, branch epoch, timestamp]`,
//!   `payload` a byte string;
//! - `["checkpoint", body, key, signature]`, one for each checkpoint within the range, right behind the
//!   entry it ends with: `body` is a byte string of what is signed, itself CBOR;
//! - `["end", entries, checkpoints]`, once, last: an export without it was cut off.
//!
//! A replay has items of entries alone and ends with `["obsqra.replay.v1", manifest]`, where `manifest` is a text
//! string of JSON.
//!
//! `ops/checks/verify_export.py` reads this form.

use obsqra_types::Seq;

use crate::cbor::Writer;
use crate::{Entry, EntryHash, SignedCheckpoint};

/// The first item.
#[must_use]
pub fn export_header(from: Seq, to: Seq, previous: &EntryHash) -> Vec<u8> {
    let mut out = Writer::with_capacity(80);
    out.array(4).text("obsqra.export.v1").uint(from.0).uint(to.0).bytes(previous.as_bytes());
    out.into_bytes()
}

/// An entry's item.
#[must_use]
pub fn export_entry(entry: &Entry) -> Vec<u8> {
    let draft = &entry.draft;
    let mut out = Writer::with_capacity(draft.payload.len() + 192);
    out.array(10).text("entry").uint(entry.seq.0).uint(entry.recorded_at.0.cast_unsigned());
    out.text(draft.kind.name()).uint(u64::from(draft.version.unsigned_abs()));
    out.text(draft.chain.as_str());
    out.option(draft.block.as_ref(), |out, block| {
        out.array(3).uint(block.number.0).uint(block.epoch.0.into()).uint(block.timestamp.0);
    });
    out.bytes(&draft.payload).bytes(draft.content_hash.as_bytes()).bytes(entry.hash.as_bytes());
    out.into_bytes()
}

/// A checkpoint's item.
#[must_use]
pub fn export_checkpoint(signed: &SignedCheckpoint) -> Vec<u8> {
    let mut out = Writer::with_capacity(300);
    out.array(4).text("checkpoint").bytes(&signed.checkpoint.encode());
    out.bytes(&signed.key.0).bytes(&signed.signature);
    out.into_bytes()
}

/// The last item.
#[must_use]
pub fn export_end(entries: u64, checkpoints: u64) -> Vec<u8> {
    let mut out = Writer::with_capacity(24);
    out.array(3).text("end").uint(entries).uint(checkpoints);
    out.into_bytes()
}

/// The last item of a replay.
#[must_use]
pub fn export_manifest(manifest: &str) -> Vec<u8> {
    let mut out = Writer::with_capacity(manifest.len() + 32);
    out.array(2).text("obsqra.replay.v1").text(manifest);
    out.into_bytes()
}
