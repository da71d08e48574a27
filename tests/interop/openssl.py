"""OpenSSL's command line as an oracle: it unwraps, derives and authenticates what sobre wrote, and wraps what sobre opens.

Written from src/format/SPEC.md; every cryptographic step is a call of `openssl`. (Its `enc` has neither XTS nor GCM: those are compared
with other oracles.)
"""

import hashlib
import os
import struct
import subprocess
import sys

HEAD = 32768


def openssl(*words: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=stdin, check=True, capture_output=True).stdout


def sha256(data: bytes) -> bytes:
    return openssl("dgst", "-sha256", "-binary", stdin=data)


def hkdf(salt: bytes, ikm: bytes, info: str) -> bytes:
    options = [f"hexsalt:{salt.hex()}", f"hexkey:{ikm.hex()}", f"hexinfo:{info.encode().hex()}", "digest:SHA2-256"]
    words = [word for option in options for word in ("-kdfopt", option)]
    return openssl("kdf", "-keylen", "32", "-binary", *words, "HKDF")


def hmac(key: bytes, data: bytes) -> bytes:
    return openssl("mac", "-binary", "-digest", "SHA256", "-macopt", f"hexkey:{key.hex()}", "HMAC", stdin=data)


def oaep(direction: str, key: str, data: bytes) -> bytes:
    options = ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"]
    words = [word for option in options for word in ("-pkeyopt", option)]
    kind = ["-pubin"] if direction == "-encrypt" else []
    return openssl("pkeyutl", direction, *kind, "-inkey", key, *words, stdin=data)


def section_of(head: bytes) -> tuple[int, int]:
    """Where the section of layer 1 begins and ends (SPEC 3.2)."""
    assert head[1024:1028] == b"ENVL"
    start = 1024 + 16
    return start, start + struct.unpack_from("<I", head, start)[0]


def ciphertext_of(section: bytes) -> tuple[int, int]:
    """Where the wrapped key of the first entry begins and ends within the section."""
    at = 24
    for _ in range(2):  # set, source
        at += 2 + struct.unpack_from("<H", section, at)[0]
    at += 2 + 1 + 2 + 1 + 32  # len, type, alg, tp_alg, tp
    locators = section[at]
    at += 1
    for _ in range(locators):
        at += 2 + struct.unpack_from("<H", section, at)[0]
    length = struct.unpack_from("<H", section, at)[0]
    return at + 2, at + 2 + length


def main(sobre: str, disk: str, work: str) -> None:
    private, public = os.path.join(work, "private.pem"), os.path.join(work, "public.pem")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    snapshot, forged, out = (os.path.join(work, name) for name in ("s.sobre", "again.sobre", "out"))
    subprocess.run([sobre, "seal", "-q", "--key", f"file:{public}", disk, snapshot], check=True)

    data = bytearray(open(snapshot, "rb").read())
    fixed, head = bytes(data[:1024]), bytes(data[:HEAD])
    start, end = section_of(head)
    section = head[start:end]
    begin, stop = ciphertext_of(section)
    blob = oaep("-decrypt", private, section[begin:stop])
    h = sha256(fixed)
    assert len(blob) == 128 and blob[:32] == sha256(b"sobre/1 dek\0" + b"\x01" + h), "the blob's tag"
    ikm = b"\x01" + blob[32:]
    assert hmac(hkdf(h, ikm, "sobre/1 envelope"), section[:-32]) == section[-32:], "the section's mac"
    footer = bytes(data[-192:])
    assert hmac(hkdf(h, ikm, "sobre/1 footer"), footer[:120]) == footer[120:152], "the footer's mac"
    page_at = struct.unpack_from("<Q", footer, 72)[0]
    index = struct.unpack_from("<Q", data, page_at)[0]
    page = bytes(data[index:page_at])
    blank = page[:224] + bytes(32) + page[256:]
    assert hmac(hkdf(h, ikm, "sobre/1 page"), blank) == page[224:256], "the page's mac"
    print("openssl unwraps the key and agrees on H, tag, key schedule and all macs")

    again = bytearray(section)
    again[begin:stop] = oaep("-encrypt", public, blob)
    assert bytes(again[begin:stop]) != section[begin:stop]
    again[-32:] = hmac(hkdf(h, ikm, "sobre/1 envelope"), bytes(again[:-32]))
    fresh = bytearray(head)
    fresh[start:end] = again
    fresh[-32:] = hashlib.sha256(fresh[:-32]).digest()
    data[:HEAD] = fresh
    data[HEAD : 2 * HEAD] = fresh
    open(forged, "wb").write(data)
    subprocess.run([sobre, "open", "-q", "--key", f"file:{private}", forged, out], check=True)
    assert open(out, "rb").read() == open(disk, "rb").read()
    subprocess.run([sobre, "verify", "-q", "--key", f"file:{private}", forged], check=True)
    print("sobre opens what openssl wrapped and authenticated")


if __name__ == "__main__":
    main(*sys.argv[1:4])
