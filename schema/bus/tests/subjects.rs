//! `ops/docs/subjects.md` is made here, from the kinds that are published, their golden messages, and the settings that a
//! server has for the streams. `OBSQRA_UPDATE_SCHEMA=1` writes it anew.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fmt::Write;
use std::path::PathBuf;

use async_nats::jetstream;
use obsqra_bus::{ChainStream, CheckpointStream, StreamLimits};
use obsqra_events::{Kind, message_schema, message_schemas};
use obsqra_protocols::{Decoder, event_schema};
use obsqra_testkit::TestNats;
use obsqra_types::ChainId;
use serde_json::Value;

/// What stands in a subject, with the meaning of each token that varies.
struct Form {
    subject: &'static str,
    tokens: &'static [(&'static str, &'static str)],
}

const PROTOCOL: (&str, &str) = ("<protocol>", "a protocol's key in the registry, such as `zklend`");
const POLICY: (&str, &str) =
    ("<policy>", "a policy's name in the adopted file, such as `balanced`");

/// `None` for kinds that are not published.
fn form(kind: Kind) -> Option<Form> {
    let (subject, tokens): (_, &[_]) = match kind {
        Kind::BlockApplied => ("chain.block_applied", &[]),
        Kind::BlockReverted => ("chain.block_reverted", &[]),
        Kind::BlockFinalized => ("chain.block_finalized", &[]),
        Kind::Event => (
            "event.<protocol>.<event>",
            &[
                PROTOCOL,
                (
                    "<event>",
                    "the event's name in the contract's source, `undecoded` where it fits no layout",
                ),
            ],
        ),
        Kind::RiskScored => ("risk.<protocol>.scored", &[PROTOCOL]),
        Kind::RiskAbsent => ("risk.<protocol>.absent", &[PROTOCOL]),
        Kind::AllocationProposed => ("allocation.<policy>.proposed", &[POLICY]),
        Kind::AllocationInfeasible => ("allocation.<policy>.infeasible", &[POLICY]),
        Kind::AnomalyFound => (
            "anomaly.<severity>.<rule>",
            &[
                ("<severity>", "`info`, `warning` or `critical`"),
                (
                    "<rule>",
                    "the rule's name in [metrics.md](metrics.md), such as `accumulator_jump`",
                ),
            ],
        ),
        Kind::Retracted => (
            "retracted.<lane>.<state>",
            &[(
                "<lane>.<state>",
                "the kind of the fact that no longer counts, such as `risk.scored` or `anomaly.found`",
            )],
        ),
        _ => return None,
    };
    Some(Form { subject, tokens })
}

fn schemas() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../events")
}

