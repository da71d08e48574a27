#!/usr/bin/env python3
"""Counts, in the kernels of a built `sobre`, what their innermost AES loops move between vector registers and the stack.

    cargo build --release && python3 benches/disassembly.py [BINARY]

Exits with 1 when such a loop of a kernel over whole sectors moves more than a handful of values: then the compiler keeps round keys or
blocks on the stack, which is slow, and where nobody zeroes them. Needs objdump (binutils).
"""

import re
import subprocess
import sys

KERNEL = re.compile(r"<sobre::xts::(aesni|aesni_gmac|vaes_avx2|vaes_avx512)::(group|run|step|start_next|all_sectors)>:")
JUMP = re.compile(r"\bj\w+\s+([0-9a-f]+)")
STACK = re.compile(r"-?0x[0-9a-f]+\(%rsp\)|\(%rsp\)")
MOST = 6


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/release/sobre"
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", binary]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [row for function in listing.split("\n\n") for row in loops(function.strip().split("\n"))]
    if not found:
        sys.exit(f"{binary} has no kernels: is it a release build for x86-64?")
    print(f"{'kernel':34} {'instructions':>12} {'AES':>5} {'stack':>6}")
    for name, instructions, aes, stack in found:
        print(f"{name:34} {instructions:12} {aes:5} {stack:6}")
    return 1 if any(stack > MOST for *_, stack in found) else 0


def loops(lines):
    """Yields name, instructions, AES instructions and vector moves to or from the stack of each innermost loop of a kernel."""
    kernel = KERNEL.search(lines[0])
    if not kernel:
        return
    places = {}
    for number, line in enumerate(lines):
        address = re.match(r"\s*([0-9a-f]+):", line)
        if address:
            places[address[1]] = number
    backward = []
    for number, line in enumerate(lines):
        jump = JUMP.search(line)
        if jump and places.get(jump[1], number) < number:
            backward.append((places[jump[1]], number))
    for start, end in backward:
        inner = any((start, end) != other and start <= other[0] and other[1] <= end for other in backward)
        body = lines[start : end + 1]
        aes = sum("aesenc" in line or "aesdec" in line for line in body)
        if aes and not inner:
            stack = sum("mm" in line and STACK.search(line) is not None for line in body)
            yield f"{kernel[1]}::{kernel[2]}", len(body), aes, stack


if __name__ == "__main__":
    sys.exit(main())
