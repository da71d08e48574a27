# Sourced by the scripts of this folder: where things are, a scratch folder that goes away, and plain failures.
#
# SOBRE    the binary under test (target/debug/sobre)
# PYTHON   a Python with the packages of tests/independent_reader/requirements.txt (python3)
# SCRATCH  where scratch folders are made; needs about 2 GiB for the real disk (/tmp)

set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
SOBRE=${SOBRE:-$root/target/debug/sobre}
PYTHON=${PYTHON:-python3}
keys=$root/vectors/keys
priv=$keys/test-rsa2048.pkcs8.pem
pub=$keys/test-rsa2048.spki.pem
platform_priv=$keys/test-rsa3072.pkcs8.pem
platform_pub=$keys/test-rsa3072.spki.pem

fail() {
    printf '%s: FAILED: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

say() {
    printf '%s: %s\n' "$(basename "$0")" "$*"
}

# Fails unless the programs are there: a missing one is never a skip.
need() {
    local program
    for program; do
        command -v "$program" >/dev/null || fail "the program '$program' is missing"
    done
}

# Runs a command that must fail with this exit code; its output is in $refusal.
refused() {
    local expected=$1 code=0
    shift
    refusal=$("$@" 2>&1) || code=$?
    [ "$code" -eq "$expected" ] || fail "exit code $code instead of $expected from: $* ($refusal)"
}

# Arguments of 'seal' for a suite: seal_arguments SUITE -> $seal_args, $open_args, $reader_args.
suite_arguments() {
    seal_args=(--key "file:$pub")
    open_args=(--key "file:$priv")
    reader_args=(--key "$priv")
    case $1 in
        xts-blake3) seal_args+=(--integrity blake3) ;;
        xts-gmac) seal_args+=(--integrity gmac) ;;
        xts-gcm)
            seal_args+=(--double --platform-key "file:$platform_pub")
            open_args+=(--key "file:$platform_priv")
            reader_args+=(--key "$platform_priv")
            ;;
        *) fail "unknown suite $1" ;;
    esac
}

# mke2fs, e2fsck, losetup and cryptsetup live there, also for users who don't have it in their path.
PATH=$PATH:/usr/sbin:/sbin
[ -x "$SOBRE" ] || fail "there is no sobre at $SOBRE; build it or set SOBRE"
work=$(mktemp -d "${SCRATCH:-/tmp}/sobre-interop.XXXXXX")
cleanups=()
cleanup() {
    local command
    for command in "${cleanups[@]}"; do
        eval "$command" || true
    done
    rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Nothing of whoever runs this takes part.
export SOBRE_HOME=$work/home LC_ALL=C
unset SOBRE_CONFIG XDG_CONFIG_HOME XDG_DATA_HOME || true
