//! Reports of finished days: what a UTC day of a chain, by the timestamps of its blocks, came to.
//!
//! A day is finished once a final block of a later day is there: then no block can join it and none can leave.
//! A report is a function of the read models as they are known at one position, which lies behind all that the
//! log says of the day; what the log learns of the day later is not in it.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, NaiveTime};
use obsqra_types::{BlockNumber, ChainId, ProtocolId, Seq};
use serde::{Deserialize, Serialize};

use crate::projection::{Absent, state};
use crate::{Store, StoreError, Transaction, chain_tip, key, row};

/// Layout of [`FinishedDay::payload`].
pub const PAYLOAD_VERSION: u16 = 1;

/// A day of which every block is final.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinishedDay {
    /// The chain.
    pub chain: ChainId,
    /// The day, UTC.
    pub day: NaiveDate,
    /// Its first block.
    pub first: BlockNumber,
    /// Its last block.
    pub last: BlockNumber,
    /// Whether the log has the day from its beginning.
    pub is_whole: bool,
    /// The `chain.block_applied` entry of its first block.
    pub from_seq: Seq,
    /// That of the first block of a later day.
    pub next_seq: Seq,
}

/// What a day came to for a protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DailyReport {
    /// Whose figures these are.
    pub protocol: ProtocolId,
    /// Its watched events.
    pub events: u64,
    /// What was known of its score as of the last block; `None` where nothing was ever said of it.
    pub end: Option<ScoreAt>,
    /// The lowest score that stood at any block of the day, and the entry that states it.
    pub lowest: Option<(u8, Seq)>,
    /// The highest.
    pub highest: Option<(u8, Seq)>,
    /// Anomalies found as of its blocks, by severity.
    pub anomalies: Anomalies,
}

/// What an entry says of a score.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScoreAt {
    /// The score, or why there is none.
    pub score: Result<u8, Vec<Absent>>,
    /// The entry.
    pub entry: Seq,
}

/// How many anomalies began or stood alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the severities of the log")]
pub struct Anomalies {
    pub info: u64,
    pub warning: u64,
    pub critical: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    chain: String,
    day: NaiveDate,
    first: u64,
    last: u64,
    is_whole: bool,
    from_seq: u64,
    next_seq: u64,
    known_at: u64,
}

impl FinishedDay {
    /// The day and the position to read at, as a job's payload.
    ///
    /// # Errors
    /// [`StoreError::Range`] when it cannot be written.
    pub fn payload(&self, known_at: Seq) -> Result<serde_json::Value, StoreError> {
        let payload = Payload {
            chain: self.chain.to_string(),
            day: self.day,
            first: self.first.0,
            last: self.last.0,
            is_whole: self.is_whole,
            from_seq: self.from_seq.0,
            next_seq: self.next_seq.0,
            known_at: known_at.0,
        };
        serde_json::to_value(payload).map_err(|_| StoreError::Range("payload of a report"))
    }

    /// Reads a payload of [`PAYLOAD_VERSION`].
    ///
    /// # Errors
    /// [`StoreError::Range`] when it is none.
    pub fn read(payload: &serde_json::Value) -> Result<(Self, Seq), StoreError> {
        let payload =
            Payload::deserialize(payload).map_err(|_| StoreError::Range("payload of a report"))?;
        let day = Self {
            chain: row::chain_id(&payload.chain)?,
            day: payload.day,
            first: BlockNumber(payload.first),
            last: BlockNumber(payload.last),
            is_whole: payload.is_whole,
            from_seq: Seq(payload.from_seq),
            next_seq: Seq(payload.next_seq),
        };
        Ok((day, Seq(payload.known_at)))
    }
}

