"""Fails if a package of the workspace depends on one that it must not know, or on a crate that only
another may use.

The tables below are the whole rule: a package that is not in MAY_USE fails too.
"""

import json
import subprocess
import sys

PREFIX = "obsqra-"

SCHEMA = {"types", "events", "protocols", "policy", "store", "bus"}

# What each package may depend on, tests aside.
MAY_USE = {
    "types": set(),
    "events": {"types"},
    "protocols": {"types", "events"},
    "policy": {"types", "events"},
    "store": {"types", "events", "protocols", "policy"},
    "bus": {"types", "events", "protocols", "policy"},
    "proof": {"types", "events", "policy"},
    "indexer": SCHEMA,
    "workers": SCHEMA | {"proof"},
    "graphql": SCHEMA,
    "devnode": {"types", "events", "protocols"},
    "servers": set(),
    "testkit": SCHEMA | {"servers"},
    "cli": SCHEMA | {"proof", "indexer", "workers", "graphql", "devnode", "servers"},
}

# What any package's tests may use on top of that.
FOR_TESTS = {"testkit", "devnode"}

# Crates, by the start of their name, that only these packages may use, in tests too.
RESERVED = {
    "sqlx": {"store", "testkit"},
    "async-nats": {"bus", "testkit"},
    "async-graphql": {"graphql"},
    "anyhow": {"cli"},
    "stwo": {"proof"},
}


def workspace():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def inner_complaint(name, dependency, for_tests):
    allowed = MAY_USE[name] | (FOR_TESTS if for_tests else set())
    if dependency not in allowed:
        what = "its tests must not depend" if for_tests else "it must not depend"
        return f"{name}: {what} on {dependency}"
    return None


def outer_complaint(name, dependency):
    for start, owners in RESERVED.items():
        if dependency.startswith(start) and name not in owners:
            return f"{name}: only {' and '.join(sorted(owners))} may depend on {dependency}"
    return None


def complaints(packages):
    for package in packages:
        name = package["name"].removeprefix(PREFIX)
        if name not in MAY_USE:
            yield f"{name}: not in the table of {__file__}"
            continue
        for dependency in package["dependencies"]:
            other = dependency["name"]
            if other.startswith(PREFIX):
                complaint = inner_complaint(name, other.removeprefix(PREFIX), dependency["kind"] == "dev")
            else:
                complaint = outer_complaint(name, other)
            if complaint:
                yield complaint


def main():
    packages = workspace()
    found = list(complaints(packages))
    for complaint in found:
        print(complaint)
    print(f"{len(packages)} packages, {len(found)} dependencies against the direction")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
