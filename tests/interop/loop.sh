#!/usr/bin/env bash
# Block devices, with loop devices as root: sealed and opened, refused when mounted, too small or without --force.
#
# Where loop devices can't be had this fails; SOBRE_NO_LOOP=1 says that it is known.

. "$(dirname -- "$0")/lib.sh"
if [ "${SOBRE_NO_LOOP:-}" = 1 ]; then
    say "NOT RUN: SOBRE_NO_LOOP=1"
    exit 0
fi
need losetup mount umount mke2fs blockdev cmp "$PYTHON"
[ "$(id -u)" -eq 0 ] || fail "loop devices need root; SOBRE_NO_LOOP=1 leaves this out"
suite_arguments xts-blake3

# Attaches a file; the device is in $device.
attach() {
    device=$(losetup --find --show "$@") || fail "no loop device; SOBRE_NO_LOOP=1 leaves this out"
    cleanups=("losetup -d '$device'" "${cleanups[@]}")
}

# A disk with holes and a partition table of nobody, 24 MiB.
mkdir "$work/files" "$work/mnt"
cp -r "$root/src" "$work/files/"
mke2fs -qF -t ext4 -d "$work/files" "$work/disk.img" 24M >"$work/log" 2>&1 || fail "mke2fs: $(cat "$work/log")"
cp --sparse=always "$work/disk.img" "$work/device.img"
attach "$work/device.img"
source_device=$device

"$SOBRE" -q seal "$source_device" "$work/snap" "${seal_args[@]}" || fail "seal a device"
"$SOBRE" -q open "$work/snap" "$work/out" "${open_args[@]}" || fail "open"
cmp "$work/disk.img" "$work/out" || fail "another disk from a device"
rm "$work/out"
say "$source_device sealed, opened into a file: identical"

# A resumed run compares the device with what was sealed, as a device has no times.
"$SOBRE" -q seal "$source_device" "$work/killed" "${seal_args[@]}" --chunk-size 64K
head -c $((16 << 20)) "$work/killed" >"$work/resumed.partial"
refused 1 "$SOBRE" -q seal "$source_device" "$work/resumed" "${seal_args[@]}" --chunk-size 256K --resume
if "$SOBRE" -q seal "$source_device" "$work/resumed" "${seal_args[@]}" --chunk-size 64K --resume 2>"$work/log"; then
    "$SOBRE" -q open "$work/resumed" "$work/out" "${open_args[@]}" || fail "open a resumed snapshot"
    cmp "$work/disk.img" "$work/out" || fail "another disk after resuming a device"
    say "a device resumed: identical"
    rm "$work/out"
else
    # Whoever has only the public half can't go on with what it began.
    grep -q 'public half' "$work/log" || fail "resume: $(cat "$work/log")"
    "$SOBRE" -q seal "$source_device" "$work/resumed" --key "file:$priv" --chunk-size 64K --resume || fail "resume"
    "$SOBRE" -q open "$work/resumed" "$work/out" "${open_args[@]}" || fail "open a resumed snapshot"
    cmp "$work/disk.img" "$work/out" || fail "another disk after resuming a device"
    say "a device resumed with the private key: identical"
    rm "$work/out"
fi

mount -o ro,noload "$source_device" "$work/mnt" || fail "mount"
cleanups=("umount '$work/mnt'" "${cleanups[@]}")
refused 11 "$SOBRE" seal "$source_device" "$work/mounted" "${seal_args[@]}"
grep -qF "$work/mnt" <<<"$refusal" || fail "the mount point is not named: $refusal"
grep -qF -- --live <<<"$refusal" || fail "--live is not named: $refusal"
[ ! -e "$work/mounted" ] || fail "a refused seal left an output"
say "a mounted device is refused with exit code 11: $(head -1 <<<"$refusal")"
"$SOBRE" -q seal "$source_device" "$work/mounted" "${seal_args[@]}" --live || fail "seal --live"
"$SOBRE" -q open "$work/mounted" "$work/out" "${open_args[@]}" || fail "open what --live sealed"
# Mounting may write to the journal, also when it is read-only: the device is what counts.
cmp "$source_device" "$work/out" || fail "another disk with --live"
rm "$work/out"
say "with --live it is sealed: identical"
refused 11 "$SOBRE" open "$work/snap" "$source_device" "${open_args[@]}" --force
grep -qF "$work/mnt" <<<"$refusal" || fail "the mount point is not named: $refusal"
say "a mounted device is no target either: $(head -1 <<<"$refusal")"
umount "$work/mnt"

