//! A Starknet node over JSON-RPC. Answers are parsed into the types of the `starknet` crates; the
//! transport is our own, because an answer's size is bounded here, a rate limit may come inside an
//! HTTP 200, and an error must name node and block.

use std::time::Duration;

use obsqra_types::{BlockHash, BlockNumber, ChainId, Felt};
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use starknet::core::types::{
    BlockHashAndNumber, BlockWithReceipts, MaybePreConfirmedBlockWithTxHashes,
};
use url::Url;

use super::block::HeaderExtension;
use super::{SourceBlock, SourceError};
use crate::planner::BlockId;

/// The largest answer read, in bytes. The largest blocks seen are below 10 MB.
const MAX_ANSWER: usize = 64 << 20;
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// JSON-RPC error of the specification: the block is not there.
const BLOCK_NOT_FOUND: i64 = 24;
/// JSON-RPC error of the specification: there are no blocks.
const NO_BLOCKS: i64 = 32;
/// What nodes and gateways answer, inside an HTTP 200, when they limit the rate.
const RATE_LIMIT_CODES: [i64; 3] = [429, -32_005, -32_029];

/// How to reach a node.
#[derive(Clone, Debug)]
pub struct JsonRpcOptions {
    /// Address; it may hold a key in its path or query and is never printed whole.
    pub url: Url,
    /// How long one answer may take.
    pub timeout: Duration,
}

/// A node.
#[derive(Clone, Debug)]
pub struct JsonRpcSource {
    http: reqwest::Client,
    url: Url,
    name: String,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    message: String,
}

impl JsonRpcSource {
    /// Prepares to talk to a node; nothing is sent yet.
    ///
    /// # Errors
    /// When the address is not of HTTP.
    pub fn new(options: JsonRpcOptions) -> Result<Self, SourceError> {
        let host = options.url.host_str().unwrap_or_default();
        if !matches!(options.url.scheme(), "http" | "https") || host.is_empty() {
            return Err(SourceError::Address(format!("{}:…", options.url.scheme())));
        }
        let port = options.url.port().map_or_else(String::new, |port| format!(":{port}"));
        let name = format!("{}://{host}{port}", options.url.scheme());
        let mut builder =
            reqwest::Client::builder().timeout(options.timeout).connect_timeout(CONNECT_TIMEOUT);
        if is_loopback(&options.url) {
            // A proxy of the environment cannot reach this machine's own addresses.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| SourceError::Address(error.to_string()))?;
        Ok(Self { http, url: options.url, name })
    }

    /// The node's address without what may be secret.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The chain the node serves.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn chain_id(&self) -> Result<ChainId, SourceError> {
        let what = "starknet_chainId";
        let felt: Felt = self.call(what, what, json!([])).await?;
        ChainId::from_felt(&felt).map_err(|error| self.unusable(what, &error))
    }

