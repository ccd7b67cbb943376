//! Word of new heads from one node: a hint when to look, never what was seen.
//!
//! Where the node tells of new heads over a WebSocket, a task holds a subscription and wakes the
//! follower with each head and each notice of a reorganisation; polling then happens seldom. Where
//! the socket is off, cannot be had, drops, or stays silent although polling found new heads,
//! polling is the whole of it, and the socket is tried again after a wait that doubles. The
//! follower asks for the head itself after every wait, so a head that is wrong, late or of another
//! chain costs it one question. The client library spawns tasks of its own; it runs in a task here
//! because it panics when a node closes the socket before it answers, and must not take the
//! follower along.

use std::time::Duration;

use obsqra_types::{BlockHash, BlockNumber};
use starknet::core::types::ConfirmedBlockId;
use starknet_tokio_tungstenite::{
    ConnectError, NewHeadsSubscription, NewHeadsUpdate, SubscribeError, TungsteniteStream,
    TungsteniteStreamBuilder,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::JsonRpcSource;
use super::address::Address;
use crate::planner::BlockId;

/// Time between two pings, which keep gateways from closing a quiet socket.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How a head is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadWatchOptions {
    /// Time between two looks at the head without a live socket.
    pub poll_interval: Duration,
    /// The same with one.
    pub live_poll_interval: Duration,
    /// How long connecting and subscribing may take, each.
    pub connect_timeout: Duration,
    /// How long a socket may not tell of a head that polling found.
    pub longest_silence: Duration,
    /// Wait before a socket that was lost is tried again; it doubles with each failure that follows.
    pub first_reconnect: Duration,
    /// Longest such wait.
    pub longest_reconnect: Duration,
}

impl Default for HeadWatchOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(500),
            live_poll_interval: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            longest_silence: Duration::from_secs(10),
            first_reconnect: Duration::from_secs(1),
            longest_reconnect: Duration::from_secs(60),
        }
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// The node told of something, or the socket came or went.
    Signal,
    /// It is time to look.
    Time,
}

/// A node's head under watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct HeadWatch {
    options: HeadWatchOptions,
    told: watch::Receiver<Told>,
    polled: watch::Sender<Option<BlockId>>,
    // Aborts the task with the watch; none where the socket is off.
    _task: Option<AbortOnDropHandle<()>>,
}

/// What the socket told so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Told {
    live: bool,
    newest: Option<BlockId>,
    notices: u64,
}

/// The task that holds the socket.
struct Listener {
    address: Address,
    options: HeadWatchOptions,
    told: watch::Sender<Told>,
    polled: watch::Receiver<Option<BlockId>>,
}

/// Why a socket is given up.
#[derive(Debug, thiserror::Error)]
enum SocketError {
    #[error("not connected: {0}")]
    Connect(String),
    #[error("not subscribed: {0}")]
    Subscribe(String),
    #[error("lost: {0}")]
    Lost(String),
    #[error("it does not tell of block {0}, which polling found")]
    Silent(BlockNumber),
}

impl HeadWatch {
    /// Begins to watch a node's head.
    #[must_use]
    pub fn start(source: &JsonRpcSource, options: HeadWatchOptions) -> Self {
        let (tell, told) = watch::channel(Told::default());
        let (polled, polls) = watch::channel(None);
        let task = source.socket().map(|address| {
            let address = address.clone();
            let listener = Listener { address, options, told: tell, polled: polls };
            AbortOnDropHandle::new(tokio::spawn(listener.run()))
        });
        Self { options, told, polled, _task: task }
    }

    /// Waits until the node tells of something, but at most until it is time to look, nor longer than
    /// `at_most`. What was told before this is called ends it at once.
    pub async fn wait(&mut self, at_most: Duration) -> Woken {
        let options = &self.options;
        let look = if self.is_live() { options.live_poll_interval } else { options.poll_interval };
        let changed = async {
            if self.told.changed().await.is_err() {
                // There is no socket and never will be.
                std::future::pending::<()>().await;
            }
        };
        match tokio::time::timeout(at_most.min(look), changed).await {
            Ok(()) => Woken::Signal,
            Err(_) => Woken::Time,
        }
    }

    /// Takes in the head that the follower found, by which a socket that stays silent is known.
    pub fn polled(&self, head: BlockId) {
        self.polled.send_if_modified(|known| known.replace(head) != Some(head));
    }

    /// Whether the node tells of new heads by itself now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.told.borrow().live
    }

    /// The newest head that the socket told of.
    #[must_use]
    pub fn newest(&self) -> Option<BlockId> {
        self.told.borrow().newest
    }
}

