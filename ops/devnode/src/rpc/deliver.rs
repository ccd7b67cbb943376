//! Answers over HTTP, and the faults that show in how one is delivered.
//!
//! Whatever waits here waits a bounded time, and not beyond the end of the node.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::wire::ResetMark;
use crate::faults::{Fault, MAX_DRIP_PIECES, MAX_HANG_MILLIS};

/// What a garbage body holds.
pub(crate) const GARBAGE: &str = "<html>not what you asked for</html>";

/// Delivers an answer as its faults say.
pub(crate) async fn deliver(
    answer: Answer,
    connection: &ResetMark,
    open: &CancellationToken,
) -> Response {
    let Some(body) = answer.body else {
        return StatusCode::NO_CONTENT.into_response();
    };
    for fault in &answer.faults {
        if let Fault::Hang { millis } = fault {
            wait(Duration::from_millis((*millis).min(MAX_HANG_MILLIS)), open).await;
        } else if let Some(response) = spoiled(fault, &body, connection, open) {
            return response;
        }
    }
    json_response(body)
}

/// The response in place of a good one; `None` for faults that show elsewhere.
fn spoiled(
    fault: &Fault,
    body: &[u8],
    connection: &ResetMark,
    open: &CancellationToken,
) -> Option<Response> {
    Some(match fault {
        Fault::TooManyRequests { retry_after_seconds } => too_many(*retry_after_seconds),
        Fault::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response(),
        Fault::ServiceUnavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "service unavailable").into_response()
        }
        Fault::GarbageBody => json_response(GARBAGE.into()),
        Fault::HtmlBody => {
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], GARBAGE).into_response()
        }
        Fault::EmptyBody => json_response(Vec::new()),
        Fault::EmptyObject => json_response(b"{}".to_vec()),
        Fault::TruncatedJson => json_response(half_of(body).to_vec()),
        Fault::TruncatedBody => cut_off(half_of(body), body.len()),
        Fault::ClosedBeforeBody => cut_off(&[], body.len()),
        Fault::ConnectionReset => {
            connection.set();
            StatusCode::OK.into_response()
        }
        Fault::SlowDrip { pieces, pause_millis } => {
            drip(body, *pieces, Duration::from_millis(*pause_millis), open)
        }
        _ => return None,
    })
}

/// Waits, but not beyond the node's own end.
pub(crate) async fn wait(time: Duration, open: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = open.cancelled() => {}
    }
}

/// The first half of a body.
pub(crate) fn half_of(body: &[u8]) -> &[u8] {
    body.get(..body.len() / 2).unwrap_or_default()
}

fn json_response(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn too_many(retry_after_seconds: Option<u32>) -> Response {
    let mut response = (StatusCode::TOO_MANY_REQUESTS, "too many requests").into_response();
    if let Some(seconds) = retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Promises a body of some length, sends less of it and drops the connection.
fn cut_off(sent: &[u8], promised: usize) -> Response {
    let sent = Bytes::copy_from_slice(sent);
    let cut = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "cut off on purpose");
    streamed(Body::from_stream(futures::stream::iter([Ok(sent), Err(cut)])), promised)
}

/// Sends a body in pieces, with a pause before each.
fn drip(body: &[u8], pieces: u32, pause: Duration, open: &CancellationToken) -> Response {
    let pieces = pieces.clamp(1, MAX_DRIP_PIECES);
    let pause = pause.min(Duration::from_millis(MAX_HANG_MILLIS) / pieces);
    let size = body.len().div_ceil(usize::try_from(pieces).unwrap_or(1)).max(1);
    let chunks: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
    let open = open.clone();
    let slowly = futures::stream::iter(chunks).then(move |chunk| {
        let open = open.clone();
        async move {
            wait(pause, &open).await;
            Ok::<_, std::io::Error>(chunk)
        }
    });
    streamed(Body::from_stream(slowly), body.len())
}

fn streamed(body: Body, length: usize) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}
