//! The definitions that figures and read models rest on, beside the log and the registry.

use std::sync::LazyLock;

use obsqra_types::Hash32;
use sha2::{Digest as _, Sha256};

use crate::decoders::{Decoder, Layout, layouts};

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
        let all = Decoder::ALL.iter().copied();
        let lines = all.flat_map(|decoder| layouts(decoder).map(move |one| line(decoder, one)));
        let text: String = std::iter::once(format!("{METRICS_VERSION}\n")).chain(lines).collect();
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

fn line(decoder: Decoder, layout: &Layout) -> String {
    let Layout { name, selector, keys_len, data_len } = layout;
    format!("{} {name} {selector:#x} keys {keys_len} data {data_len}\n", decoder.name())
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
