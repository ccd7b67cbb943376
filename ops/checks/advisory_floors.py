"""Fails if Cargo.lock holds a version below a floor of advisory_floors.toml.

Compares version numbers only; build metadata is ignored, and a pre-release counts as its release.
"""

import pathlib
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
LOCK = HERE.parent.parent / "Cargo.lock"


def number(version):
    release = version.split("+")[0].split("-")[0]
    return tuple(int(part) for part in release.split("."))


def affected(version, floor):
    return number(floor.get("from", "0")) <= number(version) < number(floor["fixed"])


def complaints(packages, floors):
    for package in packages:
        for floor in floors:
            if package["name"] == floor["crate"] and affected(package["version"], floor):
                yield (
                    f"{package['name']} {package['version']}: {floor['advisory']}, "
                    f"fixed in {floor['fixed']}: {floor['reason']}"
                )


def main():
    packages = tomllib.loads(LOCK.read_text())["package"]
    floors = tomllib.loads((HERE / "advisory_floors.toml").read_text())["floor"]
    found = list(complaints(packages, floors))
    for complaint in found:
        print(complaint)
    print(f"{len(floors)} floors, {len(packages)} packages, {len(found)} below a floor")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
