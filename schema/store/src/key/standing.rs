//! How facts stand to the log: new, there already, or of a block that was reverted. One statement a run of
//! facts, since each is a round trip under the head lock.
//!
//! A run has keys of one sort, so that nothing that is new in it changes the answer for another, but for a key that
//! is stated twice: the second is compared with the first, as if it had come in a batch of its own.

use std::collections::BTreeMap;

use obsqra_events::Draft;
use obsqra_types::{BlockRef, Seq};

use super::columns::{Names, Places};
use super::retracted_subject;
use crate::{Key, Keyed, StoreError, Transaction, row};

/// How a fact stands to the log. Asked under the head lock, so that the answer holds until commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    New,
    Unchanged,
    Superseded,
}

/// Facts and their first entry, which the key is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stated<'a> {
    pub(crate) fact: &'a Keyed,
    pub(crate) first: &'a Draft,
}

impl<'a> Stated<'a> {
    /// `None` where there are no entries.
    pub(crate) fn of(fact: &'a Keyed) -> Option<Self> {
        fact.drafts.first().map(|first| Self { fact, first })
    }

    /// Whether both have keys of one sort.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.fact.key) == std::mem::discriminant(&other.fact.key)
    }

    pub(super) fn block(&self) -> Result<BlockRef, StoreError> {
        self.first.block.ok_or(StoreError::Range("block reference"))
    }
}

/// The fact that has a key already.
#[derive(Clone, Debug)]
struct Found {
    seq: i64,
    content_hash: Vec<u8>,
}

