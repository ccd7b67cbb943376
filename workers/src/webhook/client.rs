//! One attempt at a delivery: a POST with the headers of Standard Webhooks, to an address that was vetted when it was
//! connected to.
//!
//! Nothing is taken from the environment, no redirect is followed, and of the answer a bounded part is read.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, header};
use url::{Host, Url};

use super::address::is_global;
use super::signature::{SigningSecret, signatures};

/// Longest time for one attempt.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read and kept.
const MAX_ANSWER: usize = 1_024;

/// Where a webhook may lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Global addresses over https.
    Global,
    /// Any address, over http too: for development.
    Anywhere,
}

/// Why an address is refused before anything is sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is none.
    #[error("a webhook's URL is `https://host/path`: {0}")]
    Url(String),
    /// It is not https.
    #[error("a webhook's URL begins with https://")]
    Scheme,
    /// It holds a login, which would be shown wherever the URL is.
    #[error("a webhook's URL holds no user or password: what it is signed with tells who sends")]
    Login,
    /// It names an address that is not global.
    #[error("{0} is not a global address")]
    Address(String),
}

/// The URL of an endpoint, checked as far as it can be without a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Checks a URL.
    ///
    /// # Errors
    /// When it is not one that a webhook may have.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|error| EndpointError::Url(error.to_string()))?;
        match (url.scheme(), reach) {
            ("https", _) | ("http", Reach::Anywhere) => {}
            _ => return Err(EndpointError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Login);
        }
        let refused = |address: String| EndpointError::Address(address);
        match url.host() {
            None => return Err(EndpointError::Url("it has no host".into())),
            Some(Host::Ipv4(address)) if reach == Reach::Global && !is_global(address.into()) => {
                return Err(refused(address.to_string()));
            }
            Some(Host::Ipv6(address)) if reach == Reach::Global && !is_global(address.into()) => {
                return Err(refused(address.to_string()));
            }
            Some(_) => {}
        }
        Ok(Self(url))
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// The receiver has it: a status of 200 to 299.
    Delivered(Answer),
    /// The receiver wants nothing more: 410.
    Gone(Answer),
    /// Another status; a redirect is one.
    Refused(Answer),
    /// No answer: what went wrong, without the URL.
    Failed(String),
}

/// The receiver's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The beginning of its body, as text.
    pub beginning: String,
}

/// A message to deliver.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The message's id: the same at each attempt, so that a receiver can tell a repetition.
    pub id: &'a str,
    /// Seconds since 1970 of this attempt.
    pub unix_seconds: i64,
    /// JSON.
    pub body: &'a [u8],
}

/// How a name becomes addresses.
pub type Lookup = Arc<dyn Fn(String) -> Found + Send + Sync>;
/// The addresses of a name, on their way.
pub type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// As the system does it.
#[must_use]
pub fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    })
}

/// Delivers messages.
#[derive(Clone, Debug)]
pub struct Deliverer {
    client: reqwest::Client,
    reach: Reach,
}

impl Deliverer {
    /// A client that connects to vetted addresses only.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(reach: Reach, lookup: Lookup) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .https_only(reach == Reach::Global)
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A connection that is kept was vetted when it was made, and a name may have moved since.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("obsqra/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Vetting { reach, lookup }))
            .build()?;
        Ok(Self { client, reach })
    }

    /// Tries once.
    pub async fn attempt(
        &self,
        endpoint: &Endpoint,
        secrets: &[SigningSecret],
        message: &Outgoing<'_>,
    ) -> Attempt {
        // An endpoint that was stored under other settings is vetted again.
        let endpoint = match Endpoint::parse(endpoint.as_str(), self.reach) {
            Ok(endpoint) => endpoint,
            Err(error) => return Attempt::Failed(error.to_string()),
        };
        let signed = signatures(secrets, message.id, message.unix_seconds, message.body);
        let sent = self
            .client
            .post(endpoint.0)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.unix_seconds)
            .header("webhook-signature", signed)
            .body(message.body.to_vec())
            .send()
            .await;
        match sent {
            Ok(response) => answered(response).await,
            Err(error) => Attempt::Failed(shown(&error.without_url())),
        }
    }
}

async fn answered(mut response: reqwest::Response) -> Attempt {
    let status = response.status();
    let mut beginning = Vec::new();
    // A body that breaks off or does not end says nothing about whether the message arrived.
    while beginning.len() < MAX_ANSWER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        let room = MAX_ANSWER - beginning.len();
        beginning.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or(&[]));
    }
    let beginning = String::from_utf8_lossy(&beginning).into_owned();
    let answer = Answer { status: status.as_u16(), beginning };
    match status {
        StatusCode::GONE => Attempt::Gone(answer),
        status if status.is_success() => Attempt::Delivered(answer),
        _ => Attempt::Refused(answer),
    }
}

/// An error and what is behind it: "error sending request" alone tells nobody anything.
fn shown(error: &dyn std::error::Error) -> String {
    let behind = std::iter::successors(error.source(), |error| (*error).source());
    behind.fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

/// Resolves names at each connection, and leaves out addresses that are not global.
struct Vetting {
    reach: Reach,
    lookup: Lookup,
}

impl Resolve for Vetting {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, found) = (self.reach, (self.lookup)(name.as_str().to_owned()));
        Box::pin(async move {
            let mut found = found.await?;
            found.retain(|address| reach == Reach::Anywhere || is_global(address.ip()));
            if found.is_empty() {
                return Err("the name has no global address".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
