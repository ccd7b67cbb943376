//! A NATS server of one test.

use obsqra_bus::{Bus, BusOptions, Secret};
use obsqra_servers::{Durability, NatsOptions, PrivateNats, scratch_dir};
use tempfile::TempDir;

/// A server with JetStream, on a free port and a folder of its own; both go with it.
#[derive(Debug)]
pub struct TestNats {
    server: PrivateNats,
    _folder: TempDir,
}

impl TestNats {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start: a test without its server has failed.
    pub async fn start() -> Self {
        let folder = scratch_dir().expect("a folder for NATS");
        let options = NatsOptions::new(folder.path(), Durability::Throwaway);
        let server = PrivateNats::start(options).await.expect("nats-server starts");
        Self { server, _folder: folder }
    }

    /// The server, to be killed and started again.
    pub fn server(&mut self) -> &mut PrivateNats {
        &mut self.server
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Its token.
    #[must_use]
    pub fn token(&self) -> String {
        self.server.token().expose().to_owned()
    }

    /// Connects.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn bus(&self) -> Bus {
        let options = BusOptions {
            url: self.url(),
            token: Some(Secret::new(self.token())),
            name: "test".into(),
        };
        Bus::connect(options).await.expect("NATS answers")
    }
}
