//! A Starknet node over JSON-RPC.
//!
//! Which edition of the specification it speaks is asked once a session, in
//! [`JsonRpcSource::open`]; what differs between editions is decided by that alone, never by how an
//! answer happens to look. Blocks are parsed into lean types of our own ([`body`]), requests are
//! built from the types of the `starknet` crates. A pre-confirmed block is never given out.

pub(super) mod body;
pub(super) mod felt;
mod finality;
mod range;
mod transport;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use obsqra_types::{BlockHash, BlockNumber, ChainId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use self::body::BlockBody;
use self::felt::HexFelt;
use self::finality::FinalitySearch;
use self::transport::{Said, Transport};
use super::address::{Address, Socket};
use super::{SourceBlock, SourceError, Spec};
use crate::pipeline::stage;
use crate::planner::BlockId;

/// JSON-RPC error of the specification: the block is not there.
const BLOCK_NOT_FOUND: i64 = 24;
/// JSON-RPC error of the specification: there are no blocks.
const NO_BLOCKS: i64 = 32;
/// A block's status once it can no longer be reverted.
const ACCEPTED_ON_L1: &str = "ACCEPTED_ON_L1";

/// How to reach a node.
#[derive(Clone, Debug)]
pub struct JsonRpcOptions {
    /// Address; it may hold a key in its path or query and is never printed whole.
    pub url: Url,
    /// How long one answer may take, from connecting to its last byte.
    pub timeout: Duration,
}

/// A node.
#[derive(Clone, Debug)]
pub struct JsonRpcSource {
    transport: Transport,
    socket: Option<Address>,
    // Shared by all clones: what one session learned holds for everything that asks in it.
    spec: Arc<Mutex<Option<Spec>>>,
}

/// What a node says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The chain it serves.
    pub chain: ChainId,
    /// The edition of the specification that it answers by.
    pub spec: Spec,
}

/// A block without its transactions. A pre-confirmed one has no hash.
#[derive(Debug, Deserialize)]
struct HeaderBody {
    block_hash: Option<HexFelt>,
    block_number: Option<u64>,
    status: Option<String>,
}

#[derive(Debug, Deserialize)]
struct HeadBody {
    block_hash: HexFelt,
    block_number: u64,
}

struct Header {
    id: BlockId,
    accepted_on_l1: bool,
}

impl JsonRpcSource {
    /// Prepares to talk to a node; nothing is sent yet. New heads are told at the same address, see
    /// [`Self::with_socket`].
    ///
    /// # Errors
    /// When the address is not of HTTP.
    pub fn new(options: JsonRpcOptions) -> Result<Self, SourceError> {
        let transport = Transport::new(options)?;
        let socket = transport.address().socket(&Socket::Derived)?;
        Ok(Self { transport, socket, spec: Arc::default() })
    }

    /// The same node with another place for new heads.
    ///
    /// # Errors
    /// When the address is not of a WebSocket.
    pub fn with_socket(self, socket: &Socket) -> Result<Self, SourceError> {
        let socket = self.transport.address().socket(socket)?;
        Ok(Self { socket, ..self })
    }

    /// The node's address without what may be secret.
    #[must_use]
    pub fn name(&self) -> &str {
        self.transport.address().name()
    }

    /// Where the node tells of new heads; `None` where that is off.
    pub(super) fn socket(&self) -> Option<&Address> {
        self.socket.as_ref()
    }

    /// Asks the node for its chain and its edition of the specification, which holds for what is asked
    /// from then on.
    ///
    /// # Errors
    /// [`SourceError::UnknownSpec`] for an edition that is not understood; else when an answer is
    /// unusable.
    pub async fn open(&self) -> Result<Identity, SourceError> {
        let spec = self.ask_spec().await?;
        let chain = self.chain_id().await?;
        Ok(Identity { chain, spec })
    }

