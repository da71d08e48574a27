#!/usr/bin/env python3
"""An independent reader of the `sobre` container format, version 1.

Written from SPEC.md alone. The section numbers in the docstrings are those of that page. Where the page leaves
something open, a comment that begins with "Assumed:" says what this reader does.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import stat
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

HEAD_LEN = 32768
FIXED_LEN = 1024
ENVELOPE_LEN = 31712
BODY_AT = 65536
FOOTER_LEN = 192
PAGE_HEAD = 256
RECORD_LEN = 64
PAGE_CHUNKS = 1020
FULL_PAGE = PAGE_HEAD + RECORD_LEN * PAGE_CHUNKS
INDEX_ENTRY = 40
MAX_DISK = 1 << 48
MAX_CHUNKS = 1 << 28

MAGIC = b"\x89SOBRE\r\n"
SNAPSHOT, EPOCH = 1, 3
SUITES = {1: "xts-blake3", 2: "xts-gmac", 3: "xts-gcm"}
LAYERS = {1: 1, 2: 1, 3: 2}
EPOCH_SUFFIX = ".sobre-epoch"
LABEL_KEY = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-")

Say = Callable[[str], None]


# --- errors -----------------------------------------------------------------------------------------------------------


class SobreError(Exception):
    """A refusal."""

    exit_code = 1
    kind = "error"


class Damaged(SobreError):
    """The bytes are damaged or forged (section 1)."""

    exit_code = 13
    kind = "damaged or forged"


class NotSupported(SobreError):
    """A good check hash, but a version, kind, suite, critical bits or critical TLV that are not known (section 1)."""

    exit_code = 13
    kind = "not supported"


class WrongKey(SobreError):
    """No key at hand opens a layer, or an epoch record that it needs is missing (section 9, step 4)."""

    exit_code = 12
    kind = "wrong key"


def need(condition: bool, message: str) -> None:
    """Refuse as damaged unless `condition` holds."""
    if not condition:
        raise Damaged(message)


# --- section 1: primitives --------------------------------------------------------------------------------------------


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hmac256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract (RFC 5869)."""
    return hmac256(salt, ikm)


