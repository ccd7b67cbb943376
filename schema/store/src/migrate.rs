//! Migrations, embedded into the binary.

use crate::{Store, StoreError};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Brings the database to this program's schema. Safe to run again and by several at once: the
/// migrator holds an advisory lock.
///
/// # Errors
/// When a migration fails, or the database was migrated by a newer program.
pub async fn migrate(store: &Store) -> Result<(), StoreError> {
    MIGRATOR.run(&store.pool).await?;
    Ok(())
}
