//! The connection.

use std::fmt;
use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::connection::State;

use crate::BusError;

/// A secret that is not printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How to connect.
#[derive(Clone)]
pub struct BusOptions {
    /// `nats://host:port`, with `user:password@` before the host where the server asks for a login.
    pub url: String,
    /// The server's token, where it asks for one.
    pub token: Option<Secret>,
    /// What the server's monitoring shows.
    pub name: String,
}

/// A connection to NATS, which restores itself.
#[derive(Clone, Debug)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: async_nats::jetstream::Context,
}

/// How long the server may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

impl Bus {
    /// Connects. A server that is not there yet is an error here; one that goes away later is connected
    /// to again by itself.
    ///
    /// # Errors
    /// When the server does not answer or refuses the login.
    pub async fn connect(options: BusOptions) -> Result<Self, BusError> {
        let mut connect = async_nats::ConnectOptions::new()
            .name(options.name)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .connection_timeout(Duration::from_secs(5))
            .ping_interval(Duration::from_secs(5));
        let address: ServerAddr = options.url.parse().map_err(|_| {
            BusError::Connect("the address is none: expected nats://host:port".into())
        })?;
        if let Some(token) = options.token {
            connect = connect.token(token.0);
        } else if let (Some(user), Some(password)) = (address.username(), address.password()) {
            connect = connect.user_and_password(user.to_owned(), password.to_owned());
        }
        let client =
            connect.connect(address).await.map_err(|error| BusError::Connect(error.to_string()))?;
        let jetstream = async_nats::jetstream::new(client.clone());
        Ok(Self { client, jetstream })
    }

    /// Whether the connection stands now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Sends what is buffered and closes.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub async fn close(&self) -> Result<(), BusError> {
        self.client.drain().await.map_err(|error| BusError::Connect(error.to_string()))
    }
}
