//! What rows of read models cost at the least: out of their tables to files, and by bare binary `COPY` into
//! tables of the same form, with a superuser's rights. For measuring.

use std::path::Path;

use obsqra_types::Seq;
use sqlx::AssertSqlSafe;

use super::state::READ_MODELS;
use crate::{Store, StoreError, row};

/// Where the tables of the same form are.
const SCHEMA: &str = "twin";

/// Empty tables in the form of the read models, indexes included.
#[derive(Debug)]
pub struct Twins(());

impl Twins {
    /// Makes them.
    ///
    /// # Errors
    /// When the database fails, or the store has not an owner's rights.
    pub async fn create(admin: &Store) -> Result<Self, StoreError> {
        let tables = READ_MODELS.map(|table| {
            format!("CREATE TABLE {SCHEMA}.{table} (LIKE public.{table} INCLUDING ALL);")
        });
        let statement = format!("CREATE SCHEMA {SCHEMA}; {}", tables.concat());
        // The names are the constants above: nothing of this text comes from outside.
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&admin.pool).await?;
        Ok(Self(()))
    }

    /// Copies the files of [`out`] in, in one transaction.
    ///
    /// # Errors
    /// When the database refuses them.
    pub async fn copy_in(&self, admin: &Store, folder: &Path) -> Result<(), StoreError> {
        let mut tx = admin.begin().await?;
        for table in READ_MODELS {
            let file = file_of(folder, table);
            let statement = format!("COPY {SCHEMA}.{table} FROM '{file}' (FORMAT binary)");
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Copies the rows that the entries of a range of positions made to a file for each read model; how many there
/// are.
///
/// # Errors
/// When the database fails.
pub async fn out(admin: &Store, folder: &Path, (from, to): (Seq, Seq)) -> Result<u64, StoreError> {
    let (from, to) = (row::to_i64(from.0, "seq")?, row::to_i64(to.0, "seq")?);
    let mut rows = 0;
    for table in READ_MODELS {
        let file = file_of(folder, table);
        let statement = format!(
            "COPY (SELECT * FROM public.{table} WHERE from_seq > {from} AND from_seq <= {to}) \
             TO '{file}' (FORMAT binary)"
        );
        rows += sqlx::raw_sql(AssertSqlSafe(statement)).execute(&admin.pool).await?.rows_affected();
    }
    Ok(rows)
}

/// A file's path, as a statement spells it.
fn file_of(folder: &Path, table: &str) -> String {
    folder.join(table).display().to_string().replace('\'', "''")
}
