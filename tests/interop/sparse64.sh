#!/usr/bin/env bash
# A sparse image of 64 GiB seals and opens in 32 MiB of memory with two workers. Wants a release build in $SOBRE.

. "$(dirname -- "$0")/lib.sh"
need "$PYTHON"
"$PYTHON" -B "$here/sparse64.py" --sobre "$SOBRE" --work "$work" --keys "$keys" --limit-mib "${SPARSE_LIMIT_MIB:-32}"
