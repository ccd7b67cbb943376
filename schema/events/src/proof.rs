//! Inclusion proofs: that an entry is in the log that a signed checkpoint fixes.
//!
//! A proof is a JSON document with the entry (everything that is hashed, the payload in hex digits), the
//! hash of the entry before, the leaf's index (`seq` − 1), the siblings on its way to the Merkle root,
//! the lowest first, and the checkpoint. [`Proof::check`] recomputes content hash, entry hash and root
//! and checks the signature; it needs the public key and nothing else. Whether the checkpoint is the
//! log's newest, a proof does not say. A document is refused unless it is spelled exactly as
//! [`Proof::to_json`] spells it, so that no change of it goes unseen.

use obsqra_types::{BlockNumber, BlockRef, BranchEpoch, ChainId, RecordedAt, Seq, UnixSeconds};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Spelled;
use crate::merkle::{leaf_hash, root_of_path};
use crate::{
    CheckpointError, Draft, Entry, EntryHash, Kind, PublicKey, SignedCheckpoint, chain_hash,
    content_hash,
};

const SCHEMA: &str = "obsqra.proof.v1";
/// Most siblings on a path: a tree has fewer than 2⁶⁴ leaves.
const MOST_SIBLINGS: usize = 64;

/// An entry with its way to a signed root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// The entry.
    pub entry: Entry,
    /// The hash of the entry before it; zeros for the first.
    pub previous: EntryHash,
    /// The siblings, the lowest first.
    pub path: Vec<obsqra_types::Hash32>,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofError {
    /// The text is no proof.
    #[error("not a proof: {0}")]
    Malformed(String),
    /// The checkpoint does not count.
    #[error("the checkpoint at {seq}: {source}")]
    Checkpoint {
        /// What it covers.
        seq: Seq,
        /// Why not.
        #[source]
        source: CheckpointError,
    },
    /// The entry is not under the checkpoint's root.
    #[error("entry {seq} is not in the log that the checkpoint at {checkpoint} fixes")]
    NotIncluded {
        /// The entry.
        seq: Seq,
        /// The checkpoint.
        checkpoint: Seq,
    },
}

impl Proof {
    /// Checks everything.
    ///
    /// # Errors
    /// When the checkpoint is not signed by one of the keys, or the entry is not under its root.
    pub fn check(&self, keys: &[PublicKey]) -> Result<(), ProofError> {
        let checkpoint = &self.checkpoint.checkpoint;
        self.checkpoint
            .verify(keys)
            .map_err(|source| ProofError::Checkpoint { seq: checkpoint.seq, source })?;
        let Entry { seq, recorded_at, draft, .. } = &self.entry;
        let hash = chain_hash(*seq, *recorded_at, &draft.recomputed_content_hash(), &self.previous);
        let not_included = || ProofError::NotIncluded { seq: *seq, checkpoint: checkpoint.seq };
        let index = seq.0.checked_sub(1).ok_or_else(not_included)?;
        let leaf = leaf_hash(hash.as_bytes());
        let root = root_of_path(leaf, index, checkpoint.seq.0, &self.path);
        // The last entry's hash is signed by itself too.
        let head_agrees = *seq != checkpoint.seq || hash == checkpoint.head;
        if root == Some(checkpoint.root) && head_agrees { Ok(()) } else { Err(not_included()) }
    }

    /// The document, ending with a line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        // An object of strings and small numbers has a JSON form: this cannot fail.
        let mut text = serde_json::to_string_pretty(&Document::of(self)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads a document; nothing in it is checked but its form.
    ///
    /// # Errors
    /// When it is not spelled as [`Proof::to_json`] spells a proof.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let document: Document =
            serde_json::from_str(text).map_err(|error| ProofError::Malformed(error.to_string()))?;
        let proof = document.read()?;
        if proof.to_json() != text {
            return Err(ProofError::Malformed("spelled in another way".into()));
        }
        Ok(proof)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    schema: String,
    entry: EntryDocument,
    previous_hash: String,
    leaf_index: String,
    path: Vec<String>,
    checkpoint: Spelled,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct EntryDocument {
    seq: String,
    kind: String,
    version: i16,
    chain: String,
    block: Option<BlockDocument>,
    recorded_at: String,
    payload: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BlockDocument {
    number: String,
    branch_epoch: u32,
    timestamp: String,
}

impl Document {
    fn of(proof: &Proof) -> Self {
        let Entry { seq, recorded_at, draft, .. } = &proof.entry;
        Self {
            schema: SCHEMA.to_owned(),
            entry: EntryDocument {
                seq: seq.to_string(),
                kind: draft.kind.name().to_owned(),
                version: draft.version,
                chain: draft.chain.to_string(),
                block: draft.block.map(|block| BlockDocument {
                    number: block.number.to_string(),
                    branch_epoch: block.epoch.0,
                    timestamp: block.timestamp.0.to_string(),
                }),
                recorded_at: recorded_at.0.to_string(),
                payload: hex::encode(&draft.payload),
            },
            previous_hash: proof.previous.to_string(),
            leaf_index: seq.0.saturating_sub(1).to_string(),
            path: proof.path.iter().map(ToString::to_string).collect(),
            checkpoint: Spelled::of(&proof.checkpoint),
        }
    }

    fn read(&self) -> Result<Proof, ProofError> {
        if self.schema != SCHEMA {
            return Err(ProofError::Malformed(format!("its schema is not {SCHEMA}")));
        }
        if self.path.len() > MOST_SIBLINGS {
            return Err(bad("path"));
        }
        let previous = self.previous_hash.parse().map_err(|_| bad("previousHash"))?;
        let path = self.path.iter().map(|hash| hash.parse());
        Ok(Proof {
            entry: self.entry.read(&previous)?,
            previous,
            path: path.collect::<Result<_, _>>().map_err(|_| bad("path"))?,
            checkpoint: self
                .checkpoint
                .read()
                .map_err(|error| ProofError::Malformed(error.to_string()))?,
        })
    }
}

impl EntryDocument {
    fn read(&self, previous: &EntryHash) -> Result<Entry, ProofError> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == self.kind);
        let kind = kind.ok_or_else(|| {
            ProofError::Malformed(format!("`{}` is no kind that this program knows", self.kind))
        })?;
        // A negative version hashes like the positive one, so that none may pass.
        let version = Some(self.version).filter(|v| *v > 0).ok_or_else(|| bad("version"))?;
        let chain = ChainId::new(self.chain.as_str()).map_err(|_| bad("chain"))?;
        let block = self.block.as_ref().map(BlockDocument::read).transpose()?;
        let payload = hex::decode(&self.payload).map_err(|_| bad("payload"))?;
        let seq = Seq(self.seq.parse().map_err(|_| bad("seq"))?);
        let recorded_at = RecordedAt(self.recorded_at.parse().map_err(|_| bad("recordedAt"))?);
        let content_hash = content_hash(kind, version, &chain, block.as_ref(), &payload);
        let hash = chain_hash(seq, recorded_at, &content_hash, previous);
        let draft = Draft { kind, version, chain, block, payload, content_hash };
        Ok(Entry { seq, recorded_at, draft, hash })
    }
}

impl BlockDocument {
    fn read(&self) -> Result<BlockRef, ProofError> {
        Ok(BlockRef {
            number: BlockNumber(self.number.parse().map_err(|_| bad("block number"))?),
            epoch: BranchEpoch(self.branch_epoch),
            timestamp: UnixSeconds(self.timestamp.parse().map_err(|_| bad("block timestamp"))?),
        })
    }
}

fn bad(what: &str) -> ProofError {
    ProofError::Malformed(format!("{what} cannot be read"))
}
