#!/usr/bin/env python3
"""A minimal writer of sobre containers, FOR TESTS ONLY: all its randomness comes from a seed.

Section numbers are those of SPEC.md. `Container` keeps a container in parts: tests change any byte and then `mend_*`
every hash, CRC and (where they have the keys) mac that an attacker could mend too.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from reader import crc64, expand, extract, hmac256, sha, thumbprint

MAGIC = bytes.fromhex("89534f4252450d0a")


def u8(x: int) -> bytes:
    return x.to_bytes(1, "little")


def u16(x: int) -> bytes:
    return x.to_bytes(2, "little")


def u32(x: int) -> bytes:
    return x.to_bytes(4, "little")


def u64(x: int) -> bytes:
    return x.to_bytes(8, "little")


class Random:
    """Bytes from a seed and a name: the same ones every time."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed

    def get(self, name: str, size: int) -> bytes:
        return hashlib.shake_256(self.seed + b"\0" + name.encode()).digest(size)


@dataclass
class Recipient:
    """One ENTRY of section 3.2. `tp_alg`, `type` and `ct` can be set to what a reader can't use."""

    key: RSAPublicKey
    alg: int = 1
    tp_alg: int = 1
    type: int = 1
    locators: Sequence[str] = ()
    ct: bytes | None = None


@dataclass
class Epoch:
    """An epoch key with its record (section 3.3); as a recipient, an ENTRY of type 2.

    `head` may be changed, and what is broken then mended; what the keys follow from stays.
    """

    fixed: bytes
    key: bytes
    layer: int
    head: bytearray
    alg: int = 3
    tp_alg: int = 2
    type: int = 2
    tp_rest: bytes = bytes(16)
    locators: Sequence[str] = ()
    ct: bytes | None = None

    @property
    def id(self) -> bytes:
        return self.fixed[32:48]

    @property
    def file_name(self) -> str:
        return f"{self.id.hex()}.sobre-epoch"

    def expand(self, info: bytes) -> bytes:
        H = sha(self.fixed)
        return expand(extract(H, u8(self.layer) + self.key), info)

    @property
    def env(self) -> bytes:
        return self.expand(b"sobre/1 envelope")

    @property
    def wrap(self) -> bytes:
        return self.expand(b"sobre/1 epoch wrap")

    def mend(self, *, mac: bool = True) -> None:
        """The section's mac, wherever its `len` says it ends, and the check hash."""
        if mac:
            end = 1040 + int.from_bytes(self.head[1040:1044], "little")
            self.head[end - 32 : end] = hmac256(self.env, bytes(self.head[1040 : end - 32]))
        self.head[32736:] = sha(bytes(self.head[:32736]))


@dataclass
class EpochRecipe:
    """Everything that decides what an epoch record looks like."""

    recipients: Sequence[Recipient | Epoch]
    layer: int = 1
    seed: bytes = b"seed"
    created: int = 1_700_000_000
    optional: int = 0
    generation: int = 1
    set_name: str = "test"
    source: bytes = b""
    flags: int = 0
    tlvs: Sequence[tuple[int, bytes]] = ()
    fixed_edits: Sequence[tuple[int, bytes]] = ()  # done before anything is derived from FIXED
    key: bytes | None = None
    blob: bytes | None = None


@dataclass
class Recipe:
    """Everything that decides what a container looks like."""

    layer1: Sequence[Recipient | Epoch]
    layer2: Sequence[Recipient | Epoch] = ()
    suite: int = 1
    sector_log2: int = 9
    chunk_log2: int = 16
    seed: bytes = b"seed"
    labels: dict[str, str] = field(default_factory=dict)
    key_origin: int = 0
    optional: int = 0
    created: int = 1_700_000_000
    sequence: int = 0
    generation: int = 1
    set_name: str = "test"
    source: bytes = b""
    flags: int = 0
    tlvs: Sequence[tuple[int, bytes]] = ()
    session: int = 0
    holes: bool = True  # False: chunks of zeros are stored as data
    xts_key: bytes | None = None


@dataclass
class Secrets:
    """Section 4, as the writer knows it."""

    layer: list[bytes]
    prk: list[bytes]
    prk_all: bytes

    def env(self, layer: int) -> bytes:
        return expand(self.prk[layer - 1], b"sobre/1 envelope")

    @property
    def page(self) -> bytes:
        return expand(self.prk_all, b"sobre/1 page")

    @property
    def foot(self) -> bytes:
        return expand(self.prk_all, b"sobre/1 footer")

    @property
    def gmac(self) -> bytes:
        return expand(self.prk_all, b"sobre/1 gmac")

    @property
    def gcm(self) -> bytes:
        return expand(self.prk[1], b"sobre/1 gcm")

    @property
    def xts(self) -> bytes:
        return self.layer[0][:64]


