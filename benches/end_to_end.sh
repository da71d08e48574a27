#!/usr/bin/env bash
# Measures sobre against cp, openssl, age, qemu-img (LUKS) and restic on the same files in memory, and checks the
# bounds that the project promises. Prints a Markdown table and one PASS or FAIL line for each bound.
#
#   benches/end_to_end.sh                        4 GiB, 5 rounds: about 20 minutes on two cores
#   benches/end_to_end.sh --size 64M --rounds 1  a smoke run, under a minute; asserts no bound
#
#   --size SIZE     bytes of the image, as in 64M or 4G; whole MiB, an even number of them [default: 4G]
#   --rounds N      how often every tool runs; the order rotates from round to round [default: 5]
#   --dir DIR       where the files go, best a tmpfs [default: a tmpfs of its own if root, else /dev/shm]
#   --json FILE     write every measurement as JSON as well
#   --only NAME,... sections (dense half rewrap linear) and tools (xts-blake3 xts-gcm xts-gmac openssl age qemu restic)
#                   to run; cp, which all are compared with, always runs
#   --no-install    install nothing; list what is missing and fail
#
# SOBRE=PATH measures that binary instead of building this folder. Exit codes: 0 every bound holds, 1 a bound or a
# tool fails, a restored file differs or something is missing, 2 usage.
set -euo pipefail

sections=(dense half rewrap linear)
tools=(xts-blake3 xts-gcm xts-gmac openssl age qemu restic)
workers=2
size=4G rounds=5 dir='' json='' only='' install=yes
work='' mounted='' measuring=''

main() {
    parse_arguments "$@"
    # Paths on the command line are relative to the caller's folder.
    if [ -n "$json" ]; then
        { : >>"$json"; } 2>/dev/null || refuse "cannot write $json: name another file with --json"
        json=$(realpath "$json")
    fi
    if [ -n "$dir" ]; then
        dir=$(realpath -e "$dir" 2>/dev/null) || refuse "--dir must name a folder that exists"
    fi
    if [ -n "${SOBRE:-}" ]; then
        sobre=$(realpath -e "$SOBRE" 2>/dev/null) || refuse "SOBRE must name a binary that exists"
    fi
    cd "$(dirname "$0")/.."

    prepare_tools
    if [ -z "${SOBRE:-}" ]; then
        CARGO_TERM_COLOR=never cargo build --release --locked
        sobre=$(realpath "${CARGO_TARGET_DIR:-target}/release/sobre")
    fi
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make_room

    # In the background, because bash runs no trap while it waits for a command in the foreground.
    PYTHONDONTWRITEBYTECODE=1 python3 benches/end_to_end/run.py --sobre "$sobre" --work "$work" --size "$bytes" \
        --rounds "$rounds" --workers "$workers" --sections "${chosen_sections[*]}" --tools "${chosen_tools[*]}" \
        --source "$(source_state)" --json "$json" &
    measuring=$!
    local code=0
    wait "$measuring" || code=$?
    measuring=
    exit "$code"
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --size | --rounds | --dir | --json | --only)
                [ $# -ge 2 ] || usage "$1 needs a value"
                printf -v "${1#--}" %s "$2"
                shift
                ;;
            --no-install) install=no ;;
            -h | --help)
                sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
                exit 0
                ;;
            *) usage "unknown argument $1" ;;
        esac
        shift
    done
    [[ $size =~ ^[1-9][0-9]{0,6}[KMGT]?$ ]] || usage "--size $size is no size; write it as 64M or 4G"
    bytes=$(numfmt --from=iec "$size")
    (((bytes >= 2 << 20) && bytes % (2 << 20) == 0)) ||
        usage "--size $size must be a multiple of 2M: one of the images alternates 1 MiB of data and 1 MiB of hole"
    [[ $rounds =~ ^[1-9][0-9]{0,3}$ ]] || usage "--rounds $rounds is no number from 1 to 9999"
    choose
}

