# shellcheck shell=bash
# Starts and ends long-lived processes by a record of boot id, pid and start time. Sourced.
#   in:  $records (a folder), $logs; out: processes, their records and logs
# Nothing is ever ended by its name: a pid is believed only while its start time is the recorded one.

# $1 pid; prints the start time in clock ticks since boot, nothing when there is no such process.
start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  stat=${stat##*) }
  awk '{print $20}' <<<"$stat"
}

# $1 name; prints the pid when the recorded process lives.
recorded_pid() {
  local boot pid started
  [[ -s $records/$1 ]] || return 0
  read -r boot pid started <"$records/$1" || return 0
  [[ $boot == "$(</proc/sys/kernel/random/boot_id)" ]] || return 0
  [[ -n $started && $(start_time "$pid") == "$started" ]] || return 0
  # A zombie holds nothing any more.
  [[ $(awk '$1 == "State:" {print $2}' "/proc/$pid/status" 2>/dev/null) != Z ]] || return 0
  echo "$pid"
}

# $1 name, then the command. The process writes its own record before it becomes the command, so that
# no kill of this script, at whatever moment, leaves a process without a record.
start_recorded() {
  local name=$1
  shift
  mkdir -p "$records" "$logs"
  rm -f "$records/$name"
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid bash -c '
    set -eu
    record=$1; shift
    stat=$(cat "/proc/$$/stat"); stat=${stat##*) }
    printf "%s %s %s\n" "$(cat /proc/sys/kernel/random/boot_id)" "$$" "$(awk "{print \$20}" <<<"$stat")" >"$record.part"
    mv "$record.part" "$record"
    # Nothing that whoever started this has open, locks above all, is to stay open for as long as a node runs.
    for fd in /proc/$$/fd/*; do
      fd=${fd##*/}
      if ((fd > 2)); then eval "exec $fd>&-"; fi
    done
    exec "$@"
  ' start "$records/$name" "$@" </dev/null >"$logs/$name.log" 2>&1 &
  disown
  for _ in $(seq 600); do
    [[ -n $(recorded_pid "$name") ]] && return
    sleep 0.05
  done
  echo "$name did not start: see $logs/$name.log" >&2
  return 1
}

# $1 name. A node is the parent of its own pid namespace's first process: that one is ended, the kernel
# ends everything in the namespace, and only then the parent goes.
stop_recorded() {
  local pid child
  pid=$(recorded_pid "$1")
  if [[ -n $pid ]]; then
    child=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true)
    # shellcheck disable=SC2086 # pids are words
    kill -KILL ${child:-$pid} 2>/dev/null || true
    for _ in $(seq 1200); do
      [[ -z $(recorded_pid "$1") ]] && break
      # Between fork and here the child may have changed.
      [[ -n $(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true) ]] || kill -KILL "$pid" 2>/dev/null || true
      sleep 0.05
    done
    if [[ -n $(recorded_pid "$1") ]]; then
      echo "$1 (pid $pid) does not end" >&2
      return 1
    fi
  fi
  rm -f "$records/$1"
}
