#!/bin/bash
# Rebuilds ext4.img and gpt.img, the same bytes every time with the e2fsprogs and fdisk named in ../README.md.
# Needs mke2fs, debugfs, fsck.ext4 (e2fsprogs) and sfdisk (fdisk; SFDISK=path names another one). No root, no mounts.
set -euo pipefail
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")"
out=${1:-.}
sfdisk=${SFDISK:-sfdisk}
time=1700000000 # 2023-11-14 22:13:20 UTC
export E2FSPROGS_FAKE_TIME=$time SOURCE_DATE_EPOCH=$time
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

# --- the files
root=$work/root
mkdir -p "$root/documents"
printf 'A test disk of sobre. Nothing here is secret.\n' >"$root/readme.txt"
for i in 1 2 3; do
    for line in $(seq 1 $((i * 20))); do printf 'note %d, line %d\n' $i "$line"; done >"$root/documents/note-$i.txt"
done
: >"$root/empty"
ln -s documents/note-1.txt "$root/link"
# 100 KiB: SHA-256("sobre disk " || i) for i = 0..3199
for i in $(seq 0 3199); do printf 'sobre disk %d' "$i" | sha256sum | cut -c1-64; done |
    tr -d '\n' | sed 's/../\\x&/g' | { IFS= read -r hex || true; printf '%b' "$hex"; } >"$root/random.bin"
[ "$(stat -c %s "$root/random.bin")" = 102400 ]
# sorted creation order, fixed times
find "$root" -exec touch -h -d "@$time" {} +

# --- ext4.img
image=$work/ext4.img
truncate -s 4M "$image"
mke2fs -q -F -t ext4 -b 1024 -I 256 -L sobre-test -U 50b7e000-0000-4000-8000-000000000001 \
    -E hash_seed=50b7e000-0000-4000-8000-000000000002,root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard \
    -d "$root" "$image" 4M
# mke2fs copies owner and change time from the folder: fix them
{
    for f in readme.txt documents documents/note-1.txt documents/note-2.txt documents/note-3.txt empty link random.bin; do
        for field in atime ctime mtime crtime; do echo "sif /$f $field @$time"; done
        for field in atime_extra ctime_extra mtime_extra crtime_extra uid gid; do echo "sif /$f $field 0"; done
    done
} >"$work/commands"
debugfs -w -f "$work/commands" "$image" >"$work/log" 2>&1
if grep -v '^debugfs' "$work/log" | grep .; then echo "debugfs failed" >&2; exit 1; fi
fsck.ext4 -fn "$image"

# --- gpt.img: 5.5 MiB, ext4 at 1 MiB, a second empty partition behind it
disk=$work/gpt.img
truncate -s 5632K "$disk"
"$sfdisk" -q "$disk" <<'T'
label: gpt
label-id: 50B7E000-0000-4000-8000-000000000010
unit: sectors
first-lba: 34
start=2048, size=8192, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=50B7E000-0000-4000-8000-000000000011, name="data"
start=10240, size=512, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=50B7E000-0000-4000-8000-000000000012, name="empty"
T
dd if="$image" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
"$sfdisk" --verify "$disk"

cp --sparse=always "$image" "$out/ext4.img"
cp --sparse=always "$disk" "$out/gpt.img"
(cd "$out" && sha256sum ext4.img gpt.img)
