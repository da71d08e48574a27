"""Turns the runs into a Markdown table, bounds and JSON."""

import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from typing import NamedTuple

import images
from measure import GIB, MIB, Others, median_cpu, median_ratio, median_wall, peak
from tools import SUITES

# Wall time of sealing and of opening, against cp of the same image in the same round.
AGAINST_CP = {
    "dense": {"xts-blake3": 1.10, "xts-gcm": 1.0, "xts-gmac": 0.95},
    "half": {"xts-blake3": 0.8, "xts-gcm": 0.8, "xts-gmac": 0.8},
}
# The same without VAES: one core of AES-NI encrypts 3.5 GB/s at most, whatever the program; cp copies once, inside the kernel. README.md
# has the reckoning.
AGAINST_CP_WITHOUT_VAES = {
    "dense": {"xts-blake3": 1.75, "xts-gcm": 1.75, "xts-gmac": 1.45},
    "half": {"xts-blake3": 1.75, "xts-gcm": 1.75, "xts-gmac": 1.45},
}
KEYLESS_OF_READ = 0.9
PEAK_MIB = 32
REWRAP_GROWTH = 1.25
REWRAP_SYNCS = 2
SERIES_GROWTH = 1.3
ASSERTED_FROM = GIB
QUIET = 0.03
VERSION = re.compile(r"\d[\w.]*|unknown")


class Row(NamedTuple):
    """All runs of one operation of one tool on one image."""

    image: str
    tool: str
    operation: str
    runs: list


class Bound(NamedTuple):
    """A promise and what was measured."""

    name: str
    value: float
    relation: str
    limit: float
    unit: str

    def holds(self):
        return {"<=": self.value <= self.limit, ">=": self.value >= self.limit, "=": self.value == self.limit}[
            self.relation
        ]

    def text(self):
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name}: {self.value:.4g}{unit} (bound {self.relation} {self.limit:g})"


