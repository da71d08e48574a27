"""Counts the system calls by which a command waits for the device."""

import os
import re
import shutil
import subprocess

SYNCS = ("fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync")
OPENS = ("open", "openat", "openat2", "creat")


def traced(command, log):
    """The command line that runs `command` and writes its calls to `log`."""
    calls = f"trace={','.join(SYNCS + OPENS)}"
    return [*_privileged(), "strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", log, *command]


def count(log, folder):
    """Returns how many syncs went to files in `folder`, the working folder of the command, and how many elsewhere.

    The files are known from the calls that opened them, where strace could read the names. A file without a name
    counts as one of `folder`, so that a sync is never overlooked.
    """
    folder = os.path.realpath(folder)
    opened = {}
    here = elsewhere = 0
    for line in _whole_lines(log):
        call = CALL.match(line)
        if not call:
            continue
        name, arguments, result = call.groups()
        if name in OPENS:
            path = PATH.search(arguments)
            opened[result] = os.path.realpath(os.path.join(folder, path[1])) if path else folder
        elif os.path.commonpath([opened.get(arguments.split(",")[0], folder), folder]) == folder:
            here += 1
        else:
            elsewhere += 1
    return here, elsewhere


def _privileged():
    """What makes strace privileged over the command, if anything does.

    sobre forbids other processes of its user to read its memory, and with it the names of the files.
    """
    wrapper = ["unshare", "--map-root-user"]
    if os.geteuid() == 0 or not shutil.which("unshare"):
        return []
    return wrapper if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode == 0 else []


def _whole_lines(log):
    """Lines without the process id; a call that another thread cut in two is put together."""
    begun = {}
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            thread, _, call = line.strip().partition(" ")
            call = call.strip()
            if call.endswith("<unfinished ...>"):
                begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
            elif call.startswith("<..."):
                yield begun.pop(thread, "") + call.partition("resumed>")[2].strip()
            else:
                yield call


CALL = re.compile(r"(\w+)\((.*)\)\s*=\s*(-?\d+)")
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
