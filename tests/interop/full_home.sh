#!/usr/bin/env bash
# A home whose disk is full or read-only: nothing is done that can't be recorded, nothing is lost, and a restore may go on. Needs root.
. "$(dirname -- "$0")/lib.sh"
need mount umount dd cmp

export SOBRE_HOME=$work/home
mkdir "$SOBRE_HOME"
mount -t tmpfs -o size=8m tmpfs "$SOBRE_HOME" || fail "can't mount a tmpfs: run this as root"
cleanups+=("umount -l '$SOBRE_HOME'")
cd "$work"
head -c 70000 /dev/urandom >disk.img
imported=$keys/test-rsa3072.pkcs8.pem

sobre() { "$SOBRE" -q "$@" >>log 2>&1 || fail "exit code $? from: sobre $*: $(tail -n 3 log)"; }
sobre vault create loose --no-purge-protection --retention-days 7
sobre key create doomed --size 2048 --vault loose
sobre key delete loose/doomed --accept-loss -y
sobre vault create customer
sobre key create k --size 2048 --vault customer
sobre set create prod --type customer --key customer/k
sobre seal --set prod disk.img a.sobre
sobre seal --set prod disk.img b.sobre

# Fills the disk to the last byte.
fill() {
    dd if=/dev/zero of="$SOBRE_HOME/filler" bs=4k 2>/dev/null || true
    dd if=/dev/zero of="$SOBRE_HOME/rest" bs=1 count=8192 2>/dev/null || true
}
room() { rm -f "$SOBRE_HOME/filler" "$SOBRE_HOME/rest"; }
# What the vaults and the catalogue hold.
state() { { "$SOBRE" key list --json; "$SOBRE" key list --deleted --json; "$SOBRE" set list --json; "$SOBRE" catalog list --json; } | grep -v last_seen; }
# A command that must fail on the full disk, say why, and change nothing.
stopped() {
    fill
    refused 1 "$SOBRE" "$@"
    case $refusal in *"No space left"*"make room"*) ;; *) fail "the message of '$*' does not say that the disk is full: $refusal" ;; esac
    room
}

state >before
for command in "seal --set prod disk.img c.sobre" "seal disk.img c.sobre --key customer/k" "key create l --size 2048 --vault customer" \
    "key rotate customer/k" "key disable customer/k --accept-loss" "key update customer/k --expires 2040-01-01" "key delete customer/k --accept-loss -y" \
    "key purge loose/doomed --accept-loss -y" "key purge loose/doomed --accept-loss -y --record record.json" "key recover loose/doomed" \
    "key import $imported i --vault customer" "key backup customer/k k.key --to file:$pub" \
    "vault backup all.keys --to file:$pub" "vault create more" "vault update loose --purge-protection" "set create more --type customer --key customer/k" \
    "set rotate prod" "set update prod --location weu" "set delete prod --yes" "catalog rebuild ." "open a.sobre out"; do
    # shellcheck disable=SC2086
    stopped $command
    for left in c.sobre c.sobre.partial k.key k.key.partial all.keys all.keys.partial out out.partial; do
        [ ! -e "$left" ] || fail "$command left $left"
    done
    if [ -e record.json ]; then
        case $(cat record.json) in *'"completed"'*) fail "the record says that it was purged" ;; esac
        rm record.json
    fi
done
state >after
cmp -s before after || fail "something changed on a full disk: $(diff before after | head -n 5)"
"$SOBRE" audit verify >log || fail "the audit log: $(cat log)"
sobre verify a.sobre b.sobre
say "a full disk stops every command that would have to be recorded; nothing was changed, and everything opens afterwards"

{ echo 'audit_failure = "stderr"'; cat "$SOBRE_HOME/config.toml"; } >config.toml
cp config.toml "$SOBRE_HOME/config.toml"
fill
"$SOBRE" open -q a.sobre out 2>log || fail "a full disk stopped a restore: $(cat log)"
cmp disk.img out
case $(cat log) in *"KeyUnwrap OK"*"customer/k@1"*) ;; *) fail "the unwrap is not on standard error: $(cat log)" ;; esac
# Each has the vault for itself for a while.
"$SOBRE" open -q a.sobre one 2>log.one & first=$!
"$SOBRE" open -q b.sobre two 2>log.two & second=$!
wait $first || fail "the first of two restores: $(cat log.one)"
wait $second || fail "the second of two restores: $(cat log.two)"
cmp disk.img one && cmp disk.img two
for command in "seal disk.img c.sobre --key customer/k" "key create l --size 2048 --vault customer" "key disable customer/k --accept-loss"; do
    # shellcheck disable=SC2086
    refused 1 "$SOBRE" $command
    case $refusal in *"nothing was done"*) ;; *) fail "'$command' does not say that nothing was done: $refusal" ;; esac
