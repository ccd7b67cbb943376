//! A client of the graphql-transport-ws protocol.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::World;

const PATIENCE: Duration = Duration::from_secs(20);

/// The code of a response's first error.
pub(crate) fn code_of(response: &Value) -> &str {
    response["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects without saying anything.
    pub(crate) async fn connect(world: &World, origin: Option<&str>) -> Result<Self, Error> {
        let address = format!("ws://{}/graphql/ws", world.address);
        let mut request = address.into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    /// Connects and is acknowledged.
    pub(crate) async fn open(world: &World) -> Self {
        let mut socket = Self::connect(world, None).await.unwrap();
        socket.send(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.next().await.unwrap()["type"], "connection_ack");
        socket
    }

    /// Opens a connection with one subscription on it.
    pub(crate) async fn subscribe(world: &World, query: &str, variables: Value) -> Self {
        let mut socket = Self::open(world).await;
        socket.start("1", query, variables).await;
        socket
    }

    pub(crate) async fn start(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.0.send(Message::Text(message.to_string().into())).await.unwrap();
    }

    /// The next message, or the code with which the server closed.
    pub(crate) async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let frame = timeout(PATIENCE, self.0.next()).await.expect("a message in time");
            match frame.expect("a close frame before the end").unwrap() {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                _ => {}
            }
        }
    }

    /// The payload of the next message, which must carry one.
    pub(crate) async fn payload(&mut self) -> Value {
        let mut message = self.next().await.unwrap();
        assert_eq!(message["type"], "next", "{message:#}");
        message["payload"].take()
    }
}
