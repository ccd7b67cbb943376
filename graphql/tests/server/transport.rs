//! What is refused before anything runs, health, metrics and the page.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use obsqra_graphql::{Server, ServerOptions};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use crate::support::{Socket, World, code_of};

#[tokio::test]
async fn only_one_json_request_of_bounded_size_is_taken() {
    let world = World::new().await;
    let query = json!({ "query": "{ __typename }" }).to_string();
    let large = json!({ "query": "{ __typename }", "pad": "x".repeat(64 * 1024) }).to_string();
    for (content_type, body, status) in [
        (Some("application/json"), query.clone(), 200),
        (Some("application/json; charset=utf-8"), query.clone(), 200),
        (Some("text/plain"), query.clone(), 415),
        (Some("application/x-www-form-urlencoded"), query.clone(), 415),
        (None, query.clone(), 415),
        (Some("application/json"), large, 413),
        (Some("application/json"), format!("[{query}]"), 400),
        (Some("application/json"), "{".to_owned(), 400),
        (Some("application/json"), "{}".to_owned(), 400),
    ] {
        let start = body[..body.len().min(40)].to_owned();
        let response = world.post(content_type, body).await;
        assert_eq!(response.status(), status, "{content_type:?} {start}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body.get("errors").is_some(), status != 200, "{body}");
    }
    assert_eq!(world.get("/graphql").await.status(), 405);
}

#[tokio::test]
async fn deep_and_costly_queries_are_refused_and_introspection_passes() {
    let world = World::at(1, 100).await;
    // The depth of the introspection query that graphql-js 16 sends: nine `ofType` below a type.
    let of_type = |levels: usize| "ofType { kind name ".repeat(levels) + &"}".repeat(levels);
    let introspection = |levels| {
        format!(
            "{{ __schema {{ types {{ fields {{ args {{ type {{ kind name {} }} }} }} }} }} }}",
            of_type(levels)
        )
    };
    world.data(&introspection(9), json!({})).await;
    let response = world.run(&introspection(10), json!({})).await;
    assert_eq!(code_of(&response), "GRAPHQL_VALIDATION_FAILED");
    let aliases = |count: usize| -> String {
        let fields = (0..count).map(|n| format!("a{n}: events(first: 100) {{ nodes {{ seq }} }} "));
        format!("{{ {} }}", fields.collect::<String>())
    };
    world.data(&aliases(10), json!({})).await;
    let response = world.run(&aliases(50), json!({})).await;
    assert_eq!(code_of(&response), "GRAPHQL_VALIDATION_FAILED");
}

#[tokio::test]
async fn a_request_that_did_not_run_is_told_by_status_to_who_asks_for_it() {
    let world = World::new().await;
    let body = json!({ "query": "{ nothing }" }).to_string();
    let response = reqwest::Client::new()
        .post(world.url("/graphql"))
        .header("content-type", "application/json")
        .header("accept", "application/graphql-response+json, application/json;q=0.9")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    let content_type = response.headers()["content-type"].to_str().unwrap();
    assert!(content_type.starts_with("application/graphql-response+json"), "{content_type}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(code_of(&body), "GRAPHQL_VALIDATION_FAILED");
}

async fn readiness(world: &World) -> (u16, Value) {
    let response = world.get("/health/ready").await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn health_names_what_is_down() {
    let world = World::new().await;
    let (status, body) = readiness(&world).await;
    assert_eq!((status, &body["checks"]["projection"]["up"]), (503, &json!(false)));
    world.advance(100, 500).await;
    world.node_head(105).await;
    let (status, body) = readiness(&world).await;
    assert_eq!((status, &body["ready"]), (200, &json!(true)), "{body}");
    world.node_head(106).await;
    let (status, body) = readiness(&world).await;
    assert_eq!(status, 503);
    assert_eq!(body["checks"]["lag"], json!({ "up": false, "blocks": 6, "maxBlocks": 5 }));
    world.node_head(100).await;
    world.bus_up.store(false, Ordering::Relaxed);
    let (status, body) = readiness(&world).await;
    assert_eq!((status, &body["checks"]["bus"]["up"]), (503, &json!(false)));
    world.bus_up.store(true, Ordering::Relaxed);
    assert_eq!(readiness(&world).await.0, 200);
    world.reader.close().await;
    let (status, body) = readiness(&world).await;
    assert_eq!((status, &body["checks"]["database"]["up"]), (503, &json!(false)));
    assert_eq!(world.get("/health/live").await.status(), 200);
    let response = world.run("{ head { seq } }", json!({})).await;
    assert_eq!(code_of(&response), "INTERNAL");
}

#[tokio::test]
async fn metrics_are_those_of_the_process() {
    let world = World::new().await;
    let response = world.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_eq!(response.text().await.unwrap(), "obsqra_up 1\n");
}

#[tokio::test]
async fn the_page_needs_nothing_but_this_server() {
    let world = World::new().await;
    let response = world.get("/").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let page = response.text().await.unwrap();
    assert!(page.contains("<title>Obsqra GraphiQL</title>"));
    for (path, media_type) in [("/graphiql.js", "text/javascript"), ("/graphiql.css", "text/css")] {
        let response = world.get(path).await;
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(media_type));
        let text = response.text().await.unwrap();
        assert!(page.contains(&path[1..]));
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{path} names another host"
        );
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
}

#[tokio::test]
async fn another_sites_page_may_not_connect() {
    let world = World::at(1, 100).await;
    let own = format!("http://{}", world.address);
    Socket::connect(&world, Some(&own)).await.unwrap();
    for foreign in ["http://evil.example", "null"] {
        match Socket::connect(&world, Some(foreign)).await.err() {
            Some(Error::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("{foreign}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed() {
    let world = World::at(1, 100).await;
    let mut socket = Socket::connect(&world, None).await.unwrap();
    assert_eq!(socket.next().await, Err(4408));
}

#[tokio::test]
async fn a_busy_address_is_named_with_what_to_do() {
    let world = World::new().await;
    let options = ServerOptions {
        listen: world.address,
        store: world.reader.clone(),
        bus: Arc::new(|| true),
        chain: world.chain.clone(),
        max_lag_blocks: 5,
        metrics: Arc::new(String::new),
    };
    let problem = Server::bind(options).await.err().unwrap().to_string();
    assert!(problem.starts_with(&format!("{} is in use: ", world.address)), "{problem}");
}