# Sets chosen_sections and chosen_tools from --only. Tools alone mean the sections that compare tools.
choose() {
    chosen_sections=() chosen_tools=()
    local name
    local -a names
    IFS=, read -r -a names <<<"$only"
    for name in "${names[@]}"; do
        if [[ " ${sections[*]} " == *" $name "* ]]; then
            chosen_sections+=("$name")
        elif [[ " ${tools[*]} " == *" $name "* ]]; then
            chosen_tools+=("$name")
        else
            usage "--only $name: the names are ${sections[*]} ${tools[*]}"
        fi
    done
    if [ ${#chosen_sections[@]} -eq 0 ]; then
        chosen_sections=(dense half)
        [ ${#chosen_tools[@]} -gt 0 ] || chosen_sections=("${sections[@]}")
    fi
    [ ${#chosen_tools[@]} -gt 0 ] || chosen_tools=("${tools[@]}")
}

chosen() { [[ " ${chosen_sections[*]} ${chosen_tools[*]} " == *" $1 "* ]]; }

prepare_tools() {
    # program:debian-package. openssl makes the random images, whatever was chosen.
    local programs=(cmp:diffutils dd:coreutils openssl:openssl python3:python3 time:time) entry packages=''
    if chosen rewrap; then programs+=(strace:strace); fi
    if chosen dense || chosen half; then
        if chosen age; then programs+=(age:age age-keygen:age); fi
        if chosen qemu; then programs+=(qemu-img:qemu-utils); fi
        if chosen restic; then programs+=(restic:restic); fi
    fi
    for entry in "${programs[@]}"; do
        # Not `command -v`: time is a word of bash as well.
        type -P "${entry%%:*}" >/dev/null || packages+="${entry##*:} "
    done
    packages=$(tr ' ' '\n' <<<"$packages" | sort -u | xargs)
    if [ -n "$packages" ]; then
        if [ "$install" = no ]; then refuse "missing Debian packages: $packages"; fi
        if [ "$(id -u)" != 0 ]; then refuse "missing; install them first: sudo apt-get install $packages"; fi
        echo "installing $packages" >&2
        apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    fi
    if [ -z "${SOBRE:-}" ] && ! command -v cargo >/dev/null; then
        refuse "missing: a Rust toolchain (rustup.rs, or your distribution), or SOBRE=PATH with a built binary"
    fi
}

# Makes the work folder in memory, or refuses when the files do not fit.
make_room() {
    # Image, sealed and restored exist at the same time; the formats add up to 1 %. The sparse series needs 3.5 GiB.
    local need=$((bytes * 3 + bytes / 16 + (256 << 20))) series=$((3700 << 20)) available place
    if chosen linear && ((bytes >= 1 << 30 && need < series)); then need=$series; fi
    available=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo) * 1024))
    # restic takes several hundred MiB of its own.
    if ((available < need + (512 << 20))); then
        refuse "--size $size needs $(human $((need + (512 << 20)))) of free memory and $(human $available) are free:" \
            "choose a smaller --size"
    fi
    if [ -z "$dir" ] && [ "$(id -u)" = 0 ]; then
        place=$(mktemp -d --tmpdir sobre-end-to-end.XXXXXX)
        if mount -t tmpfs -o "size=$need,mode=0700" sobre-end-to-end "$place" 2>/dev/null; then
            work=$place mounted=yes
            return
        fi
        rmdir "$place"
    fi
    place=${dir:-/dev/shm}
    available=$(($(stat -f -c '%a * %S' "$place")))
    if ((available < need)); then
        refuse "--size $size needs $(human "$need") in $place and $(human $available) are free:" \
            "choose a smaller --size or another --dir"
    fi
    if [ "$(stat -f -c %T "$place")" != tmpfs ]; then
        echo "note: $place is no tmpfs, so the times contain those of the device and the bounds mean little" >&2
    fi
    work=$(mktemp -d "$place/sobre-end-to-end.XXXXXX")
}

# shellcheck disable=SC2317,SC2329  # the trap calls it
clean_up() {
    local code=$?
    trap '' HUP INT TERM
    if [ -n "$measuring" ]; then
        kill -TERM "$measuring" 2>/dev/null || true
        wait "$measuring" 2>/dev/null || true
    fi
    if [ -n "$mounted" ]; then
        umount "$work" || umount --lazy "$work"
    fi
    if [ -n "$work" ]; then rm -rf --one-file-system "$work"; fi
    exit "$code"
}

# Prints the commit, and whether the folder holds more than it.
source_state() {
    if [ -n "${SOBRE:-}" ]; then
        echo "unknown, a binary given by SOBRE"
    elif ! git rev-parse --short=12 HEAD 2>/dev/null; then
        echo "unknown, no git repository"
    elif [ -n "$(git status --porcelain -- src Cargo.toml Cargo.lock)" ]; then
        echo "with uncommitted changes"
    fi | xargs
}

human() { numfmt --to=iec-i --suffix=B --format=%.1f "$1"; }

refuse() {
    echo "end_to_end.sh: $*" >&2
    exit 1
}

usage() {
    echo "end_to_end.sh: $*; see benches/end_to_end.sh --help" >&2
    exit 2
}

main "$@"
