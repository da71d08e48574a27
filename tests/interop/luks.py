#!/usr/bin/env python3
"""Proves that the layer-1 ciphertext of a snapshot is that of dm-crypt, with the programs of others.

A disk is sealed with `--no-sparse`; the independent reader takes the volume key out of the envelope and the stored bytes
out of the body; `cryptsetup` makes a LUKS header with that volume key, and the stored bytes go behind it as they are.

  LUKS1, 512-byte sectors         read by `qemu-img convert` (LUKS1 has no other sector size)
  LUKS2, 512 and 4096             read by `cryptsetup reencrypt --decrypt`, header detached and attached

None of it needs the kernel: no device mapper, no loop device.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "independent_reader"))
sys.dont_write_bytecode = True

import reader  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402

PASSPHRASE = "test"
LUKS_ALIGN = 16 << 20


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"luks.py: exit code {done.returncode} from: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def take_apart(snapshot: Path, keys: list[Path]) -> tuple[bytes, bytes]:
    """Returns the XTS volume key and the layer-1 ciphertext of the whole disk, without its padding."""
    opened = reader.verify_file(str(snapshot), reader.load_keys([str(key) for key in keys]))
    fixed, tables, derived = opened.heads.chosen.fixed, opened.tables, opened.keys
    assert derived is not None
    stored = bytearray()
    # The verification has closed what it read from.
    tables.source = reader.FileSource(str(snapshot))
    with open(snapshot, "rb") as file:
        begin = reader.BODY_AT
        for page in reader.each_page(tables, fixed, derived):
            file.seek(begin)
            for record in page.records:
                assert record.data, "--no-sparse leaves no holes"
                chunk = file.read(record.len)
                if derived.gcm is not None:
                    # Only the outer layer comes off: what is inside is never encrypted again.
                    chunk = AESGCM(derived.gcm).decrypt(record.tag[:12], chunk + record.tag[12:28], None)
                stored += chunk
            begin = page.end
    assert len(stored) == reader.ceil_div(tables.footer.disk_len, fixed.sector) * fixed.sector
    return derived.xts, bytes(stored)


class Proof:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.work: Path = arguments.work
        self.disk: Path = arguments.disk
        self.sobre: Path = arguments.sobre
        self.keys: Path = arguments.keys
        self.plain = self.disk.read_bytes()
        self.passphrase = self.work / "passphrase"
        self.passphrase.write_text(PASSPHRASE)
        self.volume_key = self.work / "volume.key"
        self.volume_key.touch(0o600)

    def seal(self, suite: str, sector: int) -> bytes:
        snapshot = self.work / f"{suite}-{sector}.sobre"
        private = [self.keys / "test-rsa2048.pkcs8.pem"]
        how = ["--key", f"file:{self.keys / 'test-rsa2048.spki.pem'}", "--sector-size", str(sector), "--no-sparse"]
        if suite == "xts-gcm":
            how += ["--double", "--platform-key", f"file:{self.keys / 'test-rsa3072.spki.pem'}"]
            private.append(self.keys / "test-rsa3072.pkcs8.pem")
        else:
            how += ["--integrity", suite.removeprefix("xts-")]
        run(self.sobre, "seal", self.disk, snapshot, *how)
        key, stored = take_apart(snapshot, private)
        self.volume_key.write_bytes(key)
        snapshot.unlink()
        assert stored != self.plain
        return stored

    def format(self, *more: str | Path) -> None:
        run(
            "cryptsetup", "luksFormat", "--batch-mode", "--cipher", "aes-xts-plain64", "--key-size", "512",
            "--hash", "sha256", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
            "--volume-key-file", self.volume_key, "--key-file", self.passphrase, *more,
        )  # fmt: skip

    def expect_disk(self, path: Path, what: str, length: int | None = None) -> None:
        found = path.read_bytes()
        if length is not None:
            found = found[:length]
        if found != self.plain:
            sys.exit(f"luks.py: {what} gives another disk")
        print(f"luks.py: {what}: {len(found)} bytes, byte-identical")

    def luks1(self, suite: str, stored: bytes) -> None:
        image, out = self.work / "luks1.img", self.work / "luks1.out"
        with open(image, "wb") as file:
            file.truncate(LUKS_ALIGN + len(stored))
        self.format("--type", "luks1", image)
        dump = run("cryptsetup", "luksDump", image)
        offset = 512 * int(next(line.split()[-1] for line in dump.splitlines() if line.startswith("Payload offset")))
        with open(image, "r+b") as file:
            file.seek(offset)
            file.write(stored)
            file.truncate()
        run(
            "qemu-img", "convert", "--object", f"secret,id=key,file={self.passphrase}",
            "--image-opts", f"driver=luks,key-secret=key,file.filename={image}", "-O", "raw", out,
        )  # fmt: skip
        self.expect_disk(out, f"{suite}, 512-byte sectors, as LUKS1 through qemu-img")
        image.unlink()
        out.unlink()

    def luks2(self, suite: str, sector: int, stored: bytes, *, attached: bool) -> None:
        image, header = self.work / "luks2.img", self.work / "luks2.header"
        header.unlink(missing_ok=True)
        if attached:
            with open(image, "wb") as file:
                file.truncate(LUKS_ALIGN + len(stored))
            self.format("--type", "luks2", "--sector-size", str(sector), image)
            dump = json.loads(run("cryptsetup", "luksDump", "--dump-json-metadata", image))
            segment = dump["segments"]["0"]
            assert segment["sector_size"] == sector, "the header has another sector size"
            offset = int(segment["offset"])
            with open(image, "r+b") as file:
                file.seek(offset)
                file.write(stored)
                file.truncate()
        else:
            image.write_bytes(stored)
            with open(header, "wb") as file:
                file.truncate(LUKS_ALIGN)
            self.format("--type", "luks2", "--sector-size", str(sector), "--header", header, image)
        # With an attached header this exports it first and moves the data to the front.
        run(
            "cryptsetup", "reencrypt", "--decrypt", "--force-offline-reencrypt", "--batch-mode",
            "--header", header, "--key-file", self.passphrase, image,
        )  # fmt: skip
        how = "attached" if attached else "detached"
        what = f"{suite}, {sector}-byte sectors, as LUKS2 ({how} header) through cryptsetup reencrypt --decrypt"
        self.expect_disk(image, what, len(self.plain))
        image.unlink()
        header.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--sobre", "--disk", "--work", "--keys"):
        parser.add_argument(name, type=Path, required=True)
    proof = Proof(parser.parse_args())
    for suite in ("xts-blake3", "xts-gmac", "xts-gcm"):
        for sector in (512, 4096):
            stored = proof.seal(suite, sector)
            if sector == 512:
                proof.luks1(suite, stored)
            for attached in (False, True):
                proof.luks2(suite, sector, stored, attached=attached)
    return 0


if __name__ == "__main__":
    sys.exit(main())