def expand(prk: bytes, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869) to 32 bytes, which is its first block."""
    return hmac256(prk, info + b"\x01")


def _crc_tables() -> list[list[int]]:
    poly = int(f"{0xAD93D23594C93659:064b}"[::-1], 2)
    single = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (poly if crc & 1 else 0)
        single.append(crc)
    tables = [single]
    for _ in range(7):
        tables.append([single[c & 0xFF] ^ (c >> 8) for c in tables[-1]])
    # Two bytes a look-up: the byte read first has the most bytes after it.
    return [[hi ^ lo for hi in tables[6 - 2 * j] for lo in tables[7 - 2 * j]] for j in range(4)] + [single]


_CRC = _crc_tables()


def crc64(data: bytes) -> int:
    """CRC-64/NVME."""
    t0, t1, t2, t3, single = _CRC
    crc = 0xFFFFFFFFFFFFFFFF
    words = len(data) // 8
    for word in struct.unpack_from(f"<{words}Q", data):
        crc ^= word
        crc = t0[crc & 0xFFFF] ^ t1[(crc >> 16) & 0xFFFF] ^ t2[(crc >> 32) & 0xFFFF] ^ t3[crc >> 48]
    for byte in data[words * 8 :]:
        crc = single[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def gmac(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """The GCM tag of an empty plaintext with `data` as additional data."""
    return AESGCM(key).encrypt(nonce, b"", data)


def xts_decrypt(key: bytes, disk_offset: int, sector: int, data: bytes) -> bytes:
    """Section 6: each sector is one data unit, its tweak is its byte offset on the disk divided by 512."""
    out = []
    for at in range(0, len(data), sector):
        tweak = ((disk_offset + at) // 512).to_bytes(16, "little")
        step = Cipher(algorithms.AES(key), modes.XTS(tweak)).decryptor()
        out.append(step.update(data[at : at + sector]) + step.finalize())
    return b"".join(out)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def is_zero(data: bytes) -> bool:
    return not any(data)


# --- a bounded cursor -------------------------------------------------------------------------------------------------


class Cursor:
    """Reads fields one after the other and never past the end."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self.at = 0
        self.what = what

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        need(size <= self.left(), f"{self.what}: a field reaches past the end")
        self.at += size
        return self.data[self.at - size : self.at]

    def _int(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def u8(self) -> int:
        return self._int(1)

    def u16(self) -> int:
        return self._int(2)

    def u32(self) -> int:
        return self._int(4)

    def u64(self) -> int:
        return self._int(8)

    def end(self) -> None:
        need(self.left() == 0, f"{self.what}: bytes left over")


def utf8(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Damaged(f"{what} is not UTF-8") from None


# --- section 3.1: FIXED -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fixed:
    raw: bytes
    H: bytes
    suite: int
    layers: int
    sector: int
    chunk: int
    key_origin: int
    optional: int
    created: int
    id: bytes
    disk_id: bytes
    sequence: int
    prev: bytes
    labels: list[tuple[str, str]]


def fixed_unsupported(raw: bytes, expect: int) -> str | None:
    """What of version, kind, suite and critical bits this reader does not know in a head of kind `expect`, if anything."""
    version, kind, suite = int.from_bytes(raw[8:10], "little"), raw[10], raw[11]
    critical = int.from_bytes(raw[16:20], "little")
    if version != 1:
        return f"version {version}"
    # Assumed: every other value of these is "unknown", 0 too; so is a snapshot's suite in an epoch record.
    if kind != expect:
        return f"kind {kind}"
    if suite not in (SUITES if expect == SNAPSHOT else (0,)):
        return f"suite {suite}"
    if critical:
        return f"critical bits {critical:#x}"
    return None


def parse_labels(raw: bytes) -> list[tuple[str, str]]:
    cur = Cursor(raw, "labels")
    labels: list[tuple[str, str]] = []
    last = b""
    while cur.left():
        key = cur.take(cur.u8())
        value = cur.take(cur.u16())
        need(1 <= len(key) <= 64 and LABEL_KEY.issuperset(key), "label key")
        need(len(value) <= 512, "label value too long")
        need(key > last, "labels not in strictly ascending order")
        last = key
        labels.append((key.decode("ascii"), utf8(value, "label value")))
    return labels


def parse_fixed(raw: bytes) -> Fixed:
    """Magic, version, kind, suite and critical bits were looked at before."""
    cur = Cursor(raw, "FIXED")
    cur.take(11)
    suite, layers, sector_log2, chunk_log2, key_origin = (cur.u8() for _ in range(5))
    cur.u32()
    optional, created = cur.u32(), cur.u64()
    ident, disk_id, sequence, prev = cur.take(16), cur.take(16), cur.u64(), cur.take(32)
    need(is_zero(cur.take(16 + 32 + 1 + 7)), "FIXED: base_id, base, segment_log2 or padding not zero")
    labels_len, area = cur.u16(), cur.take(862)
    cur.end()
    need(layers == LAYERS[suite], "FIXED: layers do not match the suite")
    need(sector_log2 in (9, 12), "FIXED: sector_log2")
    need(16 <= chunk_log2 <= 20, "FIXED: chunk_log2")
    need(key_origin in (0, 1), "FIXED: key_origin")
    need(labels_len <= 862, "FIXED: labels_len")
    need(is_zero(area[labels_len:]), "FIXED: bytes after the labels not zero")
    return Fixed(
        raw, sha(raw), suite, layers, 1 << sector_log2, 1 << chunk_log2, key_origin, optional, created, ident, disk_id,
        sequence, prev, parse_labels(area[:labels_len]),
    )  # fmt: skip


# --- section 3.2: ENVELOPE --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    type: int
    alg: int
    tp_alg: int
    tp: bytes
    locators: list[str]
    ct: bytes


@dataclass(frozen=True)
class Section:
    raw: bytes
    layer: int
    flags: int
    generation: int
    updated: int
    set_name: str
    source: bytes
    entries: list[Entry]
    mac: bytes

    def verifies(self, k_env: bytes) -> bool:
        return hmac.compare_digest(hmac256(k_env, self.raw[:-32]), self.mac)


@dataclass(frozen=True)
class Envelope:
    generation: int
    sections: list[Section]
    tlvs: list[tuple[int, bytes]]


def parse_entry(raw: bytes) -> Entry:
    """`raw` is the entry with its length."""
    cur = Cursor(raw, "ENTRY")
    cur.u16()
    kind, alg, tp_alg, tp = cur.u8(), cur.u16(), cur.u8(), cur.take(32)
    count = cur.u8()
    need(count <= 4, "ENTRY: too many locators")
    locators = []
    for _ in range(count):
        size = cur.u16()
        need(1 <= size <= 512, "ENTRY: locator length")
        locators.append(utf8(cur.take(size), "locator"))
    size = cur.u16()
    need(1 <= size <= 4096, "ENTRY: ct_len")
    ct = cur.take(size)
    cur.end()
    return Entry(kind, alg, tp_alg, tp, locators, ct)


def parse_section(raw: bytes, layer: int, source_lens: Sequence[int]) -> Section:
    """`raw` is the section with its length and mac."""
    cur = Cursor(raw, f"SECTION {layer}")
    cur.u32()
    need(cur.u8() == layer, f"SECTION {layer}: layer")
    count = cur.u8()
    need(1 <= count <= 8, f"SECTION {layer}: entries")
    flags = cur.u16()
    need(flags & ~1 == 0, f"SECTION {layer}: flags")
    generation, updated = cur.u64(), cur.u64()
    set_len = cur.u16()
    need(set_len <= 128, f"SECTION {layer}: set_len")
    set_name = utf8(cur.take(set_len), "name of the encryption set")
    source_len = cur.u16()
    need(source_len in source_lens, f"SECTION {layer}: source_len")
    source = cur.take(source_len)
    entries: list[Entry] = []
    for _ in range(count):
        size = cur.u16()
        need(size >= 2, "ENTRY: len")
        cur.at -= 2
        entries.append(parse_entry(cur.take(size)))
    mac = cur.take(32)
    cur.end()
    need(len({e.tp for e in entries}) == len(entries), f"SECTION {layer}: the same thumbprint twice")
    return Section(raw, layer, flags, generation, updated, set_name, source, entries, mac)


def parse_tlvs(cur: Cursor) -> list[tuple[int, bytes]]:
    tlvs: list[tuple[int, bytes]] = []
    while cur.left():
        kind = cur.u16()
        need(kind & 0x7FFF != 0, "public TLV of type 0")
        if kind & 0x8000:
            raise NotSupported(f"critical public TLV {kind:#06x}")
        tlvs.append((kind, cur.take(cur.u16())))
    return tlvs


def parse_envelope(raw: bytes, sources: dict[int, Sequence[int]]) -> Envelope:
    """`sources` has the layers in order, with the lengths that `source` may have."""
    need(raw[:4] == b"ENVL", "ENVELOPE: magic")
    size = int.from_bytes(raw[4:8], "little")
    need(16 <= size <= ENVELOPE_LEN, "ENVELOPE: len")
    need(is_zero(raw[size:]), "ENVELOPE: fill not zero")
    cur = Cursor(raw[:size], "ENVELOPE")
    cur.take(8)
    generation = cur.u64()
    sections = []
    for layer, source_lens in sources.items():
        length = cur.u32()
        need(length >= 4, "SECTION: len")
        cur.at -= 4
        sections.append(parse_section(cur.take(length), layer, source_lens))
    return Envelope(generation, sections, parse_tlvs(cur))


# --- section 3 and section 9, steps 1 and 2: the heads ----------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    name: str
    fixed: Fixed
    envelope: Envelope


def check_head(what: str, raw: bytes, kind: int) -> None:
    """What makes a head of any kind usable before its fields are looked at (section 9, step 1)."""
    need(len(raw) >= HEAD_LEN, f"{what}: not {HEAD_LEN} bytes")
    need(raw[:8] == MAGIC, f"{what}: magic")
    need(sha(raw[:32736]) == raw[32736:HEAD_LEN], f"{what}: check hash")
    reason = fixed_unsupported(raw[:FIXED_LEN], kind)
    if reason is not None:
        raise NotSupported(f"{what}: {reason}")


def read_head(name: str, raw: bytes) -> Head:
    """Raises Damaged or NotSupported when the head isn't usable."""
    check_head(f"head {name}", raw, SNAPSHOT)
    fixed = parse_fixed(raw[:FIXED_LEN])
    sources: dict[int, Sequence[int]] = {1: (0, 32), 2: (0,)} if fixed.layers == 2 else {1: (0, 32)}
    return Head(name, fixed, parse_envelope(raw[FIXED_LEN:32736], sources))


@dataclass(frozen=True)
class Heads:
    chosen: Head
    other: Head | None

    def in_order(self) -> list[Head]:
        """The chosen head, and the other one where it says something else."""
        same = self.other is None or self.other.envelope == self.chosen.envelope
        return [self.chosen] if self.other is None or same else [self.chosen, self.other]


def select_heads(raws: Sequence[tuple[str, bytes]], say: Say) -> Heads:
    """Section 9, steps 1 and 2."""
    usable: list[Head] = []
    reasons: list[SobreError] = []
    for name, raw in raws:
        try:
            usable.append(read_head(name, raw))
        except (Damaged, NotSupported) as err:
            reasons.append(err)
    if not usable:
        for reason in reasons:
            if isinstance(reason, NotSupported):
                raise reason
        raise Damaged("no usable head: " + "; ".join(map(str, reasons)))
    for reason in reasons:
        say(f"one head is not usable, went on with the other: {reason}")
    need(len({head.fixed.raw for head in usable}) == 1, "the heads differ in FIXED")
    # max() gives the first of equals.
    chosen = max(usable, key=lambda h: h.envelope.generation)
    return Heads(chosen, next((h for h in usable if h is not chosen), None))


# --- section 7 and section 9, step 3: the footer ----------------------------------------------------------------------


@dataclass(frozen=True)
class Footer:
    raw: bytes
    disk_len: int
    chunk_count: int
    data_len: int
    page_count: int
    index_offset: int
    file_len: int
    root: bytes
    mac: bytes

    def page_chunks(self, page: int) -> int:
        return min(PAGE_CHUNKS, self.chunk_count - page * PAGE_CHUNKS)

    def page_len(self, page: int) -> int:
        return PAGE_HEAD + RECORD_LEN * self.page_chunks(page)


def chunk_len(fixed: Fixed, disk_len: int, chunk: int) -> int:
    """Section 2: the bytes of the disk that a chunk covers."""
    return min(fixed.chunk, disk_len - chunk * fixed.chunk)


def stored_len(fixed: Fixed, disk_len: int, chunk: int) -> int:
    """Section 2: the same, rounded up to whole sectors."""
    return ceil_div(chunk_len(fixed, disk_len, chunk), fixed.sector) * fixed.sector


def parse_footer(raw: bytes, fixed: Fixed) -> Footer:
    need(len(raw) == FOOTER_LEN, "FOOTER: cut short")
    need(raw[:8] == b"SOBREEND", "FOOTER: magic")
    need(crc64(raw[:184]) == int.from_bytes(raw[184:], "little"), "FOOTER: CRC")
    need(raw[8:40] == fixed.H, "FOOTER: H")
    disk_len, chunk_count, data_len, page_count, zero, index_offset, file_len = struct.unpack_from("<QQQIIQQ", raw, 40)
    need(zero == 0 and is_zero(raw[152:184]), "FOOTER: zeros")
    need(disk_len <= MAX_DISK, "FOOTER: disk_len over the limit")
    need(fixed.sector != 4096 or disk_len % 4096 == 0, "FOOTER: disk_len is not a multiple of 4096")
    need(chunk_count == ceil_div(disk_len, fixed.chunk), "FOOTER: chunk_count")
    need(chunk_count <= MAX_CHUNKS, "FOOTER: chunk_count over the limit")
    need(page_count == ceil_div(chunk_count, PAGE_CHUNKS), "FOOTER: page_count")
    pages = PAGE_HEAD * page_count + RECORD_LEN * chunk_count
    need(index_offset == BODY_AT + data_len + pages, "FOOTER: index_offset")
    need(file_len == index_offset + INDEX_ENTRY * page_count + FOOTER_LEN, "FOOTER: file_len")
    return Footer(
        raw, disk_len, chunk_count, data_len, page_count, index_offset, file_len, raw[88:120], raw[120:152]
    )  # fmt: skip


# --- where the bytes come from ----------------------------------------------------------------------------------------


class Stream(Protocol):
    """The snapshot from its first byte to its last."""

    @property
    def size(self) -> int | None: ...

    def next(self, size: int) -> bytes: ...

    def at_end(self) -> bool: ...


class FileSource:
    """A regular file: read anywhere, or as a stream."""

    def __init__(self, path: str) -> None:
        self.file: BinaryIO = open(path, "rb", buffering=0)
        self.size: int = os.fstat(self.file.fileno()).st_size
        self.at = 0

    def read_at(self, offset: int, size: int) -> bytes:
        need(offset >= 0 and offset + size <= self.size, "the file is too short")
        parts, left = [], size
        while left:
            part = os.pread(self.file.fileno(), left, offset)
            need(bool(part), "the file became shorter")
            parts.append(part)
            offset += len(part)
            left -= len(part)
        return b"".join(parts)

    def next(self, size: int) -> bytes:
        data = self.read_at(self.at, size)
        self.at += size
        return data

    def at_end(self) -> bool:
        return self.at == self.size

    def close(self) -> None:
        self.file.close()


class PipeSource:
    """A pipe; "-" is the standard input. Needs a manifest (section 8)."""

    def __init__(self, path: str) -> None:
        self.file: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")
        self.size: int | None = None

    def next(self, size: int) -> bytes:
        data = self.file.read(size)
        need(len(data) == size, "the stream is too short")
        return data

    def at_end(self) -> bool:
        return not self.file.read(1)

    def close(self) -> None:
        if self.file is not sys.stdin.buffer:
            self.file.close()


def is_pipe(path: str) -> bool:
    return path == "-" or stat.S_ISFIFO(os.stat(path).st_mode)


@dataclass
class Tables:
    """PAGEs and INDEX, in the snapshot itself or in a detached manifest."""

    source: FileSource
    footer: Footer
    detached: bool
    index: list[tuple[int, bytes]] = field(default_factory=list)

    def index_bytes(self) -> bytes:
        size = INDEX_ENTRY * self.footer.page_count
        return self.source.read_at(self.source.size - FOOTER_LEN - size, size)

    def page_bytes(self, page: int) -> bytes:
        offset = FIXED_LEN + FULL_PAGE * page if self.detached else self.index[page][0]
        return self.source.read_at(offset, self.footer.page_len(page))


def open_tables(snap: FileSource | PipeSource, manifest: FileSource | None, fixed: Fixed) -> Tables:
    """Section 9, step 3, in the snapshot or (section 8) in its manifest."""
    if manifest is None:
        if isinstance(snap, PipeSource):
            raise SobreError("a snapshot can be read from a pipe only with its manifest")
        need(snap.size >= BODY_AT + FOOTER_LEN, "the file is too short")
        footer = parse_footer(snap.read_at(snap.size - FOOTER_LEN, FOOTER_LEN), fixed)
        need(footer.file_len == snap.size, "file_len is not the length of the file")
        return Tables(snap, footer, detached=False)
    need(manifest.size >= FIXED_LEN + FOOTER_LEN, "the manifest is too short")
    need(manifest.read_at(0, FIXED_LEN) == fixed.raw, "the manifest is not of this snapshot: FIXED differs")
    footer = parse_footer(manifest.read_at(manifest.size - FOOTER_LEN, FOOTER_LEN), fixed)
    expect = FIXED_LEN + (footer.index_offset - BODY_AT - footer.data_len) + INDEX_ENTRY * footer.page_count + FOOTER_LEN
    need(manifest.size == expect, "the manifest has another length than its footer says")
    need(snap.size is None or footer.file_len == snap.size, "file_len is not the length of the file")
    return Tables(manifest, footer, detached=True)


# --- keys: sections 3.2 and 4; section 9, steps 4 and 5 ---------------------------------------------------------------


def thumbprint(key: RSAPublicKey) -> bytes:
    """RFC 7638 with SHA-256, kty "RSA"."""
    numbers = key.public_numbers()

    def b64(value: int) -> str:
        raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

    return sha(f'{{"e":"{b64(numbers.e)}","kty":"RSA","n":"{b64(numbers.n)}"}}'.encode("ascii"))


Keyring = dict[bytes, RSAPrivateKey]


def load_keys(paths: Sequence[str]) -> Keyring:
    ring: Keyring = {}
    for path in paths:
        with open(path, "rb") as file:
            try:
                key = load_pem_private_key(file.read(), None)
            except (ValueError, TypeError) as err:
                raise SobreError(f"{path}: not a private key in PEM: {err}") from None
        if not isinstance(key, RSAPrivateKey):
            raise SobreError(f"{path}: not an RSA key")
        ring[thumbprint(key.public_key())] = key
    return ring


def oaep(alg: int) -> padding.OAEP:
    digest: type[hashes.SHA256] | type[hashes.SHA1] = hashes.SHA256 if alg == 1 else hashes.SHA1
    return padding.OAEP(mgf=padding.MGF1(digest()), algorithm=digest(), label=None)


def is_for_kek(entry: Entry, ring: Keyring) -> bool:
    """An entry of type 1 that can be used, for a key at hand."""
    return entry.type == 1 and entry.alg in (1, 2) and entry.tp_alg == 1 and entry.tp in ring


def is_for_epoch(entry: Entry) -> bool:
    """An entry of type 2 that can be used."""
    return entry.type == 2 and entry.alg == 3 and entry.tp_alg == 2 and is_zero(entry.tp[16:])


def decrypt(entry: Entry, ring: Keyring, what: str) -> bytes:
    try:
        return ring[entry.tp].decrypt(entry.ct, oaep(entry.alg))
    except ValueError:
        raise WrongKey(f"{what}: the key doesn't decrypt the entry") from None


def open_blob(blob: bytes, layer: int, H: bytes) -> bytes:
    """Section 3.2: the secret in a BLOB, checked (section 9, step 5)."""
    need(len(blob) == (128 if layer == 1 else 64), f"BLOB {layer}: length")
    tag = sha(b"sobre/1 dek\0" + bytes([layer]) + H)
    need(hmac.compare_digest(blob[:32], tag), f"BLOB {layer}: tag")
    secret = blob[32:]
    if layer == 1:
        need(not hmac.compare_digest(secret[:32], secret[32:64]), "BLOB 1: the halves of the XTS key are the same")
    return secret


@dataclass(frozen=True)
class Keys:
    env: list[bytes]
    page: bytes
    foot: bytes
    gmac: bytes
    gcm: bytes | None
    xts: bytes


def derive(secrets: Sequence[bytes], H: bytes) -> Keys:
    """Section 4."""
    prks = [extract(H, bytes([i]) + secret) for i, secret in enumerate(secrets, 1)]
    prk = prks[0] if len(prks) == 1 else extract(prks[0], prks[1])
    return Keys(
        env=[expand(p, b"sobre/1 envelope") for p in prks],
        page=expand(prk, b"sobre/1 page"),
        foot=expand(prk, b"sobre/1 footer"),
        gmac=expand(prk, b"sobre/1 gmac"),
        gcm=expand(prks[1], b"sobre/1 gcm") if len(prks) == 2 else None,
        xts=secrets[0][:64],
    )


# --- section 3.3: epoch records ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EpochRecord:
    H: bytes
    layer: int
    optional: int
    created: int
    id: bytes
    envelope: Envelope

    @property
    def section(self) -> Section:
        return self.envelope.sections[0]


def parse_epoch_record(raw: bytes) -> EpochRecord:
    """Section 9, step 1, for the one head of an epoch record."""
    check_head("epoch record", raw, EPOCH)
    layer, optional, created = raw[12], *struct.unpack_from("<IQ", raw, 20)
    need(layer in (1, 2), "epoch record: layer")
    need(is_zero(raw[13:16]) and is_zero(raw[48:FIXED_LEN]), "epoch record: zeros")
    envelope = parse_envelope(raw[FIXED_LEN:32736], {layer: (0,)})
    need(len(raw) == HEAD_LEN, f"epoch record: not {HEAD_LEN} bytes")
    return EpochRecord(sha(raw[:FIXED_LEN]), layer, optional, created, raw[32:48], envelope)


def open_record(record: EpochRecord, layer: int, ring: Keyring) -> bytes:
    """Section 9, steps 4 to 6, for an epoch record: its K_wrap, for entries of `layer`."""
    # Assumed: this is seen before a key is used.
    need(record.layer == layer, f"epoch record: it is for layer {record.layer}, not for layer {layer}")
    entry = next((e for e in record.section.entries if is_for_kek(e, ring)), None)
    if entry is None:
        raise WrongKey("epoch record: no entry for a key at hand")
    blob = decrypt(entry, ring, "epoch record")
    need(len(blob) == 64, "epoch record: BLOB: length")
    tag = sha(b"sobre/1 epoch\0" + bytes([record.layer]) + record.H)
    need(hmac.compare_digest(blob[:32], tag), "epoch record: BLOB: tag")
    prk = extract(record.H, bytes([record.layer]) + blob[32:])
    need(record.section.verifies(expand(prk, b"sobre/1 envelope")), "epoch record: SECTION: mac")
    return expand(prk, b"sobre/1 epoch wrap")


def read_record(path: str, ident: bytes) -> EpochRecord:
    """The copy of a record that stands under its name."""
    # Nothing but a regular file is opened: a named pipe would stop the reader.
    # Assumed: what is no regular file is "damaged or forged", so other copies serve.
    need(stat.S_ISREG(os.stat(path).st_mode), "epoch record: not a regular file")
    with open(path, "rb") as file:
        record = parse_epoch_record(file.read(HEAD_LEN + 1))
    need(record.id == ident, f"epoch record: foreign, its id is {record.id.hex()}")
    return record


def file_name(ident: bytes) -> str:
    return ident.hex() + EPOCH_SUFFIX


@dataclass(frozen=True)
class Epochs:
    """The folders where epoch records are looked for, the nearest first: that of the snapshot, then further ones."""

    folders: Sequence[str] = ()

    def decrypt(self, entry: Entry, layer: int, ring: Keyring, say: Say) -> bytes:
        """Section 9, step 4, for an entry of type 2: its BLOB by the first copy that serves, or the nearest one's error."""
        name = file_name(entry.tp[:16])
        first: SobreError | None = None
        for number, folder in enumerate(self.folders):
            path = os.path.join(folder, name)
            try:
                wrapping_key = open_record(read_record(path, entry.tp[:16]), layer, ring)
                blob = aes_key_unwrap_with_padding(wrapping_key, entry.ct)
            # A folder that is not there has no copy.
            except (FileNotFoundError, NotADirectoryError):
                continue
            except InvalidUnwrap:
                first = first or Damaged(f"{path}: epoch record: its key doesn't unwrap the entry of layer {layer}")
                continue
            except SobreError as err:
                first = first or type(err)(f"{path}: {err}")
                continue
            # Assumed: where nothing is beside the snapshot (a pipe), the first further folder is the nearest.
            if number > 0:
                nearest = first or f"{os.path.join(self.folders[0], name)} is missing"
                say(f"another copy of the epoch record serves, {path}: {nearest}")
            return blob
        raise first or WrongKey(f"the epoch record {name} is missing: {self.where()}")

    def where(self) -> str:
        return "not in " + ", ".join(self.folders) if self.folders else "no folder was named, and a pipe has none"


def unwrap(section: Section, ring: Keyring, epochs: Epochs, say: Say) -> bytes:
    """Section 9, step 4: the BLOB of a layer."""
    what = f"layer {section.layer}"
    refusals: list[SobreError] = []
    for entry in section.entries:
        if is_for_kek(entry, ring):
            blob = decrypt(entry, ring, what)
        elif is_for_epoch(entry):
            try:
                blob = epochs.decrypt(entry, section.layer, ring, say)
            except SobreError as err:
                refusals.append(err)
                continue
        else:
            continue
        for refusal in refusals:
            if not isinstance(refusal, WrongKey):
                say(f"{what}: another entry serves: {refusal}")
        return blob
    # Assumed: of several entries of type 2 the first one's error counts.
    if refusals:
        raise type(refusals[0])(f"{what}: {refusals[0]}")
    raise WrongKey(f"{what}: no entry for a key at hand")


def unlock(heads: Heads, ring: Keyring, epochs: Epochs, say: Say) -> Keys:
    """Section 9, steps 4 to 6, and the fallback of step 2."""
    first: SobreError | None = None
    for head in heads.in_order():
        try:
            keys = unlock_head(head, ring, epochs, say)
        # Assumed: an epoch record that is not supported counts as one that is damaged.
        except (WrongKey, Damaged, NotSupported) as err:
            first = first or err
            continue
        if first is not None:
            say(f"head {heads.chosen.name} doesn't serve, went on with head {head.name}: {first}")
        return keys
    assert first is not None
    raise first


def unlock_head(head: Head, ring: Keyring, epochs: Epochs, say: Say) -> Keys:
    H = head.fixed.H
    blobs = [unwrap(section, ring, epochs, say) for section in head.envelope.sections]
    keys = derive([open_blob(blob, layer, H) for layer, blob in enumerate(blobs, 1)], H)
    need(
        all(section.verifies(k) for section, k in zip(head.envelope.sections, keys.env, strict=True)),
        f"head {head.name}: SECTION: mac",
    )
    return keys


# --- section 9, steps 7 to 9: footer's mac, index, pages --------------------------------------------------------------


def check_footer_mac(footer: Footer, keys: Keys) -> None:
    """Step 7."""
    need(hmac.compare_digest(hmac256(keys.foot, footer.raw[:120]), footer.mac), "FOOTER: mac")


def read_index(tables: Tables, H: bytes) -> None:
    """Step 8."""
    raw = tables.index_bytes()
    disk_len = tables.footer.disk_len.to_bytes(8, "little")
    need(sha(b"sobre/1 root\0" + H + disk_len + raw) == tables.footer.root, "INDEX: root")
    last = BODY_AT - 1
    for at in range(0, len(raw), INDEX_ENTRY):
        offset = int.from_bytes(raw[at : at + 8], "little")
        need(last < offset < tables.footer.index_offset, "INDEX: offsets")
        last = offset
        tables.index.append((offset, raw[at + 8 : at + INDEX_ENTRY]))


@dataclass(frozen=True)
class Record:
    chunk: int
    data: bool
    len: int
    crc: int
    tag: bytes


@dataclass(frozen=True)
class Page:
    raw: bytes
    session: int
    records: list[Record]
    data_len: int
    end: int


def parse_record(raw: bytes, chunk: int, fixed: Fixed, disk_len: int) -> Record:
    """Section 5."""
    kind, length, crc, tag = raw[0], *struct.unpack_from("<IQ", raw, 4), raw[32:]
    need(kind in (0, 1), f"record {chunk}: kind")
    need(is_zero(raw[1:4]) and is_zero(raw[16:32]), f"record {chunk}: zeros")
    if kind == 0:
        need(length == 0 and crc == 0 and is_zero(tag), f"record {chunk}: a hole with contents")
    else:
        need(length == stored_len(fixed, disk_len, chunk), f"record {chunk}: len")
        need(fixed.suite == 1 or is_zero(tag[28:]), f"record {chunk}: zeros in the tag")
    return Record(chunk, kind == 1, length, crc, tag)


def check_page(raw: bytes, page: int, begin: int, tables: Tables, fixed: Fixed, keys: Keys | None) -> Page:
    """Step 9 for one page, whose data must begin at `begin`."""
    footer = tables.footer
    offset, digest = tables.index[page]
    need(sha(raw) == digest, f"page {page}: SHA")
    number, count, session, first, data_offset, data_len = struct.unpack_from("<IHHQQQ", raw, 8)
    need(raw[:8] == b"SOBREPAG", f"page {page}: magic")
    need(raw[40:72] == fixed.H, f"page {page}: H")
    need(number == page, f"page {page}: number")
    need(count == footer.page_chunks(page), f"page {page}: count")
    need(first == PAGE_CHUNKS * page, f"page {page}: first_chunk")
    need(is_zero(raw[72:224]), f"page {page}: zeros")
    need(session <= 15, f"page {page}: session")
    need(data_offset == begin and offset == begin + data_len, f"page {page}: data_offset and data_len do not tile")
    records = [
        parse_record(raw[at : at + RECORD_LEN], first + i, fixed, footer.disk_len)
        for i, at in enumerate(range(PAGE_HEAD, len(raw), RECORD_LEN))
    ]
    need(sum(r.len for r in records) == data_len, f"page {page}: data_len")
    if keys is not None:
        mac = hmac256(keys.page, raw[:224] + bytes(32) + raw[256:])
        need(hmac.compare_digest(mac, raw[224:256]), f"page {page}: mac")
    return Page(raw, session, records, data_len, offset + len(raw))


def each_page(tables: Tables, fixed: Fixed, keys: Keys | None) -> Iterator[Page]:
    """Step 9: the pages in order, with what they say together."""
    begin, data_len = BODY_AT, 0
    for number in range(tables.footer.page_count):
        page = check_page(tables.page_bytes(number), number, begin, tables, fixed, keys)
        begin, data_len = page.end, data_len + page.data_len
        yield page
    need(begin == tables.footer.index_offset, "the last page doesn't end where the index begins")
    need(data_len == tables.footer.data_len, "FOOTER: data_len")


# --- section 6 and section 9, step 10: the chunks ---------------------------------------------------------------------


def check_keyless(stored: bytes, record: Record, fixed: Fixed) -> None:
    """What can be checked of a chunk without keys."""
    need(crc64(stored) == record.crc, f"chunk {record.chunk}: CRC")
    if fixed.suite == 1:
        need(blake3(stored).digest() == record.tag, f"chunk {record.chunk}: BLAKE3")


def open_chunk(stored: bytes, record: Record, fixed: Fixed, keys: Keys) -> bytes:
    """Step 10: the padded plaintext of a data chunk."""
    what = f"chunk {record.chunk}: tag"
    nonce, tag = record.tag[:12], record.tag[12:28]
    if fixed.suite == 1:
        need(hmac.compare_digest(blake3(stored).digest(), record.tag), what)
        sectors = stored
    elif fixed.suite == 2:
        need(hmac.compare_digest(gmac(keys.gmac, nonce, stored), tag), what)
        sectors = stored
    else:
        assert keys.gcm is not None
        try:
            sectors = AESGCM(keys.gcm).decrypt(nonce, stored + tag, None)
        except InvalidTag:
            raise Damaged(what) from None
    # Assumed: a reader with keys checks the CRC too, so that it never takes what one without keys refuses.
    need(crc64(stored) == record.crc, f"chunk {record.chunk}: CRC")
    return xts_decrypt(keys.xts, record.chunk * fixed.chunk, fixed.sector, sectors)


Sink = Callable[[int, bytes], None]


def read_body(stream: Stream, tables: Tables, fixed: Fixed, keys: Keys | None, sink: Sink | None) -> None:
    """Step 10: BODY, INDEX and FOOTER in one pass. The stream stands after the heads.

    Each page is taken and checked anew, so what changes under the reader is noticed too.
    """
    footer = tables.footer
    for page in each_page(tables, fixed, keys):
        for record in page.records:
            if not record.data:
                continue
            stored = stream.next(record.len)
            if keys is None:
                check_keyless(stored, record, fixed)
                continue
            plain = open_chunk(stored, record, fixed, keys)
            if sink is not None:
                sink(record.chunk * fixed.chunk, plain[: chunk_len(fixed, footer.disk_len, record.chunk)])
        need(stream.next(len(page.raw)) == page.raw, "a page in the file is not the one of the manifest")
    need(stream.next(INDEX_ENTRY * footer.page_count) == tables.index_bytes(), "INDEX: not the one of the manifest")
    need(stream.next(FOOTER_LEN) == footer.raw, "FOOTER: not the one of the manifest")
    need(stream.at_end(), "bytes after the footer")


# --- the whole ---------------------------------------------------------------------------------------------------------


def read_heads(snap: Stream, sidecar: str | None, say: Say) -> Heads:
    """Section 9, steps 1 and 2, with the sidecar of section 8 in place of both heads."""
    raws = []
    for name in "AB":
        size = HEAD_LEN if snap.size is None else max(0, min(HEAD_LEN, snap.size - HEAD_LEN * "AB".index(name)))
        raws.append((name, snap.next(size)))
    if sidecar is None:
        return select_heads(raws, say)
    source = FileSource(sidecar)
    try:
        need(source.size == HEAD_LEN, "the sidecar is not one head")
        heads = select_heads([("of the sidecar", source.read_at(0, HEAD_LEN))], say)
    finally:
        source.close()
    # Heads that are not usable are no obstacle: H in pages and footer ties the sidecar to the snapshot.
    for name, raw in raws:
        try:
            head = read_head(name, raw)
        except (Damaged, NotSupported) as err:
            say(str(err))
            continue
        need(head.fixed.raw == heads.chosen.fixed.raw, "the sidecar is not of this snapshot: FIXED differs")
    return heads


@dataclass
class Opened:
    """What steps 1 to 9 gave."""

    heads: Heads
    tables: Tables
    keys: Keys | None


def run(
    path: str,
    ring: Keyring | None,
    sink_for: Callable[[Opened], Sink] | None = None,
    *,
    root: bytes | None = None,
    manifest: str | None = None,
    sidecar: str | None = None,
    epochs: Sequence[str] = (),
    say: Say = lambda message: None,
) -> Opened:
    """Section 9, all of it. Without `ring`: its keyless part. `epochs` are further folders with epoch records."""
    snap: FileSource | PipeSource = PipeSource(path) if is_pipe(path) else FileSource(path)
    aside = FileSource(manifest) if manifest is not None else None
    try:
        heads = read_heads(snap, sidecar, say)
        fixed = heads.chosen.fixed
        tables = open_tables(snap, aside, fixed)
        keys = None
        if ring is not None:
            # Nothing is beside a pipe.
            beside = [] if isinstance(snap, PipeSource) else [os.path.dirname(path)]
            keys = unlock(heads, ring, Epochs([folder or "." for folder in (*beside, *epochs)]), say)
            check_footer_mac(tables.footer, keys)
        read_index(tables, fixed.H)
        need(root is None or root == tables.footer.root, "not the root that was asked for")
        for _ in each_page(tables, fixed, keys):
            pass
        opened = Opened(heads, tables, keys)
        read_body(snap, tables, fixed, keys, sink_for(opened) if sink_for is not None else None)
        return opened
    finally:
        snap.close()
        if aside is not None:
            aside.close()


def verify_file(path: str, ring: Keyring | None = None, **options: object) -> Opened:
    return run(path, ring, **options)  # type: ignore[arg-type]


def open_file(path: str, out: str, ring: Keyring, **options: object) -> Opened:
    """Writes the disk under a temporary name; it gets its name when everything was verified. Holes stay sparse."""
    if os.path.lexists(out) and not stat.S_ISREG(os.lstat(out).st_mode):
        raise SobreError(f"{out}: exists and is not a regular file")
    folder, name = os.path.split(out)
    fd, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder or ".")
    try:

        def sink_for(opened: Opened) -> Sink:
            os.ftruncate(fd, opened.tables.footer.disk_len)
            return put

        def put(offset: int, data: bytes) -> None:
            view = memoryview(data)
            while view:
                done = os.pwrite(fd, view, offset)
                view, offset = view[done:], offset + done

        opened = run(path, ring, sink_for, **options)  # type: ignore[arg-type]
        os.fsync(fd)
        os.replace(temporary, out)
        return opened
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)


