#!/usr/bin/env python3
"""Tests of reader.py, with containers from writer.py."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import reader
from reader import Damaged, NotSupported, SobreError, WrongKey, crc64, expand, extract, sha, thumbprint
from writer import Container, Recipe, Recipient, build, oaep_encrypt, u16, u32, u64

HERE = Path(__file__).parent
K64 = 1 << 16

KEY1, KEY2, STRANGER = (rsa.generate_private_key(65537, 2048) for _ in range(3))
PUB1, PUB2 = KEY1.public_key(), KEY2.public_key()
RING = {thumbprint(k.public_key()): k for k in (KEY1, KEY2)}


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def recipe(suite: int = 1, **options: object) -> Recipe:
    return Recipe([Recipient(PUB1)], [Recipient(PUB2)] if suite == 3 else [], suite, **options)  # type: ignore[arg-type]


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)
        self.snap = str(self.dir / "snap")
        self.out = str(self.dir / "out")
        self.said: list[str] = []

    def put(self, data: bytes, name: str = "snap") -> str:
        (self.dir / name).write_bytes(data)
        return str(self.dir / name)

    def verify(self, data: bytes, ring: reader.Keyring | None = RING, **options: object) -> reader.Opened:
        self.said.clear()
        return reader.verify_file(self.put(data), ring, say=self.said.append, **options)

    def refused(self, data: bytes, error: type[SobreError] = Damaged, ring: reader.Keyring | None = RING, note: object = "") -> str:
        try:
            self.verify(data, ring)
        except error as err:
            return str(err)
        except SobreError as err:
            self.fail(f"{note}: {err.kind}: {err}; expected {error.kind}")
        self.fail(f"{note}: accepted")

    def refused_by_both(self, data: bytes, note: object = "") -> None:
        self.refused(data, note=note)
        self.refused(data, ring=None, note=f"{note} (no keys)")

    def round_trip(self, r: Recipe, disk: bytes) -> Container:
        c = build(r, disk)
        self.put(c.join())
        reader.verify_file(self.snap)
        reader.open_file(self.snap, self.out, RING)
        self.assertEqual(Path(self.out).read_bytes(), disk)
        return c


class Vectors(unittest.TestCase):
    def test_crc(self) -> None:
        self.assertEqual(crc64(b"123456789"), 0xAE8B14860A799888)
        self.assertEqual(crc64(b""), 0)
        # The table that takes two bytes a step agrees with the one of single bytes.
        data = noise(1000)
        crc = 0xFFFFFFFFFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = (crc >> 1) ^ (0x9A6C9329AC4BC9B5 if crc & 1 else 0)
        self.assertEqual(crc64(data), crc ^ 0xFFFFFFFFFFFFFFFF)

    def test_hkdf(self) -> None:
        """RFC 5869, test case 1 (its first 32 bytes)."""
        prk = extract(bytes(range(13)), b"\x0b" * 22)
        self.assertEqual(prk.hex(), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
        okm = expand(prk, bytes(range(0xF0, 0xFA)))
        self.assertEqual(okm.hex(), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")

    def test_thumbprint(self) -> None:
        """RFC 7638, section 3.1."""
        n = (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
            "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
            "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
            "kEgU8awapJzKnqDKgw"
        )
        key = rsa.RSAPublicNumbers(65537, int.from_bytes(base64.urlsafe_b64decode(n + "=="), "big")).public_key()
        self.assertEqual(base64.urlsafe_b64encode(thumbprint(key)).rstrip(b"="), b"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")

    def test_xts(self) -> None:
        """IEEE 1619-2007, vector 10 (the first 32 bytes; data unit 0xff), and the unit of 4096-byte sectors."""
        key = bytes.fromhex(
            "2718281828459045235360287471352662497757247093699959574966967627"
            "3141592653589793238462643383279502884197169399375105820974944592"
        )
        plain = bytes(range(256)) * 2
        cipher = bytes.fromhex("1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b")
        full = Cipher(algorithms.AES(key), modes.XTS((0xFF).to_bytes(16, "little"))).encryptor().update(plain)
        self.assertEqual(full[:32], cipher)
        self.assertEqual(reader.xts_decrypt(key, 0xFF * 512, 512, full), plain)


class RoundTrips(Case):
    def test_suites_and_sizes(self) -> None:
        for suite in (1, 2, 3):
            for size in (0, 1, 511, 512, 513, 4096, K64 - 1, K64, K64 + 1, 3 * K64 + 700):
                with self.subTest(suite=suite, size=size):
                    self.round_trip(recipe(suite), noise(size))
            for size in (0, 4096, K64 - 4096, K64, K64 + 4096):
                with self.subTest(suite=suite, size=size, sector=4096):
                    self.round_trip(recipe(suite, sector_log2=12), noise(size))

    def test_chunk_sizes(self) -> None:
        for suite in (1, 2, 3):
            for sector_log2 in (9, 12):
                for chunk_log2 in (16, 17, 18, 19, 20):
                    with self.subTest(suite=suite, sector=sector_log2, chunk=chunk_log2):
                        chunk = 1 << chunk_log2
                        disk = noise(4096) + bytes(chunk) + noise(chunk - 8192) + bytes(chunk // 2)
                        self.round_trip(recipe(suite, sector_log2=sector_log2, chunk_log2=chunk_log2), disk)

    def test_holes(self) -> None:
        for suite in (1, 2, 3):
            for disk in (bytes(1), bytes(K64), bytes(3 * K64 + 5), noise(K64) + bytes(4 * K64) + noise(9), bytes(2 * K64) + b"x"):
                with self.subTest(suite=suite, size=len(disk)):
                    self.round_trip(recipe(suite), disk)
                    self.round_trip(recipe(suite, holes=False), disk)

    def test_two_pages(self) -> None:
        for suite, count in ((1, 1020), (1, 1021), (2, 1021), (3, 1022)):
            with self.subTest(suite=suite, count=count):
                disk = bytearray(count * K64)
                for chunk in (0, 5, 1019, count - 1):
                    disk[chunk * K64 + 3] = 1 + chunk % 255
                c = self.round_trip(recipe(suite), bytes(disk))
                self.assertEqual(len(c.pages), 1 if count == 1020 else 2)
                blocks = os.stat(self.out).st_blocks * 512
                self.assertLess(blocks, 8 * K64, "holes are not sparse")
                with self.subTest("manifest"):
                    manifest = self.put(c.manifest(), "manifest")
                    reader.open_file(self.snap, self.out, RING, manifest=manifest)
                    self.assertEqual(Path(self.out).read_bytes(), disk)

    def test_envelopes(self) -> None:
        other = Recipient(STRANGER.public_key(), locators=["https://v/keys/a/1", "x" * 512])
        r = recipe(3, labels={"a": "", "a.b": "é" * 20, "Z/_-": "x" * 512}, source=bytes(range(32)), set_name="é" * 64)
        r.optional, r.sequence, r.key_origin, r.flags, r.session = 0xFFFFFFFF, 7, 1, 1, 15
        r.tlvs = [(1, b"attestation"), (0x7FFF, b"")]
        # An alg or tp_alg that isn't known only makes that entry useless.
        odd = [
            Recipient(rsa.generate_private_key(65537, 1024).public_key(), alg=alg, tp_alg=tp_alg, ct=b"?")
            for alg, tp_alg in ((9, 1), (1, 7))
        ]
        r.layer1 = [other, *odd, Recipient(PUB1, alg=2, locators=["k"] * 4)]
        r.layer2 = [Recipient(PUB2), other]
        self.round_trip(r, noise(5000))
        self.assertEqual(reader.inspect(self.snap)["labels"], r.labels)

    def test_deterministic(self) -> None:
        for suite in (1, 2, 3):
            self.assertEqual(build(recipe(suite), noise(600)).join(), build(recipe(suite), noise(600)).join())


class Damage(Case):
    """Bytes that changed without anyone mending a hash."""

    def setUp(self) -> None:
        super().setUp()
        self.c = build(recipe(3), noise(600))
        self.file = self.c.join()

    def flips(self) -> list[int]:
        """Offsets within a head to try: FIXED, the sections, and strides over the fill."""
        used = 1024 + int.from_bytes(self.file[1028:1032], "little")
        return [*range(used + 40), *range(used + 40, 32736, 997), *range(32736, 32768)]

    def test_heads_both(self) -> None:
        for at in self.flips():
            data = bytearray(self.file)
            data[at] ^= 1 << at % 8
            data[32768 + at] ^= 1 << at % 8
            self.refused_by_both(bytes(data), at)

    def test_heads_one(self) -> None:
        """One damaged head: the other is used, and the reader says so."""
        for base in (0, 32768):
            for at in self.flips()[::7]:
                data = bytearray(self.file)
                data[base + at] ^= 1 << at % 8
                self.verify(bytes(data))
                self.assertEqual(len(self.said), 1, base + at)

    def test_body_to_end(self) -> None:
        for suite in (1, 2, 3):
            c = build(recipe(suite), noise(600))
            data = bytearray(c.join())
            page = len(data) - 192 - 40 - len(c.pages[0])
            for at in [*range(65536, page, 13), *range(page, len(data))]:
                data[at] ^= 1 << at % 8
                self.refused_by_both(bytes(data), (suite, at))
                data[at] ^= 1 << at % 8

    def test_truncations(self) -> None:
        for size in [*range(0, len(self.file), 997), *range(65530, 65545), *range(len(self.file) - 600, len(self.file))]:
            self.refused_by_both(self.file[:size], size)

    def test_trailing(self) -> None:
        for junk in (b"\0", b"x", bytes(192), self.file[-192:], self.file):
            self.refused_by_both(self.file + junk, len(junk))

    def test_swapped_chunks(self) -> None:
        for suite in (1, 2, 3):
            c = build(recipe(suite), noise(3 * K64))
            c.data[0][0], c.data[0][1] = c.data[0][1], c.data[0][0]
            self.refused_by_both(c.join())

    def test_wrong_keys(self) -> None:
        ring = {thumbprint(STRANGER.public_key()): STRANGER}
        self.refused(self.file, WrongKey, ring)
        self.refused(self.file, WrongKey, {})
        for key in (KEY1, KEY2):  # one of two layers is not enough
            self.refused(self.file, WrongKey, {thumbprint(key.public_key()): key})
        # the right thumbprint, another key
        self.refused(self.file, WrongKey, {thumbprint(k): STRANGER for k in (PUB1, PUB2)})


Edit = Callable[[Container], None]


class Forged(Case):
    """Edits with everything mended that the forger can mend."""

    def forge(self, edit: Edit, r: Recipe | None = None, disk: bytes | None = None) -> bytes:
        c = build(r or recipe(), noise(600) if disk is None else disk)
        edit(c)
        return c.join()

    def heads(self, at: int, value: bytes, *, sections: bool = False) -> Edit:
        """Changes both heads and mends the check hash, perhaps the macs of sections."""

        def edit(c: Container) -> None:
            for which in (0, 1):
                c.heads[which][at : at + len(value)] = value
                (c.mend_sections if sections else c.mend_head)(which)

        return edit

    def fixed(self, at: int, value: bytes) -> Edit:
        """Changes FIXED, with H in page and footer: what anyone can do without keys."""

        def edit(c: Container) -> None:
            self.heads(at, value)(c)
            for page in c.pages:
                page[40:72] = c.H
            c.footer[8:40] = c.H
            c.mend_tail(mac=False)

        return edit

    def page(self, at: int, value: bytes, page: int = 0) -> Edit:
        """Changes a page, and mends it with all keys."""

        def edit(c: Container) -> None:
            c.pages[page][at : at + len(value)] = value
            c.mend_page(page)
            c.mend_tail()

        return edit

    def footer(self, at: int, value: bytes) -> Edit:
        def edit(c: Container) -> None:
            c.footer[at : at + len(value)] = value
            c.mend_tail()

        return edit

    def test_every_head_byte_rehashed(self) -> None:
        """Without keys nothing of a head can be changed but what is not authenticated: the envelope's generation."""
        base = build(recipe(3), noise(600))
        end = 1024 + int.from_bytes(base.heads[0][1028:1032], "little")
        for at in [*range(0, end + 40), *range(end + 40, 32736, 997)]:
            c = copy.deepcopy(base)
            for which in (0, 1):
                c.heads[which][at] ^= 1 << at % 8
                c.mend_head(which)
            if 1032 <= at < 1040:
                self.verify(c.join())
                continue
            try:
                self.verify(c.join())
                self.fail(f"accepted a change at {at}")
            except SobreError:
                pass

    def test_every_fixed_byte_with_H(self) -> None:
        base = build(recipe(2), noise(600))
        for at in range(1024):
            c = copy.deepcopy(base)
            self.fixed(at, bytes([c.heads[0][at] ^ 1 << at % 8]))(c)
            try:
                self.verify(c.join())
                self.fail(f"accepted a change at {at}")
            except SobreError:
                pass

    def test_one_head_rehashed(self) -> None:
        """A forged FIXED in one head is a refusal, a forged section falls back on the other head."""
        c = build(recipe(), noise(600))
        forged = copy.deepcopy(c)
        forged.heads[1][24] ^= 1
        forged.mend_head(1)
        self.refused_by_both(forged.join())
        forged = copy.deepcopy(c)
        forged.heads[0][1024 + 24] ^= 1  # generation of section 1
        forged.mend_head(0)
        self.verify(forged.join())
        self.assertIn("went on with head B", self.said[0])

    def test_higher_generation(self) -> None:
        old = build(recipe(), noise(600))
        r = recipe(generation=2)
        r.layer1 = [Recipient(PUB2)]
        new = build(r, noise(600))
        for which in (0, 1):
            c = copy.deepcopy(old)
            c.heads[which] = new.heads[0]
            self.verify(c.join(), {thumbprint(PUB2): KEY2})
            self.assertEqual(self.said, [])
            # An interrupted rewrap: who has the old key only goes on with the older head.
            self.verify(c.join(), {thumbprint(PUB1): KEY1})
            self.assertIn(f"went on with head {'BA'[which]}", self.said[0])
            self.refused(c.join(), WrongKey, {thumbprint(STRANGER.public_key()): STRANGER})

    def test_not_supported(self) -> None:
        for at, value in ((8, u16(2)), (10, b"\2"), (10, b"\3"), (11, b"\4"), (16, u32(1)), (16, u32(2)), (16, u32(1 << 31))):
            data = self.forge(self.fixed(at, value))
            self.refused(data, NotSupported, note=at)
            self.refused(data, NotSupported, None, at)
            # One such head is as good as none: the other serves.
            c = build(recipe(), noise(600))
            for which in (0, 1):
                one = copy.deepcopy(c)
                one.heads[which][at : at + len(value)] = value
                one.mend_head(which)
                self.verify(one.join())
                self.assertEqual(len(self.said), 1)
                # A damaged one beside it does not hide that it is not supported.
                one.heads[1 - which][40] ^= 1
                self.refused(one.join(), NotSupported)
        r = recipe()
        r.tlvs = [(0x8001, b"x")]
        self.refused(self.forge(lambda c: None, r), NotSupported)
        for kind in (0, 0x8000):
            r.tlvs = [(kind, b"x")]
            self.refused_by_both(self.forge(lambda c: None, r))

    def test_unusable_entries(self) -> None:
        """An entry of another type, algorithm or thumbprint is there and serves nobody."""
        for odd in ({"type": 0}, {"type": 2}, {"type": 255}, {"alg": 3}, {"tp_alg": 2}):
            r = recipe()
            r.layer1 = [Recipient(PUB2, ct=b"?", **odd), Recipient(PUB1)]  # type: ignore[arg-type]
            self.verify(self.forge(lambda c: None, r))
            r.layer1 = [Recipient(PUB1, ct=b"?", **odd)]  # type: ignore[arg-type]
            self.refused(self.forge(lambda c: None, r), WrongKey)

    def test_first_entry_decides(self) -> None:
        """A key at hand that doesn't decrypt its entry ends it, whatever entries follow."""
        r = recipe()
        r.layer1 = [Recipient(PUB2, ct=bytes(256)), Recipient(PUB1)]
        self.refused(self.forge(lambda c: None, r), WrongKey)
        self.verify(self.forge(lambda c: None, r), {thumbprint(PUB1): KEY1})

    def test_fixed_rules(self) -> None:
        for at, value in (
            (12, b"\2"), (13, b"\x0a"), (14, b"\x0f"), (14, b"\x15"), (15, b"\2"), (104, b"\1"), (120, b"\1"),
            (152, b"\1"), (153, b"\1"), (160, u16(863)), (160, u16(1)), (1023, b"\1"),
        ):  # fmt: skip
            data = self.forge(self.fixed(at, value))
            self.refused_by_both(data, at)

    def test_labels(self) -> None:
        bad = (
            b"\1a\0\0" * 2, b"\1b\0\0\1a\0\0", b"\0\0\0", b"\1 \0\0", b"\1a\1\0", b"\1a\1\0\xff",
            b"A" + b"a" * 65 + b"\0\0", b"\1a\x01\x02" + b"x" * 513,
        )  # fmt: skip
        for labels in bad:
            self.refused_by_both(self.forge(self.fixed(160, u16(len(labels)) + labels)), labels)
        good = b"\1a\0\0\1b\1\0x"
        c = build(recipe(), noise(600))
        self.fixed(160, u16(len(good)) + good)(c)
        self.verify(c.join(), None)

    def test_envelope_rules(self) -> None:
        s = 1024 + 16  # section 1
        base = build(recipe(), noise(600))
        length = int.from_bytes(base.heads[0][1028:1032], "little")
        for at, value in (
            (1024, b"X"), (1028, u32(15)), (1028, u32(31713)), (1028, u32(length - 1)), (1028, u32(length + 1)),
            (1028, u32(length + 3)), (1024 + length + 9, b"\1"), (s, u32(0)), (s, u32(0xFFFFFFFF)), (s + 4, b"\2"),
            (s + 5, b"\0"), (s + 5, b"\2"), (s + 5, b"\x09"), (s + 6, u16(2)), (s + 24, u16(129)), (s + 24, u16(0xFFFF)),
            (s + 26, b"\xff"), (s + 30, u16(1)), (s + 32, u16(0)), (s + 32, u16(3)),
            (s + 70, b"\5"), (s + 71, u16(0)), (s + 71, u16(257)), (s + 71, u16(4097)),
        ):  # fmt: skip
            data = self.forge(self.heads(at, value))
            self.refused_by_both(data, (at, value))
        twice = recipe()
        twice.layer1 = [Recipient(PUB1), Recipient(PUB1)]
        odd_source, long_set = recipe(source=b"x" * 31), recipe(set_name="x" * 129)
        many = recipe()
        many.layer1 = [Recipient(PUB1, locators=["l"] * 5)]
        empty = recipe()
        empty.layer1 = [Recipient(PUB1, locators=[""])]
        nobody = recipe()
        nobody.layer1 = []
        for r in (twice, odd_source, long_set, many, empty, nobody):
            self.refused_by_both(self.forge(lambda c: None, r))

    def test_blobs(self) -> None:
        c = build(recipe(), b"")
        tag = sha(b"sobre/1 dek\0\1" + c.H)
        for blob in (b"", tag, tag + bytes(range(95)), tag + bytes(range(97)), tag[::-1] + bytes(range(96)), tag + b"k" * 64 + bytes(32)):
            r = recipe()
            r.layer1 = [Recipient(PUB1, ct=oaep_encrypt(PUB1, blob, "sha256", bytes(32)))]
            self.refused(self.forge(lambda c: None, r))
        # the right secret under a wrong tag; equal halves of the XTS key with everything else right
        wrong_tag = oaep_encrypt(PUB1, bytes(32) + c.secrets.layer[0], "sha256", bytes(32))
        r.layer1 = [Recipient(PUB1, ct=wrong_tag)]
        self.assertIn("tag", self.refused(self.forge(lambda c: None, r)))
        self.assertIn("halves", self.refused(self.forge(lambda c: None, recipe(xts_key=b"k" * 64), bytes(600))))
        for size in (0, 4097):
            r.layer1 = [Recipient(PUB1), Recipient(PUB2, ct=bytes(size))]
            self.refused_by_both(self.forge(lambda c: None, r), size)
        r.layer1 = [Recipient(PUB1), Recipient(PUB2, ct=bytes(4096))]
        self.verify(self.forge(lambda c: None, r))
        # the right BLOB under the other alg
        r.layer1 = [Recipient(PUB1, ct=oaep_encrypt(PUB1, tag, "sha1", bytes(32)))]
        self.refused(self.forge(lambda c: None, r), WrongKey)

    def test_page_rules(self) -> None:
        for at, value in (
            (0, b"X"), (8, u32(1)), (12, u16(2)), (12, u16(0)), (14, u16(16)), (16, u64(1)), (24, u64(65537)), (24, u64(2**64 - 1)),
            (32, u64(512)), (32, u64(2**64 - 1)), (40, b"X"), (72, b"\1"), (223, b"\1"), (256, b"\0"), (256, b"\2"), (256, b"\3"), (257, b"\1"),
            (260, u32(512)), (260, u32(600)), (260, u32(0)), (260, u32(0xFFFFFFFF)), (272, b"\1"), (280, b"\1"), (287, b"\1"),
        ):  # fmt: skip
            self.refused_by_both(self.forge(self.page(at, value)), (at, value))
        for suite in (2, 3):
            self.refused_by_both(self.forge(self.page(256 + 60, b"\1"), recipe(suite)), "zeros in the tag")
        for at in (257, 260, 264, 272, 280, 288, 319):
            self.refused_by_both(self.forge(self.page(at, b"\1"), disk=bytes(600)), f"hole {at}")

    def test_page_without_key(self) -> None:
        """A page changed by someone without keys: index and root are mended, the mac is not."""
        for at in (14, 264, 288, 300):

            def edit(c: Container, at: int = at) -> None:
                c.pages[0][at] ^= 1
                c.mend_tail(mac=False)

            for suite in (1, 2, 3):
                self.refused(self.forge(edit, recipe(suite)), note=at)

    def test_chunk_without_key(self) -> None:
        """A chunk changed with its CRC and BLAKE3: keyless checks can't see it, those with keys do."""

        def edit(c: Container) -> None:
            c.data[0][0][5] ^= 1
            stored = bytes(c.data[0][0])
            c.pages[0][264:272] = u64(crc64(stored))
            if c.heads[0][11] == 1:
                c.pages[0][288:320] = blake3(stored).digest()
            c.mend_tail(mac=False)

        for suite in (1, 2, 3):
            data = self.forge(edit, recipe(suite))
            self.refused(data)
            self.verify(data, None)
            root = self.verify(build(recipe(suite), noise(600)).join(), None).tables.footer.root
            with self.assertRaises(Damaged):
                self.verify(data, None, root=root)

    def test_tag_with_key(self) -> None:
        """All macs hold but the tag of the chunk doesn't."""
        for suite in (1, 2, 3):
            self.assertIn("tag", self.refused(self.forge(self.page(288, b"!!!!"), recipe(suite))))

    def test_footer_rules(self) -> None:
        for at, value in (
            (0, b"X"), (8, b"X"), (40, u64(0)), (40, u64(K64 + 1)), (40, u64(2**48 + 1)), (40, u64(2**64 - 1)), (48, u64(2)),
            (48, u64(2**64 - 1)), (56, u64(512)), (56, u64(2**64 - 1)), (64, u32(2)), (64, u32(0)), (64, u32(0xFFFFFFFF)), (68, b"\1"),
            (72, u64(65536)), (72, u64(2**64 - 1)), (80, u64(0)), (80, u64(2**64 - 1)), (152, b"\1"), (183, b"\1"),
        ):  # fmt: skip
            self.refused_by_both(self.forge(self.footer(at, value)), (at, value))
        # one more than a whole number of sectors of 4096
        self.refused_by_both(self.forge(self.footer(40, u64(8191)), recipe(sector_log2=12), noise(8192)))

        def mac(c: Container) -> None:
            c.footer[120] ^= 1
            c.mend_footer_crc()

        self.refused(self.forge(mac))

    def test_index_rules(self) -> None:
        disk = bytearray(1021 * K64)
        disk[0] = disk[-1] = 1
        base = build(recipe(), bytes(disk))
        good = bytes(base.index)
        late = good[:40] + u64(base_end(base)) + good[48:]
        for index in (good[40:] + good[:40], good[:40] * 2, u64(0) + good[8:], u64(2**64 - 1) + good[8:], late):
            c = copy.deepcopy(base)
            c.index = bytearray(index)
            c.mend_tail(index=False)
            self.refused_by_both(c.join(), index.hex())
        c = copy.deepcopy(base)
        c.pages.reverse()
        c.data.reverse()
        c.mend_tail()
        self.refused_by_both(c.join(), "pages swapped")

    def test_cut_last_chunk(self) -> None:
        """The last chunk and its record gone, footer mended without keys."""

        def edit(c: Container) -> None:
            c.data[0].pop()
            c.pages[0][12:14] = u16(1)
            c.pages[0][32:40] = u64(K64)
            del c.pages[0][-64:]
            c.footer[40:68] = u64(K64) + u64(1) + u64(K64) + u32(1)
            at = 65536 + K64 + len(c.pages[0])
            c.footer[72:88] = u64(at) + u64(at + 40 + 192)
            c.mend_tail(mac=False)

        data = self.forge(edit, disk=noise(2 * K64))
        self.verify(data, None)  # nothing but a root known from elsewhere can tell
        self.refused(data)

    def test_root_covers_disk_len(self) -> None:
        """Another length within the last chunk (a hole) or the last sector (data) needs another root."""
        for disk, other in ((noise(600), 601), (noise(K64) + bytes(K64), K64 + 1)):
            c = build(recipe(), disk)
            root = bytes(c.footer[88:120])
            c.footer[40:48] = u64(other)
            c.mend_footer_crc()
            self.refused_by_both(c.join())
            c.mend_tail(mac=False)
            self.verify(c.join(), None)
            self.refused(c.join())
            with self.assertRaises(Damaged):
                self.verify(c.join(), None, root=root)


