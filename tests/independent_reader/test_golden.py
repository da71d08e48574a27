#!/usr/bin/env python3
"""The golden containers of vectors/golden, opened by the independent reader."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import unittest
from pathlib import Path

import reader

VECTORS = Path(__file__).parents[2] / "vectors"
GOLDEN = VECTORS / "golden"


def disk_of(entry: dict[str, object]) -> bytes:
    """The rule of vectors/README.md: zeros, and pieces of SHA-256 counter streams."""
    disk = bytearray(entry["disk_len"])
    for offset, size, seed in entry["pieces"]:
        name = b"sobre golden\0" + seed.to_bytes(8, "little")
        blocks = (hashlib.sha256(name + i.to_bytes(8, "little")).digest() for i in range(size // 32 + 1))
        disk[offset : offset + size] = b"".join(blocks)[:size]
    return bytes(disk)


class Golden(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = str(Path(folder.name) / "out")
        self.entries = json.loads((GOLDEN / "index.json").read_text())
        self.assertGreater(len(self.entries), 30)

    def test_every_file_is_listed(self) -> None:
        listed = {entry[kind] for entry in self.entries for kind in ("file", "manifest")}
        self.assertEqual(listed | {"index.json"}, set(os.listdir(GOLDEN)))

    def test_open_and_verify(self) -> None:
        for entry in self.entries:
            with self.subTest(entry["name"]):
                snap = str(GOLDEN / entry["file"])
                root = bytes.fromhex(entry["root"])
                keys = [VECTORS / "keys" / key.removeprefix("sha1:") for layer in entry["keys"] for key in layer]
                ring = reader.load_keys([str(key) for key in keys])
                said: list[str] = []
                reader.open_file(snap, self.out, ring, root=root, say=said.append)
                self.assertEqual(said, [])
                disk = Path(self.out).read_bytes()
                self.assertEqual(hashlib.sha256(disk).hexdigest(), entry["disk_sha256"])
                self.assertEqual(disk, disk_of(entry))
                # Without keys, with the root; and with the manifest in place of the snapshot's own pages.
                reader.verify_file(snap, root=root)
                opened = reader.verify_file(snap, ring, root=root, manifest=str(GOLDEN / entry["manifest"]))
                fixed = opened.heads.chosen.fixed
                self.assertEqual((reader.SUITES[fixed.suite], fixed.sector), (entry["suite"], entry["sector"]))
                self.assertEqual((fixed.chunk, [list(label) for label in fixed.labels]), (entry["chunk"], entry["labels"]))
                sections = opened.heads.chosen.envelope.sections
                self.assertEqual({section.set_name for section in sections}, {entry["set"]})
                algs = [["sha1:" * (e.alg == 2) for e in section.entries] for section in sections]
                self.assertEqual(algs, [["sha1:" * key.startswith("sha1:") for key in layer] for layer in entry["keys"]])

    def test_each_key_alone(self) -> None:
        """Any one key of each layer is enough, none at all is not."""
        for entry in self.entries:
            layers = [[VECTORS / "keys" / key.removeprefix("sha1:") for key in layer] for layer in entry["keys"]]
            for first in layers[0]:
                for second in layers[1] if len(layers) == 2 else [first]:
                    with self.subTest(entry["name"], keys=(first.name, second.name)):
                        reader.verify_file(str(GOLDEN / entry["file"]), reader.load_keys([str(first), str(second)]))
            with self.assertRaises(reader.WrongKey):
                reader.verify_file(str(GOLDEN / entry["file"]), {})


if __name__ == "__main__":
    unittest.main()
