//! The servers of one measurement: as `obsqra run` starts them, with nothing in them, in a folder that goes
//! with them.

use std::path::Path;

use anyhow::{Context, Result};
use obsqra_servers::scratch_dir;
use obsqra_store::{Role, Store, StoreOptions};
use tempfile::TempDir;

use crate::config::Settings;
use crate::instance::Instance;

/// Private servers with the schema in place. Dropping it ends them and removes the folder.
pub(super) struct Stand {
    pub(super) instance: Instance,
    pub(super) settings: Settings,
    folder: TempDir,
}

impl Stand {
    pub(super) async fn start() -> Result<Self> {
        let folder = scratch_dir()?;
        let settings = Settings { data_dir: folder.path().to_owned(), ..Settings::default() };
        let instance = Instance::open_alone(&settings).await?;
        instance.migrate().await?;
        Ok(Self { instance, settings, folder })
    }

    pub(super) fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// A reader that may take as long as it likes.
    pub(super) async fn reader(&self) -> Result<Store> {
        let mut options = StoreOptions::new(Role::Reader);
        options.statement_timeout = None;
        options.idle_in_transaction_timeout = None;
        self.instance.store(options).await
    }

    pub(super) async fn writer(&self) -> Result<Store> {
        self.instance.store_as(Role::Writer).await
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.instance.close().await?;
        self.folder.close().context("cannot remove the folder of the measurement")
    }
}
