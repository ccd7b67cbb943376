//! Privacy pools as of a block and as a history.

use obsqra_store::projection::Ranges;
use serde_json::{Value, json};

use crate::support::{OPEN, World, felt, pool};

/// Decade 3 changed at blocks 10 and 50; then block 50 was reverted at position 900 and came back otherwise
/// at 910. Decade 4 changed at block 20.
async fn world() -> World {
    let ranges =
        |from_block, to_block, from_seq, to_seq| Ranges { from_block, to_block, from_seq, to_seq };
    let mut rows: Vec<_> = [
        (2, ranges(10, OPEN, 100, 500)),
        (2, ranges(10, 50, 500, 900)),
        (5, ranges(50, OPEN, 500, 900)),
        (2, ranges(10, OPEN, 900, 910)),
        (2, ranges(10, 50, 910, OPEN)),
        (9, ranges(50, OPEN, 910, OPEN)),
    ]
    .into_iter()
    .map(|(deposits, ranges)| {
        let mut row = pool(3, deposits, 0, 0);
        row.ranges = ranges;
        row
    })
    .collect();
    rows.push(pool(4, 1, 20, 200));
    let mut other = pool(3, 7, 30, 300);
    other.token = felt(0x4e);
    rows.push(other);
    let world = World::at(60, 5_000).await;
    world.insert_pools(&rows).await;
    world
}

#[tokio::test]
async fn pools_are_told_as_of_a_block() {
    let world = world().await;
    let query =
        "query ($b: Int) { privacyPools(token: \"0x4d\", atBlock: $b) { bucket deposits } }";
    let told = |bucket: i32, deposits: i32| json!({ "bucket": bucket, "deposits": deposits });
    for (known_at, at_block, expected) in [
        (5_000, None, vec![told(3, 9), told(4, 1)]),
        (5_000, Some(49), vec![told(3, 2), told(4, 1)]),
        (5_000, Some(19), vec![told(3, 2)]),
        (5_000, Some(9), vec![]),
        (899, Some(50), vec![told(3, 5), told(4, 1)]),
        (900, Some(50), vec![told(3, 2), told(4, 1)]),
    ] {
        world.advance(60, known_at).await;
        let data = world.data(query, json!({ "b": at_block })).await;
        assert_eq!(data["privacyPools"], json!(expected), "{at_block:?} known at {known_at}");
    }
    for (arguments, rows) in [("chamber: \"0xc\"", 3), ("chamber: \"0xd\"", 0)] {
        let query = format!("{{ privacyPools({arguments}) {{ bucket }} }}");
        let data = world.data(&query, json!({})).await;
        assert_eq!(data["privacyPools"].as_array().unwrap().len(), rows, "{arguments}");
    }
}

#[tokio::test]
async fn a_pool_is_told_whole() {
    let world = world().await;
    let query =
        "{ privacyPools(token: \"0x4d\") { protocol chamber token { address symbol decimals }
        bucket leastAmount deposits withdrawals deposited withdrawn anonymitySet blockNumber } }";
    let expected = json!({
        "protocol": "mist_cash", "chamber": "0xc",
        "token": { "address": "0x4d", "symbol": null, "decimals": null },
        "bucket": 3, "leastAmount": "1000", "deposits": 9, "withdrawals": 1, "deposited": "90",
        "withdrawn": "10", "anonymitySet": 8, "blockNumber": 50,
    });
    assert_eq!(world.data(query, json!({})).await["privacyPools"][0], expected);
}

#[tokio::test]
async fn a_history_holds_the_changes_that_stand() {
    let world = world().await;
    let query = "query ($k: Int, $at: Int, $f: Int, $a: String, $l: Int, $b: String) {
        privacyPoolHistory(chamber: \"0xc\", token: \"0x4d\", bucket: $k, atBlock: $at, first: $f,
                           after: $a, last: $l, before: $b) {
            nodes { blockNumber bucket deposits } pageInfo { endCursor startCursor hasNextPage } } }";
    let told = |block: i32, bucket: i32, deposits: i32| json!({ "blockNumber": block, "bucket": bucket, "deposits": deposits });
    let all = [told(10, 3, 2), told(20, 4, 1), told(50, 3, 9)];
    let nodes = |data: &Value| data["privacyPoolHistory"]["nodes"].clone();
    assert_eq!(nodes(&world.data(query, json!({})).await), json!(all));
    assert_eq!(nodes(&world.data(query, json!({ "k": 3 })).await), json!([all[0], all[2]]));
    assert_eq!(nodes(&world.data(query, json!({ "at": 49 })).await), json!([all[0], all[1]]));
    let first = world.data(query, json!({ "f": 2 })).await;
    assert_eq!(nodes(&first), json!([all[0], all[1]]));
    let page = &first["privacyPoolHistory"]["pageInfo"];
    assert_eq!(page["hasNextPage"], true);
    let rest = world.data(query, json!({ "f": 2, "a": page["endCursor"] })).await;
    assert_eq!(nodes(&rest), json!([all[2]]));
    let last = world.data(query, json!({ "l": 1 })).await;
    assert_eq!(nodes(&last), json!([all[2]]));
    let before = &last["privacyPoolHistory"]["pageInfo"]["startCursor"];
    let rest = world.data(query, json!({ "l": 5, "b": before })).await;
    assert_eq!(nodes(&rest), json!([all[0], all[1]]));
}
