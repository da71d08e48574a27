#!/usr/bin/env bash
# A clock that is wrong: behind, after 2038, after 2106, and before 1970. Everything works, everything opens, and no retention is cut short.
. "$(dirname -- "$0")/lib.sh"
need faketime cmp

cd "$work"
head -c 70000 /dev/urandom >disk.img
sobre() { "$SOBRE" -q "$@" >>log 2>&1 || fail "exit code $? from: sobre $*: $(tail -n 3 log)"; }
at() { faketime -f "@$1" "$SOBRE" "${@:2}"; }
sobre vault create v
sobre key create k --size 2048 --vault v
sobre set create prod --type customer --key v/k
sobre seal --set prod disk.img now.sobre
sobre key create kept --size 2048 --vault v
sobre key delete v/kept --accept-loss -y

for time in "2001-01-01 00:00:00" "2038-01-20 00:00:00" "2107-01-01 00:00:00" "1960-01-01 00:00:00"; do
    year=${time%%-*}
    seen=$year
    # Before 1970 there is no time: it begins there.
    [ "$year" != 1960 ] || seen=1970
    run() { at "$time" "$@" >log 2>&1 || fail "in $year, exit code $? from: sobre $*: $(tail -n 3 log)"; }
    run seal -q --set prod disk.img "$year.sobre"
    run open -q now.sobre out --force
    cmp disk.img out
    run key create "k$year" --size 2048 --vault v
    run key update "k$year" --expires 2110-01-01
    run key show "k$year"
    grep -q "created     $seen-01" log || fail "in $year: $(cat log)"
    run key rotate "k$year"
    run key delete "v/k$year" --accept-loss -y
    run key list --deleted
    grep -q "k$year .*deleted $seen-01-.*kept until $seen-04-" log || fail "in $year: $(cat log)"
    refused 14 at "$time" key purge "v/k$year" --accept-loss -y
    case $refusal in *"purge protection keeps it until $seen-04-"*) ;; *) fail "in $year: $refusal" ;; esac
    run preflight now.sobre "$year.sobre" --challenge
    grep -q "access ok" log || fail "in $year: $(cat log)"
    run set rotate prod
    run set rotate --due
    run catalog rebuild .
    run audit verify
    run audit show --since 1999-01-01
done
refused 2 "$SOBRE" key update v/k --expires 10000-01-01
# Back in the present: a clock that was set back shortens no retention, and what was made in the future is usable.
refused 14 "$SOBRE" key purge v/kept --accept-loss -y
refused 14 at "2001-01-01 00:00:00" key purge v/kept --accept-loss -y
"$SOBRE" verify -q now.sobre 2001.sobre 2038.sobre 2107.sobre 1960.sobre
sobre key recover v/k2107
sobre seal disk.img last.sobre --key v/k2107
sobre open last.sobre out --force
cmp disk.img out
sobre audit verify
say "in 1960, 2001, 2038 and 2107 keys, sets, snapshots and the log work, and everything opens in any other year"
