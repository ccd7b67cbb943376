"""The registry, and the contracts that events announce.

A contract that a factory announces is followed from that event on. What the registry lists itself, or an
earlier event announced, stays as it is.
"""

import json
import os
from typing import NamedTuple

# Decoder and event: the member that is the contract, its role, and whether the event names two tokens.
ANNOUNCEMENTS = {
    ("zklend", "NewReserve"): ("z_token", "z_token", False),
    ("jediswap_v1", "PairCreated"): ("pair", "pair", True),
    ("jediswap_v2", "PoolCreated"): ("pool", "pool", True),
    ("vesu_v2", "CreatePool"): ("pool", "pool", False),
}


class Contract(NamedTuple):
    """A watched contract: `tokens` are those of a pool, `asset` is that of a share or of a debt."""

    address: int
    protocol: str
    decoder: str
    role: str
    tokens: tuple | None = None
    asset: int | None = None


def load(path):
    """One document: a registry file, or a directory with `chain.json` and a file for each protocol."""
    if not os.path.isdir(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    raw = load(os.path.join(path, "chain.json"))
    names = sorted(name for name in os.listdir(path) if name != "chain.json")
    raw["protocols"] = [load(os.path.join(path, name)) for name in names]
    return raw


class Registry:
    """The members of the registry that the numbers need, addresses as integers."""

    def __init__(self, path):
        raw = load(path)
        self.usdc = int(raw["quote_token"], 16)
        self.decimals = {int(token["address"], 16): token["decimals"] for token in raw["tokens"]}
        self.symbols = {int(token["address"], 16): token["symbol"] for token in raw["tokens"]}
        self.contracts = {}
        for protocol in raw["protocols"]:
            for listed in protocol["contracts"]:
                self.add(
                    int(listed["address"], 16),
                    (protocol["id"], protocol["decoder"], listed["role"]),
                    tokens=tuple(int(listed[side], 16) for side in ("token0", "token1") if side in listed) or None,
                    asset=int(listed["asset"], 16) if "asset" in listed else None,
                )

    def add(self, address, kind, tokens=None, asset=None):
        """Follows a contract, unless it is followed already."""
        self.contracts.setdefault(address, Contract(address, *kind, tokens, asset))

    def announce(self, emitter, name, event):
        """Follows the contract that an event announces."""
        if (emitter.decoder, name) in ANNOUNCEMENTS:
            member, role, has_tokens = ANNOUNCEMENTS[(emitter.decoder, name)]
            tokens = (event["token0"], event["token1"]) if has_tokens else None
            self.add(event[member], (emitter.protocol, emitter.decoder, role), tokens=tokens)

    def scale(self, token):
        """The power of ten between a price and a ratio of raw amounts of USDC and the token."""
        return 10 ** (18 + self.decimals[token] - self.decimals[self.usdc])

    def symbol(self, token):
        """The token's symbol, or its address."""
        return self.symbols.get(token, hex(token))
