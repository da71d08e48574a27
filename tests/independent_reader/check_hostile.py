#!/usr/bin/env python3
"""Prints what the independent reader says of each case in a folder: NAME, tab, with the keys, tab, without keys.

A case is a folder with a `snapshot` and an epoch record beside it. Run by the engine's test
`the_independent_reader_refuses_every_hostile_container`, which made them.
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
    for case in sorted(Path(folder).iterdir()):
        snapshot = case / "snapshot"
        print(case.name, answer(snapshot, ring), answer(snapshot, None), sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
