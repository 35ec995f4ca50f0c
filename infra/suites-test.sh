#!/usr/bin/env bash
# Tests what runs the suites (suites.sh): an empty, shortened, failed, broken or endless suite is told.
#   in:  nothing; out: one line a case, a last line "N passed, N failed"; exit status 1 when one failed
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0

# $1 what is expected, $2 a pattern of what is printed, $3 the exit status, then the lines of a script with suites.
expect() {
  local what=$1 pattern=$2 status=$3 said code=0
  shift 3
  said=$({
    echo "set -uo pipefail; suites=$scratch/suites; source $here/suites.sh; suites_start"
    printf '%s\n' "$@"
  } | bash 2>&1) || code=$?
  if [[ $code == "$status" && $said =~ $pattern ]]; then
    passed=$((passed + 1)); echo "ok      $what"
  else
    failed=$((failed + 1)); echo "FAILED  $what: status $code"; awk '{print "        | " $0}' <<<"$said"
  fi
}

# A closing line of libtest, as cargo-tests.sh prints it.
result="echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s; some/program'"
expect "a suite that counts what it must passes" $'a +[0-9]+ +3 +0 +3 +ok.*\n3 passed, 0 failed$' 0 "suite a 3 20 bash -c \"$result\"" suites_table
expect "a shortened one fails" 'counted 3 tests, 4 at least.*3 passed, 1 failed$' 1 "suite a 4 20 bash -c \"$result\"" suites_table
expect "one that did not run fails" 'b +0 +0 +1 +0 +FAILED \(it did not run\).*3 passed, 1 failed$' 1 "suite a 3 20 bash -c \"$result\"" "suites_table a b"
expect "an empty one fails" 'counted 0 tests, 1 at least.*0 passed, 1 failed$' 1 "suite a 1 20 true" suites_table
expect "failures are counted, whatever the exit status" 'FAILED.*5 passed, 2 failed$' 1 "suite a 1 20 echo '5 passed, 2 failed'" suites_table
expect "one that breaks before it counts is a failure" 'FAILED \(7\).*0 passed, 1 failed$' 1 "suite a 0 20 bash -c 'exit 7'" suites_table
expect "one that does not end is ended, with what ran and what it said last" \
  $'deadline: it had not ended after 1 s; running then:\n.*sleep 98765.*last lines before:\n  \\| said last.*deadline of 1 s.*0 passed, 1 failed$' 1 \
  "suite a 0 1 bash -c 'echo said last; sleep 98765'" suites_table
expect "its processes are gone" 'gone' 0 "suite a 0 1 bash -c 'sleep 98766; true'" "sleep 0.3; pgrep -f '[s]leep 98766' || echo gone"
expect "suites beside each other both count, and are printed in one piece" $'== b\nfirst\nsecond\n5 passed, 0 failed\n== b: ok.*8 passed, 0 failed$' 0 \
  "(BESIDE=1; suite b 5 20 bash -c 'echo first; sleep 1; echo second; echo 5 passed, 0 failed') & suite a 3 20 bash -c \"$result\"; wait" suites_table
expect "the slowest cases are listed by their seconds" $'slowest cases\n +12.5 s +some-case\n +4.0 s +some title\n +1.5 s +some/program' 0 \
  "suite a 3 20 bash -c \"echo 'ok     some-case 12.5 s: much'; echo '  ok      some title 4 s'; $result\"" suites_table
echo "$passed passed, $failed failed"
((failed == 0))
