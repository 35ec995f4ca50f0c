#!/usr/bin/env bash
# Builds the programs and tests of the workspace, or runs the tests: two test programs at once, the longest first.
#   in:  a checkout; BAILIWICK_TEST_POSTGRES for the tests that need the Postgres image
#   out: a line a test program, libtest's closing line with the program's name; all that a failed one said; exit status 1
#        when one failed. The seconds of each are kept for the next run's order.
# usage: cargo-tests.sh build | run [PATTERN]     a PATTERN chooses test programs by package and name, as in model/cel
# The end-to-end suite is built, and run by make test-e2e: it needs the cluster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
checkout=$PWD
seconds_before=$checkout/.state/cargo-tests.tsv
# No program takes half of it alone.
readonly longest=1800 at_once=2

# Everything in one go, with the features of the whole workspace.
build() {
  cargo test --quiet --locked --workspace --no-run
  cargo build --quiet --locked --workspace --bins
}

# Prints a line a test program: package, folder, kind, target, path.
programs() {
  cargo test --quiet --locked --workspace --no-run --message-format json-render-diagnostics |
    jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable) |
      [(.manifest_path | split("/")[-2]), (.manifest_path | sub("/Cargo.toml$"; "")), .target.kind[0], .target.name, .executable] | @tsv' |
    awk -F'\t' '!($1 == "e2e" && $4 == "e2e")'
}

# $1 a line of programs. As cargo would run it: in its package's folder.
run_one() {
  local package folder kind target path name log code=0 line
  IFS=$'\t' read -r package folder kind target path <<<"$1"
  name="$package/$target"
  [[ $kind == test ]] || name="$name ($kind)"
  log=$suites/$package-$kind-$target.log
  if [[ $kind == doc ]]; then
    bounded "$longest" "$log" cargo test --quiet --locked --workspace --doc --no-fail-fast || code=$?
  else
    cd "$folder"
    CARGO_MANIFEST_DIR=$folder CARGO=$(command -v cargo) bounded "$longest" "$log" "$path" || code=$?
  fi
  # libtest does not say which program it is; a program without a harness counts in words of its own.
  while read -r line; do
    if [[ $line == "test result: "* ]]; then line="$line; $name"; fi
    echo "$line"
    # Programs without any test inside are there because cargo makes one of each; a file of tests has some.
    if [[ $kind == test && $line == *" 0 passed; 0 failed; 0 ignored;"* ]]; then
      echo "$name: no test in it"
      code=1
    fi
  done < <(grep -E '^test result: ' "$log" || true) >"$log.result"
  # In one piece: another program's lines come beside.
  if ((code != 0)); then
    { echo "---- $name ended with $code"; grep -vE '^test .* \.\.\. ok$' "$log" | grep -v '^test result: ' || true; } >"$log.said"
    cat "$log.said" "$log.result"
  else
    cat "$log.result"
  fi
  awk -v name="$name" '/finished in/ {s = $0; sub(/.*finished in /, "", s); print name "\t" s + 0}' "$log.result" | head -n 1 >"$log.seconds"
  return "$code"
}

run() {
  local list line count jobs=0 failed=0
  list=$(programs)
  if [[ ${1:-} ]]; then
    list=$(awk -F'\t' -v pattern="$1" '($1 "/" $4) ~ pattern' <<<"$list")
    [[ $list ]] || { echo "cargo-tests: no test program is called like $1" >&2; exit 2; }
  else
    list+=$'\n'"workspace"$'\t'"$checkout"$'\t'"doc"$'\t'"doc"$'\t'
  fi
  count=$(wc -l <<<"$list")
  # Longest first, by the last run. On a fresh machine, and for a new program: those that start servers, then the controller's.
  list=$({
    printf 'known\tcontroller/postgres\t330\nknown\tcontroller/reconcile\t320\n'
    awk '{print "known\t" $0}' "$seconds_before" 2>/dev/null || true
    awk '{print "program\t" $0}' <<<"$list"
  } | awk -F'\t' '$1 == "known" {known[$2] = $3; next}
    {name = $2 "/" $5 ($4 == "test" ? "" : " (" $4 ")"); print (name in known ? known[name] : $2 == "controller" ? 60 : 10) "\t" $0}' |
    sort -t$'\t' -k1,1rn -s | cut -f3-)
  while read -r line; do
    if ((jobs == at_once)); then
      wait -n || failed=$((failed + 1))
      jobs=$((jobs - 1))
    fi
    run_one "$line" &
    jobs=$((jobs + 1))
  done <<<"$list"
  while ((jobs > 0)); do
    wait -n || failed=$((failed + 1))
    jobs=$((jobs - 1))
  done
  if [[ -z ${1:-} ]]; then
    find "$suites" -name '*.seconds' -exec cat {} + >"$seconds_before.part"
    mv "$seconds_before.part" "$seconds_before"
  fi
  echo "$count test programs, $failed of them failed"
  ((failed == 0))
}

case ${1:-} in
  build) build ;;
  run)
    suites=$checkout/.state/test/cargo
    source "$checkout/infra/suites.sh"
    mkdir -p "$checkout/.state"
    suites_start
    run "${2:-}" ;;
  *) sed -n '6s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