# --- inspect ----------------------------------------------------------------------------------------------------------


def describe_section(section: Section) -> dict[str, object]:
    return {
        "layer": section.layer,
        "customer_key": bool(section.flags & 1),
        "generation": section.generation,
        "updated": section.updated,
        "set": section.set_name,
        "source": section.source.hex(),
        "entries": [
            {
                "type": e.type,
                "alg": {1: "RSA-OAEP-256", 2: "RSA-OAEP", 3: "AES-256-KWP"}.get(e.alg, str(e.alg)),
                "tp_alg": e.tp_alg,
                **({"epoch": e.tp[:16].hex()} if is_for_epoch(e) else {"thumbprint": e.tp.hex()}),
                "locators": e.locators,
                "ct_len": len(e.ct),
            }
            for e in section.entries
        ],
    }


def describe_head(head: Head) -> dict[str, object]:
    return {
        "generation": head.envelope.generation,
        "sections": [describe_section(s) for s in head.envelope.sections],
        "tlvs": [{"type": kind, "data": data.hex()} for kind, data in head.envelope.tlvs],
    }


def inspect(path: str) -> dict[str, object]:
    """Steps 1 to 3, and what the public parts say. None of it is authenticated."""
    notes: list[str] = []
    snap = FileSource(path)
    try:
        heads = read_heads(snap, None, notes.append)
        f = heads.chosen.fixed
        t = open_tables(snap, None, f).footer
        return {
            "authenticated": False,
            "notes": notes,
            "version": 1,
            "kind": "snapshot",
            "suite": SUITES[f.suite],
            "layers": f.layers,
            "sector": f.sector,
            "chunk": f.chunk,
            "key_origin": "imported" if f.key_origin else "fresh",
            "optional": f.optional,
            "created": f.created,
            "id": f.id.hex(),
            "disk_id": f.disk_id.hex(),
            "sequence": f.sequence,
            "prev": f.prev.hex(),
            "labels": dict(f.labels),
            "H": f.H.hex(),
            "head": heads.chosen.name,
            "heads": {h.name: describe_head(h) for h in (heads.chosen, heads.other) if h is not None},
            "disk_len": t.disk_len,
            "chunk_count": t.chunk_count,
            "data_len": t.data_len,
            "page_count": t.page_count,
            "index_offset": t.index_offset,
            "file_len": t.file_len,
            "root": t.root.hex(),
            "footer_sha": sha(t.raw).hex(),
        }
    finally:
        snap.close()