/// Judges facts that have keys of one sort, in their order; they would follow `head`.
pub(crate) async fn standing(
    tx: &mut Transaction,
    facts: &[Stated<'_>],
    head: Seq,
) -> Result<Vec<Standing>, StoreError> {
    match facts.first().map(|stated| &stated.fact.key) {
        Some(Key::Block { .. }) => blocks(tx, facts, head).await,
        Some(Key::Derived { .. } | Key::Retracted { .. }) => derived(tx, facts, head).await,
        Some(Key::Adopted { .. }) => adopted(tx, facts).await,
        Some(Key::Attested) => attested(tx, facts).await,
        Some(Key::Plain) | None => Ok(vec![Standing::New; facts.len()]),
    }
}

async fn blocks(
    tx: &mut Transaction,
    facts: &[Stated<'_>],
    head: Seq,
) -> Result<Vec<Standing>, StoreError> {
    let Places { chains, numbers, epochs } = Places::of(facts.iter())?;
    // LIMIT keeps the planner at one look into the index for each, whatever it thinks the table's size is.
    let found = sqlx::query!(
        r#"
        SELECT k.seq AS "seq?", k.content_hash AS "content_hash?"
        FROM unnest($1::text[], $2::bigint[], $3::integer[])
             WITH ORDINALITY AS f (chain_id, block_number, branch_epoch, place)
        LEFT JOIN LATERAL (
            SELECT k.seq, k.content_hash
            FROM block_key k
            WHERE k.chain_id = f.chain_id
              AND k.block_number = f.block_number
              AND k.branch_epoch = f.branch_epoch
            LIMIT 1
        ) k ON true
        ORDER BY f.place
        "#,
        &chains,
        &numbers,
        &epochs,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut judge = Judge::after(head);
    let keys = chains.into_iter().zip(numbers).zip(epochs);
    facts
        .iter()
        .zip(keys)
        .zip(found)
        .map(|((stated, key), found)| {
            let found = found.seq.zip(found.content_hash);
            judge.judge(stated, key, "block", found, || Ok(Standing::New))
        })
        .collect()
}

/// A derived fact is new only while its block is on the canonical chain, at or below the tip with the highest
/// epoch there. A retraction is the other way round: only what stands on a branch that lost may be retracted.
async fn derived(
    tx: &mut Transaction,
    facts: &[Stated<'_>],
    head: Seq,
) -> Result<Vec<Standing>, StoreError> {
    let Places { chains, numbers, epochs } = Places::of(facts.iter())?;
    let Names { kinds, versions, subjects } = Names::of(facts.iter());
    let places = sqlx::query!(
        r#"
        SELECT d.seq AS "seq?", d.content_hash AS "content_hash?",
               (
                   SELECT max(k.branch_epoch)
                   FROM block_key k
                   JOIN chain_tip t ON t.chain_id = k.chain_id AND t.block_number >= k.block_number
                   WHERE k.chain_id = f.chain_id AND k.block_number = f.block_number
               ) AS newest_epoch
        FROM unnest(
                 $1::text[], $2::smallint[], $3::smallint[], $4::text[], $5::bigint[], $6::integer[]
             )
             WITH ORDINALITY
             AS f (chain_id, kind, schema_version, subject, block_number, branch_epoch, place)
        LEFT JOIN LATERAL (
            SELECT d.seq, d.content_hash
            FROM derived_key d
            WHERE d.chain_id = f.chain_id
              AND d.kind = f.kind
              AND d.schema_version = f.schema_version
              AND d.subject = f.subject
              AND d.block_number = f.block_number
              AND d.branch_epoch = f.branch_epoch
            LIMIT 1
        ) d ON true
        ORDER BY f.place
        "#,
        &chains,
        &kinds,
        &versions,
        &subjects,
        &numbers,
        &epochs,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut judge = Judge::after(head);
    let keys = chains.into_iter().zip(kinds).zip(versions).zip(numbers).zip(epochs);
    let mut standings = Vec::new();
    for (((stated, key), subject), place) in facts.iter().zip(keys).zip(&subjects).zip(places) {
        let is_canonical = place.newest_epoch == Some(key.1);
        let found = place.seq.zip(place.content_hash);
        let if_new = || derived_if_new(stated, subject, is_canonical);
        standings.push(judge.judge(stated, (key, subject), subject, found, if_new)?);
    }
    Ok(standings)
}

fn derived_if_new(
    stated: &Stated<'_>,
    subject: &str,
    is_canonical: bool,
) -> Result<Standing, StoreError> {
    let is_retraction = matches!(stated.fact.key, Key::Retracted { .. });
    match (is_retraction, is_canonical) {
        (false, true) | (true, false) => Ok(Standing::New),
        (false, false) => Ok(Standing::Superseded),
        (true, true) => {
            let block = stated.block()?;
            Err(StoreError::StillCanonical {
                subject: subject.to_owned(),
                block: block.number,
                epoch: block.epoch,
            })
        }
    }
}

/// The subject of the key row of a derived fact or a retraction.
pub(super) fn subject(key: &Key) -> String {
    match key {
        Key::Derived { subject } => subject.clone(),
        Key::Retracted { kind, subject } => retracted_subject(*kind, subject),
        Key::Block { .. } | Key::Adopted { .. } | Key::Attested | Key::Plain => String::new(),
    }
}

/// A later attestation has no key row: it is new while its block is on the canonical chain.
async fn attested(tx: &mut Transaction, facts: &[Stated<'_>]) -> Result<Vec<Standing>, StoreError> {
    let Places { chains, numbers, epochs } = Places::of(facts.iter())?;
    let newest = sqlx::query_scalar!(
        r#"
        SELECT (
            SELECT max(k.branch_epoch)
            FROM block_key k
            JOIN chain_tip t ON t.chain_id = k.chain_id AND t.block_number >= k.block_number
            WHERE k.chain_id = f.chain_id AND k.block_number = f.block_number
        ) AS newest_epoch
        FROM unnest($1::text[], $2::bigint[])
             WITH ORDINALITY AS f (chain_id, block_number, place)
        ORDER BY f.place
        "#,
        &chains,
        &numbers,
    )
    .fetch_all(&mut **tx)
    .await?;
    let stands = newest.into_iter().zip(epochs).map(|(newest, epoch)| newest == Some(epoch));
    Ok(stands.map(|stands| if stands { Standing::New } else { Standing::Superseded }).collect())
}

/// Adopted bytes are new where they are not those adopted last.
async fn adopted(tx: &mut Transaction, facts: &[Stated<'_>]) -> Result<Vec<Standing>, StoreError> {
    let (mut chains, mut whats) = (Vec::new(), Vec::new());
    for stated in facts {
        if let Key::Adopted { what, .. } = &stated.fact.key {
            chains.push(stated.first.chain.to_string());
            whats.push(what.name().to_owned());
        }
    }
    let newest = sqlx::query_scalar!(
        r#"
        SELECT (
            SELECT a.content_hash
            FROM adopted_key a
            WHERE a.chain_id = f.chain_id AND a.what = f.what
            ORDER BY a.seq DESC
            LIMIT 1
        ) AS content_hash
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS f (chain_id, what, place)
        ORDER BY f.place
        "#,
        &chains,
        &whats,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut last = BTreeMap::new();
    let mut standings = Vec::new();
    for ((stated, key), newest) in facts.iter().zip(chains.iter().zip(&whats)).zip(newest) {
        let newest = last.insert(key, stated.first.content_hash.0.to_vec()).or(newest);
        let is_same = newest.is_some_and(|newest| newest == stated.first.content_hash.0);
        standings.push(if is_same { Standing::Unchanged } else { Standing::New });
    }
    Ok(standings)
}

/// Judges the facts of a run one after the other, and remembers those that are new.
struct Judge<K> {
    new: BTreeMap<K, Found>,
    head: Seq,
}

impl<K: Ord> Judge<K> {
    fn after(head: Seq) -> Self {
        Self { new: BTreeMap::new(), head }
    }

    fn judge(
        &mut self,
        stated: &Stated<'_>,
        key: K,
        subject: &str,
        found: Option<(i64, Vec<u8>)>,
        if_new: impl FnOnce() -> Result<Standing, StoreError>,
    ) -> Result<Standing, StoreError> {
        let found = found.map(|(seq, content_hash)| Found { seq, content_hash });
        if let Some(found) = found.as_ref().or_else(|| self.new.get(&key)) {
            return compare(stated, subject, found);
        }
        let standing = if_new()?;
        if standing == Standing::New {
            let content_hash = stated.first.content_hash.0.to_vec();
            let seq = row::to_i64(self.head.next().0, "seq")?;
            self.new.insert(key, Found { seq, content_hash });
            self.head = Seq(self.head.0 + stated.fact.drafts.len() as u64);
        }
        Ok(standing)
    }
}

fn compare(stated: &Stated<'_>, subject: &str, found: &Found) -> Result<Standing, StoreError> {
    if found.content_hash == stated.first.content_hash.0 {
        return Ok(Standing::Unchanged);
    }
    Err(StoreError::KeyConflict {
        subject: format!("{} {subject}", stated.first.kind.name()),
        block: stated.block()?.number,
        seq: row::seq(found.seq)?,
    })
}