/// The first finished day whose first block stands at `from`, a [`FinishedDay::next_seq`], or at the log's first
/// block; `None` while that day goes on.
///
/// # Errors
/// When the database fails.
pub async fn next_finished(
    store: &Store,
    chain: &ChainId,
    from: Seq,
) -> Result<Option<FinishedDay>, StoreError> {
    let Some(tip) = chain_tip::load(store, chain).await? else {
        return Ok(None);
    };
    let Some(finalized) = tip.finalized else {
        return Ok(None);
    };
    let first = begins_at(store, chain, from, tip.first).await?;
    if finalized <= first {
        return Ok(None);
    }
    let first_block = key::canonical(store, chain, first, first).await?;
    let last_final = key::canonical(store, chain, finalized, finalized).await?;
    let (Some(first_block), Some(last_final)) = (first_block.first(), last_final.first()) else {
        return Err(StoreError::Range("height of a final block"));
    };
    let day = row::timestamp(first_block.block.timestamp)?.date_naive();
    if row::timestamp(last_final.block.timestamp)?.date_naive() <= day {
        return Ok(None);
    }
    let next = first_of_a_later_day(store, chain, (first, finalized), day).await?;
    next.map(|(number, next_seq)| {
        Ok(FinishedDay {
            chain: chain.clone(),
            day,
            first,
            last: number.previous().ok_or(StoreError::Range("block number"))?,
            is_whole: first > tip.first || first == BlockNumber(0),
            from_seq: first_block.seq,
            next_seq,
        })
    })
    .transpose()
}

async fn begins_at(
    store: &Store,
    chain: &ChainId,
    from: Seq,
    first_of_log: BlockNumber,
) -> Result<BlockNumber, StoreError> {
    if from == Seq::BEFORE_FIRST {
        return Ok(first_of_log);
    }
    let number = sqlx::query_scalar!(
        "SELECT block_number FROM block_key WHERE chain_id = $1 AND seq = $2",
        chain.as_str(),
        row::to_i64(from.0, "seq")?,
    )
    .fetch_optional(&store.pool)
    .await?;
    let problem = || "the cursor of reports stands here, and no block begins here".to_owned();
    row::number(number.ok_or_else(|| StoreError::Corrupt { seq: from, problem: problem() })?)
}

/// The lowest canonical block above a height, final ones alone, whose day is a later one.
async fn first_of_a_later_day(
    store: &Store,
    chain: &ChainId,
    (above, finalized): (BlockNumber, BlockNumber),
    day: NaiveDate,
) -> Result<Option<(BlockNumber, Seq)>, StoreError> {
    let end = day.checked_add_days(Days::new(1)).ok_or(StoreError::Range("day"))?;
    let found = sqlx::query!(
        r#"
        SELECT k.block_number, k.seq
        FROM block_key k
        WHERE k.chain_id = $1 AND k.block_number > $2 AND k.block_number <= $3 AND k.occurred_at >= $4
          AND NOT EXISTS (
              SELECT FROM block_key o
              WHERE o.chain_id = k.chain_id AND o.block_number = k.block_number
                AND o.branch_epoch > k.branch_epoch
          )
        ORDER BY k.block_number
        LIMIT 1
        "#,
        chain.as_str(),
        row::to_i64(above.0, "block number")?,
        row::to_i64(finalized.0, "block number")?,
        end.and_time(NaiveTime::MIN).and_utc(),
    )
    .fetch_optional(&store.pool)
    .await?;
    found.map(|found| Ok((row::number(found.block_number)?, row::seq(found.seq)?))).transpose()
}

/// A report for each of some protocols, as known at a position. `Err` with where the read models stand when they
/// have not come so far, as while they are made anew.
///
/// # Errors
/// When the database fails.
pub async fn make(
    store: &Store,
    day: &FinishedDay,
    known_at: Seq,
    protocols: &[ProtocolId],
) -> Result<Result<Vec<DailyReport>, Seq>, StoreError> {
    // One state of the database for position and rows.
    let mut tx = state::begin_comparison(store).await?;
    let at = state::load_in(&mut tx, &day.chain).await?.seq;
    if at < known_at {
        return Ok(Err(at));
    }
    let scope = Scope::new(day, known_at)?;
    let mut events = scope.events(&mut tx).await?;
    let mut anomalies = scope.anomalies(&mut tx).await?;
    let mut scores = scope.scores(&mut tx).await?;
    let reports = protocols.iter().map(|protocol| {
        let scores = scores.remove(protocol.as_str()).unwrap_or_default();
        Ok(DailyReport {
            protocol: protocol.clone(),
            // Without a row there was no event and no anomaly.
            events: events.remove(protocol.as_str()).unwrap_or(0),
            anomalies: anomalies.remove(protocol.as_str()).unwrap_or_default(),
            end: scores
                .iter()
                .rfind(|score| score.to_block > scope.last)
                .map(Score::told)
                .transpose()?,
            lowest: extreme(&scores, std::cmp::Ordering::is_lt)?,
            highest: extreme(&scores, std::cmp::Ordering::is_gt)?,
        })
    });
    reports.collect::<Result<Vec<_>, StoreError>>().map(Ok)
}

