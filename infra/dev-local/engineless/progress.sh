# shellcheck shell=bash
# One line a component with its seconds; plain lines when nobody watches. Sourced.
#   in:  $logs; out: standard output, $logs/steps.log

# $1 title, then the command. Runs it in a shell of its own, where an error ends it: what it sets is lost,
# what it writes to disk counts.
step() {
  local title=$1 begin=$EPOCHREALTIME seconds before
  shift
  mkdir -p "$logs"
  before=$(stat -c %s "$logs/steps.log" 2>/dev/null || echo 0)
  [[ ! -t 1 ]] || printf '  %-28s ...' "$title"
  # A group of its own, so that an interrupted script takes along what the step has started. What is meant
  # to stay has left the group.
  set -m
  (set -e; "$@") </dev/null >>"$logs/steps.log" 2>&1 &
  set +m
  # shellcheck disable=SC2064 # the pid of now
  trap "kill -TERM -- -$! 2>/dev/null; echo; exit 130" INT TERM
  if wait $!; then
    seconds=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f", b - a}')
    [[ ! -t 1 ]] || printf '\r'
    printf '  %-28s %6s s\n' "$title" "$seconds"
  else
    [[ ! -t 1 ]] || printf '\r'
    printf '  %-28s failed\n' "$title"
    tail -c "+$((before + 1))" "$logs/steps.log" | tail -n 40 >&2
    echo "all of it: $logs/steps.log" >&2
    trap - INT TERM
    return 1
  fi
  trap - INT TERM
}
