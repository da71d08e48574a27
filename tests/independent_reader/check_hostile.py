#!/usr/bin/env python3
"""Prints what the independent reader says of each file in a folder: NAME, tab, with the keys, tab, without keys.

Run by the engine's test `the_independent_reader_refuses_every_hostile_container`, which made the files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import reader


def answer(path: Path, ring: reader.Keyring | None) -> str:
    try:
        reader.verify_file(str(path), ring)
        return "ok"
    except reader.SobreError as err:
        return err.kind


def main() -> int:
    folder, *keys = sys.argv[1:]
    ring = reader.load_keys(keys)
    for path in sorted(Path(folder).iterdir()):
        print(path.name, answer(path, ring), answer(path, None), sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
