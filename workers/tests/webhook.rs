//! Webhook deliveries against a real server: what is signed, what is followed, and where nothing is ever sent.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use obsqra_workers::webhook::{
    Attempt, Deliverer, Endpoint, EndpointError, Lookup, Outgoing, Reach, SigningSecret,
    signatures, system_lookup,
};
use tokio::net::TcpListener;

const HOSTILE: &str = include_str!("hostile_urls.txt");
const BODY: &[u8] = br#"{"score":44}"#;
const MESSAGE: Outgoing<'static> =
    Outgoing { id: "msg_1", unix_seconds: 1_700_000_000, body: BODY };

type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;
type Answers = Arc<dyn Fn() -> Response + Send + Sync>;

/// A server that answers every request alike.
struct Receiver {
    address: SocketAddr,
    received: Received,
}

impl Receiver {
    async fn answering(answers: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Received::default();
        let state: (Received, Answers) = (Arc::clone(&received), Arc::new(answers));
        let take = async |State((received, answers)): State<(Received, Answers)>,
                          headers: HeaderMap,
                          body: Bytes| {
            received.lock().unwrap().push((headers, body));
            answers()
        };
        let app = Router::new().fallback(take).with_state(state);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, received }
    }

    fn endpoint(&self) -> Endpoint {
        let url = format!("http://{}/hook?token=private", self.address);
        Endpoint::parse(&url, Reach::Anywhere).unwrap()
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }
}

fn anywhere() -> Deliverer {
    Deliverer::new(Reach::Anywhere, system_lookup()).unwrap()
}

/// Every name is this host, and private networks.
fn private_names() -> Lookup {
    Arc::new(|_| {
        let addresses = ["127.0.0.1:0", "[::1]:0", "10.0.0.1:0", "169.254.169.254:0"];
        Box::pin(async move { Ok(addresses.map(|address| address.parse().unwrap()).to_vec()) })
    })
}

#[tokio::test]
async fn nothing_is_sent_to_hostile_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let deliverer = Deliverer::new(Reach::Global, private_names()).unwrap();
    let urls: Vec<&str> =
        HOSTILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(urls.len() >= 120, "{}", urls.len());
    for url in urls {
        let url = url.replace("PORT", &port);
        // A name is no hostile one until it is resolved.
        let Ok(endpoint) = Endpoint::parse(&url, Reach::Global) else { continue };
        match deliverer.attempt(&endpoint, &[], &MESSAGE).await {
            Attempt::Failed(why) => assert!(why.contains("no global address"), "{url}: {why}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    let connected = tokio::select! {
        biased;
        _ = listener.accept() => true,
        () = std::future::ready(()) => false,
    };
    assert!(!connected, "somebody connected");
}

#[tokio::test]
async fn a_name_is_vetted_at_each_connection() {
    let receiver = Receiver::answering(|| StatusCode::OK.into_response()).await;
    let lookups = Arc::new(AtomicUsize::new(0));
    let (counted, port) = (Arc::clone(&lookups), receiver.address.port());
    // Where the endpoint was stored the name led elsewhere; by now it leads here.
    let rebound: Lookup = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]) })
    });
    let endpoint = format!("https://hooks.example.com:{port}/");
    let endpoint = Endpoint::parse(&endpoint, Reach::Global).unwrap();
    let deliverer = Deliverer::new(Reach::Global, Arc::clone(&rebound)).unwrap();
    for attempt in 1..=2 {
        let failed = deliverer.attempt(&endpoint, &[], &MESSAGE).await;
        assert!(matches!(&failed, Attempt::Failed(why) if why.contains("no global address")));
        assert_eq!(lookups.load(Ordering::SeqCst), attempt);
    }
    assert_eq!(receiver.count(), 0);

    // For development the same name is connected to, and looked up for each attempt.
    let development = Deliverer::new(Reach::Anywhere, rebound).unwrap();
    let endpoint = format!("http://hooks.example.com:{port}/");
    let endpoint = Endpoint::parse(&endpoint, Reach::Anywhere).unwrap();
    for attempt in 3..=4 {
        let delivered = development.attempt(&endpoint, &[], &MESSAGE).await;
        assert!(matches!(delivered, Attempt::Delivered(_)), "{delivered:?}");
        assert_eq!(lookups.load(Ordering::SeqCst), attempt);
    }
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn what_was_stored_for_development_is_vetted_again() {
    let receiver = Receiver::answering(|| StatusCode::OK.into_response()).await;
    let deliverer = Deliverer::new(Reach::Global, system_lookup()).unwrap();
    let failed = deliverer.attempt(&receiver.endpoint(), &[], &MESSAGE).await;
    assert_eq!(failed, Attempt::Failed(EndpointError::Scheme.to_string()));
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_delivery_carries_what_its_receiver_checks() {
    let receiver = Receiver::answering(|| (StatusCode::OK, "thanks").into_response()).await;
    let secrets = [SigningSecret::random_shared(), SigningSecret::random_private()];
    let delivered = anywhere().attempt(&receiver.endpoint(), &secrets, &MESSAGE).await;
    let Attempt::Delivered(answer) = delivered else { panic!("{delivered:?}") };
    assert_eq!((answer.status, answer.beginning.as_str()), (200, "thanks"));
    let received = receiver.received.lock().unwrap();
    let [(headers, body)] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(body, BODY);
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("webhook-id"), "msg_1");
    assert_eq!(header("webhook-timestamp"), "1700000000");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("webhook-signature"), signatures(&secrets, "msg_1", 1_700_000_000, BODY));
}

#[tokio::test]
async fn statuses_are_told_apart_and_redirects_are_not_followed() {
    let elsewhere = Receiver::answering(|| StatusCode::OK.into_response()).await;
    let location = format!("http://{}/", elsewhere.address);
    for status in [301, 302, 303, 307, 308] {
        let (status, location) = (StatusCode::from_u16(status).unwrap(), location.clone());
        let answers = move || (status, [("location", location.clone())]).into_response();
        let receiver = Receiver::answering(answers).await;
        let refused = anywhere().attempt(&receiver.endpoint(), &[], &MESSAGE).await;
        assert!(matches!(&refused, Attempt::Refused(answer) if answer.status == status.as_u16()));
    }
    assert_eq!(elsewhere.count(), 0);
    for (status, gone) in [(410, true), (400, false), (404, false), (429, false), (500, false)] {
        let status = StatusCode::from_u16(status).unwrap();
        let receiver = Receiver::answering(move || status.into_response()).await;
        let attempt = anywhere().attempt(&receiver.endpoint(), &[], &MESSAGE).await;
        assert_eq!(matches!(attempt, Attempt::Gone(_)), gone, "{attempt:?}");
        assert_eq!(matches!(attempt, Attempt::Refused(_)), !gone, "{attempt:?}");
    }
}

#[tokio::test]
async fn a_long_answer_is_cut_and_a_failure_names_no_url() {
    let receiver = Receiver::answering(|| "x".repeat(1_000_000).into_response()).await;
    let delivered = anywhere().attempt(&receiver.endpoint(), &[], &MESSAGE).await;
    let Attempt::Delivered(answer) = delivered else { panic!("{delivered:?}") };
    assert_eq!(answer.beginning.len(), 1_024);

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/hook?token=private");
    let endpoint = Endpoint::parse(&url, Reach::Anywhere).unwrap();
    let failed = anywhere().attempt(&endpoint, &[], &MESSAGE).await;
    let Attempt::Failed(why) = failed else { panic!("{failed:?}") };
    assert!(!why.contains("token=private") && !why.is_empty(), "{why}");
}
