#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (default 60): bash fuzz/run.sh [SECONDS [TARGET...]]
#
# Needs cargo-fuzz (cargo install cargo-fuzz --locked) and, for the seeds, the Python packages of tests/independent_reader. No nightly:
# RUSTC_BOOTSTRAP=1 lets the stable compiler take the flags. An input that breaks a property stays in fuzz/artifacts and fails this script.
set -euo pipefail
cd "$(dirname -- "$0")/.."
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(head page index_footer vault_backup container xts_differential)
cargo fuzz --version >/dev/null 2>&1 || {
    echo 'run.sh: cargo-fuzz is missing: cargo install cargo-fuzz --locked' >&2
    exit 1
}
export RUSTC_BOOTSTRAP=1
"${PYTHON:-python3}" -B fuzz/seeds.py
cargo fuzz build
failed=()
for target in "${targets[@]}"; do
    # A target that takes 512 MiB for an input of a few KiB has lost a limit; 10 seconds are far more than any of them needs.
    log=$(mktemp)
    if cargo fuzz run "$target" -- -max_total_time="$seconds" -rss_limit_mb=1024 -malloc_limit_mb=512 -timeout=10 \
        -max_len=65536 -print_final_stats=1 >"$log" 2>&1; then
        runs=$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")
        cover=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
        echo "run.sh: $target: $runs runs in $seconds s, $cover"
    else
        tail -40 "$log" >&2
        failed+=("$target")
    fi
    rm -f "$log"
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "run.sh: FAILED: ${failed[*]}" >&2
    exit 1
fi
