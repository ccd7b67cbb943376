//! Signatures of Standard Webhooks: over the message id, the time of the attempt and the body, so that neither can be
//! taken for another's.
//!
//! The text that is signed is `<id>.<unix seconds>.<body>`. A header has one signature for each key that is in
//! force: while keys are rotated, whoever checks with the older one finds it too.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Prefix of a shared secret as text.
const SHARED_PREFIX: &str = "whsec_";
/// Prefix of a private key as text.
const PRIVATE_PREFIX: &str = "whsk_";
/// Prefix of a public key as text.
const PUBLIC_PREFIX: &str = "whpk_";
/// Shortest and longest shared secret, in bytes: those that the specification allows.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that messages are signed with. It prints as what sort it is.
#[derive(Clone)]
pub enum SigningSecret {
    /// HMAC-SHA-256 with a secret that the receiver has too; signatures begin with `v1,`.
    Shared(Vec<u8>),
    /// Ed25519, of which the receiver has the public key; signatures begin with `v1a,`.
    Private(Box<SigningKey>),
}

/// Why a key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// It begins otherwise.
    #[error("a signing secret begins with whsec_ (shared) or whsk_ (Ed25519)")]
    Prefix,
    /// What follows is not base64.
    #[error("a signing secret is base64 after its prefix")]
    Base64,
    /// It is too short or too long.
    #[error("a shared secret has 24 to 64 bytes, an Ed25519 key 32 or 64")]
    Length,
}

impl SigningSecret {
    /// A shared secret of random bytes.
    #[must_use]
    pub fn random_shared() -> Self {
        Self::Shared(rand::random::<[u8; 32]>().to_vec())
    }

    /// An Ed25519 key of random bytes.
    #[must_use]
    pub fn random_private() -> Self {
        Self::Private(Box::new(SigningKey::from_bytes(&rand::random())))
    }

    /// Reads a key as the specification writes it.
    ///
    /// # Errors
    /// When it is no key.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let decode = |rest: &str| BASE64.decode(rest).map_err(|_| SecretError::Base64);
        if let Some(rest) = text.strip_prefix(SHARED_PREFIX) {
            let bytes = decode(rest)?;
            return if SHARED_BYTES.contains(&bytes.len()) {
                Ok(Self::Shared(bytes))
            } else {
                Err(SecretError::Length)
            };
        }
        let bytes = decode(text.strip_prefix(PRIVATE_PREFIX).ok_or(SecretError::Prefix)?)?;
        // The seed alone, or with the public key behind it.
        let key = match bytes.len() {
            32 => bytes.as_slice().try_into().ok().map(|seed| SigningKey::from_bytes(&seed)),
            64 => bytes
                .as_slice()
                .try_into()
                .ok()
                .and_then(|pair| SigningKey::from_keypair_bytes(&pair).ok()),
            _ => None,
        };
        Ok(Self::Private(Box::new(key.ok_or(SecretError::Length)?)))
    }

    /// The key as text: for its owner alone.
    #[must_use]
    pub fn expose(&self) -> String {
        match self {
            Self::Shared(bytes) => format!("{SHARED_PREFIX}{}", BASE64.encode(bytes)),
            Self::Private(key) => {
                format!("{PRIVATE_PREFIX}{}", BASE64.encode(key.to_keypair_bytes()))
            }
        }
    }

    /// What the receiver checks with: the secret itself, or the public key.
    #[must_use]
    pub fn receivers(&self) -> String {
        match self {
            Self::Shared(_) => self.expose(),
            Self::Private(key) => {
                format!("{PUBLIC_PREFIX}{}", BASE64.encode(key.verifying_key().as_bytes()))
            }
        }
    }

    fn sign(&self, text: &[u8]) -> String {
        match self {
            Self::Shared(secret) => {
                // HMAC takes keys of every length.
                let signature = <Hmac<Sha256> as hmac::Mac>::new_from_slice(secret)
                    .map(|mac| mac.chain_update(text).finalize().into_bytes());
                signature
                    .map_or_else(|_| String::new(), |bytes| format!("v1,{}", BASE64.encode(bytes)))
            }
            Self::Private(key) => format!("v1a,{}", BASE64.encode(key.sign(text).to_bytes())),
        }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "(shared secret)",
            Self::Private(_) => "(private key)",
        })
    }
}

/// The value of `webhook-signature`: a signature for each key, with spaces between them.
#[must_use]
pub fn signatures(secrets: &[SigningSecret], id: &str, unix_seconds: i64, body: &[u8]) -> String {
    let text = [format!("{id}.{unix_seconds}.").as_bytes(), body].concat();
    let all: Vec<String> = secrets.iter().map(|secret| secret.sign(&text)).collect();
    all.join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_has_its_signature() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_come_back_from_their_text() {
        for secret in [SigningSecret::random_shared(), SigningSecret::random_private()] {
            let again = SigningSecret::parse(&secret.expose()).unwrap();
            assert_eq!(
                signatures(&[again], "a", 1, b"x"),
                signatures(std::slice::from_ref(&secret), "a", 1, b"x")
            );
            assert!(!format!("{secret:?}").contains(&secret.expose()));
        }
    }

    #[test]
    fn each_part_is_signed_and_each_key_signs() {
        let secrets = [SigningSecret::random_shared(), SigningSecret::random_private()];
        let signed = signatures(&secrets, "id", 7, b"body");
        assert_eq!(signed.split(' ').count(), 2);
        for other in [
            signatures(&secrets, "ie", 7, b"body"),
            signatures(&secrets, "id", 8, b"body"),
            signatures(&secrets, "id", 7, b"bodz"),
        ] {
            assert!(signed.split(' ').zip(other.split(' ')).all(|(one, other)| one != other));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let short = format!("whsec_{}", BASE64.encode([1; 23]));
        let long = format!("whsec_{}", BASE64.encode([1; 65]));
        let cases = [
            ("", SecretError::Prefix),
            ("whpk_AAAA", SecretError::Prefix),
            ("whsec_!", SecretError::Base64),
            (short.as_str(), SecretError::Length),
            (long.as_str(), SecretError::Length),
            ("whsk_AAAA", SecretError::Length),
        ];
        for (text, error) in cases {
            assert_eq!(SigningSecret::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