    /// The chain the node serves.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn chain_id(&self) -> Result<ChainId, SourceError> {
        let what = "starknet_chainId";
        let HexFelt(felt) = self.call(what, what, json!([])).await?;
        ChainId::from_felt(&felt).map_err(|error| self.unusable(what, &error))
    }

    /// The edition of the specification that the node answers by; asked for when that was not
    /// learned yet.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn spec(&self) -> Result<Spec, SourceError> {
        match self.known_spec() {
            Some(spec) => Ok(spec),
            None => self.ask_spec().await,
        }
    }

    /// The edition that was learned last.
    #[must_use]
    pub fn known_spec(&self) -> Option<Spec> {
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_spec(&self) -> Result<Spec, SourceError> {
        let what = "starknet_specVersion";
        let version: String = self.call(what, what, json!([])).await?;
        let spec = Spec::parse(&version);
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = spec;
        spec.ok_or_else(|| SourceError::UnknownSpec {
            node: self.name().to_owned(),
            found: self.transport.address().clean(&version),
            known: Spec::known(),
        })
    }

    /// The newest block; `None` for a node that has none yet.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn head(&self) -> Result<Option<BlockId>, SourceError> {
        let what = "starknet_blockHashAndNumber";
        let found: Option<HeadBody> = self.call_optional(what, what, json!([])).await?;
        found.map(|head| self.block_id(what, head.block_number, head.block_hash)).transpose()
    }

    /// A height beyond 63 bits fits no log, and is an answer that cannot be used.
    fn block_id(&self, what: &str, number: u64, hash: HexFelt) -> Result<BlockId, SourceError> {
        if i64::try_from(number).is_err() {
            return Err(self.unusable(what, &format!("height {number} is out of range")));
        }
        Ok(BlockId { number: BlockNumber(number), hash: BlockHash(hash.0) })
    }

    /// The hash at a height; `None` above the node's head.
    ///
    /// # Errors
    /// When the answer is unusable.
    pub async fn hash_at(&self, number: BlockNumber) -> Result<Option<BlockHash>, SourceError> {
        Ok(self.header_at(number).await?.map(|header| header.id.hash))
    }

    /// The newest block accepted on L1 above `known`; `None` when there is none. Where the
    /// specification has no tag for it, blocks up to `head` are searched by their status, at most
    /// 64 of them, and what is found may be followed by more.
    ///
    /// # Errors
    /// When an answer is unusable.
    pub async fn finalized(
        &self,
        known: Option<BlockNumber>,
        head: BlockNumber,
    ) -> Result<Option<BlockId>, SourceError> {
        let found = if self.spec().await?.has_l1_accepted_tag() {
            let tagged = self.header("newest block accepted on L1", json!("l1_accepted")).await?;
            tagged.map(|header| header.id)
        } else {
            self.search_finalized(known, head).await?
        };
        Ok(found.filter(|found| known.is_none_or(|known| found.number > known)))
    }

    async fn search_finalized(
        &self,
        known: Option<BlockNumber>,
        head: BlockNumber,
    ) -> Result<Option<BlockId>, SourceError> {
        let mut search = FinalitySearch::new(known, head);
        let mut newest = None;
        while let Some(height) = search.next() {
            let header = self.header_at(height).await?.filter(|header| header.accepted_on_l1);
            search.learn(height, header.is_some());
            newest = header.map(|header| header.id).or(newest);
        }
        Ok(newest)
    }

    async fn header_at(&self, number: BlockNumber) -> Result<Option<Header>, SourceError> {
        let what = format!("hash of block {number}");
        match self.header(&what, json!({ "block_number": number.0 })).await? {
            Some(found) if found.id.number != number => {
                Err(self.unusable(&what, &format!("it is block {}", found.id.number)))
            }
            found => Ok(found),
        }
    }

    async fn header(&self, what: &str, id: Value) -> Result<Option<Header>, SourceError> {
        let found: Option<HeaderBody> =
            self.call_optional("starknet_getBlockWithTxHashes", what, json!([id])).await?;
        let Some(body) = found else {
            return Ok(None);
        };
        let (Some(hash), Some(number)) = (body.block_hash, body.block_number) else {
            return Err(self.unusable(what, &"a pre-confirmed block"));
        };
        let accepted_on_l1 = body.status.as_deref() == Some(ACCEPTED_ON_L1);
        Ok(Some(Header { id: self.block_id(what, number, hash)?, accepted_on_l1 }))
    }

    /// A whole block.
    ///
    /// # Errors
    /// [`SourceError::NoBlock`] above the node's head; else when the answer is unusable.
    pub async fn block(&self, number: BlockNumber) -> Result<SourceBlock, SourceError> {
        self.block_with(number, |block, _| block).await
    }

    /// What comes of a whole block and the answer that it came in. Both reading the answer and `take` may
    /// take long, and have a thread of their own.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub async fn block_with<T: Send + 'static>(
        &self,
        number: BlockNumber,
        take: impl FnOnce(SourceBlock, Vec<u8>) -> T + Send + 'static,
    ) -> Result<T, SourceError> {
        let what = format!("block {number}");
        let params = json!([{ "block_number": number.0 }]);
        let begun = Instant::now();
        let reply = self.transport.post("starknet_getBlockWithReceipts", &what, params).await?;
        stage("fetch", begun);
        let source = self.clone();
        let read = move || {
            let begun = Instant::now();
            let body: BlockBody = source
                .found(&what, source.transport.said(&what, &reply)?)?
                .ok_or_else(|| SourceError::NoBlock { node: source.name().to_owned(), number })?;
            if let Some(other) = body.block_number.filter(|other| *other != number.0) {
                return Err(source.unusable(&what, &format!("it is block {other}")));
            }
            let block = body.assemble().map_err(|problem| source.unusable(&what, &problem))?;
            stage("read", begun);
            Ok(take(block, reply.body))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(failure) => Err(self.unusable(&format!("block {number}"), &failure)),
        }
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

    /// `None` for a block that is not there.
    async fn call_optional<T: DeserializeOwned>(
        &self,
        method: &str,
        what: &str,
        params: Value,
    ) -> Result<Option<T>, SourceError> {
        self.found(what, self.transport.ask(method, what, params).await?)
    }

    /// `None` for a block that is not there.
    fn found<T>(&self, what: &str, said: Said<T>) -> Result<Option<T>, SourceError> {
        match said {
            Said::Result(result) => Ok(Some(result)),
            Said::Error(error) if [BLOCK_NOT_FOUND, NO_BLOCKS].contains(&error.code) => Ok(None),
            Said::Error(error) => Err(self.unusable(what, &error)),
        }
    }

    fn unusable(&self, what: &str, problem: &dyn std::fmt::Display) -> SourceError {
        self.transport.unusable(what, problem)
    }
}
