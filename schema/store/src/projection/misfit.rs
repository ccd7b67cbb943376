//! Watched events that fit no layout: kept as they are, and counted.

use std::collections::BTreeMap;

use obsqra_types::{ChainId, ContractAddress, Felt, ProtocolId};

use crate::{Store, StoreError, row};

/// Standing events of one contract and selector that fit no layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfits {
    /// The protocol that the contract belongs to.
    pub protocol: ProtocolId,
    /// Who emitted them.
    pub contract: ContractAddress,
    /// Their first key; `None` for events without keys.
    pub selector: Option<Felt>,
    /// How many they are.
    pub events: u64,
}

/// How many standing events fit no layout, by protocol; a protocol without any is left out.
///
/// # Errors
/// When the database fails.
pub async fn by_protocol(
    store: &Store,
    chain: &ChainId,
) -> Result<BTreeMap<String, u64>, StoreError> {
    sqlx::query!(
        r#"
        SELECT protocol, count(*) AS "events!"
        FROM event
        WHERE chain_id = $1 AND name IS NULL AND to_seq = 9223372036854775807
        GROUP BY protocol
        "#,
        chain.as_str(),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((found.protocol, row::total(found.events)?)))
    .collect()
}

/// The contracts and selectors with the most standing events that fit no layout, most first, at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn most_frequent(
    store: &Store,
    chain: &ChainId,
    limit: u32,
) -> Result<Vec<Misfits>, StoreError> {
    sqlx::query!(
        r#"
        SELECT protocol, contract, keys[1] AS selector, count(*) AS "events!"
        FROM event
        WHERE chain_id = $1 AND name IS NULL AND to_seq = 9223372036854775807
        GROUP BY protocol, contract, keys[1]
        ORDER BY count(*) DESC, protocol, contract, keys[1]
        LIMIT $2
        "#,
        chain.as_str(),
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| {
        Ok(Misfits {
            protocol: ProtocolId::new(found.protocol)
                .map_err(|_| StoreError::Range("protocol id"))?,
            contract: row::felt(&found.contract).map(ContractAddress)?,
            selector: found.selector.as_deref().map(row::felt).transpose()?,
            events: row::total(found.events)?,
        })
    })
    .collect()
}
