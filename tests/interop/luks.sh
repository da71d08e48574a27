#!/usr/bin/env bash
# The tweak rule, proved by programs that others wrote: see luks.py.

. "$(dirname -- "$0")/lib.sh"
need cryptsetup qemu-img mke2fs "$PYTHON"

disk=$work/disk.img
mkdir "$work/files"
cp -r "$root/src" "$root/vectors/keys" "$work/files/"
# 12 MiB: several chunks of every size, and a last chunk that is not full.
mke2fs -qF -t ext4 -d "$work/files" "$disk" $((12 * 1024 + 4))k >"$work/log" 2>&1 || fail "mke2fs: $(cat "$work/log")"

"$PYTHON" "$here/luks.py" --sobre "$SOBRE" --disk "$disk" --work "$work" --keys "$keys"
