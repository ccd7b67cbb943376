//! The Apibara DNA stream of the node's chain: the same blocks as over JSON-RPC, pushed over gRPC.
//!
//! It behaves as a real server does: the starting cursor is exclusive, a chain that changes is told by
//! `invalidate`, a cursor that was replaced is led back first, and final blocks carry cursors without a
//! hash. It serves headers and events; a filter for anything else is refused, not ignored. Nothing is
//! queued: a message is made when the client has room for it, so a slow client costs no memory.

mod encode;
mod faults;
mod feed;
mod filter;
mod line;
mod service;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apibara_dna_protocol::dna::stream::dna_stream_server::DnaStreamServer;
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server as GrpcServer;

pub use faults::{DnaFault, DnaFaults};

use crate::chain::ledger::Head;
use crate::node::DevNodeError;
use crate::rpc::Server;
use line::Line;
use service::Service;

/// Shortest heartbeat of a real server.
const MIN_HEARTBEAT: Duration = Duration::from_secs(10);

/// How the stream is served.
#[derive(Clone, PartialEq, Eq)]
pub struct DnaSettings {
    /// The bearer token that clients must send; `None` lets everybody in.
    pub token: Option<String>,
    /// Shortest heartbeat that a client may ask for. Real servers have 10 s; tests do not wait that long.
    pub min_heartbeat: Duration,
}

impl Default for DnaSettings {
    fn default() -> Self {
        Self { token: None, min_heartbeat: MIN_HEARTBEAT }
    }
}

impl fmt::Debug for DnaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnaSettings")
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("min_heartbeat", &self.min_heartbeat)
            .finish()
    }
}

/// What the stream shows and how.
pub(crate) struct Serving {
    pub(crate) server: Arc<Server>,
    pub(crate) heads: watch::Receiver<Option<Head>>,
    pub(crate) faults: Arc<DnaFaults>,
    pub(crate) settings: DnaSettings,
}

/// Binds the address and serves until the node stops; where, and the task that does it.
pub(crate) async fn serve(
    listen: SocketAddr,
    serving: Serving,
) -> Result<(SocketAddr, JoinHandle<()>), DevNodeError> {
    let refused = |source| DevNodeError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let stop = serving.server.stop.clone();
    let lines = TcpListenerStream::new(listener).map(|accepted| accepted.map(Line::new));
    let served = GrpcServer::builder()
        .add_service(DnaStreamServer::new(Service::new(serving)))
        .serve_with_incoming_shutdown(lines, stop.cancelled_owned());
    let task = tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "the development node no longer streams");
        }
    });
    Ok((address, task))
}
