"""Runs a command and measures it: wall time, CPU time and peak memory of that process alone."""

import os
import resource
import signal
import statistics
import time
from typing import NamedTuple

GIB = 1 << 30
MIB = 1 << 20


class Run(NamedTuple):
    """One run of one command."""

    wall: float  # seconds by the monotonic clock
    cpu: float  # seconds, user and system, of the process and of the children that it waited for
    peak: int  # bytes resident at most


class CommandFailed(Exception):
    """A command ended with an error; carries what it wrote to standard error."""


def run(command, folder, environment):
    """Runs `command` in `folder` and returns a `Run`.

    The kernel counts the memory that a process had before its exec as its own peak, so a child of this interpreter
    would never show less than the interpreter takes. GNU time stands between them for that figure alone; `floor`
    says what is left. Its CPU times have two digits, so those of the kernel are taken.
    """
    log = os.path.join(folder, "standard-error")
    memory = os.path.join(folder, "peak-memory")
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(["time", "-q", "-f", "%M", "-o", memory, *command], folder, environment, log)
    waited = False
    try:
        _, status, usage = os.wait4(child, 0)
        waited = True
    finally:
        if not waited:
            # The group: the command is a child of time.
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    wall = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        with open(log, encoding="utf-8", errors="replace") as text:
            raise CommandFailed(f"{' '.join(command)} ended with {code}:\n{text.read()[-2000:].strip()}")
    with open(memory, encoding="ascii") as text:
        return Run(wall, usage.ru_utime + usage.ru_stime, int(text.read()) * 1024)


def _become(command, folder, environment, log):
    """Turns the forked child into `command`; never returns."""
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        silent = os.open(os.devnull, os.O_RDWR)
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(silent, 0)
        os.dup2(silent, 1)
        os.dup2(written, 2)
        # Bash and this interpreter ignore some signals; a command must start as from a terminal.
        for ignored in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
            signal.signal(ignored, signal.SIG_DFL)
        os.execvpe(command[0], command, environment)
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


class Others:
    """Watches how much of the machine other processes take."""

    def __init__(self):
        self.start = self._now()

    def share(self):
        """Part of all CPU time since the start that went to other processes, other machines included."""
        total, busy, own = (now - then for now, then in zip(self._now(), self.start, strict=True))
        return max(0.0, busy - own) / total if total else 0.0

    @staticmethod
    def _now():
        with open("/proc/stat", encoding="ascii") as file:
            # user nice system idle iowait irq softirq steal; the guests' times that follow are part of user's.
            ticks = [int(count) for count in file.readline().split()[1:9]]
        second = os.sysconf("SC_CLK_TCK")
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        used = sum(usage.ru_utime + usage.ru_stime for usage in own)
        return sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, used


def floor(folder, environment):
    """Peak memory, in bytes, that `run` reports for a program that does nothing."""
    return max(run(["true"], folder, environment).peak for _ in range(3))


def median_wall(runs):
    """Median wall seconds."""
    return statistics.median(one.wall for one in runs)


def median_cpu(runs):
    """Median CPU seconds."""
    return statistics.median(one.cpu for one in runs)


def median_ratio(runs, references):
    """Median over the rounds of the wall time against the reference's of the same round."""
    return statistics.median(one.wall / reference.wall for one, reference in zip(runs, references, strict=True))


def peak(runs):
    """Most bytes resident in any run."""
    return max(one.peak for one in runs)
