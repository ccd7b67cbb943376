//! What sources were found out about goes into the log, with the answer kept beside it.

use obsqra_events::{Draft, Fact, MismatchFound};
use obsqra_store::{Key, Keyed, StoreError, finding, log};
use obsqra_types::{BlockNumber, Hash32};
use sha2::{Digest, Sha256};

use super::Session;
use crate::IndexError;
use crate::source::{MismatchedBlock, SourceError, SourceFinding};

impl Session<'_> {
    /// Notes what an error tells about a node, if it does.
    pub(super) async fn note_trouble(&self, error: &SourceError) -> Result<(), IndexError> {
        let found = match error.cause() {
            SourceError::Mismatch(block) => SourceFinding::Mismatch {
                block: block.clone(),
                source: self.encoder.source.clone(),
            },
            SourceError::Contradicted { disagreed, .. } => {
                SourceFinding::Disagreed(disagreed.clone())
            }
            _ => return Ok(()),
        };
        self.note_finding(found).await
    }

    /// Appends a finding, unless it was found before.
    pub(super) async fn note_finding(&self, found: SourceFinding) -> Result<(), IndexError> {
        let (number, node, fact, answer) = stated(found);
        let draft = Draft::new(&self.encoder.chain, None, &fact);
        let mut tx = self.follower.store.begin().await?;
        let is_new = finding::save(&mut tx, (number, &node), &draft, answer.as_deref()).await?;
        if is_new {
            let facts = vec![Keyed { key: Key::Plain, drafts: vec![draft] }];
            log::append(&mut tx, self.lease.fence(), facts).await?;
            metrics::counter!("obsqra_source_findings_total", "kind" => fact.kind().name())
                .increment(1);
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }
}

fn stated(found: SourceFinding) -> (BlockNumber, String, Fact, Option<Vec<u8>>) {
    match found {
        SourceFinding::Mismatch { block, source } => {
            let MismatchedBlock { node, mismatch, answer } = *block;
            let fact = MismatchFound {
                number: mismatch.number,
                hash: mismatch.hash,
                node: node.clone(),
                source,
                differences: mismatch.differences,
                evidence: Hash32(Sha256::digest(&answer).into()),
            };
            (mismatch.number, node, Fact::MismatchFound(fact), Some(answer))
        }
        SourceFinding::Disagreed(disagreed) => {
            let nodes: Vec<&str> =
                disagreed.statements.iter().map(|one| one.node.as_str()).collect();
            (disagreed.number, nodes.join(" "), Fact::SourcesDisagreed(*disagreed), None)
        }
    }
}