done
room
sobre key list
"$SOBRE" audit verify >log || fail "the audit log: $(cat log)"
say "with audit_failure = stderr a restore goes on, its record on standard error; wrapping and administration stop all the same"

mount -o remount,ro "$SOBRE_HOME"
"$SOBRE" open -q a.sobre out --force 2>log || fail "a read-only home stopped a restore: $(cat log)"
cmp disk.img out
grep -q "KeyUnwrap OK" log || fail "the unwrap is not on standard error: $(cat log)"
for command in "seal disk.img c.sobre --key customer/k" "key create l --size 2048 --vault customer" "key disable customer/k --accept-loss"; do
    # shellcheck disable=SC2086
    refused 1 "$SOBRE" $command
    case $refusal in *"nothing was done"*"Read-only file system"*) ;; *) fail "'$command' says: $refusal" ;; esac
done
mount -o remount,rw "$SOBRE_HOME"
grep -v audit_failure config.toml >"$SOBRE_HOME/config.toml"
mount -o remount,ro "$SOBRE_HOME"
refused 1 "$SOBRE" open a.sobre out --force
case $refusal in *"Read-only file system"*) ;; *) fail "the message does not say that it is read-only: $refusal" ;; esac
mount -o remount,rw "$SOBRE_HOME"
state >after
cmp -s before after || fail "something changed on a read-only disk: $(diff before after | head -n 5)"
"$SOBRE" audit verify >log || fail "the audit log: $(cat log)"
say "a read-only home seals and changes nothing; it opens only where the configuration says so"

# The other disk is full: the one that copies go to. Nothing is half there, and nothing is destroyed for which there is no record.
mkdir target
mount -t tmpfs -o size=64k tmpfs target
cleanups+=("umount -l '$work/target'")
dd if=/dev/zero of=target/filler bs=512 2>/dev/null || true
sobre key recover loose/doomed
sobre key delete loose/doomed --accept-loss -y
for command in "key backup customer/k target/k.key --to file:$pub" "vault backup target/all.keys --to file:$pub" \
    "key export customer/k target/k.byok --byok file:$pub -y" "key purge loose/doomed --accept-loss -y --record target/record.json" \
    "seal --set prod disk.img target/c.sobre"; do
    # shellcheck disable=SC2086
    refused 1 "$SOBRE" $command
    case $refusal in *"No space left"*) ;; *) fail "'$command' does not say that the disk is full: $refusal" ;; esac
    for left in target/*.key* target/*.byok* target/*.json*; do [ ! -e "$left" ] || fail "'$command' left $left"; done
done
sobre key recover loose/doomed
"$SOBRE" vault list >log
grep -q "^customer .*never backed up" log || fail "a backup that was not written counts: $(cat log)"
umount -l target
say "a copy that does not fit leaves nothing behind, and a purge without its record is not begun"

# Snapshots that can't be written are told, also to root, whom mode bits don't stop.
mkdir archive
cp a.sobre b.sobre archive/
mount --bind archive archive
cleanups+=("umount -l '$work/archive'")
mount -o remount,ro,bind archive
sobre catalog add archive/a.sobre archive/b.sobre
"$SOBRE" set rotate prod >log 2>&1 || fail "set rotate: exit code $?: $(cat log)"
case $(cat log) in *"re-wrapped 2 snapshots"*"2 snapshots still need customer/k@1 (2 not writable here)"*) ;; *) fail "set rotate: $(cat log)" ;; esac
sobre verify a.sobre b.sobre archive/a.sobre archive/b.sobre
"$SOBRE" preflight archive/a.sobre a.sobre >log || fail "preflight: $(cat log)"
case $(cat log) in *customer/k@1*) ;; *) fail "preflight does not name the older key: $(cat log)" ;; esac
refused 1 "$SOBRE" rewrap archive/a.sobre --to customer/k
case $refusal in *"Read-only file system"*) ;; *) fail "rewrap says: $refusal" ;; esac
umount archive
cleanups=("${cleanups[0]}")
"$SOBRE" set rotate prod --resume >log 2>&1 || fail "set rotate --resume: $(cat log)"
case $(cat log) in *"re-wrapped 2 snapshots"*) ;; *) fail "set rotate --resume: $(cat log)" ;; esac
say "read-only snapshots keep the older key, which is said; they move when they can be written"
