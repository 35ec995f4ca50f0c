# shellcheck shell=bash
# Starts the namespace that plays the internet. Sourced.
#   in:  settings.sh, processes.sh, network.sh; out: a recorded process, $here_state/outside.jsonl

outside_start() {
  local log=$here_state/outside.jsonl
  if [[ -n $(recorded_pid outside) && "$(cat "$state/outside-version" 2>/dev/null)" == "$(sha256sum <"$engineless/outside/listener.py")" ]]; then return; fi
  stop_recorded outside
  in_namespace "$outside_namespace" nft -f - <<'RULES'
    table inet every_port
    delete table inet every_port
    table inet every_port {
      chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport != 53 redirect to :10080
        udp dport != 53 redirect to :10081
      }
    }
RULES
  # A cluster that runs for weeks asks many questions.
  if (($(stat -c %s "$log" 2>/dev/null || echo 0) > 100000000)); then rm -f "$log"; fi
  start_recorded outside nsenter --net="/run/netns/$outside_namespace" \
    /usr/bin/python3 "$engineless/outside/listener.py" --log "$log" \
    --address "$outside_address" --own "$metadata_address"
  sha256sum <"$engineless/outside/listener.py" >"$state/outside-version"
  for _ in $(seq 50); do
    if in_namespace "$(namespace_of "$hub")" timeout 1 bash -c "exec 3<>/dev/tcp/$outside_address/53" 2>/dev/null; then return; fi
    sleep 0.1
  done
  echo "the outside listener does not answer: see $logs/outside.log" >&2
  return 1
}
