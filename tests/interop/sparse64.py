#!/usr/bin/env python3
"""Seals and opens a sparse disk of 64 GiB, and measures the most memory that each took (ru_maxrss of the child)."""

from __future__ import annotations

import argparse
import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

GIB = 1 << 30
MIB = 1 << 20
SIZE = 64 * GIB
CHUNK = 256 << 10


def make(path: Path) -> int:
    """Pieces of 4 KiB to 8 MiB all over the disk, its first and last bytes among them; about 300 MiB."""
    rng = random.Random(64)
    total = 0
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for at, length in [(0, 4096), (SIZE - 4096, 4096)]:
            file.seek(at)
            file.write(rng.randbytes(length))
        while total < 300 * MIB:
            length = rng.choice([4096, 65536, CHUNK, MIB, 8 * MIB])
            file.seek(rng.randrange(0, SIZE - length) // 4096 * 4096)
            file.write(rng.randbytes(length))
            total += length
    return total


def extents(fd: int) -> Iterator[tuple[int, int]]:
    at = 0
    while True:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as err:
            if err.errno == errno.ENXIO:
                return
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at


def compare(expected: Path, found: Path) -> int:
    """Every stretch that either file stores; what neither stores is zero in both. Returns how many bytes were compared."""
    total = 0
    with open(expected, "rb", buffering=0) as a, open(found, "rb", buffering=0) as b:
        if os.fstat(a.fileno()).st_size != os.fstat(b.fileno()).st_size:
            sys.exit("sparse64.py: FAILED: the lengths differ")
        for fd in (a.fileno(), b.fileno()):
            for start, end in list(extents(fd)):
                for at in range(start, end, MIB):
                    length = min(MIB, end - at)
                    if os.pread(a.fileno(), length, at) != os.pread(b.fileno(), length, at):
                        sys.exit(f"sparse64.py: FAILED: the disks differ in {length} bytes at {at}")
                    total += length
    return total


def measured(*command: str | Path) -> tuple[float, float]:
    """Runs a command; returns its seconds and the most MiB of memory that were resident."""
    begin = time.monotonic()
    # A child's maximum begins with what its parent had: a parent as small as Python can be stands in between.
    spawner = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SPAWN, *map(str, command)], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    if spawner.returncode != 0:
        sys.exit(f"sparse64.py: FAILED: {' '.join(map(str, command))}")
    return time.monotonic() - begin, int(spawner.stdout.split()[-1]) / 1024


SPAWN = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--sobre", "--work", "--keys"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--limit-mib", type=float, default=32)
    args = parser.parse_args()
    disk, snapshot, out = (args.work / name for name in ("disk.img", "snap", "out"))
    written = make(disk)
    floor, baseline = measured("/bin/true")[1], measured(args.sobre, "--version")[1]
    print(f"sparse64.py: a disk of 64 GiB with {written / MIB:.0f} MiB of data in it")
    print(f"sparse64.py: nothing below {floor:.1f} MiB can be measured; sobre --version: {baseline:.1f} MiB")
    failed = False
    public, private = args.keys / "test-rsa2048.spki.pem", args.keys / "test-rsa2048.pkcs8.pem"
    platform = args.keys / "test-rsa3072"
    double = ["--double", "--platform-key", f"file:{platform}.spki.pem"]
    for suite, how, keys in [
        ("xts-blake3", ["--integrity", "blake3"], []),
        ("xts-gmac", ["--integrity", "gmac"], []),
        ("xts-gcm", double, ["--key", f"file:{platform}.pkcs8.pem"]),
    ]:
        sealing = measured(
            args.sobre, "-q", "seal", disk, snapshot, "--key", f"file:{public}", *how, "--workers", "2"
        )  # fmt: skip
        opening = measured(args.sobre, "-q", "open", snapshot, out, "--key", f"file:{private}", *keys, "--workers", "2")
        compared = compare(disk, out)
        for what, (seconds, mib) in (("seal", sealing), ("open", opening)):
            over = mib > args.limit_mib
            failed |= over
            verdict = f"OVER the limit of {args.limit_mib:.0f} MiB" if over else f"within {args.limit_mib:.0f} MiB"
            print(f"sparse64.py: {suite}, {what} --workers 2: {mib:.1f} MiB at most, {verdict}; {seconds:.1f} s")
        stored = os.stat(out).st_blocks * 512
        print(
            f"sparse64.py: {suite}: identical in all {compared / MIB:.0f} MiB that either stores; snapshot of "
            f"{snapshot.stat().st_size / MIB:.0f} MiB, output with {stored / MIB:.0f} MiB allocated"
        )
        snapshot.unlink()
        out.unlink()
    if failed:
        print("sparse64.py: FAILED: too much memory", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
