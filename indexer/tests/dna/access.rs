//! Who is let in, and what a server refuses.

use std::time::Duration;

use obsqra_devnode::{DevNode, DevNodeOptions, DnaSettings};
use obsqra_indexer::source::{DnaOptions, DnaSource, Remedy, Secret, SourceError};

use crate::support::{
    NEVER, at, blocks_to, dna_options, node, options, source, started, stream, watched,
};

const TOKEN: &str = "dna_swordfish";

async fn locked_node() -> DevNode {
    let open = options(3);
    let dna = DnaSettings { token: Some(TOKEN.to_owned()), ..open.dna };
    started(DevNodeOptions { dna, ..open }).await
}

fn with_token(node: &DevNode, token: &str) -> DnaSource {
    let token = Some(Secret::new(token).unwrap());
    DnaSource::new(DnaOptions { token, ..dna_options(node) }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_token_is_let_in() {
    let node = locked_node().await;
    let source = with_token(&node, TOKEN);
    assert!(source.status().await.is_ok());
    let mut stream = source.stream(at(0), &watched()).await.unwrap();
    assert_eq!(blocks_to(&mut stream, 2).await.len(), 3);
    assert!(!format!("{source:?} {stream:?}").contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_none_are_turned_away() {
    let node = locked_node().await;
    for source in [source(&node), with_token(&node, "dna_guess")] {
        let refused = [
            source.status().await.unwrap_err(),
            source.stream(at(0), &watched()).await.unwrap_err(),
        ];
        for error in refused {
            assert!(matches!(error, SourceError::Unauthorized { .. }), "{error:?}");
            assert_eq!(error.remedy(), Remedy::None);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("set a valid token"), "{shown}");
            assert!(!shown.contains("dna_guess"), "{shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_nobody_asks_for_does_no_harm() {
    let node = node(3, NEVER).await;
    assert!(with_token(&node, TOKEN).status().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_beyond_the_server_s_bounds_is_refused() {
    let node = started(DevNodeOptions { dna: DnaSettings::default(), ..options(3) }).await;
    for heartbeat in [Duration::from_secs(9), Duration::from_secs(61)] {
        let source = DnaSource::new(DnaOptions { heartbeat, ..dna_options(&node) }).unwrap();
        let refused = source.stream(at(0), &watched()).await.unwrap_err();
        assert!(matches!(refused, SourceError::Refused { .. }), "{refused:?}");
        assert!(refused.to_string().contains("heartbeat"), "{refused}");
        assert_eq!(refused.remedy(), Remedy::None);
    }
    let shortest = Duration::from_secs(10);
    let source = DnaSource::new(DnaOptions { heartbeat: shortest, ..dna_options(&node) }).unwrap();
    assert!(source.stream(at(0), &watched()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_something_else_is_no_panic() {
    let node = node(3, NEVER).await;
    let url = node.url().parse().unwrap();
    let source = DnaSource::new(DnaOptions { url, ..dna_options(&node) }).unwrap();
    let error = source.status().await.unwrap_err();
    assert!(error.to_string().contains(source.name()), "{error}");
    // The node itself is well.
    blocks_to(&mut stream(&node, at(0)).await, 2).await;
}
