//! Connections, each under the role it needs and no more.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::{StoreError, Transaction};

/// The group role a connection works under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The login's own rights: migrations, nothing else.
    Admin,
    /// Appends to the log, writes progress and read models.
    Writer,
    /// Reads.
    Reader,
}

impl Role {
    fn set_role(self) -> Option<&'static str> {
        match self {
            Self::Admin => None,
            Self::Writer => Some("SET ROLE obsqra_writer"),
            Self::Reader => Some("SET ROLE obsqra_reader"),
        }
    }
}

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Role of every connection.
    pub role: Role,
    /// Most connections held at once.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// Longest time a statement may take; `None` for work without a bound, such as verification.
    pub statement_timeout: Option<Duration>,
    /// Longest time a transaction may stand idle: a process that is stopped inside one would keep the
    /// head lock. `None` for verification, which folds between its statements.
    pub idle_in_transaction_timeout: Option<Duration>,
}

/// Most connections of a pool.
const MAX_CONNECTIONS: u32 = 8;
/// Longest wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest statement of a reader.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time a transaction stands idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

impl StoreOptions {
    /// The usual limits for a role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            max_connections: MAX_CONNECTIONS,
            acquire_timeout: ACQUIRE_TIMEOUT,
            statement_timeout: match role {
                Role::Reader => Some(READ_TIMEOUT),
                Role::Admin | Role::Writer => None,
            },
            idle_in_transaction_timeout: Some(IDLE_TIMEOUT),
        }
    }
}

/// A pool of connections under one role.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    options: StoreOptions,
}

/// Most connections of a pool that writes tables beside the live ones: one writes, one reads ahead.
const BESIDE_CONNECTIONS: u32 = 4;
/// What a connection says first so that names mean the tables beside.
const SEE_BESIDE: &str = "SET search_path TO rebuild, public";

impl Store {
    /// Connects, and checks that the database answers.
    ///
    /// # Errors
    /// When the URL cannot be read or the database does not answer. The error does not hold the URL.
    pub async fn connect(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let mut connect: PgConnectOptions = url.parse()?;
        connect = connect.application_name("obsqra");
        if let Some(limit) = options.statement_timeout {
            connect = connect.options([("statement_timeout", limit.as_millis().to_string())]);
        }
        if let Some(limit) = options.idle_in_transaction_timeout {
            let limit = limit.as_millis().to_string();
            connect = connect.options([("idle_in_transaction_session_timeout", limit)]);
        }
        let first = [options.role.set_role(), None];
        let pool = pool_options(options, first).connect_with(connect).await?;
        Ok(Self { pool, options })
    }

    /// The same database with the tables of a rebuild in the place of the read models: every statement on one of
    /// these means the one beside. Nothing is connected yet.
    #[must_use]
    pub(crate) fn beside(&self) -> Self {
        let options = StoreOptions { max_connections: BESIDE_CONNECTIONS, ..self.options };
        let connect = PgConnectOptions::clone(&self.pool.connect_options());
        let first = [options.role.set_role(), Some(SEE_BESIDE)];
        Self { pool: pool_options(options, first).connect_lazy_with(connect), options }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        Ok(self.pool.begin().await?)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A pool whose connections say something first.
fn pool_options(options: StoreOptions, first: [Option<&'static str>; 2]) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for statement in first.into_iter().flatten() {
                    sqlx::raw_sql(statement).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
}