impl Listener {
    async fn run(mut self) {
        let mut wait = self.options.first_reconnect;
        loop {
            let before = self.told.borrow().notices;
            let error = match self.subscribe().await {
                Ok((stream, subscription)) => self.listen(stream, subscription).await,
                Err(error) => error,
            };
            let was_live = self.told.borrow().live;
            if was_live {
                tracing::info!(node = self.address.name(), %error, "new heads by polling only");
                self.told.send_modify(|told| told.live = false);
            } else {
                tracing::debug!(node = self.address.name(), %error, "no socket");
            }
            // Only a socket that was of use is tried again soon: one that is silent or not had is not.
            let useful = self.told.borrow().notices > before;
            if useful && !matches!(error, SocketError::Silent(_)) {
                wait = self.options.first_reconnect;
            }
            let part = rand::random_range(0.75..=1.0);
            tokio::time::sleep(wait.mul_f64(part)).await;
            wait = (wait * 2).min(self.options.longest_reconnect);
        }
    }

    async fn subscribe(&self) -> Result<(TungsteniteStream, NewHeadsSubscription), SocketError> {
        let limit = self.options.connect_timeout;
        let url = self.address.url().to_string();
        let connecting = tokio::spawn(async move {
            let builder = TungsteniteStreamBuilder::new().timeout(limit);
            let connected = builder.keepalive_interval(KEEPALIVE).connect(url).await;
            let stream =
                connected.map_err(|error| SocketError::Connect(connecting_failed(&error)))?;
            let asked = stream.subscribe_new_heads(ConfirmedBlockId::Latest);
            match tokio::time::timeout(limit, asked).await {
                Ok(Ok(subscription)) => Ok((stream, subscription)),
                Ok(Err(error)) => Err(SocketError::Subscribe(subscribing_failed(&error))),
                Err(_) => Err(SocketError::Subscribe("no answer in time".to_owned())),
            }
        });
        let outcome = AbortOnDropHandle::new(connecting).await.unwrap_or_else(|_| {
            Err(SocketError::Subscribe("closed before it answered".to_owned()))
        });
        outcome.map_err(|error| self.cleaned(error))
    }

    /// Passes on what is told until the socket is lost or silent.
    async fn listen(
        &mut self,
        stream: TungsteniteStream,
        mut subscription: NewHeadsSubscription,
    ) -> SocketError {
        tracing::info!(node = self.address.name(), "new heads over WebSocket");
        self.told.send_modify(|told| told.live = true);
        // What polling finds above this is what the socket should tell of.
        let mut known = self.polled.borrow_and_update().map(|head| head.number);
        let mut missed: Option<(BlockNumber, Instant)> = None;
        let lost = loop {
            let silent = async {
                match missed {
                    Some((number, since)) => {
                        tokio::time::sleep_until(since + self.options.longest_silence).await;
                        number
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                update = subscription.recv() => match update {
                    Ok(update) => {
                        missed = None;
                        self.tell(&update);
                    }
                    Err(error) => break SocketError::Lost(error.to_string()),
                },
                number = silent => break SocketError::Silent(number),
                changed = self.polled.changed() => {
                    if changed.is_err() {
                        break SocketError::Lost("nobody waits for heads any more".to_owned());
                    }
                    let polled = self.polled.borrow_and_update().map(|head| head.number);
                    let newest = self.told.borrow().newest.map(|head| head.number);
                    if known.is_some() && missed.is_none() && polled > known.max(newest) {
                        missed = polled.map(|number| (number, Instant::now()));
                    }
                    known = known.or(polled);
                }
            }
        };
        drop(stream);
        self.cleaned(lost)
    }

    fn tell(&self, update: &NewHeadsUpdate) {
        let head = match update {
            NewHeadsUpdate::NewHeader(header) => Some(BlockId {
                number: BlockNumber(header.block_number),
                hash: BlockHash(header.block_hash),
            }),
            // The chain's new head follows; what it lost is found out by asking.
            NewHeadsUpdate::Reorg(_) => None,
        };
        self.told.send_modify(|told| {
            told.notices += 1;
            told.newest = head.or(told.newest);
        });
    }

    /// The library's words may repeat the address, which may hold a key.
    fn cleaned(&self, error: SocketError) -> SocketError {
        match error {
            SocketError::Connect(words) => SocketError::Connect(self.address.clean(&words)),
            SocketError::Subscribe(words) => SocketError::Subscribe(self.address.clean(&words)),
            SocketError::Lost(words) => SocketError::Lost(self.address.clean(&words)),
            SocketError::Silent(number) => SocketError::Silent(number),
        }
    }
}

fn connecting_failed(error: &ConnectError) -> String {
    match error {
        ConnectError::Timeout => "no answer in time".to_owned(),
        ConnectError::Transport(error) => error.to_string(),
    }
}

fn subscribing_failed(error: &SubscribeError) -> String {
    match error {
        SubscribeError::UnexpectedError(error) => {
            format!("error {}: {}", error.code, error.message)
        }
        other => other.to_string(),
    }
}
