#!/usr/bin/env bash
# Every test of the repository, in order, on a machine that may be fresh.
#   in:  a checkout, root; out: each suite's own output, and a last line with what all of them counted
# A suite that fails does not keep the others from running; the exit code is 1 when any failed.
set -uo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout" || exit 1
engineless=infra/dev-local/engineless
mkdir -p .state
log=.state/test.log
beside_log=.state/test-beside.log
: >"$log"
failed_suites=0

# $1 the suite's name, the rest its command. A suite that could not even count is a failure of its own.
suite() {
  local name=$1 start=$SECONDS code
  shift
  echo "== $name"
  "$@" 2>&1 | tee -a "$log"
  code=${PIPESTATUS[0]}
  echo "== $name: $([[ $code == 0 ]] && echo ok || echo "FAILED ($code)"), $((SECONDS - start)) s"
  if ((code != 0)); then failed_suites=$((failed_suites + 1)); fi
  return "$code"
}

# $1 the suite that a job in the background ran, $2 its process, $3 when it began. Its output is shown at its end.
joined() {
  local code
  wait "$2"
  code=$?
  echo "== $1"
  tee -a "$log" <"$beside_log"
  echo "== $1: $([[ $code == 0 ]] && echo ok || echo "FAILED ($code)"), $((SECONDS - $3)) s beside the suite before"
  if ((code != 0)); then failed_suites=$((failed_suites + 1)); fi
}

# Without these nothing else can be judged.
if suite "Debian packages" "$engineless/packages.sh" &&
  suite "Go commands" "$engineless/binaries.sh"; then
  suite "checks" make --no-print-directory check
  suite "programs" cargo build --locked --workspace --bins --quiet
  suite "images" "$engineless/images.sh"
  if BAILIWICK_TEST_POSTGRES=$("$engineless/rootfs.sh" postgres); then
    export BAILIWICK_TEST_POSTGRES
  fi
  suite "unit, invariant and integration tests" \
    cargo test --locked --workspace --exclude bailiwick-e2e --no-fail-fast --quiet
  # Both wait more than they compute, each in networks of its own.
  began=$SECONDS
  "$engineless/test.sh" >"$beside_log" 2>&1 &
  beside=$!
  suite "Postgres image" platform/images/postgres/test.sh
  joined "engine-less cluster" "$beside" "$began"
  # A cluster of this checkout may be left from an earlier run; the suite starts from nothing.
  if suite "development cluster" make --no-print-directory dev-reset; then
    suite "end to end" make --no-print-directory test-e2e
  fi
  suite "development cluster stops" make --no-print-directory dev-down
fi

# libtest's closing lines, and the plain ones of suites without it.
read -r passed failed < <(awk '
  /^test result: / { passed += $4; failed += $6 }
  /^[0-9]+ passed, [0-9]+ failed/ { passed += $1; failed += $3 }
  END { print passed + 0, failed + 0 }' "$log")
# A suite that broke before it could count its failure still failed.
if ((failed == 0)); then failed=$failed_suites; fi
echo "$passed passed, $failed failed"
((failed_suites == 0 && failed == 0 && passed > 0))
