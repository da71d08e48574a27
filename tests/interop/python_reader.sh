#!/usr/bin/env bash
# Two implementations of SPEC.md, written apart, read each other's containers: every suite, sector and chunk size, whole and
# odd disks, files and pipes.

. "$(dirname -- "$0")/lib.sh"
need "$PYTHON"
reader=("$PYTHON" -B "$root/tests/independent_reader/reader.py")
writer=("$PYTHON" -B "$root/tests/independent_reader/writer.py")
count=0

# Disks: with holes and odd lengths; of zeros; empty; of one byte; of more than one page with 64 KiB chunks.
"$PYTHON" - "$work" <<'PY'
import random, sys
random.seed(1)
for name, length, holes in [("whole", 3 << 20, True), ("odd", (2 << 20) + 777, True), ("byte", 1, False)]:
    disk = bytearray(random.randbytes(length))
    if holes:
        for at in range(65536 * 3, length - 65536 * 5, 65536 * 7):
            disk[at : at + 65536 * 5] = bytes(65536 * 5)
    open(f"{sys.argv[1]}/{name}.img", "wb").write(disk)
open(f"{sys.argv[1]}/zeros.img", "wb").truncate(1 << 20)
open(f"{sys.argv[1]}/empty.img", "wb").close()
with open(f"{sys.argv[1]}/pages.img", "wb") as file:
    file.truncate(1030 * 65536)
    for chunk in (0, 3, 1018, 1019, 1020, 1021, 1029):
        file.seek(chunk * 65536)
        file.write(random.randbytes(65536))
PY

# seal with sobre, read with Python
ours() {
    local disk=$1 suite=$2 sector=$3 chunk=$4
    shift 4
    local what="$disk, $suite, sectors of $sector, chunks of $chunk${*:+, $*}"
    suite_arguments "$suite"
    "$SOBRE" -q seal "$work/$disk.img" "$work/snap" "${seal_args[@]}" --sector-size "$sector" --chunk-size "$chunk" \
        --manifest "$work/manifest" --label "disk=$disk" "$@" || fail "seal: $what"
    "${reader[@]}" open "$work/snap" "$work/out" "${reader_args[@]}" >"$work/log" || fail "reader: $what"
    cmp "$work/$disk.img" "$work/out" || fail "the reader has another disk: $what"
    "${reader[@]}" open - "$work/out" "${reader_args[@]}" --manifest "$work/manifest" <"$work/snap" >"$work/log" ||
        fail "reader, from a pipe: $what"
    cmp "$work/$disk.img" "$work/out" || fail "the reader has another disk from a pipe: $what"
    rm -f "$work/snap" "$work/manifest" "$work/out"
    count=$((count + 1))
}

# write with Python, open with sobre
theirs() {
    local disk=$1 suite=$2 sector_log2=$3 chunk_log2=$4 alg=$5
    local what="$disk, suite $suite, sectors of 2^$sector_log2, chunks of 2^$chunk_log2, algorithm $alg"
    local more=() open_args=(--key "file:$priv")
    if [ "$suite" -eq 3 ]; then
        more+=(--pub2 "$platform_pub")
        open_args+=(--key "file:$platform_priv")
    fi
    "${writer[@]}" "$work/$disk.img" "$work/snap" --pub "$pub" "${more[@]}" --suite "$suite" --alg "$alg" \
        --sector-log2 "$sector_log2" --chunk-log2 "$chunk_log2" --manifest "$work/manifest" || fail "writer: $what"
    "$SOBRE" -q open "$work/snap" "$work/out" "${open_args[@]}" || fail "open: $what"
    cmp "$work/$disk.img" "$work/out" || fail "sobre has another disk: $what"
    "$SOBRE" -q open - - "${open_args[@]}" --manifest "$work/manifest" <"$work/snap" | cmp "$work/$disk.img" - ||
        fail "from pipe to pipe: $what"
    "$SOBRE" -q verify "$work/snap" "${open_args[@]}" || fail "verify: $what"
    "$SOBRE" -q verify "$work/snap" --keyless || fail "verify --keyless: $what"
    rm -f "$work/snap" "$work/manifest" "$work/out"
    count=$((count + 1))
}

for suite in xts-blake3 xts-gmac xts-gcm; do
    for chunk in 64K 256K 1M; do
        ours whole "$suite" 512 "$chunk"
        ours whole "$suite" 4096 "$chunk"
        ours odd "$suite" 512 "$chunk"
    done
    ours odd "$suite" 512 64K --no-sparse
    for disk in zeros empty byte pages; do
        ours "$disk" "$suite" 512 64K
    done
done
say "$count snapshots by sobre: the independent reader gives the same disk, from the file and from a pipe"
count=0
for suite in 1 2 3; do
    for chunk in 16 18 20; do
        theirs whole "$suite" 9 "$chunk" 1
        theirs whole "$suite" 12 "$chunk" 1
        theirs odd "$suite" 9 "$chunk" 2
    done
    for disk in zeros empty byte pages; do
        theirs "$disk" "$suite" 9 16 1
    done
done
say "$count containers by the independent writer: sobre gives the same disk, from the file and from pipe to pipe, and verifies them"