# --- command line ------------------------------------------------------------------------------------------------------


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="reader.py", description="An independent reader of sobre containers.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("open", "verify"):
        command = commands.add_parser(name)
        command.add_argument("snap", help='the snapshot; a pipe or "-" needs --manifest')
        if name == "open":
            command.add_argument("out")
        # "--key A B" and "--key A --key B" both work.
        command.add_argument("--key", action="extend", nargs="+", default=[], metavar="PEM", required=name == "open")
        command.add_argument("--manifest")
        command.add_argument("--sidecar")
        command.add_argument("--root", type=bytes.fromhex)
        command.add_argument(
            "--epochs", action="extend", nargs="+", default=[], metavar="DIR", help="further folders with epoch records"
        )
    commands.add_parser("inspect").add_argument("snap")
    return parser.parse_args(argv)


def command(args: argparse.Namespace) -> dict[str, object]:
    if args.command == "inspect":
        return inspect(args.snap)

    def say(message: str) -> None:
        print(f"reader.py: {message}", file=sys.stderr)

    options = {
        "root": args.root, "manifest": args.manifest, "sidecar": args.sidecar, "epochs": args.epochs, "say": say,
    }  # fmt: skip
    ring = load_keys(args.key) if args.key else None
    if args.command == "open":
        assert ring is not None
        opened = open_file(args.snap, args.out, ring, **options)
    else:
        opened = verify_file(args.snap, ring, **options)
    footer = opened.tables.footer
    return {"ok": True, "authenticated": ring is not None, "disk_len": footer.disk_len, "root": footer.root.hex()}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        print(json.dumps(command(args), indent=2))
        return 0
    except SobreError as err:
        print(f"reader.py: {err.kind}: {err}", file=sys.stderr)
        return err.exit_code
    except OSError as err:
        print(f"reader.py: {err}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