    /// The specification the node answers by, such as `0.10.0`.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn spec_version(&self) -> Result<String, SourceError> {
        let what = "starknet_specVersion";
        self.call(what, what, json!([])).await
    }

    /// The newest block; `None` for a node that has none yet.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn head(&self) -> Result<Option<BlockId>, SourceError> {
        let what = "starknet_blockHashAndNumber";
        let found: Option<BlockHashAndNumber> = self.call_optional(what, what, json!([])).await?;
        found.map(|head| self.block_id(what, head.block_number, head.block_hash)).transpose()
    }

    /// A height beyond 63 bits fits no log, and is an answer that cannot be used.
    fn block_id(&self, what: &str, number: u64, hash: Felt) -> Result<BlockId, SourceError> {
        if i64::try_from(number).is_err() {
            return Err(self.unusable(what, &format!("height {number} is out of range")));
        }
        Ok(BlockId { number: BlockNumber(number), hash: BlockHash(hash) })
    }

    /// The hash at a height; `None` above the node's head.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn hash_at(&self, number: BlockNumber) -> Result<Option<BlockHash>, SourceError> {
        let what = format!("hash of block {number}");
        let id = json!({ "block_number": number.0 });
        match self.header(&what, id).await? {
            Some(found) if found.number != number => {
                Err(self.unusable(&what, &format!("it is block {}", found.number)))
            }
            found => Ok(found.map(|id| id.hash)),
        }
    }

    /// The newest block accepted on L1; `None` when there is none.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn finalized(&self) -> Result<Option<BlockId>, SourceError> {
        self.header("newest block accepted on L1", json!("l1_accepted")).await
    }

    async fn header(&self, what: &str, id: Value) -> Result<Option<BlockId>, SourceError> {
        let found: Option<MaybePreConfirmedBlockWithTxHashes> =
            self.call_optional("starknet_getBlockWithTxHashes", what, json!([id])).await?;
        match found {
            None => Ok(None),
            Some(MaybePreConfirmedBlockWithTxHashes::Block(block)) => {
                self.block_id(what, block.block_number, block.block_hash).map(Some)
            }
            Some(MaybePreConfirmedBlockWithTxHashes::PreConfirmedBlock(_)) => {
                Err(self.unusable(what, &"a pre-confirmed block"))
            }
        }
    }

    /// A whole block.
    ///
    /// # Errors
    /// [`SourceError::NoBlock`] above the node's head; else when the answer is unusable.
    pub async fn block(&self, number: BlockNumber) -> Result<SourceBlock, SourceError> {
        let what = format!("block {number}");
        let params = json!([{ "block_number": number.0 }]);
        let body = self.post("starknet_getBlockWithReceipts", &what, params).await?;
        let result = self
            .result(&what, &body)?
            .ok_or_else(|| SourceError::NoBlock { node: self.name.clone(), number })?;
        let block: BlockWithReceipts =
            serde_json::from_str(result.get()).map_err(|error| self.unusable(&what, &error))?;
        let extension: HeaderExtension =
            serde_json::from_str(result.get()).map_err(|error| self.unusable(&what, &error))?;
        if block.block_number != number.0 {
            let other = format!("it is block {}", block.block_number);
            return Err(self.unusable(&what, &other));
        }
        SourceBlock::assemble(block, extension).map_err(|problem| self.unusable(&what, &problem))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        what: &str,
        params: Value,
    ) -> Result<T, SourceError> {
        self.call_optional(method, what, params)
            .await?
            .ok_or_else(|| self.unusable(what, &"no result"))
    }

    async fn call_optional<T: DeserializeOwned>(
        &self,
        method: &str,
        what: &str,
        params: Value,
    ) -> Result<Option<T>, SourceError> {
        let body = self.post(method, what, params).await?;
        self.result(what, &body)?
            .map(|result| {
                serde_json::from_str(result.get()).map_err(|error| self.unusable(what, &error))
            })
            .transpose()
    }

    fn result<'a>(&self, what: &str, body: &'a [u8]) -> Result<Option<&'a RawValue>, SourceError> {
        let answer: Answer<'a> =
            serde_json::from_slice(body).map_err(|error| self.unusable(what, &error))?;
        match (answer.result, answer.error) {
            (_, Some(error)) if [BLOCK_NOT_FOUND, NO_BLOCKS].contains(&error.code) => Ok(None),
            (_, Some(error)) if RATE_LIMIT_CODES.contains(&error.code) => Err(SourceError::Busy {
                node: self.name.clone(),
                what: what.to_owned(),
                status: error.message,
                retry_after: None,
            }),
            (_, Some(error)) => {
                let problem = format!("error {}: {}", error.code, error.message);
                Err(self.unusable(what, &problem))
            }
            (Some(result), None) => Ok(Some(result)),
            (None, None) => Err(self.unusable(what, &"neither result nor error")),
        }
    }

    async fn post(&self, method: &str, what: &str, params: Value) -> Result<Vec<u8>, SourceError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut response = self
            .http
            .post(self.url.clone())
            .json(&request)
            .send()
            .await
            .map_err(|error| self.unreachable(what, error))?;
        let status = response.status();
        if status.as_u16() == 429 || status.is_server_error() {
            return Err(SourceError::Busy {
                node: self.name.clone(),
                what: what.to_owned(),
                status: format!("HTTP {}", status.as_u16()),
                retry_after: retry_after(&response),
            });
        }
        if !status.is_success() {
            return Err(self.unusable(what, &format!("HTTP {}", status.as_u16())));
        }
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.unreachable(what, error))?
        {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.unusable(what, &format!("longer than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, what: &str, error: reqwest::Error) -> SourceError {
        // The address may hold a key: it is taken out of the error's text.
        let error = error.without_url();
        let mut problem = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            problem = format!("{problem}: {source}");
        }
        SourceError::Unreachable { node: self.name.clone(), what: what.to_owned(), problem }
    }

    fn unusable(&self, what: &str, problem: &dyn std::fmt::Display) -> SourceError {
        SourceError::Unusable {
            node: self.name.clone(),
            what: what.to_owned(),
            problem: problem.to_string(),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `Retry-After` in seconds; the form with a date is not used by nodes and is passed over.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}
