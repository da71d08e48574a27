#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets into fuzz/corpus, from containers of the independent writer."""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "tests/independent_reader"))
sys.dont_write_bytecode = True

import writer  # noqa: E402
from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: E402


def put(target: str, name: str, data: bytes) -> None:
    folder = here / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def command(what: int, anchor: int, distance: int, value: bytes) -> bytes:
    """One command of src/mutate.rs."""
    return bytes([what, anchor]) + distance.to_bytes(2, "little") + value


def main() -> None:
    keys = here.parent / "vectors/keys"
    one, two = (
        writer.Recipient(load_pem_public_key((keys / f"test-{name}.spki.pem").read_bytes()), locators=["vault/key@1"])
        for name in ("rsa2048", "rsa3072")
    )
    disk = bytes(range(256)) * 256 + bytes(131072) + b"end" * 1000
    for suite in (1, 2, 3):
        layer2 = [two] if suite == 3 else []
        container = writer.build(
            writer.Recipe([one], layer2, suite, labels={"disk": "c", "host": "h"}, tlvs=[(1, b"x")], source=bytes(32)), disk
        )
        put("head", f"suite-{suite}", bytes(container.heads[0][:32736]).rstrip(b"\0"))
        put("page", f"suite-{suite}", bytes(container.pages[0]))
        put("index_footer", f"suite-{suite}", b"\0" + bytes(container.footer) + bytes(container.index))
        for mends in (0, 7):
            for name, commands in [
                ("nothing", b""),
                ("bit", command(0, 6, 100, b"\1")),
                ("record", command(0, 12, 40, b"\1")),
                ("swap", command(4, 6, 0, bytes([16, 7, 0, 0]))),
                ("head", command(3, 1, 8, b"\2" + bytes(7))),
                ("cut", command(5, 16, 0, b"")),
                ("junk", command(6, 0, 0, b"\4abcd")),
            ]:
                put("container", f"{name}-{suite}-{mends}", bytes([suite - 1, mends]) + commands)
    long = writer.build(writer.Recipe([one], holes=True), bytes(65536 * 1021) + b"end")
    put("index_footer", "two-pages", b"\0" + bytes(long.footer) + bytes(long.index))
    put("page", "full", bytes(long.pages[0]))
    put("head", "minimal", bytes(long.heads[0][:32736]).rstrip(b"\0"))
    for mode in range(4):
        put("vault_backup", f"mode-{mode}", bytes([mode]) + command(0, 3, 0, b"\1") + command(2, 5, 0, b"abcd"))
    for kind in range(3):
        for length in (15, 16, 17, 31, 64, 129, 513, 4099):
            data = bytes(range(32)) + bytes(range(16)) + bytes([kind, length % 64]) + bytes(i % 251 for i in range(length))
            put("xts_differential", f"{kind}-{length}", data)


if __name__ == "__main__":
    main()
