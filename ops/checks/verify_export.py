"""Verifies what `obsqra log export` wrote, with none of its code: every position, content hash and
entry hash, the chain of checkpoints, and, where the range begins at entry 1, their Merkle roots.
Signatures are left to `obsqra log check-proof`. Needs python3-cbor2.
"""

import hashlib
import sys
import cbor2


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def int64(number):
    return number.to_bytes(8, "big")


def need(holds, problem):
    if not holds:
        raise ValueError(problem)


def push(peaks, leaf):
    """Adds a leaf to a Merkle tree kept as (leaves, root) of its perfect subtrees."""
    size, node = 1, sha256(b"\x00", leaf)
    while peaks and peaks[-1][0] == size:
        node, size = sha256(b"\x01", peaks.pop()[1], node), size * 2
    peaks.append((size, node))


def root(peaks):
    node = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        node = sha256(b"\x01", left, node)
    return node


def verify(items):
    tag, first, last, previous = next(items)
    need(tag == "obsqra.export.v1" and first >= 1, "not an export")
    need(first > 1 or previous == bytes(32), "entry 1 has nothing before it")
    seq, clock, peaks, checkpoints, before = first - 1, 0, [], 0, bytes(32) if first == 1 else None
    for tag, *item in items:
        if tag == "entry":
            seq += 1
            number, recorded_at, kind, version, chain, block, payload, content_hash, entry_hash = item
            need(number == seq, f"entry {seq} is missing")
            need(recorded_at >= clock, f"entry {seq}: recorded before the one before it")
            fact = b"\x85" + b"".join(map(cbor2.dumps, (kind, version, chain, block))) + payload
            need(sha256(fact) == content_hash, f"entry {seq}: content hash")
            previous = sha256(b"\x00", int64(seq), int64(recorded_at), content_hash, previous)
            need(previous == entry_hash, f"entry {seq}: entry hash")
            clock = recorded_at
            push(peaks, previous)
        elif tag == "checkpoint":
            domain, at, head, signed_root, time, link = cbor2.loads(item[0])
            need(domain == "obsqra.checkpoint.v1" and at == seq, f"checkpoint at {at}: out of place")
            need((head, time) == (previous, clock), f"checkpoint at {at}: not of its entry")
            need(first > 1 or signed_root == root(peaks), f"checkpoint at {at}: root")
            need(before in (None, link), f"checkpoint at {at}: does not follow the one before")
            before, checkpoints = sha256(item[0]), checkpoints + 1
        else:
            need([tag, *item] == ["end", seq - first + 1, checkpoints] and seq == last, "cut off")
            return f"{seq - first + 1} entries up to {seq}, {checkpoints} checkpoints: {previous.hex()}"


def items_of(file):
    decoder = cbor2.CBORDecoder(file)
    while True:
        yield decoder.decode()


if __name__ == "__main__":
    try:
        with open(sys.argv[1], "rb") as file:
            print(verify(items_of(file)))
    except Exception as problem:
        sys.exit(f"verify_export: {problem or 'not an export'}")
