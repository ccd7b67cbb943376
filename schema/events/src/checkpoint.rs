//! Checkpoints: a Merkle root over the log up to a position, signed with Ed25519.
//!
//! What is signed is the canonical array `["obsqra.checkpoint.v1", seq, head, root, recorded_at,
//! previous]`: number of entries, hash of the last one, Merkle root over all of them, microseconds of
//! the last one, and SHA-256 of the signed bytes of the checkpoint before, zeros for the first. So
//! checkpoints form a chain of their own, and one of them fixes all before it. A checkpoint is not an
//! entry. It names its key by the first eight bytes of SHA-256 of the public key; which keys count is
//! the reader's decision, never the file's.
//!
//! The line form is one JSON object with every member in a fixed order. A line that reads but is
//! spelled otherwise is refused, so that equal checkpoints are equal lines.

use std::fmt;

use ed25519_dalek::{Signature, Signer, VerifyingKey};
use obsqra_types::{Hash32, RecordedAt, Seq};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::EntryHash;
use crate::cbor::Writer;
use crate::message::text::{Decimal, DigestHex, KeyIdHex, SignatureHex};

/// First item of what is signed: no other bytes that this key may sign begin like it.
const DOMAIN: &str = "obsqra.checkpoint.v1";
/// The member `schema` of the message that publishes one.
pub(crate) const CHECKPOINT_SCHEMA: &str = "obsqra.v1.log.checkpoint/1";
/// Entries between two checkpoints of a log that grows without rest.
pub const CHECKPOINT_INTERVAL: u64 = 1_000;

/// What a checkpoint states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The last entry covered, and so the number of leaves.
    pub seq: Seq,
    /// The hash of that entry.
    pub head: EntryHash,
    /// Merkle root over the hashes of entries 1 to `seq`.
    pub root: Hash32,
    /// When that entry was appended.
    pub recorded_at: RecordedAt,
    /// [`Checkpoint::hash`] of the checkpoint before; zeros for the first.
    pub previous: Hash32,
}

impl Checkpoint {
    /// The bytes that are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(160);
        out.array(6).text(DOMAIN).uint(self.seq.0);
        out.bytes(self.head.as_bytes()).bytes(self.root.as_bytes());
        out.uint(self.recorded_at.0.cast_unsigned()).bytes(self.previous.as_bytes());
        out.into_bytes()
    }

    /// SHA-256 of the signed bytes: what names the checkpoint, whoever signed it.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        Hash32(Sha256::digest(self.encode()).into())
    }
}

/// Why a checkpoint does not count.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// The text is no checkpoint.
    #[error("not a checkpoint: {0}")]
    Malformed(String),
    /// It is signed by a key that the reader did not name.
    #[error("signed with key {found}, which is not one of the keys given ({given})")]
    UnknownKey {
        /// The key it names.
        found: KeyId,
        /// The keys that count.
        given: String,
    },
    /// The signature is not that of the key over these bytes.
    #[error("its signature is not that of key {0} over these bytes")]
    Signature(KeyId),
    /// It does not name the checkpoint before it.
    #[error("it does not follow from the checkpoint before it")]
    Unlinked,
    /// It covers no more than the one before it.
    #[error("it covers entries up to {seq}, no more than the checkpoint before it")]
    NotLater {
        /// What it covers.
        seq: Seq,
    },
    /// It is dated before the one before it.
    #[error("it is dated before the checkpoint before it")]
    Earlier,
}

/// The first eight bytes of SHA-256 of a public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no Ed25519 key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an Ed25519 key: expected 64 hex digits")]
pub struct InvalidKey;

/// A key that signatures are checked with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key's name in checkpoints.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let digest: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        KeyId(id)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes: Hash32 = text.parse().map_err(|_| InvalidKey)?;
        let key = VerifyingKey::from_bytes(&bytes.0).map_err(|_| InvalidKey)?;
        // Under a key of small order one signature fits many messages.
        if key.is_weak() { Err(InvalidKey) } else { Ok(Self(key)) }
    }
}

/// The key that checkpoints are signed with. It is not printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a 32-byte secret.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// What others check its signatures with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a checkpoint.
    #[must_use]
    pub fn sign(&self, checkpoint: Checkpoint) -> SignedCheckpoint {
        let signature = self.0.sign(&checkpoint.encode()).to_bytes();
        SignedCheckpoint { checkpoint, key: self.public().id(), signature }
    }
}

impl std::str::FromStr for SigningKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let secret: Hash32 = text.parse().map_err(|_| InvalidKey)?;
        Ok(Self::from_secret(&secret.0))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

/// A checkpoint with its signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// The key that signed.
    pub key: KeyId,
    /// Ed25519 over [`Checkpoint::encode`].
    pub signature: [u8; 64],
}

