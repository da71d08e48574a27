#!/usr/bin/env bash
# Runs every test of this project and prints a count and the seconds of each stage.
#
#   bash tests/run.sh                 installs what the tests need, then runs all
#   bash tests/run.sh --no-install    installs nothing; lists what is missing and fails
#   bash tests/run.sh --only NAME     runs one stage (see the calls of `stage` at the end)
#
# What is missing is a failure, never a skip.
set -euo pipefail
cd "$(dirname "$0")/.."

install=yes
only=
while [ $# -gt 0 ]; do
    case $1 in
        --no-install) install=no ;;
        --only) only=${2:?--only needs a stage}; shift ;;
        *) echo "usage: bash tests/run.sh [--no-install] [--only STAGE]" >&2; exit 2 ;;
    esac
    shift
done

export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
passed=0 failed=0 summary=()
venv=${SOBRE_TEST_VENV:-target/test-venv}
log_folder=target/test-logs
mkdir -p "$log_folder"

# --- what is needed -----------------------------------------------------------------------------------------------

# program:debian-package
programs=(cc:gcc c++:g++ cryptsetup:cryptsetup-bin qemu-img:qemu-utils mke2fs:e2fsprogs e2fsck:e2fsprogs openssl:openssl
    python3:python3 losetup:util-linux flock:util-linux script:bsdutils objdump:binutils pkg-config:pkg-config age:age restic:restic strace:strace shellcheck:shellcheck faketime:faketime
    softhsm2-util:softhsm2 certutil:libnss3-tools)

have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing_packages() {
    local entry
    for entry in "${programs[@]}"; do have "${entry%%:*}" || echo "${entry##*:}"; done | sort -u
    [ -e /usr/include/openssl/evp.h ] || echo libssl-dev
    [ -x /usr/bin/time ] || echo time
    compgen -G '/usr/lib/*/libsoftokn3.so' >/dev/null || echo libnss3
    if have python3 && ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then echo python3-venv; fi
}

prepare() {
    local packages lacking=
    packages=$(missing_packages)
    if [ -n "$packages" ]; then
        if [ $install = no ]; then
            lacking+="Debian packages: $(echo $packages)"$'\n'
        else
            as_root apt-get update -qq
            # shellcheck disable=SC2086
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
        fi
    fi
    if ! have cargo; then
        lacking+="a Rust toolchain, 1.89 or newer: rustup.rs, or your distribution"$'\n'
    else
        local component
        for component in clippy fmt; do
            cargo $component --version >/dev/null 2>&1 || lacking+="rustup component add clippy rustfmt"$'\n'
        done
        for component in deny fuzz; do
            cargo $component --version >/dev/null 2>&1 && continue
            if [ $install = no ]; then
                lacking+="cargo install --locked cargo-$component"$'\n'
            else
                cargo install -q --locked cargo-$component
            fi
        done
    fi
    if ! "$venv/bin/python" -c 'import cryptography, blake3' >/dev/null 2>&1; then
        if [ $install = no ]; then
            lacking+="PyPI packages, in $venv: $(tr '\n' ' ' <tests/independent_reader/requirements.txt)"$'\n'
        else
            python3 -m venv "$venv"
            "$venv/bin/pip" install -q --disable-pip-version-check -r tests/independent_reader/requirements.txt
        fi
    fi
    if [ -n "$lacking" ]; then
        printf 'missing:\n%s' "$lacking" >&2
        return 1
    fi
}

# --- running ------------------------------------------------------------------------------------------------------