/// The rows of a day, as known at a position.
struct Scope<'d> {
    chain: &'d str,
    first: i64,
    last: i64,
    known_at: i64,
}

/// A score, or its absence, over some heights.
struct Score {
    to_block: i64,
    entry_seq: i64,
    score: Option<i16>,
    absent: serde_json::Value,
}

impl Score {
    fn value(&self) -> Result<Option<u8>, StoreError> {
        self.score
            .map(|score| u8::try_from(score).map_err(|_| StoreError::Range("score")))
            .transpose()
    }

    fn told(&self) -> Result<ScoreAt, StoreError> {
        let score = match self.value()? {
            Some(score) => Ok(score),
            None => Err(serde_json::from_value(self.absent.clone())
                .map_err(|_| StoreError::Range("absent"))?),
        };
        Ok(ScoreAt { score, entry: row::seq(self.entry_seq)? })
    }
}

/// The first of the scores that no other beats.
fn extreme(
    scores: &[Score],
    beats: fn(std::cmp::Ordering) -> bool,
) -> Result<Option<(u8, Seq)>, StoreError> {
    let mut best: Option<(u8, Seq)> = None;
    for score in scores {
        if let Some(value) = score.value()?
            && best.is_none_or(|(known, _)| beats(value.cmp(&known)))
        {
            best = Some((value, row::seq(score.entry_seq)?));
        }
    }
    Ok(best)
}

impl<'d> Scope<'d> {
    fn new(day: &'d FinishedDay, known_at: Seq) -> Result<Self, StoreError> {
        Ok(Self {
            chain: day.chain.as_str(),
            first: row::to_i64(day.first.0, "block number")?,
            last: row::to_i64(day.last.0, "block number")?,
            known_at: row::to_i64(known_at.0, "seq")?,
        })
    }

    async fn events(&self, tx: &mut Transaction) -> Result<BTreeMap<String, u64>, StoreError> {
        sqlx::query!(
            r#"
            SELECT protocol, count(*) AS "events!"
            FROM event
            WHERE chain_id = $1 AND from_block BETWEEN $2 AND $3 AND from_seq <= $4 AND to_seq > $4
            GROUP BY protocol
            "#,
            self.chain,
            self.first,
            self.last,
            self.known_at,
        )
        .fetch_all(&mut **tx)
        .await?
        .into_iter()
        .map(|found| Ok((found.protocol, row::total(found.events)?)))
        .collect()
    }

    async fn anomalies(
        &self,
        tx: &mut Transaction,
    ) -> Result<BTreeMap<String, Anomalies>, StoreError> {
        sqlx::query!(
            r#"
            SELECT protocol,
                   count(*) FILTER (WHERE severity = 'info') AS "info!",
                   count(*) FILTER (WHERE severity = 'warning') AS "warning!",
                   count(*) FILTER (WHERE severity = 'critical') AS "critical!"
            FROM anomaly
            WHERE chain_id = $1 AND from_block BETWEEN $2 AND $3 AND from_seq <= $4 AND to_seq > $4
              AND phase <> 'closed'
            GROUP BY protocol
            "#,
            self.chain,
            self.first,
            self.last,
            self.known_at,
        )
        .fetch_all(&mut **tx)
        .await?
        .into_iter()
        .map(|found| {
            let anomalies = Anomalies {
                info: row::total(found.info)?,
                warning: row::total(found.warning)?,
                critical: row::total(found.critical)?,
            };
            Ok((found.protocol, anomalies))
        })
        .collect()
    }

