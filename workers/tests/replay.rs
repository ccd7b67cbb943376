//! Replays of a log with reorganisations: every filter against a selection made by hand, the canonical chain as of
//! every position, and the same bytes whatever was appended since.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use obsqra_bus::ReplayChannel;
use obsqra_devnode::SEEDED_REGISTRY;
use obsqra_events::merkle::{Frontier, leaf_hash};
use obsqra_events::{Entry, EventData, Fact, Kind, chain_hash, export_entry, export_manifest};
use obsqra_protocols::{Contracts, Decoder, Registry, layouts};
use obsqra_store::child_contract::{self, ChildContract};
use obsqra_store::{Role, Store, log};
use obsqra_testkit::{MadeBlock, StoredMessage, TestDatabase, TestNats, felt};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, EventIndex, Felt, Hash32,
    ProtocolId, RecordedAt, Seq, TransactionHash, UnixSeconds,
};
use obsqra_workers::replay::{
    self, CborEncoder, Depth, GroupLimit, Manifest, NdjsonEncoder, Pace, ParquetEncoder, Plan,
    Publication, ReplayError, Selection, protocol_of,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;
use support::{Script, chain};

/// A log and a reader of it, who may not write.
struct World {
    database: TestDatabase,
    writer: Store,
    reader: Store,
    script: Script,
}

impl World {
    /// A chain that was reorganised and came back once, with scores, allocations and retractions.
    async fn reorganised() -> Self {
        let mut world = Self::begin().await;
        world.script.thin(3);
        world.script.adopt_policies().await;
        world.script.grow(5).await;
        support::score(&world.writer).await;
        world.script.reorganise(2, 3).await;
        support::score(&world.writer).await;
        world.script.detour(2, 1).await;
        world.script.grow(2).await;
        support::score(&world.writer).await;
        support::propose(&world.writer).await;
        world.script.writer.finalize(2).await.unwrap();
        world
    }

    async fn begin() -> Self {
        let database = TestDatabase::create().await;
        let writer = database.store(Role::Writer).await;
        let reader = database.store(Role::Reader).await;
        let script = Script::start(&writer).await;
        Self { database, writer, reader, script }
    }

    async fn entries(&self) -> Vec<Entry> {
        log::read_after(&self.reader, Seq::BEFORE_FIRST, 1_000_000).await.unwrap()
    }

    async fn head(&self) -> Seq {
        log::head(&self.reader).await.unwrap().seq
    }

    async fn plan(&self, selection: Selection, depth: Depth) -> Result<Plan, ReplayError> {
        Plan::new(&self.reader, &chain(), selection, depth).await
    }

    async fn seqs(&self, selection: Selection, depth: Depth) -> Vec<u64> {
        let plan = self.plan(selection, depth).await.unwrap();
        let mut reader = plan.read(&self.reader).await.unwrap();
        let mut seqs = Vec::new();
        while let Some(batch) = reader.next().await.unwrap() {
            seqs.extend(batch.iter().map(|selected| selected.entry.seq.0));
        }
        assert_eq!(reader.finish().entries, seqs.len().to_string());
        seqs
    }

    async fn fails(&self, selection: Selection) -> ReplayError {
        self.plan(selection, Depth::Raw).await.expect_err("not to be replayed")
    }

    async fn bytes(&self, plan: Plan, format: Format) -> (Vec<u8>, Manifest) {
        let reader = plan.read(&self.reader).await.unwrap();
        let mut out = Vec::new();
        let manifest = match format {
            Format::Ndjson => replay::write(reader, NdjsonEncoder::new(&mut out)).await,
            Format::Cbor => replay::write(reader, CborEncoder::new(&mut out)).await,
            Format::Parquet => {
                let limit = GroupLimit { rows: 7, bytes: 1 << 20 };
                let encoder = ParquetEncoder::with_groups(&mut out, limit).unwrap();
                replay::write(reader, encoder).await
            }
        };
        (out, manifest.unwrap())
    }
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Ndjson,
    Cbor,
    Parquet,
}

const FORMATS: [(Format, Depth); 3] =
    [(Format::Ndjson, Depth::Told), (Format::Cbor, Depth::Raw), (Format::Parquet, Depth::Raw)];

/// The branch that is canonical at each height, by following the log up to a position.
fn canonical_at(entries: &[Entry], at: Seq) -> BTreeMap<BlockNumber, BranchEpoch> {
    let mut canonical = BTreeMap::new();
    for entry in entries.iter().take_while(|entry| entry.seq <= at) {
        let block = entry.draft.block;
        match (entry.draft.kind, block) {
            (Kind::BlockApplied, Some(block)) => {
                canonical.insert(block.number, block.epoch);
            }
            (Kind::BlockReverted, Some(block)) => {
                assert_eq!(canonical.remove(&block.number), Some(block.epoch));
            }
            _ => {}
        }
    }
    canonical
}

/// What a selection holds, said another way.
fn by_hand(entries: &[Entry], selection: &Selection, contracts: &Contracts) -> Vec<u64> {
    let end = entries.last().unwrap().seq;
    let to = selection.to.or(selection.known_at).unwrap_or(end);
    let canonical = canonical_at(entries, selection.known_at.unwrap_or(to));
    let is_selected = |entry: &&Entry| {
        let block = entry.draft.block;
        let number = block.map(|block| block.number);
        let time = block.map(|block| block.timestamp);
        let positions = selection.from <= entry.seq && entry.seq <= to;
        let kinds = selection.kinds.is_empty() || selection.kinds.contains(&entry.draft.kind);
        let heights = selection.from_block.is_none_or(|from| number >= Some(from))
            && selection.to_block.is_none_or(|to| number.is_some_and(|number| number <= to));
        let times = selection.since.is_none_or(|since| time >= Some(since))
            && selection.until.is_none_or(|until| time.is_some_and(|time| time < until));
        let protocols = selection.protocols.is_empty() || {
            let protocol = protocol_of(&entry.draft.fact().unwrap(), Some(contracts));
            protocol.is_some_and(|protocol| selection.protocols.contains(&protocol))
        };
        let asked = selection.as_of.is_some() || selection.known_at.is_some();
        let stands = !asked
            || block.is_some_and(|block| {
                canonical.get(&block.number) == Some(&block.epoch)
                    && selection.as_of.is_none_or(|as_of| block.number <= as_of)
            });
        positions && kinds && heights && times && protocols && stands
    };
    entries.iter().filter(is_selected).map(|entry| entry.seq.0).collect()
}

fn contracts() -> Contracts {
    Contracts::new(Arc::new(Registry::parse(&support::registry()).unwrap()))
}

fn protocol(id: &str) -> ProtocolId {
    ProtocolId::new(id).unwrap()
}

/// Every combination of some ranges, heights, times, kinds, protocols and chains.
fn selections(entries: &[Entry]) -> Vec<Selection> {
    let end = entries.last().unwrap().seq;
    let middle = Seq(end.0 / 2);
    let times: Vec<UnixSeconds> =
        entries.iter().filter_map(|entry| Some(entry.draft.block?.timestamp)).collect();
    let time = times[times.len() / 3];
    let positions =
        [(Seq(1), None), (Seq(end.0 / 3), Some(Seq(end.0 - 3))), (middle, Some(middle))];
    let heights =
        [(None, None), (Some(BlockNumber(2)), Some(BlockNumber(4))), (None, Some(BlockNumber(1)))];
    let clocks = [(None, None), (Some(time), None), (None, Some(time))];
    let kinds: [&[Kind]; 4] = [
        &[],
        &[Kind::Event, Kind::Retracted],
        &[Kind::BlockApplied, Kind::RiskAbsent, Kind::Adopted],
        &[Kind::BlockReverted],
    ];
    let protocols: [&[&str]; 3] = [&[], &["zklend"], &["ekubo", "erc20"]];
    let chains = [
        (None, None),
        (Some(BlockNumber(3)), None),
        (None, Some(Seq(end.0 - 3))),
        (Some(BlockNumber(2)), Some(end)),
    ];
    let mut all = Vec::new();
    for (from, to) in positions {
        for (from_block, to_block) in heights {
            for (since, until) in clocks {
                for kinds in kinds {
                    for protocols in protocols {
                        for (as_of, known_at) in chains {
                            all.push(Selection {
                                from,
                                to,
                                from_block,
                                to_block,
                                since,
                                until,
                                kinds: kinds.iter().copied().collect(),
                                protocols: protocols.iter().map(|id| protocol(id)).collect(),
                                as_of,
                                known_at,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn every_filter_alone_and_together_selects_what_a_plain_loop_does() {
    let world = World::reorganised().await;
    let entries = world.entries().await;
    let contracts = contracts();
    let (mut some, mut refused) = (0, 0);
    for selection in selections(&entries) {
        let expected = by_hand(&entries, &selection, &contracts);
        if selection.check().is_err() {
            assert_eq!(expected, [0; 0], "refused: {selection:?}");
            refused += 1;
            continue;
        }
        let at = selection.known_at.or(selection.to).unwrap_or(entries.last().unwrap().seq);
        let tip = canonical_at(&entries, at).keys().max().copied();
        if selection.as_of.is_some_and(|as_of| tip.is_none_or(|tip| as_of > tip)) {
            let failed = world.fails(selection).await;
            assert!(matches!(failed, ReplayError::BeyondTip { .. }), "{failed}");
            continue;
        }
        some += usize::from(!expected.is_empty());
        let depth = if some % 2 == 0 { Depth::Raw } else { Depth::Told };
        assert_eq!(world.seqs(selection.clone(), depth).await, expected, "{selection:?}");
    }
    assert!(some > 300 && refused > 20, "{some} hold something, {refused} are refused");
}

#[tokio::test]
async fn the_canonical_chain_is_that_of_each_position() {
    let world = World::reorganised().await;
    let entries = world.entries().await;
    let contracts = contracts();
    for at in entries.iter().map(|entry| entry.seq) {
        let selection = Selection { known_at: Some(at), ..Selection::default() };
        let expected = by_hand(&entries, &selection, &contracts);
        assert_eq!(world.seqs(selection, Depth::Raw).await, expected, "known at {at}");
        let Some(tip) = canonical_at(&entries, at).keys().max().copied() else { continue };
        let selection = Selection { to: Some(at), as_of: Some(tip), ..Selection::default() };
        assert_eq!(world.seqs(selection, Depth::Raw).await, expected, "as of {tip} at {at}");
        let above = Selection { to: Some(at), as_of: Some(tip.next()), ..Selection::default() };
        let said = world.fails(above).await.to_string();
        assert!(said.contains(&format!("ends at block {tip}")), "{said}");
    }
    let none =
        Selection { known_at: Some(Seq(1)), as_of: Some(BlockNumber(0)), ..Selection::default() };
    let said = world.fails(none).await.to_string();
    assert!(said.contains("has no block"), "{said}");
}

#[tokio::test]
async fn what_the_log_has_not_is_named() {
    let world = World::reorganised().await;
    let head = world.head().await;
    let beyond = Some(head.next());
    for (selection, option) in [
        (Selection { to: beyond, ..Selection::default() }, "--to-seq"),
        (Selection { known_at: beyond, ..Selection::default() }, "--known-at"),
        (Selection { from: head.next(), ..Selection::default() }, "--from-seq"),
    ] {
        let error = world.fails(selection).await;
        assert!(!error.is_wrong_use());
        let said = error.to_string();
        assert!(
            said.contains(&format!("{option} {}: the log ends at {head}", head.next())),
            "{said}"
        );
    }
    let protocols = BTreeSet::from([protocol("zklend"), protocol("nobody")]);
    let error = world.fails(Selection { protocols, ..Selection::default() }).await;
    assert!(error.is_wrong_use() && error.to_string().contains("--protocol nobody"), "{error}");
    let error = world.fails(Selection { from: Seq(0), ..Selection::default() }).await;
    assert!(error.is_wrong_use(), "{error}");
    // A range that is there and holds nothing of what is asked for is no error.
    let nothing = Selection { from_block: Some(BlockNumber(1_000)), ..Selection::default() };
    assert_eq!(world.seqs(nothing.clone(), Depth::Told).await, [0; 0]);
    for (format, depth) in FORMATS {
        let plan = world.plan(nothing.clone(), depth).await.unwrap();
        let (_, manifest) = world.bytes(plan, format).await;
        let empty = Frontier::new().root().to_string();
        assert_eq!((manifest.root, manifest.first_seq, manifest.is_whole), (empty, None, false));
    }
}

#[tokio::test]
async fn an_entry_that_is_gone_is_an_error_of_the_whole_range() {
    let world = World::reorganised().await;
    world
        .database
        .execute("SET session_replication_role = replica; DELETE FROM log WHERE seq = 9")
        .await;
    let plan = world.plan(Selection::default(), Depth::Raw).await.unwrap();
    let reader = plan.read(&world.reader).await.unwrap();
    let ended = replay::write(reader, CborEncoder::new(Vec::new())).await;
    assert!(matches!(ended, Err(ReplayError::Missing(Seq(9)))), "{ended:?}");
}

#[tokio::test]
async fn a_closed_range_gives_the_same_bytes_whatever_is_appended() {
    let mut world = World::reorganised().await;
    let head = world.head().await;
    let whole = Selection { to: Some(head), ..Selection::default() };
    let canonical = Selection {
        as_of: Some(BlockNumber(4)),
        kinds: BTreeSet::from([Kind::Event, Kind::RiskScored, Kind::RiskAbsent]),
        ..whole.clone()
    };
    let mut first = Vec::new();
    let mut begun = Vec::new();
    for selection in [&whole, &canonical] {
        for (format, depth) in FORMATS {
            let plan = world.plan(selection.clone(), depth).await.unwrap();
            first.push(world.bytes(plan.clone(), format).await);
            begun.push((plan, format, selection, depth));
        }
    }
    // Blocks of the range are reverted while replays of it are under way.
    world.script.reorganise(4, 5).await;
    support::score(&world.writer).await;
    for ((plan, format, selection, depth), first) in begun.into_iter().zip(first) {
        assert!(first.1.entries.parse::<u64>().unwrap() > 10, "{:?}", first.1);
        assert_eq!(world.bytes(plan, format).await, first, "begun before: {format:?}");
        let again = world.plan(selection.clone(), depth).await.unwrap();
        assert_eq!(world.bytes(again, format).await, first, "begun after: {format:?}");
    }
    // An open range is the closed one that its manifest names.
    let open = Selection { known_at: Some(head), ..Selection::default() };
    let (open, _) = world.bytes(world.plan(open, Depth::Raw).await.unwrap(), Format::Cbor).await;
    let tip = canonical_at(&world.entries().await, head).keys().max().copied();
    let closed =
        Selection { to: Some(head), known_at: Some(head), as_of: tip, ..Selection::default() };
    let (closed, _) =
        world.bytes(world.plan(closed, Depth::Raw).await.unwrap(), Format::Cbor).await;
    assert_eq!(open, closed);
}

fn hash(value: &Value) -> Hash32 {
    value.as_str().unwrap().parse().unwrap()
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn lines_hold_what_gives_the_root_and_lead_from_one_end_of_the_log_to_the_other() {
    let world = World::reorganised().await;
    let selection = Selection { from: Seq(2), ..Selection::default() };
    let plan = world.plan(selection, Depth::Told).await.unwrap();
    let (bytes, manifest) = world.bytes(plan, Format::Ndjson).await;
    let lines: Vec<Value> = bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!(last, &serde_json::to_value(&manifest).unwrap());
    assert_eq!(last["schema"], "obsqra.replay.v1");
    assert_eq!(last["isWhole"], true);
    let entries = world.entries().await;
    let mut tree = Frontier::new();
    let mut reached = hash(&last["range"]["previousHash"]);
    for (line, entry) in lines.iter().zip(&entries[1..]) {
        let seq = Seq(number(&line["seq"]));
        let recorded_at = RecordedAt(number(&line["recordedAt"]));
        let content_hash = hash(&line["contentHash"]);
        assert_eq!(hex::decode(line["payload"].as_str().unwrap()).unwrap(), entry.draft.payload);
        assert_eq!((seq, content_hash), (entry.seq, entry.draft.recomputed_content_hash()));
        assert_eq!(line["kind"], entry.draft.kind.name());
        reached = chain_hash(seq, recorded_at, &content_hash, &reached);
        assert_eq!(reached, hash(&line["hash"]));
        let mut leaf = seq.0.to_be_bytes().to_vec();
        leaf.extend(recorded_at.0.to_be_bytes());
        leaf.extend(content_hash.as_bytes());
        leaf.extend(reached.as_bytes());
        tree.push(leaf_hash(&leaf));
    }
    assert_eq!(lines.len() + 1, entries.len());
    assert_eq!(tree.root().to_string(), manifest.root);
    assert_eq!(reached, hash(&last["range"]["lastHash"]));
    assert_eq!(reached, log::head(&world.reader).await.unwrap().hash);
    let decoded = lines.iter().filter(|line| line["data"]["decoded"].is_object()).count();
    assert!(decoded > 10, "{decoded} events are decoded");
}

#[tokio::test]
async fn cbor_has_the_items_of_an_export() {
    let world = World::reorganised().await;
    let kinds = BTreeSet::from([Kind::Event]);
    let plan = world.plan(Selection { kinds, ..Selection::default() }, Depth::Raw).await.unwrap();
    let (bytes, manifest) = world.bytes(plan, Format::Cbor).await;
    let entries = world.entries().await;
    let events = entries.iter().filter(|entry| entry.draft.kind == Kind::Event);
    let mut expected: Vec<u8> = events.flat_map(export_entry).collect();
    expected.extend(export_manifest(&manifest.line().unwrap()));
    assert_eq!(bytes, expected);
    assert!(!manifest.is_whole);
}

#[tokio::test]
async fn parquet_reads_back_as_the_entries() {
    let world = World::reorganised().await;
    let plan = world.plan(Selection::default(), Depth::Raw).await.unwrap();
    let (bytes, manifest) = world.bytes(plan, Format::Parquet).await;
    let entries = world.entries().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let footer = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let told: BTreeMap<&str, &str> =
        footer.iter().map(|one| (one.key.as_str(), one.value.as_deref().unwrap())).collect();
    assert_eq!(told["obsqra.replay"], manifest.line().unwrap());
    assert_eq!(told["obsqra.root"], manifest.root);
    assert!(reader.num_row_groups() > 5);
    let mut rows = reader.get_row_iter(None).unwrap();
    for entry in &entries {
        let row = rows.next().unwrap().unwrap();
        let draft = &entry.draft;
        assert_eq!(row.get_long(0).unwrap(), i64::try_from(entry.seq.0).unwrap());
        assert_eq!(row.get_timestamp_micros(1).unwrap(), entry.recorded_at.0);
        assert_eq!(row.get_string(2).unwrap(), draft.kind.name());
        assert_eq!(row.get_int(3).unwrap(), i32::from(draft.version));
        assert_eq!(row.get_string(4).unwrap(), draft.chain.as_str());
        let block = draft.block.map(|block| {
            let number = i64::try_from(block.number.0).unwrap();
            let millis = i64::try_from(block.timestamp.0 * 1_000).unwrap();
            (number, i32::try_from(block.epoch.0).unwrap(), millis)
        });
        let found = row
            .get_long(5)
            .ok()
            .map(|number| (number, row.get_int(6).unwrap(), row.get_timestamp_millis(7).unwrap()));
        assert_eq!(found, block, "entry {}", entry.seq);
        assert_eq!(row.get_bytes(8).unwrap().data(), draft.payload);
        assert_eq!(row.get_bytes(9).unwrap().data(), draft.content_hash.as_bytes());
        assert_eq!(row.get_bytes(10).unwrap().data(), entry.hash.as_bytes());
    }
    assert!(rows.next().is_none());
    in_python(file.path(), &manifest, entries.len());
}

/// Another reader's view of the file, where one is installed.
fn in_python(file: &std::path::Path, manifest: &Manifest, rows: usize) {
    let script = "import sys\ntry:\n    import pyarrow.parquet as parquet\nexcept ImportError:\n    print('skipped')\n    sys.exit()\n\
        table = parquet.read_table(sys.argv[1])\n\
        print(table.num_rows, table.schema.metadata[b'obsqra.root'].decode(), table['seq'].to_pylist() == list(range(1, table.num_rows + 1)), table['block_number'].null_count > 0)";
    let Ok(told) = Command::new("python3").args(["-c", script]).arg(file).output() else {
        println!("skipped: there is no python3");
        return;
    };
    let said = String::from_utf8_lossy(&told.stdout);
    if said.trim() == "skipped" {
        println!("skipped: python3 has no pyarrow");
        return;
    }
    let expected = format!("{rows} {} True True", manifest.root);
    assert_eq!(said.trim(), expected, "{}", String::from_utf8_lossy(&told.stderr));
}

const CHILD: u64 = 0xc1;

/// An event of a pair that no registry lists; with `created` the factory's word for it comes first.
fn child_block(number: u64, epoch: u32, parent: Felt, created: bool) -> MadeBlock {
    let registry = Registry::parse(SEEDED_REGISTRY).unwrap();
    let factory = registry.factories().find(|one| one.decoder == Decoder::JediSwapV1).unwrap();
    let pair_created = layouts(Decoder::JediSwapV1).find(|one| one.name == "PairCreated").unwrap();
    let event = |index: u32, from: ContractAddress, key: Felt, data: Vec<Felt>| EventData {
        index: EventIndex(index),
        transaction_index: 0,
        transaction_hash: TransactionHash(felt(7_000 + number)),
        from_address: from,
        keys: vec![key],
        data,
    };
    let mut events = Vec::new();
    if created {
        let data = vec![felt(1), felt(2), felt(CHILD), felt(1)];
        events.push(event(0, factory.address, pair_created.selector, data));
    }
    events.push(event(1, ContractAddress(felt(CHILD)), felt(3), Vec::new()));
    let timestamp = UnixSeconds(2_000_000_000 + number);
    let at = BlockRef { number: BlockNumber(number), epoch: BranchEpoch(epoch), timestamp };
    let hash = BlockHash(felt(90_000 + 1_000 * u64::from(epoch) + number));
    MadeBlock { at, hash, parent: BlockHash(parent), events }
}

#[tokio::test]
async fn children_of_factories_count_from_where_they_are_announced() {
    let mut world = World::begin().await;
    world.script.thin(3);
    world.script.grow(2).await;
    let writer = &world.script.writer;
    let early = child_block(2, 0, world.script.tip().hash, false);
    let (hash, before) = (early.hash.0, writer.append(writer.made(early), 0).await.unwrap());
    let creating = child_block(3, 0, hash, true);
    let (hash, at) = (creating.hash.0, creating.at);
    let created = writer.append(writer.made(creating), 0).await.unwrap();
    let announced = Seq(created.after.seq.0 - 1);
    let (address, index) = (ContractAddress(felt(CHILD)), EventIndex(0));
    let row = ChildContract { address, block: at.number, epoch: at.epoch, index, seq: announced };
    let mut tx = world.writer.begin().await.unwrap();
    child_contract::save(&mut tx, &chain(), &[row]).await.unwrap();
    tx.commit().await.unwrap();
    let above = writer.append(writer.made(child_block(4, 0, hash, false)), 0).await.unwrap();
    let other = child_block(3, 1, felt(90_002), false);
    let replaced = writer.replace(2, writer.made(other), 1).await.unwrap();
    let of_child = [created.after.seq.0, above.after.seq.0];
    let never = [before.after.seq.0, replaced.after.seq.0];
    let select = |from: u64, from_block: Option<u64>| Selection {
        from: Seq(from),
        from_block: from_block.map(BlockNumber),
        protocols: BTreeSet::from([protocol("jediswap_v1")]),
        kinds: BTreeSet::from([Kind::Event]),
        ..Selection::default()
    };
    for (selection, begins) in [
        (select(1, None), 0),
        (select(1, Some(3)), 0),
        (select(created.after.seq.0, None), 0),
        (select(above.after.seq.0, Some(4)), 1),
        (select(created.after.seq.0 + 1, None), 1),
    ] {
        let found = world.seqs(selection.clone(), Depth::Raw).await;
        for seq in &of_child[begins..] {
            assert!(found.contains(seq), "{seq} of {selection:?}: {found:?}");
        }
        assert!(never.iter().all(|seq| !found.contains(seq)), "{selection:?}: {found:?}");
    }
}

fn seq_of(message: &StoredMessage) -> u64 {
    message.position("Obsqra-Seq")
}

#[tokio::test]
async fn a_replay_onto_subjects_is_the_same_entries_in_order_and_again_the_same() {
    let world = World::reorganised().await;
    let nats = TestNats::start().await;
    nats.make_stream("ANALYST", "obsqra.replay.alice.>").await;
    let bus = nats.bus().await;
    let publish = async |name: &str, pace: Pace| {
        let plan = world.plan(Selection::default(), Depth::Told).await.unwrap();
        let reader = plan.read(&world.reader).await.unwrap();
        let channel = ReplayChannel::new(&bus, name.parse().unwrap());
        Publication::new(channel, pace).run(reader).await.unwrap()
    };
    let manifest = publish("alice", Pace::Full).await;
    let first = nats.messages("ANALYST").await;
    let (end, messages) = first.split_last().unwrap();
    assert_eq!(end.subject, "obsqra.replay.alice.end");
    assert_eq!(end.body, manifest.line().unwrap().into_bytes());
    let entries = world.entries().await;
    assert_eq!(messages.len(), entries.len());
    let mut tails: BTreeMap<&str, u64> = BTreeMap::new();
    for (message, entry) in messages.iter().zip(&entries) {
        assert_eq!(seq_of(message), entry.seq.0);
        assert_eq!(message.header("Obsqra-Kind"), entry.draft.kind.name());
        let before = tails.insert(&message.subject, entry.seq.0).unwrap_or(0);
        assert_eq!(message.position("Obsqra-Prev"), before, "{}", message.subject);
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(body["contentHash"], entry.draft.content_hash.to_string());
        assert!(
            message.subject.starts_with("obsqra.replay.alice.OBSQRA_DEV."),
            "{}",
            message.subject
        );
    }
    for tail in ["chain.block_applied", "adopted", "chain.event", "retracted.risk.absent"] {
        let subject = format!("obsqra.replay.alice.OBSQRA_DEV.{tail}");
        assert!(tails.contains_key(subject.as_str()), "{tail} in {tails:?}");
    }
    // Paced by the chain's clock it is the same, only later.
    publish("alice", Pace::Times(1_000_000.0)).await;
    let both = nats.messages("ANALYST").await;
    let told = |messages: &[StoredMessage]| -> Vec<(String, Vec<u8>)> {
        messages.iter().map(|one| (one.subject.clone(), one.body.clone())).collect()
    };
    assert_eq!(told(&both[..first.len()]), told(&both[first.len()..]));
    // A stream that listens to a part of the subjects gets that part, and nobody waits for the rest.
    nats.make_stream("EVENTS", "obsqra.replay.bob.*.event.>").await;
    publish("bob", Pace::Full).await;
    let contracts = contracts();
    let known = entries.iter().filter(|entry| match entry.draft.fact().unwrap() {
        Fact::Event(event) => contracts.get(&event.from_address).is_some(),
        _ => false,
    });
    let known: Vec<u64> = known.map(|entry| entry.seq.0).collect();
    let kept: Vec<u64> = nats.messages("EVENTS").await.iter().map(seq_of).collect();
    assert_eq!(kept, known);
}
