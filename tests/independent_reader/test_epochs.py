#!/usr/bin/env python3
"""Tests of epoch keys in reader.py (section 3.3), with records from writer.py."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import subprocess
import sys
import unittest
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import reader
from reader import Damaged, NotSupported, SobreError, WrongKey, sha, thumbprint
from test_reader import HERE, K64, KEY1, KEY2, PUB1, PUB2, RING, STRANGER, Case, noise
from writer import Epoch, EpochRecipe, Recipe, Recipient, build, make_epoch, oaep_encrypt, u16, u32

FIRST, SECOND, NOBODY = ({thumbprint(k.public_key()): k} for k in (KEY1, KEY2, STRANGER))
DISK = noise(600)
SECTION = 1040  # where the section of a record stands


def epoch(layer: int = 1, keys: Sequence[Recipient | Epoch] | None = None, **options: object) -> Epoch:
    return make_epoch(EpochRecipe([Recipient(PUB1)] if keys is None else keys, layer, **options))  # type: ignore[arg-type]


def snapshot(*layers: Sequence[Recipient | Epoch], suite: int = 1, **options: object) -> bytes:
    return build(Recipe(*layers, suite=suite, **options), DISK).join()  # type: ignore[arg-type, misc]


class EpochCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.far = self.dir / "far"
        self.far.mkdir()

    def lay(self, record: Epoch, folder: Path | None = None, name: str | None = None) -> Path:
        path = (folder or self.dir) / (name or record.file_name)
        path.write_bytes(record.head)
        return path

    def record_refused(self, raw: bytes, error: type[SobreError] = Damaged, note: object = "") -> None:
        """Only this record is there, and it is asked for an epoch key of layer 1."""
        (self.dir / epoch().file_name).write_bytes(raw)
        try:
            self.wrapping_key(epoch())
        except SobreError as err:
            self.assertIs(type(err), error, f"{note}: {err}")
            return
        self.fail(f"{note}: accepted")

    def record_serves(self, record: Epoch, ring: reader.Keyring = RING) -> None:
        self.lay(record)
        self.assertEqual(self.wrapping_key(record, ring), record.wrap)

    def wrapping_key(self, of: Epoch, ring: reader.Keyring = RING) -> bytes:
        """What the file of that name gives: no entry of a snapshot takes part."""
        return reader.open_record(reader.read_record(str(self.dir / of.file_name), of.id), of.layer, ring)

    def verify_far(self, data: bytes, ring: reader.Keyring = RING) -> None:
        self.verify(data, ring, epochs=[str(self.far)])

    def far_refused(self, data: bytes, error: type[SobreError], ring: reader.Keyring = RING) -> str:
        with self.assertRaises(error) as caught:
            self.verify_far(data, ring)
        return str(caught.exception)


class Served(EpochCase):
    def test_round_trips(self) -> None:
        one, two = epoch(1), epoch(2, [Recipient(PUB2, alg=2)])
        self.lay(one)
        self.lay(two)
        for r in (
            Recipe([one]), Recipe([one], suite=2), Recipe([one], [two], 3), Recipe([one], [Recipient(PUB2)], 3),
            Recipe([Recipient(PUB1)], [two], 3), Recipe([Recipient(STRANGER.public_key()), one], [two], 3, sector_log2=12),
        ):  # fmt: skip
            for size in (0, 8192, K64 + 4096):
                self.round_trip(r, noise(size))

    def test_many_snapshots_share_a_record(self) -> None:
        one = epoch()
        self.lay(one)
        for seed in (b"a", b"b", b"c"):
            self.verify(snapshot([one], seed=seed))
            self.assertEqual(self.said, [])

    def test_rotated_record(self) -> None:
        """A record for another KEK takes the place of the old one: the snapshot stays as it is."""
        data = snapshot([epoch()])
        self.lay(epoch())
        self.verify(data, FIRST)
        self.lay(epoch(keys=[Recipient(PUB2)], generation=2))
        self.verify(data, SECOND)
        self.refused(data, WrongKey, FIRST)

    def test_what_a_record_may_hold(self) -> None:
        odd = [Recipient(STRANGER.public_key(), ct=b"?", alg=9, locators=["l" * 512] * 4)]
        for options in (
            {"optional": 0xFFFFFFFF}, {"created": 2**64 - 1}, {"created": 0}, {"generation": 2**64 - 1}, {"flags": 1}, {"set_name": ""},
            {"set_name": "é" * 64}, {"tlvs": [(1, b"attestation"), (0x7FFF, b"")]}, {"keys": [*odd, Recipient(PUB2, alg=2), Recipient(PUB1)]},
        ):  # fmt: skip
            self.record_serves(epoch(**options))  # type: ignore[arg-type]

    def test_without_keys_no_record_is_needed(self) -> None:
        self.verify(snapshot([epoch()], [epoch(2)], suite=3), None)
        entry = reader.inspect(self.snap)["heads"]["A"]["sections"][0]["entries"][0]  # type: ignore[index]
        self.assertEqual((entry["epoch"], entry["alg"]), (epoch().id.hex(), "AES-256-KWP"))
        self.assertNotIn("thumbprint", entry)


class Lacking(EpochCase):
    def test_missing_record(self) -> None:
        one, two = epoch(1), epoch(2)
        message = self.refused(snapshot([one]), WrongKey)
        self.assertIn(one.file_name, message)
        self.assertIn(str(self.dir), message)
        self.lay(one)
        self.assertIn(two.file_name, self.refused(snapshot([one], [two], suite=3), WrongKey))

    def test_from_a_pipe(self) -> None:
        """Nothing is beside a pipe: only the further folders are looked into."""
        one = epoch()
        self.lay(one)
        c = build(Recipe([one]), DISK)
        pem = KEY1.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        args = [sys.executable, str(HERE / "reader.py"), "verify", "-", "--key", self.put(pem, "key.pem")]
        args += ["--manifest", self.put(c.manifest(), "manifest")]
        lacking = subprocess.run(args, input=c.join(), capture_output=True, cwd=self.dir)
        self.assertEqual(lacking.returncode, 12)
        self.assertIn(one.file_name, lacking.stderr.decode())
        self.assertEqual(subprocess.run([*args, "--epochs", "."], input=c.join(), cwd=self.dir, stdout=subprocess.DEVNULL).returncode, 0)

    def test_by_name_and_then_by_id(self) -> None:
        one, other = epoch(), epoch(seed=b"other")
        data = snapshot([one])
        self.lay(other, name=one.file_name)
        message = self.refused(data)
        self.assertIn("foreign", message)
        self.assertIn(one.file_name, message)
        for name in (other.file_name, "copy (2).sobre-epoch", one.file_name.upper(), f"{one.file_name}.old", one.id.hex()):
            self.lay(one, name=name)
        self.assertIn("foreign", self.refused(data))
        os.unlink(self.dir / one.file_name)
        self.assertIn("missing", self.refused(data, WrongKey))
        os.rename(self.dir / other.file_name, self.dir / one.file_name)
        self.verify(data)
        self.assertEqual(self.said, [])

    def test_only_the_record_without_a_kek(self) -> None:
        data = snapshot([epoch()])
        self.lay(epoch())
        for ring in (NOBODY, SECOND, {}):
            self.assertIn(epoch().file_name, self.refused(data, WrongKey, ring))
        # the right thumbprint, another key
        self.refused(data, WrongKey, {thumbprint(PUB1): STRANGER})

    def test_epochs_do_not_nest(self) -> None:
        """An entry of type 2 in a record serves nobody, also where its epoch key is at hand."""
        inner = epoch(seed=b"inner")
        self.lay(inner)
        self.record_refused(epoch(keys=[inner]).head, WrongKey)
        self.record_refused(epoch(keys=[epoch()]).head, WrongKey, "itself")
        self.record_serves(epoch(keys=[inner, Recipient(PUB1)]))

    def test_another_entry_serves(self) -> None:
        for entries in ([epoch(), Recipient(PUB2)], [Recipient(PUB2), epoch()]):
            data = snapshot(entries)
            self.verify(data)
            self.assertEqual(self.said, [])
            self.lay(epoch())
            self.verify(data, SECOND)
            self.assertEqual(self.said, [])
            broken = epoch()
            broken.head[1100] ^= 1
            path = self.lay(broken)
            self.verify(data, SECOND)
            self.assertEqual(len(self.said), 1 if isinstance(entries[0], Epoch) else 0)
            self.refused(data, Damaged, FIRST)
            os.unlink(path)

    def test_another_head_serves(self) -> None:
        """An interrupted rewrap to an epoch key whose record is missing, damaged or not supported."""
        c = build(Recipe([epoch()], generation=2), DISK)
        c.heads[1] = build(Recipe([Recipient(PUB2)]), DISK).heads[0]
        broken = epoch()
        broken.head[1100] ^= 1
        for record in (None, broken, epoch(fixed_edits=[(16, u32(1))])):
            if record is not None:
                self.lay(record)
            self.verify(c.join())
            self.assertIn("went on with head B", self.said[0])

    def test_entries_that_cannot_be_used(self) -> None:
        self.lay(epoch())
        for options in (
            {"type": 0}, {"type": 1}, {"type": 3}, {"alg": 0}, {"alg": 1}, {"alg": 4}, {"tp_alg": 0}, {"tp_alg": 1}, {"tp_alg": 3},
            {"tp_rest": b"\1" + bytes(15)}, {"tp_rest": bytes(15) + b"\1"},
        ):  # fmt: skip
            odd = epoch()
            for name, value in options.items():
                setattr(odd, name, value)
            self.assertNotIn("missing", self.refused(snapshot([odd]), WrongKey, note=options))
            self.verify(snapshot([odd, Recipient(PUB2)]))
        # and the other way round: nothing but type 1 goes with a KEK's algorithms
        for options in ({"type": 2}, {"type": 2, "tp_alg": 2}, {"alg": 3}):
            kek = Recipient(PUB1, **options)  # type: ignore[arg-type]
            self.refused(snapshot([kek]), WrongKey, note=options)

    def test_wrapped_deks(self) -> None:
        one = epoch()
        self.lay(one)
        c = build(Recipe([one]), DISK)
        tag, secret = sha(b"sobre/1 dek\0\1" + c.H), c.secrets.layer[0]
        good = aes_key_wrap_with_padding(one.wrap, tag + secret)
        self.assertEqual(len(good), 136)
        for ct in (*(bytes(n) for n in (1, 15, 16, 72, 135, 136, 137, 4096)), good[:-8], good + bytes(8), good[:-1], b"\1" + good[1:]):
            one.ct = ct
            self.assertIn("unwrap", self.refused(snapshot([one]), note=len(ct)))
        wrong_key = epoch(seed=b"other")
        for blob in (
            b"?", tag, tag + secret[:-1], tag + secret + b"\0", bytes(32) + secret, sha(b"sobre/1 dek\0\2" + c.H) + secret,
            sha(b"sobre/1 epoch\0\1" + c.H) + secret, tag + secret[:32] * 2 + secret[64:],
        ):  # fmt: skip
            one.ct = aes_key_wrap_with_padding(one.wrap, blob)
            self.refused(snapshot([one]), Damaged, note=len(blob))
            one.ct = aes_key_wrap_with_padding(wrong_key.wrap, blob)
            self.assertIn("unwrap", self.refused(snapshot([one])))
        # from another snapshot under the same epoch key
        one.ct = good
        self.verify(snapshot([one]))
        self.assertIn("tag", self.refused(snapshot([one], seed=b"another")))
        for size in (0, 4097):
            one.ct = bytes(size)
            self.refused_by_both(snapshot([one]))


class Hostile(EpochCase):
    """Records that are there and must be refused."""

    def test_every_byte(self) -> None:
        base = epoch()
        used = 1024 + int.from_bytes(base.head[1028:1032], "little")
        step = [*range(used + 40), *range(used + 40, 32736, 997), *range(32736, 32768)]
        for at in step:
            head = copy.copy(base.head)
            head[at] ^= 1 << at % 8
            self.record_refused(head, note=at)

    def test_every_byte_rehashed(self) -> None:
        """Without keys nothing of a record can be changed but what is not authenticated: the envelope's generation."""
        base = epoch()
        used = 1024 + int.from_bytes(base.head[1028:1032], "little")
        for at in [*range(used + 40), *range(used + 40, 32736, 997)]:
            forged = epoch()
            forged.head[at] ^= 1 << at % 8
            forged.mend(mac=False)
            if 1032 <= at < 1040:
                self.record_serves(forged)
                continue
            self.lay(forged, name=base.file_name)
            with self.assertRaises(SobreError, msg=at) as caught:
                self.wrapping_key(base)
            if 32 <= at < 48:
                self.assertIs(type(caught.exception), Damaged)
                self.assertIn("foreign", str(caught.exception))

    def test_random_edits(self) -> None:
        """Whatever the bytes are, the answer is a typed refusal."""
        rng = random.Random(4)
        base = epoch()
        used = 1024 + int.from_bytes(base.head[1028:1032], "little")
        for _ in range(400):
            forged = epoch()
            for _ in range(rng.randrange(1, 4)):
                at, size = rng.randrange(1024, used), rng.choice((1, 2, 4, 8))
                forged.head[at : at + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
            forged.mend(mac=False)
            if forged.head[:1032] == base.head[:1032] and forged.head[1040:32736] == base.head[1040:32736]:
                continue
            (self.dir / base.file_name).write_bytes(forged.head)
            with self.assertRaises(SobreError):
                self.wrapping_key(base)

    def test_lengths(self) -> None:
        head = bytes(epoch().head)
        for raw in (b"", head[:1], head[:1024], head[:-1], head + b"\0", head * 2, bytes(32768)):
            self.record_refused(raw, note=len(raw))

    def test_not_a_regular_file(self) -> None:
        path = self.dir / epoch().file_name
        for make in (os.mkfifo, os.mkdir):
            make(path)
            self.assertIn("regular", self.refused(snapshot([epoch()])))
            (os.rmdir if path.is_dir() else os.unlink)(path)

    def test_not_supported(self) -> None:
        for at, value in (
            (8, u16(0)), (8, u16(2)), (10, b"\0"), (10, b"\1"), (10, b"\2"), (10, b"\4"), (11, b"\1"), (11, b"\3"), (11, b"\xff"),
            (16, u32(1)), (16, u32(2)), (16, u32(1 << 31)),
        ):  # fmt: skip
            odd = epoch(fixed_edits=[(at, value)])
            self.record_refused(odd.head, NotSupported, (at, value))
            odd.head[24] ^= 1
            self.record_refused(odd.head, Damaged, "the check hash comes first")
        self.record_refused(epoch(tlvs=[(0x8001, b"x")]).head, NotSupported)

    def test_a_head_of_the_other_kind(self) -> None:
        data = snapshot([Recipient(PUB1)])
        self.record_refused(data[:32768], NotSupported)
        self.refused(bytes(epoch().head), NotSupported)
        self.refused(bytes(epoch().head) * 2 + data[65536:], NotSupported)

    def test_fixed_rules(self) -> None:
        """Everything else is right: keys, BLOB and mac follow from the FIXED with the fault."""
        for at, value in (
            (12, b"\0"), (12, b"\3"), (12, b"\xff"), (13, b"\1"), (14, b"\1"), (15, b"\1"), (48, b"\1"), (160, b"\1"), (1023, b"\x80"),
        ):  # fmt: skip
            odd = epoch(fixed_edits=[(at, value)])
            self.record_refused(odd.head, note=(at, value))
            self.refused(snapshot([odd]), note=(at, value))
        for layer in (0, 3, 255):  # in FIXED and in the section
            with self.assertRaisesRegex(Damaged, "record: layer"):
                reader.parse_epoch_record(bytes(epoch(layer).head))
        for at in range(48, 1024, 31):
            self.record_refused(epoch(fixed_edits=[(at, b"\1")]).head, note=at)

    def test_envelope_rules(self) -> None:
        """The section's mac is mended, and so is the check hash."""
        s = SECTION
        length = int.from_bytes(epoch().head[1028:1032], "little")
        for at, value in (
            (1024, b"X"), (1028, u32(0)), (1028, u32(15)), (1028, u32(31713)), (1028, u32(length - 1)), (1028, u32(length + 1)),
            (1028, u32(length + 3)), (1024 + length, b"\1"), (1024 + length + 9, b"\1"), (32735, b"\1"), (s + 4, b"\0"), (s + 4, b"\2"),
            (s + 4, b"\3"), (s + 5, b"\0"), (s + 5, b"\2"), (s + 5, b"\x09"), (s + 6, u16(2)), (s + 6, u16(1 << 15)), (s + 24, u16(129)),
            (s + 24, u16(0xFFFF)), (s + 26, b"\xff"), (s + 30, u16(1)), (s + 30, u16(32)), (s + 32, u16(0)), (s + 32, u16(3)),
            (s + 32, u16(0xFFFF)), (s + 70, b"\5"), (s + 71, u16(0)), (s + 71, u16(255)), (s + 71, u16(257)), (s + 71, u16(4097)),
        ):  # fmt: skip
            odd = epoch()
            odd.head[at : at + len(value)] = value
            odd.mend()
            self.record_refused(odd.head, note=(at - s, value))
        for value in (0, 3, 51, length, 0xFFFFFFFF):  # the section's own length
            odd = epoch()
            odd.head[s : s + 4] = u32(value)
            odd.mend(mac=False)
            self.record_refused(odd.head, note=value)

    def test_what_a_record_may_not_hold(self) -> None:
        kek = Recipient(PUB1)
        for options in (
            {"source": bytes(range(32))}, {"source": b"x"}, {"keys": []}, {"keys": [kek, kek]}, {"flags": 2}, {"set_name": "x" * 129},
            {"keys": [Recipient(PUB1, locators=["l"] * 5)]}, {"keys": [Recipient(PUB1, locators=[""])]},
            {"keys": [Recipient(PUB1, locators=["x" * 513])]}, {"keys": [kek, Recipient(PUB2, ct=b"")]},
            {"keys": [kek, Recipient(PUB2, ct=bytes(4097))]}, {"tlvs": [(0, b"")]}, {"tlvs": [(0x8000, b"")]},
        ):  # fmt: skip
            self.record_refused(epoch(**options).head, note=options)  # type: ignore[arg-type]

    def test_two_sections(self) -> None:
        """What follows the one section is read as public TLVs."""
        odd, other = epoch(), epoch(2)
        ends = [1040 + int.from_bytes(e.head[1040:1044], "little") for e in (odd, other)]
        sections = bytes(odd.head[1040 : ends[0]] + other.head[1040 : ends[1]])
        odd.head[1028:1032] = u32(16 + len(sections))
        odd.head[1040 : 1040 + len(sections)] = sections
        odd.mend()
        self.record_refused(odd.head)

    def test_macs(self) -> None:
        for layer in (1, 2):
            one = epoch(layer)
            end = SECTION + int.from_bytes(one.head[SECTION : SECTION + 4], "little")
            for at in (SECTION + 8, SECTION + 16, SECTION + 26, end - 32, end - 1):
                odd = epoch(layer)
                odd.head[at] ^= 1
                odd.mend(mac=False)
                self.lay(odd)
                with self.assertRaisesRegex(Damaged, "mac"):
                    self.wrapping_key(one)

    def test_blobs(self) -> None:
        one = epoch()
        tag = sha(b"sobre/1 epoch\0\1" + sha(one.fixed))
        for blob in (
            b"", tag, tag + one.key[:-1], tag + one.key + b"\0", bytes(32) + one.key, tag[::-1] + one.key,
            sha(b"sobre/1 epoch\0\2" + sha(one.fixed)) + one.key, sha(b"sobre/1 dek\0\1" + sha(one.fixed)) + one.key, bytes(128),
        ):  # fmt: skip
            self.record_refused(epoch(blob=blob).head, note=len(blob))
        for key in (one.key[:31], one.key + b"\0", one.key * 2):  # all that follows from it is right
            self.record_refused(epoch(key=key).head, note=len(key))
        # the right tag with another key: the mac doesn't hold
        self.record_refused(epoch(blob=tag + bytes(32)).head)
        for ct in (bytes(256), b"?", oaep_encrypt(PUB1, tag + one.key, "sha1", bytes(32))):
            self.record_refused(epoch(keys=[Recipient(PUB1, ct=ct)]).head, WrongKey)
            # The first entry for a key at hand decides here too.
            self.record_refused(epoch(keys=[Recipient(PUB1, ct=ct), Recipient(PUB2)]).head, WrongKey)

    def test_wrong_layer(self) -> None:
        """Everything is right but that the record's key wraps the other layer's secrets."""
        for layer in (1, 2):
            self.lay(epoch(layer))
        outer = epoch(1, seed=b"outer")
        self.lay(outer)
        self.assertIn("layer 2", self.refused(snapshot([epoch(2)])))
        self.assertIn("layer 1", self.refused(snapshot([epoch(1)], [outer], suite=3)))
        self.verify(snapshot([epoch(1)], [epoch(2)], suite=3))
        # FIXED says one layer, the section the other one.
        self.record_refused(epoch(fixed_edits=[(12, b"\2")]).head)


class Copies(EpochCase):
    def broken(self, **options: object) -> Epoch:
        record = epoch(**options)  # type: ignore[arg-type]
        record.head[1100] ^= 1
        return record

    def clear(self) -> None:
        for folder in (self.dir, self.far):
            (folder / epoch().file_name).unlink(missing_ok=True)

    def test_further_folders(self) -> None:
        data = snapshot([epoch()])
        path = self.lay(epoch(), self.far)
        self.verify_far(data)
        self.assertEqual(len(self.said), 1)
        for part in (str(path), str(self.dir / epoch().file_name), "missing"):
            self.assertIn(part, self.said[0])
        empty = self.dir / "empty"
        empty.mkdir()
        not_a_folder = self.put(b"", "file")
        self.verify(data, epochs=[str(empty), str(self.dir / "none"), not_a_folder, str(self.far)])
        with self.assertRaises(WrongKey) as caught:
            self.verify(data, epochs=[str(empty)])
        self.assertIn(str(empty), str(caught.exception))

    def others(self) -> list[tuple[str, bytes, type[SobreError]]]:
        """What may stand beside the snapshot without being of use there, and what it is refused as."""
        forged, damaged = epoch(), self.broken()
        forged.head[SECTION + 8] ^= 1
        forged.mend(mac=False)
        one = epoch()
        stranger = Recipient(STRANGER.public_key())
        return [
            ("damaged", bytes(damaged.head), Damaged),
            ("cut short", bytes(one.head[:-1]), Damaged),
            ("empty", b"", Damaged),
            ("forged", bytes(forged.head), Damaged),
            ("foreign", bytes(epoch(seed=b"other").head), Damaged),
            ("of the other layer", bytes(epoch(2, fixed_edits=[(32, one.id)]).head), Damaged),
            ("planted", bytes(epoch(seed=b"planted", fixed_edits=[(32, one.id)]).head), Damaged),
            ("a snapshot", snapshot([Recipient(PUB1)])[:32768], NotSupported),
            ("of a later version", bytes(epoch(fixed_edits=[(8, u16(2))]).head), NotSupported),
            ("with a critical TLV", bytes(epoch(tlvs=[(0x8001, b"")]).head), NotSupported),
            ("for other keys", bytes(epoch(keys=[stranger]).head), WrongKey),
            ("not for the key it names", bytes(epoch(keys=[Recipient(PUB1, ct=b"?")]).head), WrongKey),
        ]

    def test_others_serve(self) -> None:
        data = snapshot([epoch()])
        self.lay(epoch(), self.far)
        beside = self.dir / epoch().file_name
        for what, raw, _ in self.others():
            beside.write_bytes(raw)
            self.verify_far(data)
            self.assertEqual(len(self.said), 1, what)
            self.assertIn(str(beside), self.said[0], what)

    def test_not_a_regular_file_beside(self) -> None:
        self.lay(epoch(), self.far)
        os.mkfifo(self.dir / epoch().file_name)
        self.verify_far(snapshot([epoch()]))
        self.assertEqual(len(self.said), 1)

    def test_nearest_counts(self) -> None:
        data = snapshot([epoch()])
        self.lay(epoch())
        for what, raw, _ in self.others():
            (self.far / epoch().file_name).write_bytes(raw)
            self.verify_far(data)
            self.assertEqual(self.said, [], what)
        # Whoever has only the KEK of the farther copy is served by that.
        self.lay(epoch(generation=9, keys=[Recipient(PUB2)]), self.far)
        self.verify_far(data, FIRST)
        self.assertEqual(self.said, [])
        self.verify_far(data, SECOND)
        self.assertEqual(len(self.said), 1)
        self.far_refused(data, WrongKey, NOBODY)

    def test_the_nearest_error_is_told(self) -> None:
        data = snapshot([epoch()])
        near, far = self.dir / epoch().file_name, self.far / epoch().file_name
        others = self.others()
        for (what, raw, error), (_, next_raw, _) in zip(others, others[5:] + others[:5], strict=True):
            for here, there in ((raw, next_raw), (raw, None), (None, raw)):
                self.clear()
                for path, contents in ((near, here), (far, there)):
                    if contents is not None:
                        path.write_bytes(contents)
                message = self.far_refused(data, error)
                self.assertIn(str(far if here is None else near), message, what)
        self.clear()
        self.assertIn("missing", self.far_refused(data, WrongKey))

    def test_the_first_entry_error_is_told(self) -> None:
        """Several entries of type 2, none of which serves: the first one's error."""
        one, two = epoch(), epoch(seed=b"two")
        data = snapshot([Recipient(STRANGER.public_key()), one, two])
        self.assertIn(one.file_name, self.refused(data, WrongKey))
        self.lay(self.broken(seed=b"two"))
        self.assertIn(one.file_name, self.refused(data, WrongKey))
        self.lay(self.broken())
        os.unlink(self.dir / two.file_name)
        self.assertIn(one.file_name, self.refused(data))
        self.lay(two)
        self.verify(data)
        self.assertEqual(len(self.said), 1)

    def test_planted_record_and_another_entry(self) -> None:
        """An entry whose only copy doesn't unwrap it is passed over."""
        one = epoch()
        data = snapshot([one, Recipient(PUB2)])
        self.lay(epoch(seed=b"planted", fixed_edits=[(32, one.id)]))
        self.verify(data)
        self.assertEqual(len(self.said), 1)
        self.refused(data, Damaged, FIRST)


class CommandLine(EpochCase):
    def setUp(self) -> None:
        super().setUp()
        self.keys, self.pubs = [], []
        for i, key in enumerate((KEY1, KEY2)):
            self.keys.append(self.put(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), f"key{i}.pem"))
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self.pubs.append(self.put(pem, f"pub{i}.pem"))
        self.disk = self.put(DISK, "disk")

    def cli(self, *args: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = reader.main(args)
        return code, out.getvalue(), err.getvalue()

    def write(self, *args: str) -> int:
        command = [sys.executable, str(HERE / "writer.py"), "disk", "snap", *args]
        return subprocess.run(command, cwd=self.dir, stderr=subprocess.DEVNULL).returncode

    def records(self) -> list[Path]:
        return sorted(self.dir.glob("*.sobre-epoch"))

    def test_written_and_read(self) -> None:
        self.assertEqual(self.write("--epoch", self.pubs[0], "--epoch2", self.pubs[1], "--suite", "3"), 0)
        self.assertEqual(len(self.records()), 2)
        keys = ["--key", *self.keys]
        self.assertEqual(self.cli("open", self.snap, self.out, *keys)[0], 0)
        self.assertEqual(Path(self.out).read_bytes(), DISK)
        for record in self.records():
            away = record.rename(self.far / record.name)
            code, _, err = self.cli("verify", self.snap, *keys)
            self.assertEqual(code, 12)
            self.assertIn(record.name, err)
            self.assertEqual(self.cli("verify", self.snap, *keys, "--epochs", str(self.dir), str(self.far))[0], 0)
            self.assertEqual(self.cli("verify", self.snap, *keys, "--epochs", str(self.dir), "--epochs", str(self.far))[0], 0)
            broken = bytearray(away.read_bytes())
            broken[2000] ^= 1
            record.write_bytes(broken)
            code, _, err = self.cli("verify", self.snap, *keys)
            self.assertEqual(code, 13)
            self.assertIn(record.name, err)
            self.assertEqual(self.cli("verify", self.snap, *keys, "--epochs", str(self.dir / "none"))[0], 13)
            away.rename(record)

    def test_snapshot_named_without_its_folder(self) -> None:
        self.assertEqual(self.write("--epoch", self.pubs[0], self.pubs[1]), 0)
        self.assertEqual(len(self.records()), 1)
        for key in self.keys:
            args = [sys.executable, str(HERE / "reader.py"), "verify", "snap", "--key", key]
            ran = subprocess.run(args, cwd=self.dir, capture_output=True)
            self.assertEqual((ran.returncode, ran.stderr), (0, b""))
            self.assertTrue(json.loads(ran.stdout)["authenticated"])

    def test_what_the_writer_refuses(self) -> None:
        for args in ([], ["--epoch2", self.pubs[0]], ["--epoch", self.pubs[0], "--suite", "3"], ["--epoch", self.pubs[0], "--epoch2", self.pubs[0]]):
            self.assertEqual(self.write(*args), 2, args)
        self.assertEqual(self.records(), [])


if __name__ == "__main__":
    unittest.main()
