//! The queries of the page on SQL, as it has them, by the role of analysts.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use obsqra_store::Role;
use obsqra_testkit::TestDatabase;
use support::{Script, project, propose, score};

const PAGE: &str = include_str!("../../ops/docs/sql.md");
/// Five days and more, so that there are volatilities, and scores with them.
const BLOCKS: usize = 800;
/// Blocks with some events left out, which rules of conservation find.
const FLAWED: usize = 8;

/// The statements of a page of documentation.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("```sql\n").skip(1);
    blocks.map(|block| block.split(";\n```").next().unwrap()).collect()
}

#[tokio::test]
async fn each_example_of_the_sql_page_finds_rows_as_an_analyst() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let mut script = Script::start(&store).await;
    script.adopt_policies().await;
    script.grow_fast(BLOCKS).await;
    script.thin(3);
    script.grow(FLAWED).await;
    script.reorganise(3, 4).await;
    script.writer.finalize(20).await.unwrap();
    score(&store).await;
    propose(&store).await;
    project(&store).await;

    let examples = examples(PAGE);
    assert!(examples.len() >= 10, "{} examples", examples.len());
    let mut analyst = database.session("obsqra_analyst").await;
    let mut empty = Vec::new();
    for example in examples {
        assert!(!example.contains("public."), "{example}");
        let rows = format!("SELECT count(*) FROM ({example}) AS found");
        let found =
            analyst.numbers(&rows).await.unwrap_or_else(|said| panic!("{example}: {said:?}"));
        analyst.execute(example).await.unwrap();
        if found == [0] {
            empty.push(example);
        }
    }
    assert!(empty.is_empty(), "no rows: {}", empty.join("\n\n"));

    // The score that the page shows is one.
    let score = "SELECT count(*) FROM analyst.risk_score WHERE score IS NOT NULL";
    assert!(analyst.numbers(score).await.unwrap()[0] > 0);
}
