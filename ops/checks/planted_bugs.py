#!/usr/bin/env python3
"""Plants one bug at a time in the work tree and shows that a test notices it.

Each bug is one that a log, a follower or a worker of this kind is likely to have. The tests named beside it
have to fail with the bug in place; one that passes is a hole in the tests. Without --run the script only
checks that every bug can still be planted, which is quick and part of ops/test. With --run it needs a clean
work tree and a database for tests (OBSQRA_TEST_DATABASE_URL), changes a file, runs the tests, and puts the
file back; it takes a few minutes a bug.
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name, file, text, text with the bug, test binary, filter
BUGS = [
    (
        "polling cursor without the head lock",
        "migrations/20261121000030_append_functions.sql",
        "    FROM public.log_head h\n    FOR UPDATE;",
        "    FROM public.log_head h;",
        "concurrency",
        "a_reader_misses_nothing",
    ),
    (
        "key without branch epoch",
        "indexer/src/follower/write.rs",
        "let epoch = BranchEpoch(tip.epoch.0 + 1);",
        "let epoch = tip.epoch;",
        "follower",
        "reorgs::a_block_that_comes_back",
    ),
    (
        "cursor outside the transaction",
        "workers/src/jobs/deriving.rs",
        "            snapshot.save(&mut tx).await?;\n        }\n",
        "            snapshot.save(&mut tx).await?;\n        }\n"
        "        tx.commit().await.map_err(StoreError::from)?;\n"
        "        tokio::time::sleep(std::time::Duration::from_millis(50)).await;\n"
        "        let mut tx = self.store.begin().await?;\n",
        "kill",
        "",
    ),
    (
        "no fence",
        "migrations/20261121000030_append_functions.sql",
        "    WHERE l.partition = held_partition AND l.epoch = held_epoch\n",
        "    WHERE l.partition = held_partition\n",
        "fencing",
        "who_was_taken_over",
    ),
    (
        "retraction skipped",
        "workers/src/jobs/retract.rs",
        "        let due = self.due(&reverts).await?;\n",
        "        let mut due = self.due(&reverts).await?;\n        due.pop();\n",
        "retractions",
        "each_fact_of_a_reverted_block",
    ),
    (
        "parent check skipped after restart",
        "indexer/src/planner/mod.rs",
        "        if continues(link, below) {\n            return self.hold(offer, After::Fetch);",
        "        if continues(link, below)\n            || self.held.is_empty() && link.id.number == below.number.next()\n        {\n"
        "            return self.hold(offer, After::Fetch);",
        "simulator",
        "",
    ),
]

# Migrations are embedded when this file is compiled.
EMBEDS_MIGRATIONS = ROOT / "schema/store/src/migrate.rs"


def planted(file, text, bug):
    found = (ROOT / file).read_text()
    if found.count(text) != 1:
        raise SystemExit(f"{file}: the text to change is there {found.count(text)} times, not once")
    return found, found.replace(text, bug)


def run(name, file, text, bug, binary, only):
    before, after = planted(file, text, bug)
    path = ROOT / file
    try:
        path.write_text(after)
        EMBEDS_MIGRATIONS.touch()
        build = ["cargo", "test", "--quiet", "--workspace", "--test", binary]
        subprocess.run([*build, "--no-run"], cwd=ROOT, check=True)
        done = subprocess.run([*build, "--", only], cwd=ROOT, capture_output=True, text=True)
    finally:
        path.write_text(before)
        EMBEDS_MIGRATIONS.touch()
    caught = done.returncode != 0
    failed = [line for line in done.stdout.splitlines() if line.startswith("test ") and "FAILED" in line]
    print(f"{'caught' if caught else 'MISSED'}  {name}  by {binary}", *failed, sep="\n        ", flush=True)
    return caught


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="store_true", help="run the tests with each bug")
    parser.add_argument("--only", metavar="WORD", default="", help="bugs with this word in their name")
    options = parser.parse_args()
    bugs = [bug for bug in BUGS if options.only in bug[0]]
    if not options.run:
        for _, file, text, bug, _, _ in bugs:
            planted(file, text, bug)
        print(f"{len(bugs)} bugs can be planted")
        return 0
    status = ["git", "status", "--porcelain", "--untracked-files=no"]
    if subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout:
        raise SystemExit("the work tree has changes: commit them first, the bugs are planted in it")
    caught = [run(*bug) for bug in bugs]
    print(f"{sum(caught)} of {len(caught)} bugs caught")
    return 0 if all(caught) else 1


if __name__ == "__main__":
    sys.exit(main())
