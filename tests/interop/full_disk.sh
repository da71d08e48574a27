#!/usr/bin/env bash
# A target that is full, read-only, or vanishes: nothing under the final name, nothing lost, and the run can be resumed. Needs root.
. "$(dirname -- "$0")/lib.sh"
need mount umount

small=$work/small
mkdir "$small"
mount -t tmpfs -o size=3m tmpfs "$small" || fail "can't mount a tmpfs: run this as root"
cleanups+=("umount -l '$small'")
disk=$work/disk.img
head -c 8388608 /dev/urandom >"$disk"
arguments=(--key "file:$pub" --chunk-size 64K)

refused 1 "$SOBRE" seal "${arguments[@]}" "$disk" "$small/s.sobre"
case $refusal in *"No space left"*) ;; *) fail "the message does not say that the disk is full: $refusal" ;; esac
case $refusal in *--resume*) ;; *) fail "the message does not say how to go on: $refusal" ;; esac
[ ! -e "$small/s.sobre" ] || fail "there is a snapshot on the full disk"
mount -o remount,size=32m "$small"
"$SOBRE" seal -q "${arguments[@]}" --key "file:$priv" --resume "$disk" "$small/s.sobre" 2>"$work/log" && fail "the same key twice was taken"
"$SOBRE" seal -q --key "file:$priv" --chunk-size 64K --resume "$disk" "$small/s.sobre"
"$SOBRE" open -q --key "file:$priv" "$small/s.sobre" "$work/out"
cmp "$disk" "$work/out"
say "a full disk stops a seal; with room made it is resumed: identical"

mount -o remount,size=12m "$small"
refused 1 "$SOBRE" open --key "file:$priv" "$small/s.sobre" "$small/out"
[ ! -e "$small/out" ] && [ ! -e "$small/out.partial" ] || fail "something is left of a disk that did not fit"
say "a full disk stops an open, and no plaintext stays behind: ${refusal%%$'\n'*}"

mount -o remount,ro "$small"
refused 1 "$SOBRE" seal "${arguments[@]}" "$disk" "$small/t.sobre"
case $refusal in *"Read-only file system"*) ;; *) fail "the message does not say that it is read-only: $refusal" ;; esac
refused 1 "$SOBRE" rewrap --key "file:$priv" --to "file:$platform_pub" "$small/s.sobre"
"$SOBRE" verify -q --key "file:$priv" "$small/s.sobre"
say "a read-only file system is refused, and what is on it still verifies"
mount -o remount,rw,size=64m "$small"

mkfifo "$work/slow"
"$SOBRE" seal -q "${arguments[@]}" - "$small/gone.sobre" <"$work/slow" >"$work/log" 2>&1 &
sealing=$!
exec 3>"$work/slow"
head -c 1048576 "$disk" >&3
for _ in $(seq 100); do [ -e "$small/gone.sobre.partial" ] && break; sleep 0.05; done
rm "$small/gone.sobre.partial"
head -c 100000 "$disk" >&3
exec 3>&-
code=0
wait $sealing || code=$?
[ "$code" -ne 0 ] || fail "a vanished output was sealed with exit code 0"
[ ! -e "$small/gone.sobre" ] || fail "a vanished output came back"
say "an output that vanishes is told: $(head -n 1 "$work/log")"