def base_end(c: Container) -> int:
    return int.from_bytes(c.footer[72:80], "little")


class CommandLine(Case):
    def setUp(self) -> None:
        super().setUp()
        self.keys = []
        for i, key in enumerate((KEY1, KEY2, STRANGER)):
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            self.keys.append(self.put(pem, f"key{i}.pem"))
        self.disk = noise(K64) + bytes(K64) + noise(700)
        self.c = build(recipe(3), self.disk)
        self.put(self.c.join())

    def cli(self, *args: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = reader.main(args)
        return code, out.getvalue(), err.getvalue()

    def leftovers(self) -> list[str]:
        return [n for n in os.listdir(self.dir) if n.endswith(".part")]

    def test_open(self) -> None:
        code, out, err = self.cli("open", self.snap, self.out, "--key", self.keys[0], "--key", self.keys[1])
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(json.loads(out)["root"], bytes(self.c.footer[88:120]).hex())
        self.assertEqual(Path(self.out).read_bytes(), self.disk)
        self.assertEqual(self.leftovers(), [])

    def test_refusals(self) -> None:
        keys = ["--key", self.keys[0], self.keys[1]]
        self.assertEqual(self.cli("open", self.snap, self.out, "--key", self.keys[2])[0], 12)
        data = bytearray(self.c.join())
        data[65536 + K64 + 4] ^= 1  # the last chunk: the first one was written by then
        self.put(bytes(data))
        self.assertEqual(self.cli("open", self.snap, self.out, *keys)[0], 13)
        self.assertEqual(self.cli("verify", self.snap)[0], 13)
        data[10] = data[32768 + 10] = 3
        for at in (0, 32768):
            data[at + 32736 : at + 32768] = sha(bytes(data[at : at + 32736]))
        self.put(bytes(data))
        code, _, err = self.cli("open", self.snap, self.out, *keys)
        self.assertEqual(code, 13)
        self.assertIn("not supported", err)
        self.assertFalse(os.path.exists(self.out))
        self.assertEqual(self.leftovers(), [])
        self.assertEqual(self.cli("verify", str(self.dir / "nothing"))[0], 1)

    def test_verify_and_inspect(self) -> None:
        root = bytes(self.c.footer[88:120]).hex()
        self.assertEqual(self.cli("verify", self.snap)[0], 0)
        self.assertEqual(self.cli("verify", self.snap, "--root", root)[0], 0)
        self.assertEqual(self.cli("verify", self.snap, "--root", "00" * 32)[0], 13)
        self.assertEqual(self.cli("verify", self.snap, "--key", self.keys[0], self.keys[1])[0], 0)
        self.assertEqual(self.cli("verify", self.snap, "--key", self.keys[0])[0], 12)
        self.assertEqual(json.loads(self.cli("inspect", self.snap)[1])["suite"], "xts-gcm")

    def test_manifest_from_a_pipe(self) -> None:
        manifest = self.put(self.c.manifest(), "manifest")
        args = [sys.executable, str(HERE / "reader.py"), "open", "-", self.out, "--key", *self.keys[:2], "--manifest", manifest]
        good = self.c.join()
        self.assertEqual(subprocess.run(args, input=good, capture_output=True).returncode, 0)
        self.assertEqual(Path(self.out).read_bytes(), self.disk)
        os.unlink(self.out)
        for data in (good[:-1], good + b"x", good[:-300] + b"!" + good[-299:], good[:70000]):
            self.assertEqual(subprocess.run(args, input=data, capture_output=True).returncode, 13)
            self.assertFalse(os.path.exists(self.out))

    def test_manifest_refused(self) -> None:
        good = self.c.manifest()
        other = build(recipe(3, seed=b"other"), self.disk).manifest()
        step = [*range(0, 1024, 31), *range(1024, len(good))]
        bad = [good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :] for i in step]
        for data in (*bad, good[:-1], good + b"\0", b"", other):
            with self.assertRaises(Damaged):
                reader.verify_file(self.snap, RING, manifest=self.put(data, "manifest"))

    def test_sidecar(self) -> None:
        r = recipe(3, generation=2)
        r.layer1 = [Recipient(STRANGER.public_key())]
        head = bytes(build(r, self.disk).heads[0])
        sidecar = self.put(head, "sidecar")
        keys = ["--key", self.keys[1], self.keys[2]]
        self.assertEqual(self.cli("open", self.snap, self.out, *keys)[0], 12)
        self.assertEqual(self.cli("open", self.snap, self.out, *keys, "--sidecar", sidecar)[0], 0)
        self.assertEqual(Path(self.out).read_bytes(), self.disk)
        for data in (head[:-1], head + b"\0", head[:50] + b"\1" + head[51:], bytes(build(recipe(3, seed=b"x"), b"").heads[0])):
            self.put(data, "sidecar")
            self.assertEqual(self.cli("open", self.snap, self.out, *keys, "--sidecar", sidecar)[0], 13)
        # it also replaces heads that are damaged
        self.put(head, "sidecar")
        self.put(bytes(65536) + self.c.join()[65536:])
        self.assertEqual(self.cli("open", self.snap, self.out, *keys, "--sidecar", sidecar)[0], 0)

    def test_writer_cli(self) -> None:
        disk = self.put(self.disk, "disk")
        pub = self.put(PUB1.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "pub.pem")
        subprocess.run([sys.executable, str(HERE / "writer.py"), disk, self.snap, "--pub", pub, "--suite", "2"], check=True)
        self.assertEqual(self.cli("open", self.snap, self.out, "--key", self.keys[0])[0], 0)
        self.assertEqual(Path(self.out).read_bytes(), self.disk)


if __name__ == "__main__":
    unittest.main()
