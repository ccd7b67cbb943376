//! A token that must not be printed. `Debug` hides it, nothing displays it, and a text that somebody else
//! wrote is rid of it before it goes into an error.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest token, in bytes.
const MAX_BYTES: usize = 4_096;

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text is no token. The text itself is not in the error.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the token of {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the token is empty: write it into the file or leave the setting out")]
    Empty,
    /// It does not end.
    #[error("the token is longer than {MAX_BYTES} bytes: is it the right file?")]
    TooLong,
    /// It cannot be sent in a header.
    #[error("the token has a character that is no visible ASCII: is it the right file?")]
    NotText,
}

impl Secret {
    /// Takes a token; white space around it is not part of it.
    ///
    /// # Errors
    /// When it is empty, too long, or not visible ASCII.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(SecretError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::NotText);
        }
        Ok(Self(text.to_owned()))
    }

    /// Reads a token from a file that holds nothing else.
    ///
    /// # Errors
    /// When the file cannot be read or holds no token.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        // Two more than the longest token, for the end of its line; a longer file is seen as too long.
        let limit = MAX_BYTES as u64 + 3;
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        Self::new(std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText)?)
    }

    /// The token itself, for the header that carries it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// The text without the token.
    pub(super) fn taken_out_of(&self, text: &str) -> String {
        text.replace(&self.0, "[token]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_and_hidden() {
        let secret = Secret::new(" dna_swordfish\n").unwrap();
        assert_eq!(secret.expose(), "dna_swordfish");
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
        assert_eq!(secret.taken_out_of("no dna_swordfish here"), "no [token] here");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert!(matches!(Secret::new(" \n"), Err(SecretError::Empty)));
        assert!(matches!(Secret::new("two words"), Err(SecretError::NotText)));
        assert!(matches!(Secret::new("schlüssel"), Err(SecretError::NotText)));
        assert!(Secret::new(&"x".repeat(MAX_BYTES)).is_ok());
        assert!(matches!(Secret::new(&"x".repeat(MAX_BYTES + 1)), Err(SecretError::TooLong)));
    }

    #[test]
    fn a_token_is_read_from_its_file() {
        let file = |name: &str, bytes: &[u8]| {
            let path = std::env::temp_dir().join(format!("obsqra-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            let read = Secret::from_file(&path);
            std::fs::remove_file(&path).unwrap();
            read
        };
        assert_eq!(file("token", b"dna_swordfish\r\n").unwrap().expose(), "dna_swordfish");
        assert!(matches!(file("long", &[b'x'; 3 * MAX_BYTES]), Err(SecretError::TooLong)));
        assert!(matches!(file("bytes", &[0xff, 0xfe]), Err(SecretError::NotText)));
        let missing = Secret::from_file(Path::new("/nowhere/token")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/token"), "{missing}");
    }
}