impl SignedCheckpoint {
    /// Checks the signature against the keys that count.
    ///
    /// # Errors
    /// When none of them is the checkpoint's, or the signature is not that key's.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<(), CheckpointError> {
        let Some(key) = keys.iter().find(|key| key.id() == self.key) else {
            let given: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
            return Err(CheckpointError::UnknownKey { found: self.key, given: given.join(", ") });
        };
        let signature = Signature::from_bytes(&self.signature);
        key.0
            .verify_strict(&self.checkpoint.encode(), &signature)
            .map_err(|_| CheckpointError::Signature(self.key))
    }

    /// Checks that it is the next one after `before`; `None` stands for no checkpoint yet.
    ///
    /// # Errors
    /// When it names another one before it, or does not reach further.
    pub fn follows(&self, before: Option<&Checkpoint>) -> Result<(), CheckpointError> {
        let previous = before.map_or(Hash32::ZERO, Checkpoint::hash);
        let (reached, clock) = before.map_or((Seq::BEFORE_FIRST, RecordedAt(i64::MIN)), |before| {
            (before.seq, before.recorded_at)
        });
        let this = &self.checkpoint;
        if this.seq <= reached {
            return Err(CheckpointError::NotLater { seq: this.seq });
        }
        if this.previous != previous {
            return Err(CheckpointError::Unlinked);
        }
        if this.recorded_at < clock {
            return Err(CheckpointError::Earlier);
        }
        Ok(())
    }

    /// The line form, without the end of the line.
    #[must_use]
    pub fn line(&self) -> String {
        // An object of strings has a JSON form: this cannot fail.
        serde_json::to_string(&Spelled::of(self)).unwrap_or_default()
    }

    /// The body of the message that publishes it: the members of the line, and `schema`.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let members = serde_json::to_value(Spelled::of(self)).unwrap_or_default();
        let mut body = serde_json::json!({ "schema": CHECKPOINT_SCHEMA });
        if let (Some(body), serde_json::Value::Object(members)) = (body.as_object_mut(), members) {
            body.extend(members);
        }
        body.to_string().into_bytes()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// When the line is not exactly what [`SignedCheckpoint::line`] writes.
    pub fn parse(line: &str) -> Result<Self, CheckpointError> {
        let spelled: Spelled = serde_json::from_str(line)
            .map_err(|error| CheckpointError::Malformed(error.to_string()))?;
        let read = spelled.read()?;
        if read.line() != line {
            return Err(CheckpointError::Malformed("spelled in another way".into()));
        }
        Ok(read)
    }
}

/// The members as text. Numbers are text, since they may exceed 53 bits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Spelled {
    /// The last entry covered.
    #[schemars(with = "Decimal")]
    seq: String,
    /// The hash of that entry.
    #[schemars(with = "DigestHex")]
    head: String,
    /// Merkle root over the hashes of entries 1 to `seq`.
    #[schemars(with = "DigestHex")]
    root: String,
    /// When that entry was appended, microseconds since 1970 UTC.
    #[schemars(with = "Decimal")]
    recorded_at: String,
    /// The hash of the checkpoint before; zeros for the first.
    #[schemars(with = "DigestHex")]
    previous: String,
    /// The first eight bytes of SHA-256 of the public key.
    #[schemars(with = "KeyIdHex")]
    key: String,
    /// Ed25519 over the canonical bytes.
    #[schemars(with = "SignatureHex")]
    signature: String,
}

impl Spelled {
    pub(crate) fn of(signed: &SignedCheckpoint) -> Self {
        let checkpoint = &signed.checkpoint;
        Self {
            seq: checkpoint.seq.to_string(),
            head: checkpoint.head.to_string(),
            root: checkpoint.root.to_string(),
            recorded_at: checkpoint.recorded_at.0.to_string(),
            previous: checkpoint.previous.to_string(),
            key: signed.key.to_string(),
            signature: hex::encode(signed.signature),
        }
    }

    pub(crate) fn read(&self) -> Result<SignedCheckpoint, CheckpointError> {
        let bad = |what: &str| CheckpointError::Malformed(format!("{what} cannot be read"));
        let mut key = [0; 8];
        hex::decode_to_slice(&self.key, &mut key).map_err(|_| bad("key"))?;
        let mut signature = [0; 64];
        hex::decode_to_slice(&self.signature, &mut signature).map_err(|_| bad("signature"))?;
        let checkpoint = Checkpoint {
            seq: Seq(self.seq.parse().map_err(|_| bad("seq"))?),
            head: self.head.parse().map_err(|_| bad("head"))?,
            root: self.root.parse().map_err(|_| bad("root"))?,
            recorded_at: RecordedAt(self.recorded_at.parse().map_err(|_| bad("recordedAt"))?),
            previous: self.previous.parse().map_err(|_| bad("previous"))?,
        };
        Ok(SignedCheckpoint { checkpoint, key: KeyId(key), signature })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_secret(&[number; 32])
    }

