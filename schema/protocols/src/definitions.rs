//! The definitions that figures and read models rest on, beside the log and the registry.

use std::fmt::Write as _;
use std::sync::LazyLock;

use obsqra_types::Hash32;
use sha2::{Digest as _, Sha256};

use crate::decoders::{Decoder, layouts};

/// The version of the metric definitions that [`crate::MetricFold`] implements.
pub const METRICS_VERSION: &str = "metrics-v3";

/// The metric definitions by their version, and every layout that a decoder reads: what is adopted into the
/// log, so that it tells from where on an event that fitted nothing is read.
#[derive(Debug)]
pub struct Definitions {
    text: String,
    hash: Hash32,
}

impl Definitions {
    /// Those of this program.
    #[must_use]
    pub fn own() -> &'static Self {
        static OWN: LazyLock<Definitions> = LazyLock::new(Definitions::of_decoders);
        &OWN
    }

    fn of_decoders() -> Self {
        let mut text = format!("{METRICS_VERSION}\n");
        for decoder in Decoder::ALL.iter().copied() {
            for layout in layouts(decoder) {
                let (decoder, name, selector) = (decoder.name(), layout.name, layout.selector);
                let (keys, data) = (layout.keys_len, layout.data_len);
                // Writing to a string does not fail.
                let _ = writeln!(text, "{decoder} {name} {selector:#x} keys {keys} data {data}");
            }
        }
        let hash = Hash32(Sha256::digest(&text).into());
        Self { text, hash }
    }

    /// The version on the first line, then a line for each layout: decoder, event, selector, numbers of keys
    /// and of data felts.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_version_and_each_layout_once() {
        let lines: Vec<&str> = Definitions::own().text().lines().collect();
        assert_eq!(lines.first(), Some(&METRICS_VERSION));
        let layouts: usize = Decoder::ALL.iter().map(|one| layouts(*one).count()).sum();
        assert_eq!(lines.len(), 1 + layouts);
        let sorted: std::collections::BTreeSet<_> = lines.iter().collect();
        assert_eq!(sorted.len(), lines.len());
    }
}
