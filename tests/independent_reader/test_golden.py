#!/usr/bin/env python3
"""The golden containers of vectors/golden, opened by the independent reader."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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


def key_file(name: str) -> str:
    return str(VECTORS / "keys" / name.removeprefix("sha1:"))


def keys_of(entry: dict[str, object]) -> list[list[str]]:
    """For each layer the keys that open it: that of its epoch key, if it has one, and those beside it."""
    epochs = entry["epochs"] or [None] * len(entry["keys"])
    return [[*([epoch["key"]] if epoch else []), *keys] for keys, epoch in zip(entry["keys"], epochs, strict=True)]


class Golden(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = str(Path(folder.name) / "out")
        self.entries = json.loads((GOLDEN / "index.json").read_text())
        self.assertGreater(len(self.entries), 30)

    def test_every_file_is_listed(self) -> None:
        listed = {entry[kind] for entry in self.entries for kind in ("file", "manifest")}
        records = {epoch["file"] for entry in self.entries for epoch in entry["epochs"]}
        self.assertGreater(len(records), 2)
        listed |= records
        self.assertEqual(listed | {"index.json"}, set(os.listdir(GOLDEN)))

    def test_open_and_verify(self) -> None:
        for entry in self.entries:
            with self.subTest(entry["name"]):
                snap = str(GOLDEN / entry["file"])
                root = bytes.fromhex(entry["root"])
                ring = reader.load_keys([key_file(key) for layer in keys_of(entry) for key in layer])
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
                # An entry for an epoch key has no padding of its own.
                algs = [["epoch" if e.type == 2 else "sha1:" * (e.alg == 2) for e in section.entries] for section in sections]
                keks = [["sha1:" * key.startswith("sha1:") for key in layer] for layer in entry["keys"]]
                self.assertEqual(algs, [["epoch", *layer] if entry["epochs"] else layer for layer in keks])

    def test_epoch_records(self) -> None:
        for entry in self.entries:
            sections = reader.inspect(str(GOLDEN / entry["file"]))["heads"]["A"]["sections"]
            for layer, (epoch, section) in enumerate(zip(entry["epochs"], sections), 1):
                with self.subTest(epoch["file"]):
                    ident = bytes.fromhex(section["entries"][0]["epoch"])
                    self.assertEqual(reader.file_name(ident), epoch["file"])
                    record = reader.read_record(str(GOLDEN / epoch["file"]), ident)
                    self.assertEqual(record.layer, layer)
                    self.assertEqual([e.alg for e in record.section.entries], [1 + epoch["key"].startswith("sha1:")])
                    reader.open_record(record, layer, reader.load_keys([key_file(epoch["key"])]))

    def test_epoch_records_elsewhere(self) -> None:
        """Without its records a snapshot names the first one that it needs; a further folder has them."""
        with_epochs = [entry for entry in self.entries if entry["epochs"]]
        self.assertGreater(len(with_epochs), 1)
        for entry in with_epochs:
            snap = str(Path(self.out).with_name(entry["file"]))
            shutil.copyfile(GOLDEN / entry["file"], snap)
            ring = reader.load_keys([key_file(epoch["key"]) for epoch in entry["epochs"]])
            with self.subTest(entry["name"]):
                with self.assertRaisesRegex(reader.WrongKey, entry["epochs"][0]["file"]):
                    reader.verify_file(snap, ring)
                reader.verify_file(snap, ring, epochs=[str(GOLDEN)])

    def test_each_key_alone(self) -> None:
        """Any one key of each layer is enough, none at all is not."""
        for entry in self.entries:
            layers = keys_of(entry)
            for first in layers[0]:
                for second in layers[1] if len(layers) == 2 else [first]:
                    with self.subTest(entry["name"], keys=(first, second)):
                        ring = reader.load_keys([key_file(first), key_file(second)])
                        reader.verify_file(str(GOLDEN / entry["file"]), ring)
            with self.assertRaises(reader.WrongKey):
                reader.verify_file(str(GOLDEN / entry["file"]), {})


if __name__ == "__main__":
    unittest.main()
