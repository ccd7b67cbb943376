//! The bytes of a row, for state hashes: each column as its length (4 bytes, big-endian) and its
//! bytes; a null column has the length 2³² − 1.

/// Builds a row's bytes.
#[derive(Debug, Default)]
pub struct RowBytes(Vec<u8>);

impl RowBytes {
    /// Starts with the read model's name, so that equal rows of two models differ.
    #[must_use]
    pub fn new(read_model: &str) -> Self {
        let mut bytes = Self::default();
        bytes.put(read_model.as_bytes());
        bytes
    }

    /// Adds a column.
    pub fn put(&mut self, column: &[u8]) -> &mut Self {
        // A column of 4 GiB cannot come out of Postgres, whose values end at 1 GiB.
        let length = u32::try_from(column.len()).unwrap_or(u32::MAX - 1);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(column);
        self
    }

    /// Adds a column of text.
    pub fn text(&mut self, column: &str) -> &mut Self {
        self.put(column.as_bytes())
    }

    /// Adds a column that holds an integer.
    pub fn int(&mut self, column: i64) -> &mut Self {
        self.put(&column.to_be_bytes())
    }

    /// Adds a column that may be null.
    pub fn option(&mut self, column: Option<impl AsRef<[u8]>>) -> &mut Self {
        match column {
            Some(value) => self.put(value.as_ref()),
            None => {
                self.0.extend_from_slice(&u32::MAX.to_be_bytes());
                self
            }
        }
    }

    /// The bytes.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}
