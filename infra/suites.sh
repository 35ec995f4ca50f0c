# shellcheck shell=bash
# Runs suites of tests: each with a deadline, with the number of tests that it must count at least, and in a table at the
# end. Sourced.
#   in:  $suites, a folder of its own that holds what was counted; out: each suite's output and log, suites_table

suites_start() {
  rm -rf "$suites"
  mkdir -p "$suites/running"
  : >"$suites/results.tsv"
  # A suite's processes are a session of their own, which an interrupted script takes along.
  trap suites_end EXIT
  trap 'exit 130' INT TERM
}

# Whatever still runs is a session, or a shell that runs suites beside this one.
suites_end() {
  local file pid
  for file in "$suites"/running/*; do
    [[ -e $file ]] || continue
    pid=${file##*/}
    kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null || true
  done
}

# $1 a session; prints its processes, and those of the suites that it runs in turn, each of them a session.
session_processes() {
  local sessions=$1 file
  for file in "$suites"/*/running/*; do
    [[ -e $file ]] && sessions+=,${file##*/}
  done
  ps -o pid,ppid,stat,etime,time,args --forest --sid "$sessions" | cut -c1-200 | head -n 60
}

# $1 seconds, $2 log, then the command. Runs it in a session of its own; returns its status, or 124 when it took longer and
# was ended. What was going on then is at the end of the log.
bounded() {
  local deadline=$1 log=$2 pid start=$SECONDS tick=0.1 record code
  shift 2
  setsid "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  record=$suites/running/$pid
  : >"$record"
  while kill -0 "$pid" 2>/dev/null; do
    if ((SECONDS - start >= deadline)); then
      {
        echo "deadline: it had not ended after $deadline s; running then:"
        session_processes "$pid"
      } >"$log.deadline"
      kill -TERM -- "-$pid" 2>/dev/null
      for _ in {1..50}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
      kill -KILL -- "-$pid" 2>/dev/null
      wait "$pid" 2>/dev/null
      rm -f "$record"
      { echo "last lines before:"; tail -n 20 "$log" | sed 's/^/  | /'; } >>"$log.deadline"
      cat "$log.deadline" >>"$log"
      rm -f "$log.deadline"
      return 124
    fi
    sleep "$tick"
    ((SECONDS - start < 5)) || tick=0.5
  done
  code=0
  wait "$pid" || code=$?
  rm -f "$record"
  return "$code"
}

# $1 log; prints how many tests passed and failed: libtest's closing lines, and the plain ones of suites without it.
counted() {
  awk '
    /^test result: / { passed += $4; failed += $6 }
    /^[0-9]+ passed, [0-9]+ failed/ { passed += $1; failed += $3 }
    END { print passed + 0, failed + 0 }' "$1"
}

# $1 the suite's name, $2 how many tests it must count at least, $3 its deadline in seconds, then its command. Prints what it
# printed: at once, or with BESIDE set when it has ended, in one piece.
suite() {
  local name=$1 least=$2 deadline=$3 log start=$EPOCHREALTIME seconds passed failed code=0 follower='' word
  shift 3
  log=$suites/${name//[^A-Za-z0-9]/-}.log
  echo "== $name${BESIDE:+ begins beside}"
  : >"$log"
  if [[ -z ${BESIDE:-} ]]; then
    tail -n +1 --quiet --follow --pid $$ "$log" 2>/dev/null &
    follower=$!
  fi
  bounded "$deadline" "$log" "$@" || code=$?
  seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.0f", b - a}')
  if [[ $follower ]]; then
    sleep 0.3 # what was written last is printed
    kill "$follower" 2>/dev/null
    wait "$follower" 2>/dev/null
  else
    echo "== $name"
    cat "$log"
  fi
  read -r passed failed < <(counted "$log")
  word=ok
  if ((code == 124)); then
    word="FAILED (deadline of $deadline s)"
  elif ((code != 0)); then
    word="FAILED ($code)"
  elif ((failed > 0)); then
    word="FAILED"
  elif ((passed < least)); then
    word="FAILED (counted $passed tests, $least at least are expected)"
    code=1
  fi
  # A suite that broke before it could count its failure still failed.
  if [[ $word != ok ]] && ((failed == 0)); then failed=1; fi
  if [[ $word != ok ]] && ((code == 0)); then code=1; fi
  echo "== $name: $word, $seconds s"
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$seconds" "$passed" "$failed" "$least" "$word" >>"$suites/results.tsv"
  return "$code"
}

# Prints the cases that took longest, of all suites: those that say their seconds, and libtest's by program.
slowest_cases() {
  # shellcheck disable=SC2016 # awk's fields
  find "$suites" -maxdepth 1 -name '*.log' -exec awk '
    /^test result: .*finished in [0-9.]+s; / { name = $0; sub(/.*finished in [0-9.]+s; /, "", name); s = $0; sub(/.*finished in /, "", s); print s + 0 "\t" name }
    /^(ok|FAILED) +[a-z0-9-]+ [0-9.]+ s: / { print $3 "\t" $2 }
    /^  (ok|FAILED) +.* [0-9]+ s$/ { name = $0; sub(/^ +(ok|FAILED) +/, "", name); sub(/ [0-9]+ s$/, "", name); print $(NF - 1) "\t" name }
    ' {} + | sort -rn | head -n 10 | awk -F'\t' '{printf "  %7.1f s  %s\n", $1, $2}'
}

# $@ the suites that must have run; prints the table of suites with the slowest cases, then a last line with what all of them
# counted. True when all passed. A suite without a row, as of a shell that was killed, failed.
suites_table() {
  local passed failed name
  for name in "$@"; do
    cut -f1 "$suites/results.tsv" | grep -qxF "$name" || printf '%s\t0\t0\t1\t0\tFAILED (it did not run)\n' "$name" >>"$suites/results.tsv"
  done
  printf '\n%-44s %8s %8s %8s %8s  %s\n' suite seconds passed failed least ''
  awk -F'\t' '{printf "%-44s %8s %8s %8s %8s  %s\n", $1, $2, $3, $4, $5, $6}' "$suites/results.tsv"
  printf '\nslowest cases\n'
  slowest_cases
  read -r passed failed < <(awk -F'\t' '{p += $3; f += $4} END {print p + 0, f + 0}' "$suites/results.tsv")
  printf '\n%s s in all\n%s passed, %s failed\n' "$SECONDS" "$passed" "$failed"
  ((failed == 0 && passed > 0))
}
