#!/usr/bin/env python3
"""Runs the rounds and prints the report. `benches/end_to_end.sh` prepares everything and calls this."""

import argparse
import os
import shutil
import signal
import subprocess
import sys

import images
import syncs
import tools
from measure import GIB, MIB, CommandFailed, floor, run
from report import Report, Row

REWRAP_PAIRS = 11
SMALL = MIB


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A reader that has seen enough, as head, ends this quietly; the script still cleans up.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    chosen = arguments()
    files = os.path.join(chosen.work, "files")
    os.mkdir(files)
    environment = {
        "HOME": os.path.join(chosen.work, "user"),
        "LC_ALL": "C",
        "PATH": os.environ["PATH"],
        "SOBRE_HOME": os.path.join(chosen.work, "home"),
        "TMPDIR": chosen.work,
    }
    session = Session(chosen, files, environment)
    failure = None
    try:
        session.all()
    except (CommandFailed, Mismatch, OSError) as error:
        failure = error
    # What was measured before a failure is worth reading.
    code = session.report.finish()
    if failure:
        print(f"end_to_end: stopped before the end: {failure}", file=sys.stderr)
        return 1
    return code


class Mismatch(Exception):
    """A restored file is not the image."""


class Session:
    """One call of the script."""

    def __init__(self, chosen, files, environment):
        self.chosen = chosen
        self.files = files
        self.environment = environment
        self.report = Report(chosen, floor(files, environment))

    def all(self):
        """Runs the chosen sections."""
        tools.setup(self.chosen.sobre, self.files, self.environment)
        for name, make in (("dense", images.dense), ("half", images.half_holes)):
            if name in self.chosen.sections:
                self.compare(name, make)
        if "rewrap" in self.chosen.sections:
            self.rewrap()
        if "linear" in self.chosen.sections:
            self.linear()

    def compare(self, name, make):
        """Every tool on one image, in interleaved rounds."""
        image = f"{name}.img"
        self.say(f"{name}: making the image")
        make(self.path(image), self.chosen.size)
        # Memory that was never used, or is taken from the page cache, costs more than what a file just gave back:
        # take all that the rounds will need once, so that the first tool does not pay for the others.
        for target in (tools.SEALED, tools.RESTORED):
            self.run(["cp", "--reflink=never", "--sparse=never", image, target])
        self.remove(tools.SEALED, tools.RESTORED)

        order = ["cp", *self.chosen.tools]
        runs = {}
        for number in range(self.chosen.rounds):
            turn = number % len(order)
            for tool in order[turn:] + order[:turn]:
                self.say(f"{name}: round {number + 1} of {self.chosen.rounds}, {tool}")
                for step in tools.steps(tool, image, self.chosen.sobre, self.chosen.workers):
                    one = self.step(step, image, check=number == 0)
                    runs.setdefault((tool, step.operation), []).append(one)
                self.remove(tools.SEALED, tools.RESTORED)
        for tool in order:
            for (owner, operation), measured in runs.items():
                if owner == tool:
                    self.report.compared.append(Row(name, tool, operation, measured))
        self.remove(image)

    def step(self, step, image, check):
        """One measured command with what belongs before and after it."""
        if step.target:
            self.remove(step.target)
        if step.before:
            self.run(step.before)
        one = self.run(step.command)
        if check and step.restored:
            self.must_equal(image, step.restored, step.command)
        return one

    def rewrap(self):
        """Rewraps a small and a large snapshot in turn, and counts what each forces to the device."""
        self.say("rewrap: sealing")
        sobre = self.chosen.sobre
        for name, size in (("small", SMALL), ("large", self.chosen.size)):
            images.dense(self.path("image"), size)
            self.run([sobre, "-q", "seal", "--key", "customer/disk@1", "image", name])
            self.remove("image")
        self.run([sobre, "-q", "key", "rotate", "customer/disk"])
        runs = {"small": [], "large": []}
        for pair in range(REWRAP_PAIRS):
            self.say(f"rewrap: pair {pair + 1} of {REWRAP_PAIRS}")
            for name in ("small", "large") if pair % 2 else ("large", "small"):
                key = f"customer/disk@{2 - pair % 2}"
                runs[name].append(self.run([sobre, "-q", "rewrap", "--to", key, name]))
        for name, measured in runs.items():
            size = SMALL if name == "small" else self.chosen.size
            self.report.rewraps[name] = (size, measured, *self.count_syncs(name))
        self.remove("small", "large")

    def count_syncs(self, name):
        """Syncs of one rewrap: among the snapshots, and elsewhere (journals, the catalogue, the audit log)."""
        rewrap = [self.chosen.sobre, "-q", "rewrap", "--to"]
        self.run([*rewrap, "customer/disk@2", name])
        self.run(syncs.traced([*rewrap, "customer/disk@1", name], "calls"))
        return syncs.count(self.path("calls"), self.files)

    def linear(self):
        """Sparse images of growing size with data in the same proportion."""
        sizes = images.series(self.chosen.size)
        for size in sizes:
            images.sparse(self.path(f"{size // GIB}.img"), size)
        runs = {}
        for number in range(self.chosen.rounds):
            turn = number % len(sizes)
            for size in sizes[turn:] + sizes[:turn]:
                self.say(f"linear: round {number + 1} of {self.chosen.rounds}, {size // GIB} GiB")
                image = f"{size // GIB}.img"
                for step in tools.steps("xts-blake3", image, self.chosen.sobre, self.chosen.workers):
                    if not step.operation.startswith("read"):
                        one = self.step(step, image, check=False)
                        runs.setdefault((step.operation, size), []).append(one)
                if number == 0:
                    self.must_equal_sparse(image, tools.RESTORED)
                self.remove(tools.SEALED, tools.RESTORED)
        self.report.series = runs

    def must_equal(self, image, restored, command):
        # cmp ends at the first difference and needs little memory; sizes are compared first.
        same = os.path.getsize(self.path(image)) == os.path.getsize(self.path(restored))
        if not same or subprocess.run(["cmp", "-s", image, restored], cwd=self.files, check=False).returncode != 0:
            raise Mismatch(f"{restored} differs from {image} after: {' '.join(command)}")

    def must_equal_sparse(self, image, restored):
        """Compares the pieces with data, and that nothing else is allocated: reading 64 GiB of holes takes minutes."""
        size = os.path.getsize(self.path(image))
        if os.path.getsize(self.path(restored)) != size:
            raise Mismatch(f"{restored} has another size than {image}")
        with open(self.path(image), "rb") as one, open(self.path(restored), "rb") as other:
            for start in range(0, size, images.SERIES_PERIOD):
                pieces = [os.pread(file.fileno(), images.SERIES_RUN, start) for file in (one, other)]
                if pieces[0] != pieces[1]:
                    raise Mismatch(f"{restored} differs from {image} in the 256 KiB from byte {start}")
        if os.stat(self.path(restored)).st_blocks > os.stat(self.path(image)).st_blocks:
            raise Mismatch(f"{restored} has data where {image} has holes")

    def run(self, command):
        return run(command, self.files, self.environment)

    def path(self, name):
        return os.path.join(self.files, name)

    def remove(self, *names):
        for name in names:
            path = self.path(name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.remove(path)

    @staticmethod
    def say(what):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def arguments():
    """What the script passes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("sobre", "work", "source", "json"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("size", "rounds", "workers"):
        parser.add_argument(f"--{name}", required=True, type=int)
    for name in ("sections", "tools"):
        parser.add_argument(f"--{name}", required=True, type=str.split)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