class Report:
    """Collects the sections' runs."""

    def __init__(self, chosen, floor):
        self.chosen = chosen
        self.floor = floor
        self.compared = []  # rows
        self.rewraps = {}  # name: (image size, runs, syncs of the snapshot, syncs elsewhere)
        self.series = {}  # (operation, image size): runs
        self.machine = describe_machine(chosen)
        self.others = Others()
        self.cpu_of_others = None

    def finish(self):
        """Prints everything, writes the JSON and returns the exit code."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self.print_head()
        self.print_compared()
        self.print_rewraps()
        self.print_series()
        bounds = self.bounds()
        asserted = self.chosen.size >= ASSERTED_FROM
        for bound in bounds:
            print(f"{'PASS' if bound.holds() else 'FAIL'}  {bound.text()}")
        failed = sum(not bound.holds() for bound in bounds)
        verdict = f"{len(bounds)} bounds, {failed} failed"
        print(f"\n{verdict}" if asserted else f"\n{verdict}; not asserted below 1G")
        if self.chosen.json:
            with open(self.chosen.json, "w", encoding="utf-8") as file:
                json.dump(self.document(bounds, asserted), file, indent=2)
                file.write("\n")
        return 1 if failed and asserted else 0

    def print_head(self):
        share = self.cpu_of_others = self.others.share()
        self.machine["CPU taken by others meanwhile"] = f"{share:.0%}" + (
            ": too much, so the times mean little; run it again on an idle machine" if share > QUIET else ""
        )
        for name, value in self.machine.items():
            print(f"- {name}: {value}")
        print(
            f"- image: {self.chosen.size / GIB:g} GiB\n"
            f"- rounds: {self.chosen.rounds}; times are medians, the ratio to cp is the median of the rounds' ratios, "
            "memory is the highest of all runs\n"
            f"- sobre: --workers {self.chosen.workers}\n"
            f"- memory is measured from {self.floor / MIB:.1f} MiB up; a smaller figure cannot be seen"
        )
        if "half" in self.chosen.sections:
            print("- half: 1 MiB of data, 1 MiB of hole in turn; a chunk of sobre (256 KiB) is all one or all the other")
        if "restic" in self.chosen.tools:
            print("- restic's times hold the scrypt of its password, which cannot be turned down")
        print()

    def print_compared(self):
        if not self.compared:
            return
        print("| image | tool | operation | seconds | GiB/s | of cp | CPU s/GiB | peak MiB |")
        print("|---|---|---|--:|--:|--:|--:|--:|")
        gib = self.chosen.size / GIB
        for row in self.compared:
            wall = median_wall(row.runs)
            print(
                f"| {row.image} | {row.tool} | {row.operation} | {wall:.3f} | {gib / wall:.2f} | "
                f"{median_ratio(row.runs, self.copies(row.image)):.2f} | {median_cpu(row.runs) / gib:.2f} | "
                f"{peak(row.runs) / MIB:.1f} |"
            )
        print()

    def print_rewraps(self):
        if not self.rewraps:
            return
        print("| rewrap of | seconds | CPU seconds | peak MiB | syncs of the snapshot | syncs elsewhere |")
        print("|---|--:|--:|--:|--:|--:|")
        for size, runs, here, elsewhere in self.rewraps.values():
            print(
                f"| {size / MIB:g} MiB | {median_wall(runs):.4f} | {median_cpu(runs):.4f} | {peak(runs) / MIB:.1f} | "
                f"{here} | {elsewhere} |"
            )
        print()

    def print_series(self):
        if not self.series:
            return
        print("| sparse image (data) | operation | seconds | seconds per GiB of data | peak MiB |")
        print("|---|---|--:|--:|--:|")
        for (operation, size), runs in sorted(self.series.items()):
            data = images.sparse_data(size)
            wall = median_wall(runs)
            print(
                f"| {size // GIB} GiB ({data // MIB} MiB) | {operation} | {wall:.3f} | {wall / (data / GIB):.3f} | "
                f"{peak(runs) / MIB:.1f} |"
            )
        print()

    def bounds(self):
        """Every bound that the chosen sections can check."""
        found = []
        for row in self.compared:
            if row.tool in SUITES and row.operation in ("seal", "open"):
                ratio = median_ratio(row.runs, self.copies(row.image))
                limit = AGAINST_CP[row.image][row.tool]
                name = f"{row.operation} {row.image} {row.tool}, of cp"
                if not has_vaes():
                    name += f" (<= {limit:g} on a CPU with VAES)"
                    limit = AGAINST_CP_WITHOUT_VAES[row.image][row.tool]
                found.append(Bound(name, ratio, "<=", limit, ""))
            # Of the dense image only: holes leave so little to read that starting the process decides.
            if row.operation == "verify keyless" and row.image == "dense":
                share = statistics.median(
                    read.wall / one.wall for read, one in zip(self.runs(row, "read"), row.runs, strict=True)
                )
                name = f"verify keyless {row.tool}, of the read bandwidth of one reader"
                found.append(Bound(name, share, ">=", KEYLESS_OF_READ, ""))
        found += self.rewrap_bounds()
        found += self.series_bounds()
        found += self.memory_bounds()
        return found

    def rewrap_bounds(self):
        if not self.rewraps:
            return []
        _, small, *_ = self.rewraps["small"]
        _, large, *_ = self.rewraps["large"]
        growth = statistics.median(one.wall for one in large) / statistics.median(one.wall for one in small)
        name = f"rewrap {self.chosen.size / MIB:g} MiB, of the time for 1 MiB"
        return [Bound(name, growth, "<=", REWRAP_GROWTH, "")] + [
            Bound(f"rewrap {size / MIB:g} MiB, syncs of the snapshot", here, "=", REWRAP_SYNCS, "")
            for size, _, here, _ in self.rewraps.values()
        ]

    def series_bounds(self):
        found = []
        for (operation, size), runs in sorted(self.series.items()):
            larger = self.series.get((operation, 4 * size))
            if larger:
                growth = median_wall(larger) / median_wall(runs) / 4
                name = f"{operation} sparse {4 * size // GIB} GiB, of 4 x the time for {size // GIB} GiB"
                found.append(Bound(name, growth, "<=", SERIES_GROWTH, ""))
        return found

    def memory_bounds(self):
        most = {}
        for row in self.compared:
            if row.tool in SUITES and not row.operation.startswith("read"):
                name = f"peak memory {row.operation} {row.image}"
                most[name] = max(most.get(name, 0), peak(row.runs))
        for _, runs, *_ in self.rewraps.values():
            most["peak memory rewrap"] = max(most.get("peak memory rewrap", 0), peak(runs))
        for (operation, _), runs in self.series.items():
            name = f"peak memory {operation} sparse"
            most[name] = max(most.get(name, 0), peak(runs))
        return [Bound(name, bytes_ / MIB, "<=", PEAK_MIB, "MiB") for name, bytes_ in most.items()]

    def copies(self, image):
        return next(row.runs for row in self.compared if row.image == image and row.tool == "cp")

    def runs(self, like, operation):
        return next(
            row.runs
            for row in self.compared
            if (row.image, row.tool, row.operation) == (like.image, like.tool, operation)
        )

    def document(self, bounds, asserted):
        """The JSON object."""
        return {
            "schema": 1,
            "machine": self.machine,
            "cpu_of_others": self.cpu_of_others,
            "image_bytes": self.chosen.size,
            "rounds": self.chosen.rounds,
            "workers": self.chosen.workers,
            "memory_floor_bytes": self.floor,
            "compared": [
                {"image": row.image, "tool": row.tool, "operation": row.operation}
                | {"ratio_to_cp": median_ratio(row.runs, self.copies(row.image))}
                | figures(row.runs)
                for row in self.compared
            ],
            "rewrap": [
                {"image_bytes": size, "syncs_of_snapshot": here, "syncs_elsewhere": elsewhere} | figures(runs)
                for size, runs, here, elsewhere in self.rewraps.values()
            ],
            "sparse": [
                {"image_bytes": size, "data_bytes": images.sparse_data(size), "operation": operation} | figures(runs)
                for (operation, size), runs in sorted(self.series.items())
            ],
            "bounds": [
                {"name": bound.name, "value": bound.value, "relation": bound.relation, "limit": bound.limit}
                | {"holds": bound.holds(), "asserted": asserted}
                for bound in bounds
            ],
        }


def figures(runs):
    """Medians and the single runs."""
    return {
        "wall_seconds": median_wall(runs),
        "cpu_seconds": median_cpu(runs),
        "peak_bytes": peak(runs),
        "runs": [{"wall_seconds": one.wall, "cpu_seconds": one.cpu, "peak_bytes": one.peak} for one in runs],
    }


def has_vaes():
    """Whether this CPU has the instructions that the bounds against cp were set for."""
    return "vaes" in field("/proc/cpuinfo", "flags").split()


def describe_machine(chosen):
    """What the figures belong to."""
    return {
        "CPU": f"{field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores, "
        + ("with VAES" if has_vaes() else "without VAES"),
        "memory": f"{int(field('/proc/meminfo', 'MemTotal').split()[0]) / MIB:.0f} GiB",
        "kernel": platform.release(),
        "files on": output(["stat", "-f", "-c", "%T", chosen.work]),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": chosen.source,
        "version": output([chosen.sobre, "--version"]),
        "peers": ", ".join(
            f"{name} {VERSION.search(output(command))[0]}"
            for name, command in {
                "cp": ["cp", "--version"],
                "openssl": ["openssl", "version"],
                "age": ["age", "--version"],
                "qemu": ["qemu-img", "--version"],
                "restic": ["restic", "version"],
            }.items()
            if name in ["cp", *chosen.tools]
        ),
    }


def field(path, name):
    """The value of the first line `name: value` of a file under /proc."""
    with open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return "unknown"


def output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or "unknown"
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
