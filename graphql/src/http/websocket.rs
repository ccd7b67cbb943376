//! `GET /graphql/ws`: operations over the graphql-transport-ws protocol.
//!
//! Messages are pulled: the next one is made only when the client took the last. A client that takes
//! none for too long, says nothing for too long, or never begins, is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_graphql::Data;
use async_graphql::http::{ClientMessage, WebSocket as Protocol, WebSocketProtocols, WsMessage};
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, SplitSink, SplitStream};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::execute::Connection;
use crate::limits::{IDLE_TIMEOUT, INIT_TIMEOUT, MAX_BODY_BYTES, PING_INTERVAL, SEND_TIMEOUT};
use crate::server::AppState;

const SUBPROTOCOL: &str = "graphql-transport-ws";

/// Why the server closes a WebSocket. Codes from 4400 on are the protocol's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Closing {
    code: u16,
    reason: String,
}

impl Closing {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    fn normal() -> Self {
        Self::new(1000, "")
    }
}

pub(super) async fn upgrade(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !is_own_origin(&headers) {
        return (StatusCode::FORBIDDEN, "this origin may not connect\n").into_response();
    }
    let Ok(permit) = Arc::clone(&state.websockets).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections\n").into_response();
    };
    upgrade
        .protocols([SUBPROTOCOL])
        .max_frame_size(MAX_BODY_BYTES)
        .max_message_size(MAX_BODY_BYTES)
        .on_upgrade(move |socket| {
            let tasks = state.tasks.clone();
            tasks.track_future(async move {
                metrics::gauge!("obsqra_graphql_websockets").increment(1.0);
                serve(state, socket).await;
                metrics::gauge!("obsqra_graphql_websockets").decrement(1.0);
                drop(permit);
            })
        })
}

/// A browser names the page that connects; only this server's own may. Other programs name none.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.parse::<Uri>().ok())
        .and_then(|origin| origin.authority().map(ToString::to_string));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

async fn serve(state: AppState, socket: WebSocket) {
    let agreed = socket.protocol().is_some_and(|protocol| protocol == SUBPROTOCOL);
    let (mut sink, incoming) = socket.split();
    let closing = if agreed {
        tokio::select! {
            closing = converse(&state, &mut sink, incoming) => closing,
            () = state.stop.cancelled() => Some(Closing::new(1001, "the server is stopping")),
        }
    } else {
        Some(Closing::new(4406, "Subprotocol not acceptable"))
    };
    if let Some(Closing { code, reason }) = closing {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // The client may be gone already; there is nobody left to tell.
        drop(timeout(Duration::from_secs(1), sink.send(frame)).await);
    }
}

/// Speaks the protocol until one side ends it; `None` when there is nobody left to close.
async fn converse(
    state: &AppState,
    sink: &mut SplitSink<WebSocket, Message>,
    incoming: SplitStream<WebSocket>,
) -> Option<Closing> {
    let begun = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&begun);
    let messages = Box::pin(client_messages(incoming));
    let connection = Connection::new(state.api.clone());
    let mut outgoing =
        Protocol::from_message_stream(connection, messages, WebSocketProtocols::GraphQLWS)
            .on_connection_init(move |_payload| async move {
                mark.store(true, Ordering::Relaxed);
                Ok(Data::default())
            });
    let mut init_deadline = Some(Box::pin(sleep(INIT_TIMEOUT)));
    let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    loop {
        let message = tokio::select! {
            message = outgoing.next() => match message {
                Some(WsMessage::Text(text)) => Message::Text(text.into()),
                Some(WsMessage::Close(code, reason)) => return Some(Closing::new(code, reason)),
                None => return Some(Closing::normal()),
            },
            () = expiry(&mut init_deadline) => {
                init_deadline = None;
                if begun.load(Ordering::Relaxed) {
                    continue;
                }
                return Some(Closing::new(4408, "Connection initialisation timeout"));
            }
            _ = ping.tick() => Message::Ping(Vec::new().into()),
        };
        if let Err(closing) = send(sink, message).await {
            return closing;
        }
    }
}

/// Ends when the deadline passes; never when there is none.
async fn expiry(deadline: &mut Option<std::pin::Pin<Box<tokio::time::Sleep>>>) {
    match deadline {
        Some(deadline) => deadline.await,
        None => std::future::pending().await,
    }
}

async fn send(
    sink: &mut (impl Sink<Message> + Unpin),
    message: Message,
) -> Result<(), Option<Closing>> {
    match timeout(SEND_TIMEOUT, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_gone)) => Err(None),
        Err(_elapsed) => {
            Err(Some(Closing::new(1008, "too slow: resume after the last cursor received")))
        }
    }
}

/// The client's messages, until it closes, breaks off or falls silent.
fn client_messages(
    incoming: SplitStream<WebSocket>,
) -> impl Stream<Item = serde_json::Result<ClientMessage>> {
    stream::unfold(incoming, |mut incoming| async move {
        loop {
            let frame = timeout(IDLE_TIMEOUT, incoming.next()).await.ok()??.ok()?;
            let message = match frame {
                Message::Text(text) => ClientMessage::from_bytes(text.as_str()),
                Message::Binary(bytes) => ClientMessage::from_bytes(&bytes),
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => return None,
            };
            return Some((message, incoming));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_pages_may_connect() {
        let check = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            is_own_origin(&headers)
        };
        assert!(check(None, "127.0.0.1:8080"));
        assert!(check(Some("http://127.0.0.1:8080"), "127.0.0.1:8080"));
        assert!(check(Some("https://Example.org"), "example.org"));
        for foreign in ["http://127.0.0.1:8081", "http://evil.example", "null", "http://127.0.0.1"]
        {
            assert!(!check(Some(foreign), "127.0.0.1:8080"), "{foreign}");
        }
    }
}
