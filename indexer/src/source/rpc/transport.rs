//! One question to a node and its answer: HTTP, JSON-RPC's envelope, and everything that can be
//! wrong with either.
//!
//! The transport is our own, because an answer's size is bounded here, a rate limit may come inside
//! an HTTP 200, and an error must name node, question and member without repeating the address. The
//! time limit holds for a whole answer, from connecting to its last byte, so that a node that sends
//! a byte now and then is given up like one that is silent. An answer is read whole, then parsed
//! once; where that fails it is parsed again only to say which member it was.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::source::address::Address;
use crate::source::{JsonRpcOptions, SourceError};

/// The largest answer read, in bytes. The largest blocks seen are below 10 MB. What is parsed from
/// an answer takes at most some ten times its size, and only while the block is under way.
const MAX_ANSWER: usize = 64 << 20;
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What nodes and gateways answer, inside an HTTP 200, when they limit the rate.
const RATE_LIMIT_CODES: [i64; 3] = [429, -32_005, -32_029];
/// The same in words, under any code, in lower case.
const RATE_LIMIT_WORDS: [&str; 3] = ["too many requests", "rate limit", "rate-limit"];

/// A way to one node.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    address: Address,
    timeout: Duration,
}

/// What the node said to a question.
pub(super) enum Said<T> {
    /// This.
    Result(T),
    /// An error of the specification, by its code.
    Error(RpcError),
}

/// The envelope of an answer.
#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) result: Option<T>,
    error: Option<RpcError>,
}

/// An error as JSON-RPC has it.
#[derive(Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
}

/// An answer as it came.
pub(super) struct Reply {
    pub(super) body: Vec<u8>,
    retry_after: Option<Duration>,
}

impl Transport {
    pub(super) fn new(options: JsonRpcOptions) -> Result<Self, SourceError> {
        let JsonRpcOptions { url, timeout } = options;
        let address = Address::http(url)?;
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirected question would become another one, or go to a host that nobody chose.
            .redirect(reqwest::redirect::Policy::none());
        if address.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| SourceError::Address(format!("{}: {error}", address.name())))?;
        Ok(Self { http, address, timeout })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks; `what` names the question in errors.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        what: &str,
        params: Value,
    ) -> Result<Said<T>, SourceError> {
        let reply = self.post(method, what, params).await?;
        self.said(what, &reply)
    }

    /// What an answer says.
    pub(super) fn said<T: DeserializeOwned>(
        &self,
        what: &str,
        reply: &Reply,
    ) -> Result<Said<T>, SourceError> {
        let answer = read::<T>(&reply.body).map_err(|problem| self.unusable(what, &problem))?;
        match answer {
            Answer { error: Some(error), .. } if error.is_rate_limit() => Err(SourceError::Busy {
                node: self.address.name().to_owned(),
                what: what.to_owned(),
                status: self.address.clean(&error.to_string()),
                retry_after: reply.retry_after,
            }),
            Answer { error: Some(error), .. } => Ok(Said::Error(error)),
            Answer { result: Some(result), error: None } => Ok(Said::Result(result)),
            Answer { result: None, error: None } => {
                Err(self.unusable(what, &"neither result nor error"))
            }
        }
    }

    /// Asks, and leaves the answer unread.
    pub(super) async fn post(
        &self,
        method: &str,
        what: &str,
        params: Value,
    ) -> Result<Reply, SourceError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self.http.post(self.address.url().clone()).json(&request).send().await;
        let mut response = sent.map_err(|error| self.unreachable(what, error))?;
        self.check_status(what, &response)?;
        let retry_after = retry_after(&response);
        let too_long = || self.unusable(what, &format!("longer than {MAX_ANSWER} bytes"));
        let promised = response.content_length().unwrap_or_default();
        if usize::try_from(promised).map_or(true, |promised| promised > MAX_ANSWER) {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.unreachable(what, error))?
        {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { body, retry_after })
    }

    fn check_status(&self, what: &str, response: &reqwest::Response) -> Result<(), SourceError> {
        let status = response.status();
        let code = status.as_u16();
        if code == 429 || status.is_server_error() {
            return Err(SourceError::Busy {
                node: self.address.name().to_owned(),
                what: what.to_owned(),
                status: format!("HTTP {code}"),
                retry_after: retry_after(response),
            });
        }
        let help = match code {
            200..=299 => return Ok(()),
            300..=399 => ": it redirects; set the address that it redirects to",
            401 | 403 => ": it wants a key, or another one than the address has",
            404 | 405 => ": nothing answers JSON-RPC at this path",
            _ => "",
        };
        Err(self.unusable(what, &format!("HTTP {code}{help}")))
    }

    fn unreachable(&self, what: &str, error: reqwest::Error) -> SourceError {
        let timed_out = error.is_timeout() && !error.is_connect();
        let problem = if timed_out {
            format!("no whole answer within {} ms", self.timeout.as_millis())
        } else {
            // The address may hold a key: it is taken out of the error's text.
            causes(&error.without_url())
        };
        SourceError::Unreachable {
            node: self.address.name().to_owned(),
            what: what.to_owned(),
            problem: self.address.clean(&problem),
        }
    }

    /// An error about an answer, in words that may be the node's.
    pub(super) fn unusable(&self, what: &str, problem: &dyn std::fmt::Display) -> SourceError {
        SourceError::Unusable {
            node: self.address.name().to_owned(),
            what: what.to_owned(),
            problem: self.address.clean(&problem.to_string()),
        }
    }
}

impl RpcError {
    fn is_rate_limit(&self) -> bool {
        let message = self.message.to_lowercase();
        RATE_LIMIT_CODES.contains(&self.code)
            || RATE_LIMIT_WORDS.iter().any(|words| message.contains(words))
    }
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error {}: {}", self.code, self.message)
    }
}

/// Reads an answer, or says what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Answer<T>, String> {
    serde_json::from_slice(body).map_err(|error| complaint::<T>(body, &error))
}

/// What is wrong with an answer, by the member it is wrong in.
fn complaint<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> String {
    if body.iter().all(u8::is_ascii_whitespace) {
        return "an empty answer".to_owned();
    }
    let mut answer = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, Answer<T>>(&mut answer) {
        Err(error) if error.inner().is_data() => format!("{}: {}", error.path(), error.inner()),
        // No JSON at all, or something behind it.
        Ok(_) | Err(_) => error.to_string(),
    }
}

/// An error with what caused it, from the outside in, nothing twice.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// `Retry-After` in seconds; the form with a date is not used by nodes and is passed over.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