fn golden(name: &str) -> Value {
    let path = schemas().join("golden/messages").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text(schema: &Value) -> &str {
    schema["description"].as_str().unwrap()
}

const HEAD: &str = "\
# Subjects

Made by `schema/bus/tests/subjects.rs` from the code; `OBSQRA_UPDATE_SCHEMA=1` with that test writes it anew.

All subjects begin with `obsqra.v1.<chain>.`, where `<chain>` is a chain's id such as `SN_MAIN`. A message is one
fact of the log. Bodies are JSON with a member `schema`; whole numbers that may exceed 53 bits are decimal strings,
felts `0x` and hex digits without leading zeros, digests hex. Each body fits its schema in
`schema/events/schemas/` (JSON Schema, draft 2020-12; each file is whole). Schemas are open: a body may gain members,
which are to be left alone. One that goes, or means something else, takes another version in `schema`.

| subject | says | schema |
|---|---|---|
";

const REST: &str = "\
## Headers

| header | says |
|---|---|
| `Nats-Msg-Id` | names the fact: `<chain>:<kind>:<height>.<branch epoch>:<key>`, with `:final` at the end where it is repeated. The same fact has the same id for ever |
| `Obsqra-Seq` | the position of the fact in the log; rises along each stream |
| `Obsqra-Prev` | the position of the message before it on the same subject, 0 for none: where that is not the last one seen, messages were missed |
| `Obsqra-Finality` | `final` where its block was accepted on L1 when it was published, else `provisional` |

Messages of `log.checkpoint` have the first two alone; there the id is the checkpoint's hash.

## Order and delivery

- Delivery is at least once. What has a position at or below the last one seen on its subject came before.
- Along a stream positions rise: the order is the log's. The two streams are not ordered against each other.
- A stream that is lost, emptied, or restored from an older copy is filled again with what is younger than it keeps
  messages. Events and derived facts that were older when the relay came to them are not published; messages about
  blocks are.
- The oldest messages go first when a bound is reached. Who was away longer sees it by `Obsqra-Prev`, and reads the
  positions between from the log: `obsqra log export --from SEQ --to SEQ`, or GraphQL. A gap shows with the next
  message of the subject, not before.

## Provisional, final, retracted

A fact is provisional until its block is accepted on L1. `chain.block_reverted` takes a block back, and with it all
that was said as of that block and branch epoch: it comes before the blocks that replace it. `retracted.>` then names
each derived fact that no longer counts, by its position (`retractedSeq`), in the order of these facts. Facts about
the new blocks are made by other roles at the same time and may come before or after the retractions: they have
positions of their own.

`obsqra.v1.<chain>.final.>` repeats each message above when its block is final: the same body, the subject with
`final.` after the chain, `Obsqra-Prev` along these subjects. It follows the order of the log: a fact waits for those
before it whose block may still be reverted. What was reverted or retracted never comes, nor do `chain.block_reverted`
and `retracted.>`; `final.chain.block_finalized` says up to where. Reasons:
[0028](decisions/0028-final-facts-and-schemas.md).

## Subscribers

`ops/examples/subscriber.py` and `ops/examples/subscriber.rs` read a durable consumer in order, resume after a
restart, notice a gap and read it over where the stream still has it, take in once what comes twice, and undo what is
retracted:

```
ops/examples/subscriber.py --chain SN_MAIN --only 'risk.>' --only 'retracted.>'
cargo run -p obsqra-bus --example subscriber -- --chain SN_MAIN --final --only 'anomaly.critical.>'
```

They keep one message under way, so that one which is delivered again is not behind a newer one.
";

/// One row a subject, then one section each.
fn subjects() -> String {
    let mut table = String::new();
    let mut sections = String::from("\n## Bodies\n");
    for kind in Kind::ALL {
        let (form, schema) = match (form(kind), message_schema(kind)) {
            (Some(form), Some(schema)) => (form, schema),
            (form, schema) => {
                assert!(form.is_none() && schema.is_none(), "{}", kind.name());
                continue;
            }
        };
        let (name, says) = (schema.name, text(&schema.schema));
        writeln!(table, "| `{}` | {says} | `{name}.json` |", form.subject).unwrap();
        write!(sections, "\n### `{}`\n\n{says}\n", form.subject).unwrap();
        for (token, meaning) in form.tokens {
            write!(sections, "\n- `{token}`: {meaning}").unwrap();
        }
        if !form.tokens.is_empty() {
            sections.push('\n');
        }
        if kind == Kind::Event {
            sections.push_str(&decoders());
        }
        sections.push_str(&example(name, form.subject));
    }
    let checkpoint = message_schemas().pop().unwrap();
    let (name, says) = (checkpoint.name, text(&checkpoint.schema));
    writeln!(table, "| `{name}` | {says} | `{name}.json` |").unwrap();
    writeln!(table, "| `final.<any of the above but reverts, retractions and checkpoints>` | The same fact, once its block is final. | the same |").unwrap();
    write!(sections, "\n### `{name}`\n\n{says}\n").unwrap();
    sections.push_str(&example(name, name));
    table + &sections
}

fn decoders() -> String {
    let mut text = String::from(
        "\nThe members of `decoded`, by the decoder that the registry names for the protocol:\n\n| decoder | schema | events |\n|---|---|---|\n",
    );
    for decoder in Decoder::ALL.iter().copied() {
        let schema = event_schema(decoder);
        let branches = schema["properties"]["data"]["oneOf"].as_array().unwrap();
        let names = branches.iter().filter_map(|one| one["properties"]["name"]["const"].as_str());
        let names: Vec<&str> = names.collect();
        let name = decoder.name();
        writeln!(text, "| `{name}` | `chain.event.{name}.json` | {} |", names.join(", ")).unwrap();
    }
    text
}

/// The golden message, which has to be of the form.
fn example(name: &str, form: &str) -> String {
    let golden = golden(name);
    let subject = golden["subject"].as_str().unwrap();
    let tail = subject.strip_prefix("obsqra.v1.SN_MAIN.").unwrap();
    let (tokens, fixed): (Vec<&str>, Vec<&str>) =
        (tail.split('.').collect(), form.split('.').collect());
    assert_eq!(tokens.len(), fixed.len(), "{subject}");
    let fits = |(token, fixed): (&&str, &&str)| fixed.starts_with('<') || token == fixed;
    assert!(tokens.iter().zip(&fixed).all(fits), "{subject} is of the form {form}");
    let body = serde_json::to_string_pretty(&golden["body"]).unwrap();
    let id = golden["id"].as_str().map_or(String::new(), |id| format!(", id `{id}`"));
    format!("\n`{subject}`{id}:\n\n```json\n{body}\n```\n")
}

/// What the server says of the streams that the code makes.
async fn streams() -> String {
    let nats = TestNats::start().await;
    let (bus, chain) = (nats.bus().await, ChainId::new("SN_MAIN").unwrap());
    ChainStream::open(&bus, &chain, StreamLimits::default()).await.unwrap();
    ChainStream::open_final(&bus, &chain, StreamLimits::of_final()).await.unwrap();
    CheckpointStream::new(&bus, &chain).ensure().await.unwrap();
    let options = async_nats::ConnectOptions::new().token(nats.token());
    let jetstream = jetstream::new(options.connect(nats.url()).await.unwrap());
    let mut table = String::from(
        "\n## Streams\n\nFor each chain; the oldest messages go first.\n\n| stream | subjects | age | bytes | messages |\n|---|---|---|---|---|\n",
    );
    for name in ["OBSQRA_SN_MAIN", "OBSQRA_SN_MAIN-final", "OBSQRA_SN_MAIN-checkpoints"] {
        let config = jetstream.get_stream(name).await.unwrap().cached_info().config.clone();
        let subjects: Vec<String> = config
            .subjects
            .iter()
            .map(|one| format!("`{}`", one.replace("obsqra.v1.SN_MAIN.", "")))
            .collect();
        writeln!(
            table,
            "| `{}` | {} | {} days | {} MiB | {} |",
            name.replace("SN_MAIN", "<chain>"),
            subjects.join(", "),
            config.max_age.as_secs() / 86_400,
            config.max_bytes >> 20,
            config.max_messages,
        )
        .unwrap();
    }
    table + "\n"
}

#[tokio::test]
async fn the_committed_page_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ops/docs/subjects.md");
    let current = format!("{HEAD}{}{}{REST}", subjects(), streams().await);
    if std::env::var_os("OBSQRA_UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == current,
        "ops/docs/subjects.md is out of date: run this test with OBSQRA_UPDATE_SCHEMA=1 and look at the change"
    );
}

/// No schema is committed that nothing makes.
#[test]
fn every_committed_schema_belongs_to_a_message() {
    let mut made: Vec<String> =
        message_schemas().iter().map(|message| format!("{}.json", message.name)).collect();
    let decoders = Decoder::ALL.iter();
    made.extend(decoders.map(|decoder| format!("chain.event.{}.json", decoder.name())));
    made.sort();
    let files = std::fs::read_dir(schemas().join("schemas")).unwrap();
    let mut found: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, made);
}
