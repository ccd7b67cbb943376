//! A node's address: open, closed for a while, open again.
//!
//! While it is closed a client is refused, and the chain goes on. The address stays the same: the port that
//! was free at the start is bound again.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::node::{DevNode, DevNodeError, end_task};
use crate::rpc::{Endpoint, ResetMark, Server, Wires, router};

/// A listener and where it listens.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds an address; port 0 takes a free one.
pub(crate) async fn bind(listen: SocketAddr) -> Result<Bound, DevNodeError> {
    let refused = |source| DevNodeError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok(Bound { listener, address })
}

/// The open or closed address of a node.
#[derive(Debug)]
pub(crate) struct Serving {
    server: Arc<Server>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    open: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(listener: TcpListener, server: Arc<Server>) -> Self {
        let open = server.stop.child_token();
        let endpoint = Endpoint { server, open: open.clone() };
        Self { task: tokio::spawn(serve(listener, endpoint)), open }
    }
}

impl Serving {
    pub(crate) fn start(bound: Bound, server: Arc<Server>) -> Self {
        let running = Running::start(bound.listener, Arc::clone(&server));
        Self { server, address: bound.address, running: Mutex::new(Some(running)) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and frees the port; running answers get five seconds.
    pub(crate) async fn close(&self) {
        if let Some(running) = self.running.lock().await.take() {
            running.open.cancel();
            end_task(running.task).await;
        }
    }

    async fn open(&self) -> Result<(), DevNodeError> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let bound = bind(self.address).await?;
            *running = Some(Running::start(bound.listener, Arc::clone(&self.server)));
        }
        Ok(())
    }
}

async fn serve(listener: TcpListener, endpoint: Endpoint) {
    let open = endpoint.open.clone();
    let app = router(endpoint).into_make_service_with_connect_info::<ResetMark>();
    let served =
        axum::serve(Wires(listener), app).with_graceful_shutdown(open.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the development node no longer answers");
    }
}

impl DevNode {
    /// Closes the node's address: connections end, new ones are refused, the chain goes on.
    pub async fn stop_serving(&self) {
        self.serving.close().await;
    }

    /// Opens the node's address again.
    pub async fn start_serving(&self) -> Result<(), DevNodeError> {
        self.serving.open().await
    }
}