# Onto a device full of ones.
filled() { "$PYTHON" -c 'import sys; sys.stdout.buffer.write(b"\xff" * int(sys.argv[1]))' "$1" >"$2"; }
filled $((24 << 20)) "$work/target.img"
attach "$work/target.img"
target=$device
refused 1 "$SOBRE" open "$work/snap" "$target" "${open_args[@]}"
grep -qF -- --force <<<"$refusal" || fail "--force is not named: $refusal"
cmp <(head -c 4096 "$target") <(head -c 4096 "$work/target.img") || fail "written without --force"
[ "$(head -c 1 "$target" | od -An -tx1 | tr -d ' ')" = ff ] || fail "written without --force"
say "a device is no target without --force: $(head -1 <<<"$refusal")"
"$SOBRE" -q open "$work/snap" "$target" "${open_args[@]}" --force || fail "open onto a device"
cmp "$work/disk.img" "$target" || fail "the device has another disk"
say "a device full of 0xff: identical afterwards, holes are zeros"

# A longer device keeps what is behind the disk; an odd disk ends inside a sector, with a hole.
"$PYTHON" - "$work/odd.img" <<'PY'
import random, sys
disk = bytearray(random.Random(2).randbytes(5 << 20)) + bytes((1 << 20) + 777)
disk[1 << 20 : 3 << 20] = bytes(2 << 20)
open(sys.argv[1], "wb").write(disk)
PY
filled $((8 << 20)) "$work/longer.img"
attach "$work/longer.img"
longer=$device
"$SOBRE" -q seal "$work/odd.img" "$work/odd.snap" "${seal_args[@]}" --chunk-size 64K || fail "seal an odd disk"
"$SOBRE" -q open "$work/odd.snap" "$longer" "${open_args[@]}" --force || fail "open an odd disk onto a device"
length=$(stat -c %s "$work/odd.img")
cmp -n "$length" "$work/odd.img" "$longer" || fail "the device has another odd disk"
rest=$(tail -c +$((length + 1)) "$longer" | tr -d '\377' | wc -c)
[ "$rest" -eq 0 ] || fail "something behind the disk was written: $rest bytes"
say "a longer device and an odd disk: identical, nothing written behind it"

filled $((23 << 20)) "$work/small.img"
attach "$work/small.img"
small=$device
refused 1 "$SOBRE" open "$work/snap" "$small" "${open_args[@]}" --force
[ "$(tr -d '\377' <"$small" | wc -c)" -eq 0 ] || fail "a device that is too small was written"
say "a device that is too small is refused, untouched: $(head -1 <<<"$refusal")"

# A damaged snapshot: what is on the device before the damage is verified, and the message says how far.
cp "$work/odd.snap" "$work/bad.snap"
"$PYTHON" - "$work/bad.snap" <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(65536 + 7 * 65536)
    byte = file.read(1)
    file.seek(-1, 1)
    file.write(bytes([byte[0] ^ 1]))
PY
refused 13 "$SOBRE" open "$work/bad.snap" "$longer" "${open_args[@]}" --force --workers 1
grep -qE 'verified|valid' <<<"$refusal" || fail "it is not said how far the device is valid: $refusal"
say "damage in the middle: $(head -1 <<<"$refusal")"