    /// What stood at any block of the day, lowest first.
    async fn scores(
        &self,
        tx: &mut Transaction,
    ) -> Result<BTreeMap<String, Vec<Score>>, StoreError> {
        let found = sqlx::query!(
            r#"
            SELECT protocol, to_block, entry_seq, score, absent
            FROM risk_score
            WHERE chain_id = $1 AND from_block <= $3 AND to_block > $2 AND from_seq <= $4 AND to_seq > $4
            ORDER BY protocol, from_block, from_seq
            "#,
            self.chain,
            self.first,
            self.last,
            self.known_at,
        )
        .fetch_all(&mut **tx)
        .await?;
        let mut scores: BTreeMap<String, Vec<Score>> = BTreeMap::new();
        for found in found {
            let (to_block, entry_seq) = (found.to_block, found.entry_seq);
            let score = Score { to_block, entry_seq, score: found.score, absent: found.absent };
            scores.entry(found.protocol).or_default().push(score);
        }
        Ok(scores)
    }
}

/// Writes the reports of a day, in the transaction that ends their job.
///
/// # Errors
/// When the database fails, or the day was reported before.
pub async fn insert(
    tx: &mut Transaction,
    day: &FinishedDay,
    known_at: Seq,
    reports: &[DailyReport],
) -> Result<(), StoreError> {
    let scope = Scope::new(day, known_at)?;
    for report in reports {
        insert_one(tx, day, &scope, report).await?;
    }
    Ok(())
}

/// Why there is no score where the log never said anything of one.
fn never_said() -> Vec<Absent> {
    let reason = "no_state".to_owned();
    let detail = Some("the log says nothing of a score of this protocol".to_owned());
    vec![Absent { field: "score".to_owned(), reason, detail }]
}

async fn insert_one(
    tx: &mut Transaction,
    day: &FinishedDay,
    scope: &Scope<'_>,
    report: &DailyReport,
) -> Result<(), StoreError> {
    let seq = |seq: Seq| row::to_i64(seq.0, "seq");
    let (score, absent) = match report.end.as_ref().map(|end| &end.score) {
        Some(Ok(score)) => (Some(i16::from(*score)), Vec::new()),
        Some(Err(absent)) => (None, absent.clone()),
        None => (None, never_said()),
    };
    let absent = serde_json::to_value(absent).map_err(|_| StoreError::Range("absent"))?;
    let total = |value: u64| row::to_i64(value, "total");
    sqlx::query!(
        r#"
        INSERT INTO daily_report (
            chain_id, day, protocol, first_block, last_block, is_whole, from_seq, known_at, blocks, events,
            score_end, score_end_seq, score_min, score_min_seq, score_max, score_max_seq,
            anomalies_info, anomalies_warning, anomalies_critical, absent
        ) VALUES (
            $1, $2, $3, $4, $5, $6, $7, $8, $5::bigint - $4::bigint + 1, $9, $10, $11, $12, $13, $14, $15,
            $16, $17, $18, $19
        )
        "#,
        scope.chain,
        day.day,
        report.protocol.as_str(),
        scope.first,
        scope.last,
        day.is_whole,
        seq(day.from_seq)?,
        scope.known_at,
        total(report.events)?,
        score,
        report.end.as_ref().map(|end| seq(end.entry)).transpose()?,
        report.lowest.map(|(score, _)| i16::from(score)),
        report.lowest.map(|(_, entry)| seq(entry)).transpose()?,
        report.highest.map(|(score, _)| i16::from(score)),
        report.highest.map(|(_, entry)| seq(entry)).transpose()?,
        total(report.anomalies.info)?,
        total(report.anomalies.warning)?,
        total(report.anomalies.critical)?,
        absent,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The days of a chain that are reported, oldest first, and of how many protocols.
///
/// # Errors
/// When the database fails.
pub async fn reported(store: &Store, chain: &ChainId) -> Result<Vec<(NaiveDate, u64)>, StoreError> {
    sqlx::query!(
        r#"
        SELECT day, count(*) AS "protocols!" FROM daily_report
        WHERE chain_id = $1 GROUP BY day ORDER BY day
        "#,
        chain.as_str(),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((found.day, row::total(found.protocols)?)))
    .collect()
}
