//! The servers an instance works with: the ones that are set, or private ones under its data directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use obsqra_bus::{Bus, BusOptions, Secret};
use obsqra_servers::{
    Durability, NatsOptions, PostgresOptions, PrivateNats, PrivatePostgres, ServerError,
};
use obsqra_store::{Role, Store, StoreOptions};
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::secret_file;

/// Addresses and secrets, as the process that runs the private servers leaves them for others.
#[derive(Clone, Serialize, Deserialize)]
struct Addresses {
    admin_database_url: String,
    writer_database_url: String,
    reader_database_url: String,
    nats_url: String,
    nats_token: Option<String>,
}

/// An instance's servers.
pub(crate) struct Instance {
    addresses: Addresses,
    idle_in_transaction: Duration,
    postgres: Option<PrivatePostgres>,
    nats: Option<PrivateNats>,
}

impl Instance {
    /// Uses the servers that are set; else those that another process of this data directory runs; else
    /// starts them.
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        match (&settings.database_url, &settings.nats_url) {
            (Some(database), Some(nats)) => Ok(Self::external(settings, database, nats)),
            (None, None) => Self::private(settings).await,
            (Some(_), None) => {
                bail!("OBSQRA_DATABASE_URL is set and OBSQRA_NATS_URL is not: set both or neither")
            }
            (None, Some(_)) => {
                bail!("OBSQRA_NATS_URL is set and OBSQRA_DATABASE_URL is not: set both or neither")
            }
        }
    }

    /// As [`Instance::open`], for a command that needs no message bus.
    pub(crate) async fn open_database(settings: &Settings) -> Result<Self> {
        match (&settings.database_url, &settings.nats_url) {
            (Some(database), None) => Ok(Self::external(settings, database, "")),
            _ => Self::open(settings).await,
        }
    }

    /// As [`Self::open`], for what is to run once on a data directory: servers that another process of it
    /// runs are refused.
    pub(crate) async fn open_alone(settings: &Settings) -> Result<Self> {
        let instance = Self::open(settings).await?;
        if settings.database_url.is_none() && instance.postgres.is_none() {
            let data_dir = settings.data_dir.clone();
            return Err(ServerError::AlreadyRunning { data_dir }.into());
        }
        Ok(instance)
    }

    fn external(settings: &Settings, database: &str, nats: &str) -> Self {
        let or_writer = |url: &Option<String>| url.clone().unwrap_or_else(|| database.to_owned());
        Self {
            addresses: Addresses {
                admin_database_url: or_writer(&settings.admin_database_url),
                writer_database_url: database.to_owned(),
                reader_database_url: or_writer(&settings.reader_database_url),
                nats_url: nats.to_owned(),
                nats_token: settings.nats_token.clone(),
            },
            idle_in_transaction: idle_in_transaction(settings),
            postgres: None,
            nats: None,
        }
    }

    async fn private(settings: &Settings) -> Result<Self> {
        let idle_in_transaction = idle_in_transaction(settings);
        let data_dir = std::path::absolute(&settings.data_dir)
            .with_context(|| format!("data directory {}", settings.data_dir.display()))?;
        let postgres = PrivatePostgres::start(PostgresOptions::new(&data_dir, Durability::Full));
        let postgres = match postgres.await {
            Ok(postgres) => postgres,
            Err(ServerError::AlreadyRunning { .. }) => {
                let addresses = of_other_process(&data_dir)?;
                return Ok(Self { addresses, idle_in_transaction, postgres: None, nats: None });
            }
            Err(error) => return Err(error.into()),
        };
        let nats = PrivateNats::start(NatsOptions::new(&data_dir, Durability::Full)).await?;
        let urls = postgres.urls();
        let addresses = Addresses {
            admin_database_url: urls.admin.expose(),
            writer_database_url: urls.writer.expose(),
            reader_database_url: urls.reader.expose(),
            nats_url: nats.url(),
            nats_token: Some(nats.token().expose().to_owned()),
        };
        secret_file::write(&addresses_file(&data_dir), &toml::to_string(&addresses)?)?;
        Ok(Self { addresses, idle_in_transaction, postgres: Some(postgres), nats: Some(nats) })
    }

    /// Connects to the database under a role. The time that a transaction may stand idle is the one that is
    /// set, where the options have one at all.
    pub(crate) async fn store(&self, mut options: StoreOptions) -> Result<Store> {
        let idle = &mut options.idle_in_transaction_timeout;
        *idle = idle.map(|_| self.idle_in_transaction);
        let url = match options.role {
            Role::Admin => &self.addresses.admin_database_url,
            Role::Writer => &self.addresses.writer_database_url,
            Role::Reader => &self.addresses.reader_database_url,
        };
        Store::connect(url, options).await.context("cannot connect to the database")
    }

    /// Connects to the database under a role, with the usual limits.
    pub(crate) async fn store_as(&self, role: Role) -> Result<Store> {
        self.store(StoreOptions::new(role)).await
    }

    /// Brings the database to this program's schema.
    pub(crate) async fn migrate(&self) -> Result<()> {
        let store = self.store_as(Role::Admin).await?;
        obsqra_store::migrate(&store).await.context("cannot migrate the database")?;
        store.close().await;
        Ok(())
    }

    /// Connects to NATS.
    pub(crate) async fn bus(&self, name: &str) -> Result<Bus> {
        let options = BusOptions {
            url: self.addresses.nats_url.clone(),
            token: self.addresses.nats_token.clone().map(Secret::new),
            name: format!("obsqra {name}"),
        };
        Bus::connect(options).await.context("cannot connect to the message bus")
    }

    /// Stops the servers that this process started.
    pub(crate) async fn close(self) -> Result<()> {
        if let Some(nats) = self.nats {
            nats.stop().await?;
        }
        if let Some(postgres) = self.postgres {
            postgres.stop().await?;
        }
        Ok(())
    }
}

fn of_other_process(data_dir: &Path) -> Result<Addresses> {
    let file = addresses_file(data_dir);
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("another process is starting the servers of {}: try again", data_dir.display())
    })?;
    toml::from_str(&text).with_context(|| format!("cannot read {}", file.display()))
}

fn idle_in_transaction(settings: &Settings) -> Duration {
    Duration::from_millis(settings.idle_in_transaction_ms)
}

fn addresses_file(data_dir: &Path) -> PathBuf {
    data_dir.join("secrets").join("instance.toml")
}