    fn checkpoint(seq: u64, previous: Hash32) -> Checkpoint {
        Checkpoint {
            seq: Seq(seq),
            head: Hash32([3; 32]),
            root: Hash32([4; 32]),
            recorded_at: RecordedAt(1_700_000_000_000_000),
            previous,
        }
    }

    #[test]
    fn a_key_and_a_signature_are_those_of_the_test_vector() {
        // RFC 8032, section 7.1, TEST 1: the public key of this secret.
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let key: SigningKey = secret.parse().unwrap();
        assert_eq!(key.public().to_string(), public);
        assert!(!format!("{key:?}").contains("9d61"));
        let signed = key.sign(checkpoint(5, Hash32::ZERO));
        assert_eq!(signed.verify(&[key.public()]), Ok(()));
    }

    #[test]
    fn text_that_is_no_key_is_refused() {
        let weak = "0100000000000000000000000000000000000000000000000000000000000000";
        let outside = "0200000000000000000000000000000000000000000000000000000000000000";
        for text in ["", "00", weak, outside, &"zz".repeat(32), &"ab".repeat(33)] {
            assert_eq!(text.parse::<PublicKey>(), Err(InvalidKey), "{text}");
        }
    }

    #[test]
    fn a_signature_counts_under_its_own_key_alone() {
        let signed = key(1).sign(checkpoint(5, Hash32::ZERO));
        assert_eq!(signed.verify(&[key(2).public(), key(1).public()]), Ok(()));
        let unknown = signed.verify(&[key(2).public()]);
        assert!(matches!(unknown, Err(CheckpointError::UnknownKey { .. })), "{unknown:?}");
        assert!(signed.verify(&[]).is_err());
        let renamed = SignedCheckpoint { key: key(2).public().id(), ..signed };
        let refused = renamed.verify(&[key(2).public()]);
        assert_eq!(refused, Err(CheckpointError::Signature(key(2).public().id())));
        let mut other = signed;
        other.checkpoint.seq = Seq(6);
        assert!(other.verify(&[key(1).public()]).is_err());
    }

    #[test]
    fn checkpoints_follow_one_another() {
        let first = key(1).sign(checkpoint(5, Hash32::ZERO));
        let second = key(2).sign(checkpoint(9, first.checkpoint.hash()));
        assert_eq!(first.follows(None), Ok(()));
        assert_eq!(second.follows(Some(&first.checkpoint)), Ok(()));
        assert_eq!(second.follows(None), Err(CheckpointError::Unlinked));
        let again = first.follows(Some(&first.checkpoint));
        assert_eq!(again, Err(CheckpointError::NotLater { seq: Seq(5) }));
        let stranger = key(1).sign(checkpoint(9, Hash32([9; 32])));
        assert_eq!(stranger.follows(Some(&first.checkpoint)), Err(CheckpointError::Unlinked));
        let mut early = checkpoint(9, first.checkpoint.hash());
        early.recorded_at = RecordedAt(1);
        let early = key(1).sign(early).follows(Some(&first.checkpoint));
        assert_eq!(early, Err(CheckpointError::Earlier));
    }

    #[test]
    fn the_form_is_fixed() {
        let signed = key(1).sign(checkpoint(1_000, Hash32([9; 32])));
        let digest = Sha256::digest(signed.checkpoint.encode());
        assert_eq!(signed.checkpoint.hash(), Hash32(digest.into()));
        assert!(
            signed.checkpoint.encode().starts_with(b"\x86\x74obsqra.checkpoint.v1\x19\x03\xe8")
        );
        assert_eq!(SignedCheckpoint::parse(&signed.line()), Ok(signed));
        for other in [
            String::new(),
            format!(" {}", signed.line()),
            signed.line().replace("\"1000\"", "\"01000\""),
            signed.line().replace("\"1000\"", "1000"),
            signed.line().to_uppercase(),
            signed.line().replace("\"seq\"", "\"seq2\""),
            signed.line().replace('}', ",\"more\":\"\"}"),
        ] {
            assert!(SignedCheckpoint::parse(&other).is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_line_with_one_bit_flipped_counts(
            seq in 1u64..1 << 40, place in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let signed = key(1).sign(checkpoint(seq, Hash32::ZERO));
            let mut line = signed.line().into_bytes();
            let place = place.index(line.len());
            line[place] ^= 1 << bit;
            let counts = String::from_utf8(line)
                .ok()
                .and_then(|line| SignedCheckpoint::parse(&line).ok())
                .is_some_and(|read| read.verify(&[key(1).public()]).is_ok());
            prop_assert!(!counts);
        }
    }
}
