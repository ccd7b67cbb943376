//! A server that answers every request with given bytes, in a given way.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// How the bytes go out.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// At once, then the connection ends.
    Whole(Vec<u8>),
    /// At once, then a byte every so often, without end.
    Drip(Vec<u8>, Duration),
    /// Not at all: the connection is reset.
    Reset,
    /// At once, then these again and again, without end.
    Endless(Vec<u8>, Vec<u8>),
}

pub(crate) struct RawServer {
    pub(crate) url: String,
    _task: AbortOnDropHandle<()>,
}

impl RawServer {
    pub(crate) async fn start(way: Way) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let way = way.clone();
                // The client may go away at any moment, which is its right.
                tokio::spawn(async move { serve(stream, way).await.ok() });
            }
        });
        Self { url, _task: AbortOnDropHandle::new(task) }
    }

    /// A server that answers HTTP 200 with this body.
    pub(crate) async fn ok(body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::start(Way::Whole([head.as_bytes(), body].concat())).await
    }

    /// A server that answers with this head and no body.
    pub(crate) async fn head(lines: &str) -> Self {
        let head = format!("HTTP/1.1 {lines}\r\nContent-Length: 0\r\n\r\n");
        Self::start(Way::Whole(head.into_bytes())).await
    }
}

async fn serve(mut stream: TcpStream, way: Way) -> std::io::Result<()> {
    read_request(&mut stream).await?;
    match way {
        Way::Whole(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Way::Drip(bytes, pause) => {
            stream.write_all(&bytes).await?;
            loop {
                tokio::time::sleep(pause).await;
                stream.write_all(b" ").await?;
            }
        }
        Way::Reset => stream.set_zero_linger(),
        Way::Endless(bytes, again) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&again).await?;
            }
        }
    }
}

/// Reads to the end of the request, so that closing afterwards does not reset by accident.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await?;
        request.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return Ok(());
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if body.len() >= length || count == 0 {
            return Ok(());
        }
    }
}