# stage NAME COMMAND...: runs a command, counts the tests that it reports, keeps its output.
stage() {
    local name=$1 start=$SECONDS status=0 good bad
    shift
    [ -z "$only" ] || [ "$only" = "$name" ] || return 0
    echo "== $name"
    # In the background: bash ignores `set -e` inside a command whose result is looked at.
    (set -e; "$@") >"$log_folder/$name.log" 2>&1 </dev/null &
    wait $! || status=$?
    # cargo: "test result: ok. 12 passed; 1 failed"; unittest: "Ran 41 tests"; our scripts: "ok NAME" per proof.
    good=$(awk '/^test result:/ { n += $4 } /^Ran [0-9]+ tests? in/ { n += $2 } /^ok / { n += 1 } /^run.sh: [a-z_]+: [0-9]+ runs/ { n += 1 } END { print n + 0 }' "$log_folder/$name.log")
    bad=$(awk '/^test result:/ { n += $6 } /^FAILED \(/ { n += 1 } /^not ok / { n += 1 } END { print n + 0 }' "$log_folder/$name.log")
    if [ $status != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    if [ $status = 0 ] && [ "$good" = 0 ]; then good=1; fi
    passed=$((passed + good)) failed=$((failed + bad))
    summary+=("$(printf '%-22s %5d passed %3d failed %5d s' "$name" "$good" "$bad" $((SECONDS - start)))")
    if [ $status != 0 ]; then
        tail -n 60 "$log_folder/$name.log"
        echo "-- $name failed (exit $status); all of it: $log_folder/$name.log"
    fi
    grep -h '^not run:' "$log_folder/$name.log" | sort -u || true
}

lints() {
    cargo fmt --check
    cargo clippy -q --all-targets -- -D warnings
    cargo clippy -q --all-targets --all-features -- -D warnings
    cargo clippy -q --no-default-features -- -D warnings
    cargo clippy -q --no-default-features --features store -- -D warnings
    cargo clippy -q --no-default-features --features conformance,pkcs11 -- -D warnings
    cargo fmt --check --manifest-path tests/pkcs11_shim/Cargo.toml
    cargo clippy -q --manifest-path tests/pkcs11_shim/Cargo.toml --target-dir target/pkcs11_shim -- -D warnings
}

docs() { RUSTDOCFLAGS='-D warnings' cargo doc -q --no-deps --document-private-items --all-features; }

# Offline, for the advisory database need not be reachable; so everything in the lock file must be here first.
deny() {
    cargo fetch -q --locked
    cargo deny --offline check -s licenses bans sources
}

# Every backend of the XTS kernels that this CPU has, in turn, by masking the better ones.
backends() {
    local mask
    cargo test -q --lib --features __cpu_mask --no-run
    for mask in '' 'avx512f' 'avx512f vaes' 'avx512f vaes aes'; do
        local variables=()
        for feature in $mask; do variables+=("SOBRE_CPU_DISABLE_$feature=1"); done
        echo "-- masked: ${mask:-nothing}"
        # What a mask switched off is no gap: only the unmasked pass says what this CPU can't run.
        env "${variables[@]}" cargo test --lib --features __cpu_mask xts:: -- --show-output |
            if [ -n "$mask" ]; then sed 's/^not run:/masked:/'; else cat; fi
    done
}

python_reader() {
    "$venv/bin/python" -m unittest discover -s tests/independent_reader -p 'test_*.py'
}

# The ignored tests of the library print figures, take minutes, or write golden files: by hand only.
needs_programs() { SOBRE_PYTHON=$venv/bin/python cargo test --features conformance,pkcs11 --test '*' -- --ignored --skip timing; }

interop() {
    local script
    cargo build -q --release
    export SOBRE=$PWD/target/release/sobre PYTHON=$PWD/$venv/bin/python PATH=$PATH:/usr/sbin:/sbin
    for script in tests/interop/*.sh; do
        [ "$(basename "$script")" != lib.sh ] || continue
        echo "-- $script"
        bash "$script"
        echo "ok $script"
    done
}

examples() {
    local example
    for example in examples/*.rs; do
        example=$(basename "$example" .rs)
        cargo run -q --example "$example"
        echo "ok example $example"
    done
}

main_job() {
    local work
    work=$(mktemp -d)
    export SOBRE_HOME=$work/home
    cargo run -q --release -- seal vectors/disks/ext4.img "$work/ext4.sobre"
    cargo run -q --release -- verify "$work/ext4.sobre"
    cargo run -q --release -- open "$work/ext4.sobre" "$work/ext4.img"
    cmp vectors/disks/ext4.img "$work/ext4.img"
    echo "ok the README's first command"
    rm -r "$work"
}

# That the benches run and agree with their peers; and a whole end-to-end run that is too small for its figures to be asserted.
benches() {
    cargo test -q --features __peers --bench '*'
    echo "ok benches run, and AWS-LC, OpenSSL and xts-mode agree"
    shellcheck benches/*.sh
    cargo build -q --release
    python3 benches/disassembly.py target/release/sobre
    echo "ok no kernel keeps round keys or blocks on the stack"
    SOBRE=$PWD/target/release/sobre bash benches/end_to_end.sh --size 64M --rounds 1 --no-install
    echo "ok end to end"
}

fuzz() { PYTHON=$PWD/$venv/bin/python bash fuzz/run.sh "${SOBRE_FUZZ_SECONDS:-10}"; }

start=$SECONDS
prepare
stage lints lints
stage docs docs
stage deny deny
stage tests cargo test --features conformance,pkcs11
stage backends backends
stage needs-programs needs_programs
stage python-reader python_reader
stage main-job main_job
stage examples examples
stage interop interop
stage benches benches
stage fuzz fuzz

echo
printf '%s\n' "${summary[@]}"
echo "total $((SECONDS - start)) s"
echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
