"""Fails if a compose file is not YAML, or a service in it lacks what a service needs.

Nothing is built or started.
"""

import sys

import yaml


def complaints(compose):
    services = compose.get("services") or {}
    if not services:
        yield "there is no service"
    for name, service in services.items():
        if not ({"image", "build"} & service.keys()):
            yield f"{name}: neither image nor build"
        for other in service.get("depends_on", {}):
            if other not in services:
                yield f"{name}: depends on {other}, which is not there"
        for kind in ("secrets", "volumes"):
            for used in service.get(kind, []):
                yield from undeclared(name, kind, used, compose)


def undeclared(name, kind, used, compose):
    source = used["source"] if isinstance(used, dict) else used.split(":")[0]
    if not source.startswith((".", "/")) and source not in (compose.get(kind) or {}):
        yield f"{name}: {source} is not declared under {kind}"


def main(path):
    with open(path, encoding="utf-8") as file:
        compose = yaml.safe_load(file)
    found = list(complaints(compose))
    for complaint in found:
        print(f"{path}: {complaint}")
    print(f"{len(compose.get('services') or {})} services, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