def oaep_encrypt(key: RSAPublicKey, message: bytes, digest: str, seed: bytes) -> bytes:
    """RSAES-OAEP (RFC 8017, 7.1.1) with an empty label and a given seed, so that the output is deterministic."""
    numbers = key.public_numbers()
    k = (numbers.n.bit_length() + 7) // 8

    def h(data: bytes) -> bytes:
        return hashlib.new(digest, data).digest()

    def mgf1(data: bytes, size: int) -> bytes:
        out = b"".join(h(data + i.to_bytes(4, "big")) for i in range(size // len(h(b"")) + 1))
        return out[:size]

    def xor(a: bytes, b: bytes) -> bytes:
        return bytes(x ^ y for x, y in zip(a, b, strict=True))

    size = len(h(b""))
    seed = seed[:size]
    room = k - 2 * size - 2 - len(message)
    if room < 0:
        raise ValueError("the RSA key is too small for this message")
    block = h(b"") + bytes(room) + b"\x01" + message
    block = xor(block, mgf1(seed, len(block)))
    seed = xor(seed, mgf1(block, size))
    return pow(int.from_bytes(b"\0" + seed + block, "big"), numbers.e, numbers.n).to_bytes(k, "big")


def make_fixed(r: Recipe, rnd: Random) -> bytes:
    """Section 3.1."""
    labels = b"".join(
        u8(len(k)) + k + u16(len(v)) + v for k, v in sorted((k.encode(), v.encode()) for k, v in r.labels.items())
    )
    fixed = MAGIC + u16(1) + u8(1) + u8(r.suite) + u8(2 if r.suite == 3 else 1) + u8(r.sector_log2) + u8(r.chunk_log2)
    fixed += u8(r.key_origin) + u32(0) + u32(r.optional) + u64(r.created) + rnd.get("id", 16) + rnd.get("disk", 16)
    fixed += u64(r.sequence) + bytes(32) + bytes(16) + bytes(32) + bytes(8) + u16(len(labels)) + labels.ljust(862, b"\0")
    assert len(fixed) == 1024
    return fixed


def make_secrets(r: Recipe, rnd: Random, H: bytes) -> Secrets:
    """Sections 3.2 and 4."""
    layer = [(r.xts_key or rnd.get("xts", 64)) + rnd.get("seed1", 32)]
    if r.suite == 3:
        layer.append(rnd.get("seed2", 32))
    prk = [extract(H, u8(i) + secret) for i, secret in enumerate(layer, 1)]
    return Secrets(layer, prk, prk[0] if len(prk) == 1 else extract(prk[0], prk[1]))


def make_entry(to: Recipient | Epoch, blob: bytes, seed: bytes) -> bytes:
    ct = to.ct
    if isinstance(to, Epoch):
        tp = to.id + to.tp_rest
        ct = aes_key_wrap_with_padding(to.wrap, blob) if ct is None else ct
    else:
        tp = thumbprint(to.key)
        ct = oaep_encrypt(to.key, blob, "sha1" if to.alg == 2 else "sha256", seed) if ct is None else ct
    body = u8(to.type) + u16(to.alg) + u8(to.tp_alg) + tp + u8(len(to.locators))
    for locator in to.locators:
        body += u16(len(locator.encode())) + locator.encode()
    body += u16(len(ct)) + ct
    return u16(len(body) + 2) + body


def join_section(r: Recipe | EpochRecipe, layer: int, source: bytes, entries: Sequence[bytes], k_env: bytes) -> bytes:
    """Section 3.2."""
    name = r.set_name.encode()
    body = u8(layer) + u8(len(entries)) + u16(r.flags) + u64(r.generation) + u64(r.created)
    body += u16(len(name)) + name + u16(len(source)) + source + b"".join(entries)
    section = u32(4 + len(body) + 32) + body
    return section + hmac256(k_env, section)


def join_head(r: Recipe | EpochRecipe, fixed: bytes, sections: bytes) -> bytes:
    """Section 3."""
    tlvs = b"".join(u16(kind) + u16(len(data)) + data for kind, data in r.tlvs)
    envelope = b"ENVL" + u32(16 + len(sections) + len(tlvs)) + u64(r.generation) + sections + tlvs
    assert len(envelope) <= 31712
    head = fixed + envelope.ljust(31712, b"\0")
    return head + sha(head)


def make_section(r: Recipe, rnd: Random, layer: int, secrets: Secrets, H: bytes) -> bytes:
    recipients = r.layer1 if layer == 1 else r.layer2
    blob = sha(b"sobre/1 dek\0" + u8(layer) + H) + secrets.layer[layer - 1]
    entries = [make_entry(to, blob, rnd.get(f"oaep {layer} {i} {r.generation}", 32)) for i, to in enumerate(recipients)]
    return join_section(r, layer, r.source if layer == 1 else b"", entries, secrets.env(layer))


def make_head(r: Recipe, rnd: Random, fixed: bytes, secrets: Secrets) -> bytes:
    layers = range(1, len(secrets.layer) + 1)
    return join_head(r, fixed, b"".join(make_section(r, rnd, layer, secrets, sha(fixed)) for layer in layers))


def make_epoch(r: EpochRecipe) -> Epoch:
    """Section 3.3. The epoch key and id follow from the seed and the layer alone: a new generation is a rewritten record."""
    rnd = Random(r.seed)
    raw = bytearray(MAGIC + u16(1) + u8(3) + u8(0) + u8(r.layer) + bytes(3) + u32(0) + u32(r.optional) + u64(r.created))
    raw = bytearray((raw + rnd.get(f"epoch id {r.layer}", 16)).ljust(1024, b"\0"))
    for at, value in r.fixed_edits:
        raw[at : at + len(value)] = value
    epoch = Epoch(bytes(raw), r.key or rnd.get(f"epoch key {r.layer}", 32), r.layer, bytearray())
    blob = sha(b"sobre/1 epoch\0" + u8(r.layer) + sha(epoch.fixed)) + epoch.key if r.blob is None else r.blob
    entries = [
        make_entry(to, blob, rnd.get(f"epoch oaep {r.layer} {i} {r.generation}", 32)) for i, to in enumerate(r.recipients)
    ]
    epoch.head = bytearray(join_head(r, epoch.fixed, join_section(r, r.layer, r.source, entries, epoch.env)))
    return epoch


def seal_chunk(r: Recipe, rnd: Random, secrets: Secrets, chunk: int, plain: bytes) -> tuple[bytes, bytes]:
    """Section 6: the stored bytes and the tag."""
    sector = 1 << r.sector_log2
    plain += bytes(-len(plain) % sector)
    stored = b""
    for at in range(0, len(plain), sector):
        tweak = (((chunk << r.chunk_log2) + at) // 512).to_bytes(16, "little")
        enc = Cipher(algorithms.AES(secrets.xts), modes.XTS(tweak)).encryptor()
        stored += enc.update(plain[at : at + sector]) + enc.finalize()
    if r.suite == 1:
        return stored, blake3(stored).digest()
    nonce = hmac256(rnd.get(f"session {r.session}", 32), u64(chunk))[:12]
    if r.suite == 2:
        return stored, nonce + AESGCM(secrets.gmac).encrypt(nonce, b"", stored) + bytes(4)
    sealed = AESGCM(secrets.gcm).encrypt(nonce, stored, None)
    return sealed[:-16], nonce + sealed[-16:] + bytes(4)


@dataclass
class Container:
    """A container in parts, to be changed and put together again."""

    heads: list[bytearray]
    data: list[list[bytearray]]  # of each page the stored data chunks
    pages: list[bytearray]
    footer: bytearray
    secrets: Secrets
    index: bytearray = field(default_factory=bytearray)

    @property
    def H(self) -> bytes:
        return sha(bytes(self.heads[0][:1024]))

    def join(self) -> bytes:
        out = bytearray(self.heads[0] + self.heads[1])
        for chunks, page in zip(self.data, self.pages, strict=True):
            for chunk in chunks:
                out += chunk
            out += page
        return bytes(out + self.index + self.footer)

    def manifest(self) -> bytes:
        """Section 8."""
        return bytes(self.heads[0][:1024] + b"".join(self.pages) + self.index + self.footer)

    # What follows mends a container after an edit. With `mac=False`, as someone without the keys would.

    def mend_head(self, which: int) -> None:
        self.heads[which][32736:] = sha(bytes(self.heads[which][:32736]))

    def mend_sections(self, which: int) -> None:
        """New macs for all sections, wherever their `len` says they end."""
        head, at = self.heads[which], 1024 + 16
        for layer in range(1, len(self.secrets.layer) + 1):
            end = at + int.from_bytes(head[at : at + 4], "little")
            head[end - 32 : end] = hmac256(self.secrets.env(layer), bytes(head[at : end - 32]))
            at = end
        self.mend_head(which)

    def mend_page(self, page: int, *, mac: bool = True) -> None:
        raw = self.pages[page]
        if mac:
            raw[224:256] = bytes(32)
            raw[224:256] = hmac256(self.secrets.page, bytes(raw))

    def mend_tail(self, *, mac: bool = True, index: bool = True) -> None:
        """INDEX from the pages (unless `index` is false), and the footer's root, mac and CRC."""
        if index:
            self.index = bytearray()
            at = 65536
            for chunks, page in zip(self.data, self.pages, strict=True):
                at += sum(map(len, chunks))
                self.index += u64(at) + sha(bytes(page))
                at += len(page)
        self.footer[88:120] = sha(b"sobre/1 root\0" + self.H + bytes(self.footer[40:48]) + bytes(self.index))
        if mac:
            self.footer[120:152] = hmac256(self.secrets.foot, bytes(self.footer[:120]))
        self.mend_footer_crc()

    def mend_footer_crc(self) -> None:
        self.footer[184:] = u64(crc64(bytes(self.footer[:184])))


def build(r: Recipe, disk: bytes) -> Container:
    """A container of `disk`."""
    rnd = Random(r.seed)
    fixed = make_fixed(r, rnd)
    H = sha(fixed)
    secrets = make_secrets(r, rnd, H)
    head = make_head(r, rnd, fixed, secrets)
    size = 1 << r.chunk_log2
    count = (len(disk) + size - 1) // size
    c = Container([bytearray(head), bytearray(head)], [], [], bytearray(), secrets)
    at, total = 65536, 0
    for page, first in enumerate(range(0, count, 1020)):
        chunks: list[bytearray] = []
        records = b""
        here = range(first, min(first + 1020, count))
        for chunk in here:
            plain = disk[chunk * size : (chunk + 1) * size]
            if r.holes and plain.count(0) == len(plain):
                records += bytes(64)
                continue
            stored, tag = seal_chunk(r, rnd, secrets, chunk, plain)
            chunks.append(bytearray(stored))
            records += u8(1) + bytes(3) + u32(len(stored)) + u64(crc64(stored)) + bytes(16) + tag
        length = sum(map(len, chunks))
        raw = b"SOBREPAG" + u32(page) + u16(len(here)) + u16(r.session) + u64(first) + u64(at) + u64(length) + H
        c.data.append(chunks)
        c.pages.append(bytearray(raw + bytes(152 + 32) + records))
        c.mend_page(page)
        at += length + len(c.pages[page])
        total += length
    pages = len(c.pages)
    tail = b"SOBREEND" + H + u64(len(disk)) + u64(count) + u64(total) + u32(pages) + u32(0) + u64(at)
    c.footer = bytearray((tail + u64(at + 40 * pages + 192)).ljust(192, b"\0"))
    c.mend_tail()
    return c


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes a sobre container for tests. Its keys follow from the seed!")
    parser.add_argument("disk")
    parser.add_argument("out")
    for layer, suffix in ((1, ""), (2, "2")):
        parser.add_argument(f"--pub{suffix}", nargs="+", action="extend", default=[], help=f"public keys (PEM) of layer {layer}")
        parser.add_argument(
            f"--epoch{suffix}", nargs="+", action="extend", default=[],
            help=f"public keys (PEM) of an epoch key of layer {layer}; its record is written beside OUT",
        )  # fmt: skip
    parser.add_argument("--suite", type=int, default=1)
    parser.add_argument("--sector-log2", type=int, default=9)
    parser.add_argument("--chunk-log2", type=int, default=18)
    parser.add_argument("--seed", default="seed")
    parser.add_argument("--alg", type=int, default=1)
    parser.add_argument("--manifest")
    args = parser.parse_args()

    def recipients(paths: Sequence[str]) -> list[Recipient]:
        keys = []
        for path in paths:
            key = load_pem_public_key(Path(path).read_bytes())
            assert isinstance(key, RSAPublicKey)
            keys.append(Recipient(key, alg=args.alg))
        return keys

    seed = args.seed.encode()
    folder = Path(args.out).parent

    def layer(number: int, pub: Sequence[str], keks: Sequence[str]) -> list[Recipient | Epoch]:
        """The epoch key first: entries stand in order of preference."""
        if not keks:
            return [*recipients(pub)]
        epoch = make_epoch(EpochRecipe(recipients(keks), number, seed))
        (folder / epoch.file_name).write_bytes(epoch.head)
        return [epoch, *recipients(pub)]

    if not args.pub and not args.epoch:
        parser.error("layer 1 needs --pub or --epoch")
    if (args.suite == 3) != bool(args.pub2 or args.epoch2):
        parser.error("suite 3, and only suite 3, needs --pub2 or --epoch2")
    disk = Path(args.disk).read_bytes()
    layers = layer(1, args.pub, args.epoch), layer(2, args.pub2, args.epoch2)
    c = build(Recipe(*layers, args.suite, args.sector_log2, args.chunk_log2, seed), disk)
    Path(args.out).write_bytes(c.join())
    if args.manifest:
        Path(args.manifest).write_bytes(c.manifest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
