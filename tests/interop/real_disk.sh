#!/usr/bin/env bash
# A real disk: ext4 with holes, of the files of this machine; and other people's disk formats as opaque bytes.

. "$(dirname -- "$0")/lib.sh"
need mke2fs e2fsck qemu-img cmp du "$PYTHON"
mib=${REAL_DISK_MIB:-600}

# Up to 250 MiB of files, in a fixed order.
"$PYTHON" - "$work/files" $((mib * 250 / 600)) <<'PY'
import os, shutil, stat, sys
target, left = sys.argv[1], int(sys.argv[2]) << 20
count = 0
for top in ("/usr/share", "/usr/lib", "/usr/bin"):
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            size = os.lstat(path).st_size
            if not stat.S_ISREG(os.lstat(path).st_mode) or not os.access(path, os.R_OK) or size > min(left, 30 << 20):
                continue
            copy = target + path
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copyfile(path, copy)
            left -= size
            count += 1
print(f"real_disk.sh: {count} files of this machine")
PY
disk=$work/disk.img
mke2fs -qF -t ext4 -d "$work/files" "$disk" "${mib}M" >"$work/log" 2>&1 || fail "mke2fs: $(cat "$work/log")"
rm -rf "$work/files"
e2fsck -fn "$disk" >"$work/log" 2>&1 || fail "the file system was bad before"
blocks() { du --block-size=1M "$1" | cut -f1; }
say "an ext4 disk of $mib MiB, $(blocks "$disk") MiB of it allocated"

for suite in xts-blake3 xts-gmac xts-gcm; do
    suite_arguments "$suite"
    begin=$(date +%s.%N)
    "$SOBRE" -q seal "$disk" "$work/snap" "${seal_args[@]}" || fail "seal, $suite"
    middle=$(date +%s.%N)
    "$SOBRE" -q open "$work/snap" "$work/out" "${open_args[@]}" || fail "open, $suite"
    end=$(date +%s.%N)
    cmp "$disk" "$work/out" || fail "another disk, $suite"
    e2fsck -fn "$work/out" >"$work/log" 2>&1 || fail "e2fsck, $suite: $(cat "$work/log")"
    # A chunk with any data is stored whole, so the output may have more blocks than the source, never all.
    [ "$(blocks "$work/out")" -lt $((mib * 8 / 10)) ] || fail "the output is not sparse, $suite: $(blocks "$work/out") MiB"
    say "$suite: identical, e2fsck finds nothing, snapshot $(blocks "$work/snap") MiB, output $(blocks "$work/out") MiB" \
        "allocated, sealed in $(awk "BEGIN { printf \"%.1f\", $middle - $begin }") s," \
        "opened in $(awk "BEGIN { printf \"%.1f\", $end - $middle }") s"
    rm -f "$work/snap" "$work/out"
done

suite_arguments xts-blake3
for format in qcow2 vpc vhdx; do
    image=$work/disk.$format
    qemu-img convert -f raw -O "$format" "$disk" "$image" || fail "qemu-img can't make $format"
    "$SOBRE" -q seal "$image" "$work/snap" "${seal_args[@]}" || fail "seal, $format"
    "$SOBRE" -q open "$work/snap" "$work/out" "${open_args[@]}" || fail "open, $format"
    cmp "$image" "$work/out" || fail "another image, $format"
    # 'check' knows no vpc; there 'info' and the comparison of contents have to do.
    [ "$format" = vpc ] || qemu-img check -q -f "$format" "$work/out" || fail "qemu-img check, $format"
    qemu-img info -f "$format" "$work/out" >"$work/log" || fail "qemu-img info, $format"
    # A vpc disk is rounded up to its cylinders.
    if [ "$format" = vpc ]; then
        qemu-img compare -q -f vpc -F vpc "$image" "$work/out" || fail "qemu-img compare, $format"
    else
        qemu-img compare -q -f "$format" -F raw "$work/out" "$disk" || fail "qemu-img compare, $format"
    fi
    say "$format: identical, qemu-img reads it"
    rm -f "$image" "$work/snap" "$work/out"
done
