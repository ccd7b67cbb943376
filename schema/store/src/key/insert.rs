//! Key rows of facts that are new: one statement a run of facts that have keys of one sort.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use obsqra_types::Seq;

use super::columns::{Names, Places};
use super::standing::Stated;
use crate::{Key, StoreError, Transaction, row};

/// Writes the key rows of facts and the positions of their first entries.
pub(crate) async fn insert(
    tx: &mut Transaction,
    facts: &[(Stated<'_>, Seq)],
) -> Result<(), StoreError> {
    match facts.first().map(|(stated, _)| &stated.fact.key) {
        Some(Key::Block { .. }) => insert_blocks(tx, facts).await,
        Some(Key::Derived { .. } | Key::Retracted { .. }) => insert_derived(tx, facts).await,
        Some(Key::Adopted { .. }) => insert_adopted(tx, facts).await,
        Some(Key::Attested | Key::Plain) | None => Ok(()),
    }
}

/// Writes the key rows of blocks that follow `head` if none of them is there, which is the rule: one statement then
/// asks and writes. If not, or if the facts are no blocks or state a key twice, it writes nothing and says so.
pub(crate) async fn claim(
    tx: &mut Transaction,
    facts: &[Stated<'_>],
    head: Seq,
) -> Result<bool, StoreError> {
    let are_blocks =
        facts.first().is_some_and(|stated| matches!(stated.fact.key, Key::Block { .. }));
    if !are_blocks {
        return Ok(false);
    }
    let rows = BlockRows::new(&placed(facts, head))?;
    if rows.has_repeated_key() {
        return Ok(false);
    }
    // LIMIT keeps the planner at one look into the index for each, whatever it thinks the table's size is.
    let claimed = sqlx::query_scalar!(
        r#"
        WITH stated AS MATERIALIZED (
            SELECT f.chain_id, f.block_number, f.branch_epoch, f.block_hash, f.parent_hash,
                   f.occurred_at, f.seq, f.watched_events, f.content_hash
            FROM unnest(
                $1::text[], $2::bigint[], $3::integer[], $4::bytea[], $5::bytea[],
                $6::timestamptz[], $7::bigint[], $8::integer[], $9::bytea[]
            ) AS f (
                chain_id, block_number, branch_epoch, block_hash, parent_hash,
                occurred_at, seq, watched_events, content_hash
            )
        ),
        known AS MATERIALIZED (
            SELECT count(*) AS blocks
            FROM stated f
            CROSS JOIN LATERAL (
                SELECT k.seq
                FROM block_key k
                WHERE k.chain_id = f.chain_id
                  AND k.block_number = f.block_number
                  AND k.branch_epoch = f.branch_epoch
                LIMIT 1
            ) k
        ),
        written AS (
            INSERT INTO block_key (
                chain_id, block_number, branch_epoch, block_hash, parent_hash,
                occurred_at, seq, watched_events, content_hash
            )
            SELECT f.chain_id, f.block_number, f.branch_epoch, f.block_hash, f.parent_hash,
                   f.occurred_at, f.seq, f.watched_events, f.content_hash
            FROM stated f
            WHERE (SELECT k.blocks FROM known k) = 0
        )
        SELECT k.blocks = 0 AS "claimed!" FROM known k
        "#,
        &rows.places.chains,
        &rows.places.numbers,
        &rows.places.epochs,
        &rows.hashes,
        &rows.parents,
        &rows.times,
        &rows.seqs,
        &rows.events,
        &rows.content_hashes,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(claimed)
}

/// Where each fact would stand, the first right behind `head`.
fn placed<'a>(facts: &[Stated<'a>], head: Seq) -> Vec<(Stated<'a>, Seq)> {
    let mut next = head.next();
    let place = |stated: &Stated<'a>| {
        let seq = next;
        next = Seq(next.0 + stated.fact.drafts.len() as u64);
        (*stated, seq)
    };
    facts.iter().map(place).collect()
}

async fn insert_blocks(
    tx: &mut Transaction,
    facts: &[(Stated<'_>, Seq)],
) -> Result<(), StoreError> {
    let rows = BlockRows::new(facts)?;
    sqlx::query!(
        r#"
        INSERT INTO block_key (
            chain_id, block_number, branch_epoch, block_hash, parent_hash,
            occurred_at, seq, watched_events, content_hash
        )
        SELECT * FROM unnest(
            $1::text[], $2::bigint[], $3::integer[], $4::bytea[], $5::bytea[],
            $6::timestamptz[], $7::bigint[], $8::integer[], $9::bytea[]
        )
        "#,
        &rows.places.chains,
        &rows.places.numbers,
        &rows.places.epochs,
        &rows.hashes,
        &rows.parents,
        &rows.times,
        &rows.seqs,
        &rows.events,
        &rows.content_hashes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Columns of the key rows of blocks.
#[derive(Default)]
struct BlockRows {
    places: Places,
    hashes: Vec<Vec<u8>>,
    parents: Vec<Vec<u8>>,
    times: Vec<DateTime<Utc>>,
    seqs: Vec<i64>,
    events: Vec<i32>,
    content_hashes: Vec<Vec<u8>>,
}

impl BlockRows {
    fn new(facts: &[(Stated<'_>, Seq)]) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        for (stated, seq) in facts {
            let Key::Block { hash, parent, watched_events } = &stated.fact.key else {
                continue;
            };
            let block = stated.block()?;
            rows.places.push(stated)?;
            rows.hashes.push(row::felt_bytes(&hash.0));
            rows.parents.push(row::felt_bytes(&parent.0));
            rows.times.push(row::timestamp(block.timestamp)?);
            rows.seqs.push(row::to_i64(seq.0, "seq")?);
            rows.events.push(row::to_i32(*watched_events, "number of watched events")?);
            rows.content_hashes.push(stated.first.content_hash.0.to_vec());
        }
        Ok(rows)
    }

    fn has_repeated_key(&self) -> bool {
        let Places { chains, numbers, epochs } = &self.places;
        let keys = chains.iter().zip(numbers).zip(epochs);
        keys.collect::<BTreeSet<_>>().len() < chains.len()
    }
}

async fn insert_derived(
    tx: &mut Transaction,
    facts: &[(Stated<'_>, Seq)],
) -> Result<(), StoreError> {
    let Places { chains, numbers, epochs } = Places::of(facts.iter().map(|(stated, _)| stated))?;
    let Names { kinds, versions, subjects } = Names::of(facts.iter().map(|(stated, _)| stated));
    let (mut seqs, mut content_hashes) = (Vec::new(), Vec::new());
    for (stated, seq) in facts {
        seqs.push(row::to_i64(seq.0, "seq")?);
        content_hashes.push(stated.first.content_hash.0.to_vec());
    }
    sqlx::query!(
        r#"
        INSERT INTO derived_key (
            chain_id, kind, schema_version, subject, block_number, branch_epoch,
            seq, content_hash
        )
        SELECT * FROM unnest(
            $1::text[], $2::smallint[], $3::smallint[], $4::text[], $5::bigint[], $6::integer[],
            $7::bigint[], $8::bytea[]
        )
        "#,
        &chains,
        &kinds,
        &versions,
        &subjects,
        &numbers,
        &epochs,
        &seqs,
        &content_hashes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_adopted(
    tx: &mut Transaction,
    facts: &[(Stated<'_>, Seq)],
) -> Result<(), StoreError> {
    let (mut chains, mut whats, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut versions, mut hashes, mut content_hashes) = (Vec::new(), Vec::new(), Vec::new());
    for (stated, seq) in facts {
        let Key::Adopted { what, version, hash } = &stated.fact.key else {
            continue;
        };
        chains.push(stated.first.chain.to_string());
        whats.push(what.name().to_owned());
        seqs.push(row::to_i64(seq.0, "seq")?);
        versions.push(version.clone());
        hashes.push(hash.0.to_vec());
        content_hashes.push(stated.first.content_hash.0.to_vec());
    }
    sqlx::query!(
        r#"
        INSERT INTO adopted_key (chain_id, what, seq, version, bytes_hash, content_hash)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[])
        "#,
        &chains,
        &whats,
        &seqs,
        &versions,
        &hashes,
        &content_hashes,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
