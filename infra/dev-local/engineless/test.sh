#!/usr/bin/env bash
# Tests the engine-less cluster itself, on a cluster of its own beside the checkout's.
#   in:  root, the caches (what is missing is built); out: one line a case, a last line "N passed, N failed"
# Kills nodes and the script that starts them, so it takes some minutes.
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source-path=SCRIPTDIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export DEV_INSTANCE=cluster-test
source "$here/settings.sh"
source "$here/processes.sh"
source "$here/network.sh"
cluster=$here/cluster.sh
export KUBECONFIG=$kubeconfig PATH=$bin:$PATH
scratch=$(mktemp -d)
passed=0 failed=0
job= # the case's that runs

# --- cases ------------------------------------------------------------------------------------------------------

# No case may take longer, in seconds: it is ended then, and tells what ran.
readonly longest=600

# $1 title, then a command that is true when the case holds. A job of its own, because errexit is off wherever a
# status is asked for; a group of its own, so that it can be ended.
check() {
  local title=$1 start=$SECONDS
  shift
  set -m
  (set -e; "$@") </dev/null >"$scratch/out" 2>&1 &
  job=$!
  set +m
  while kill -0 "$job" 2>/dev/null; do
    if ((SECONDS - start >= longest)); then
      {
        echo "it had not ended after $longest s; running then:"
        ps -eo pid,pgid,etime,args --forest | awk -v group="$job" '$2 == group' | cut -c1-150
      } >>"$scratch/out"
      kill -TERM -- "-$job" 2>/dev/null || true
      sleep 2
      kill -KILL -- "-$job" 2>/dev/null || true
      break
    fi
    sleep 0.1
  done
  if wait "$job"; then
    job=
    passed=$((passed + 1))
    echo "  ok      $title $((SECONDS - start)) s"
  else
    job=
    failed=$((failed + 1))
    echo "  FAILED  $title $((SECONDS - start)) s"
    tail -n 15 "$scratch/out" | sed 's/^/          /'
  fi
}

refused() { ! "$@"; }

# $1 pod, then a command in it that has five seconds.
in_pod() {
  local pod=$1
  shift
  kubectl exec "$pod" -- timeout 5 "$@"
}

answers() { [[ $(in_pod "$1" curl -s -m 3 -o /dev/null -w '%{http_code}' "$2") == "$3" ]]; }

# $1 pod, $2 address: no port answers, no port refuses, no echo returns. A refusal would be an answer as well.
silent() {
  local port result
  for port in 22 53 80 443 2024 6443; do
    result=$(in_pod "$1" python3 -c '
import errno, socket, sys
s = socket.socket()
s.settimeout(1)
print(errno.errorcode.get(s.connect_ex((sys.argv[1], int(sys.argv[2]))), "?"))' "$2" "$port")
    case $result in
      EAGAIN | EHOSTUNREACH | ENETUNREACH | ETIMEDOUT | EACCES | EPERM) ;;
      *) echo "$2:$port gave $result"; return 1 ;;
    esac
  done
}

pods_ready() { kubectl wait --for=condition=Ready pod/west pod/east --timeout=120s; }

# $1 pod: its container runs and the API server reaches it. Ready alone may be an old report.
pod_works() {
  for _ in $(seq 60); do
    if in_pod "$1" true; then return; fi
    sleep 1
  done
  return 1
}

workload() {
  local probe
  probe=$(awk -F'\t' '$2 ~ "/probe.tar$" {print $1}' "$images/index.tsv")
  kubectl apply -f "$checkout/platform/storage/storage-classes.yaml"
  for _ in $(seq 60); do
    if kubectl get serviceaccount default; then break; fi
    sleep 0.5
  done
  kubectl apply -f - <<OBJECTS
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec: { accessModes: [ReadWriteOnce], storageClassName: tr-ist-1-local, resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: Pod
metadata: { name: west, labels: { app: west } }
spec:
  nodeSelector: { topology.kubernetes.io/region: tr-ist-1 }
  securityContext: { runAsUser: 65532, runAsNonRoot: true, fsGroup: 65532 }
  terminationGracePeriodSeconds: 0
  containers: [{ name: probe, image: "$probe", volumeMounts: [{ name: data, mountPath: /data }] }]
  volumes: [{ name: data, persistentVolumeClaim: { claimName: data } }]
---
apiVersion: v1
kind: Pod
metadata: { name: east, labels: { app: east } }
spec:
  nodeSelector: { topology.kubernetes.io/region: es-mad-1 }
  terminationGracePeriodSeconds: 0
  containers: [{ name: probe, image: "$probe", command: [python3, -m, http.server, "8080"] }]
---
apiVersion: v1
kind: Service
metadata: { name: east }
spec: { selector: { app: east }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Secret
metadata: { name: sealed }
stringData: { word: plain-text-of-the-test }
OBJECTS
  pods_ready
  pod_works west
  pod_works east
}

traffic() {
  pod_works west
  pod_works east
  # What the API server says of a pod's address is a moment behind a node that came back, and so is what follows from it.
  for _ in $(seq 75); do
    if answers west "http://$(kubectl get pod east -o 'jsonpath={.status.podIP}'):8080/" 200 &&
      answers west http://east.default.svc.cluster.local/ 200; then return; fi
    sleep 0.2
  done
  return 1
}

# The certificate is verified with what every pod is given.
api_from_pod() {
  local code
  code=$(in_pod west curl -s --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt -o /dev/null -w '%{http_code}' https://kubernetes.default.svc/version)
  [[ $code == 200 ]]
}

volume_on_its_node() {
  local volume
  volume=$(kubectl get pvc data -o 'jsonpath={.spec.volumeName}')
  [[ $(kubectl get pv "$volume" -o 'jsonpath={.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]}') == tr-1 ]]
  [[ $(kubectl get pv "$volume" -o 'jsonpath={.spec.persistentVolumeReclaimPolicy}') == Retain ]]
  in_pod west sh -c 'echo kept >/data/word'
  [[ $(cat "$state"/tr-1/volumes/"$volume"_*/word) == kept ]]
}

volume_kept() { [[ $(in_pod west cat /data/word) == kept ]]; }

# $1 lines of the log to skip, $2 pattern of a line that is there within five seconds.
seen() {
  for _ in $(seq 50); do
    if tail -n "+$(($1 + 1))" "$here_state/outside.jsonl" | grep -q -- "$2"; then return; fi
    sleep 0.1
  done
  echo "outside has not seen $2"
  return 1
}

outside_sees() {
  local before address
  address=$(kubectl get pod west -o 'jsonpath={.status.podIP}')
  before=$(wc -l <"$here_state/outside.jsonl")
  in_pod west curl -s -m 3 -o /dev/null "http://leak.example.com:8443/"
  in_pod west nc -z -w 2 "$outside_address" 5432
  in_pod west curl -s -m 3 -o /dev/null "http://$metadata_address/"
  seen "$before" "\"kind\": \"dns\".*\"name\": \"leak.example.com\""
  seen "$before" "\"protocol\": \"tcp\", \"source\": \"$address\", \"destination\": \"$outside_address\", .*\"port\": 8443"
  seen "$before" "\"protocol\": \"tcp\", \"source\": \"$address\", \"destination\": \"$outside_address\", .*\"port\": 5432"
  seen "$before" "\"protocol\": \"tcp\", \"source\": \"$address\", \"destination\": \"$metadata_address\", .*\"port\": 80"
}

# Every address that the machine has, its gateway, and one far away.
nothing_beyond() {
  local target
  for target in $(machine_addresses | sort -u) 203.0.113.7; do
    silent west "$target"
    # A host network pod or the node itself must not reach it either.
    refused "$cluster" enter tr-1 ping -q -c 1 -W 1 "$target"
    refused "$cluster" enter cp-1 ping -q -c 1 -W 1 "$target"
  done
}

# The check that refuses to go on must see a way when there is one.
way_is_noticed() {
  ip -n "$(namespace_of cp-1)" route add default via "$outside_address"
  if network_closed; then ip -n "$(namespace_of cp-1)" route del default; return 1; fi
  ip -n "$(namespace_of cp-1)" route del default
  in_namespace "$(namespace_of cp-1)" nft delete table inet bailiwick_border
  if network_closed; then return 1; fi
  "$cluster" down
  "$cluster" up
  network_closed
}

policy_denies() {
  answers west http://10.202.0.1:443/ 400
  answers west "http://$outside_address/" 200
  kubectl apply -f - <<'POLICY'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: shut }
spec: { podSelector: { matchLabels: { app: west } }, policyTypes: [Ingress, Egress] }
POLICY
  for _ in $(seq 50); do
    if refused answers west http://10.202.0.1:443/ 400; then break; fi
    sleep 0.2
  done
  refused answers west http://10.202.0.1:443/ 400
  refused answers west "http://$outside_address/" 200
  kubectl delete networkpolicy shut
  for _ in $(seq 50); do
    if answers west "http://$outside_address/" 200; then return; fi
    sleep 0.2
  done
  return 1
}

secrets_encrypted() { refused grep -raqF plain-text-of-the-test "$state/cp-1/etcd"; }

# The audit log names the request, and nothing of its contents.
audited() {
  grep -q '"verb":"create".*"resource":"secrets","namespace":"default","name":"sealed"' "$here_state/audit.log" ||
    grep -q '"verb":"patch".*"resource":"secrets","namespace":"default","name":"sealed"' "$here_state/audit.log"
  refused grep -qF plain-text-of-the-test "$here_state/audit.log"
}

only_root_reads() { [[ $(stat -c %a "$kubeconfig") == 600 ]]; }

# What a privileged pod does to a node's devices does not reach the machine's.
own_devices() {
  "$cluster" enter es-1 rm /dev/full
  refused "$cluster" enter es-1 test -e /dev/full
  "$cluster" enter es-1 mknod -m 0666 /dev/full c 1 7
  [[ -c /dev/full ]]
}

# A lock that the caller holds, say, must not be a node's until it ends.
up_with_an_open_file() {
  : >"$scratch/open"
  "$cluster" up 5<"$scratch/open"
}
nothing_open() {
  local name pid held
  for name in "${nodes[@]}" outside; do
    pid=$(recorded_pid "$name")
    held=$(find "/proc/$pid/fd" -lname "$scratch/open")
    [[ -z $held ]] || { echo "$name holds $held"; return 1; }
  done
}

second_up() {
  local before after begin=$SECONDS
  before=$(cat "$records"/*)
  "$cluster" up
  after=$(cat "$records"/*)
  [[ $before == "$after" ]]
  echo "took $((SECONDS - begin)) s"
}

# $1 node.
kill_first_process() {
  local pid
  pid=$(recorded_pid "$1")
  kill -KILL "$(cat "/proc/$pid/task/$pid/children")"
}
kill_parent() { kill -KILL "$(recorded_pid "$1")"; }

up_after() {
  "$@"
  "$cluster" up
  traffic
  volume_kept
}

# kubelet and containerd end while pods run: they come back on their own, and the pods never stop.
daemons_restart() {
  local before
  before=$(kubectl get pod east -o 'jsonpath={.status.containerStatuses[0].containerID}')
  # shellcheck disable=SC2016 # expanded inside of the node
  "$cluster" enter es-1 sh -c 'kill -KILL $(cat /run/kubelet.pid) $(cat /run/containerd.pid)'
  sleep 3
  "$cluster" up
  pod_works east
  [[ $(kubectl get pod east -o 'jsonpath={.status.containerStatuses[0].containerID}') == "$before" ]]
}

# As when a manifest of the control plane changed: it is written anew, and all credentials still work after a restart.
settings_changed() {
  echo changed >"$state/cp-1/config/configured"
  "$cluster" up
  kill_first_process cp-1
}

lose_a_namespace() { ip netns delete "$(namespace_of es-1)"; }
lose_the_link() { ip link delete "$machine_link"; }

# $1 a step, $2 seconds after it, $3 script or group: kills `up` from nothing then, and starts again.
up_killed() {
  local pid whom
  "$cluster" erase
  setsid "$cluster" up >"$scratch/killed" 2>&1 &
  pid=$!
  for _ in $(seq 6000); do
    if grep -qF "$1" "$scratch/killed"; then break; fi
    sleep 0.05
  done
  sleep "$2"
  if [[ $3 == group ]]; then whom=-$pid; else whom=$pid; fi
  if ! kill -KILL -- "$whom"; then
    echo "it had ended before:"
    cat "$scratch/killed"
    return 1
  fi
  wait "$pid" 2>/dev/null || true
  "$cluster" up
  workload
  traffic
}

# What the machine has of this cluster: names with its id, mounts, and processes whose record is believed.
traces() {
  ip netns | grep -F "$prefix" || true
  ip -br link | grep -F "$prefix" || true
  grep -F "$cluster_id" /proc/mounts || true
  find /sys/fs/cgroup -maxdepth 2 -name "$prefix*"
  # Anything that runs from, in or for the cluster's folder.
  echo "clusters/$cluster_id" >"$scratch/pattern"
  grep -lzF -f "$scratch/pattern" /proc/[0-9]*/{cmdline,environ} 2>/dev/null || true
}

down_leaves_nothing() {
  local pids pid state
  # A pod may end meanwhile, and its group with it.
  pids=$(for name in "${nodes[@]}"; do
    find "/sys/fs/cgroup" -path "*/$prefix-$name/*" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -u)
  [[ -n $pids ]]
  pids=$(for pid in $pids; do echo "$pid:$(start_time "$pid")"; done)
  "$cluster" down
  traces | tee "$scratch/traces"
  [[ ! -s $scratch/traces ]]
  for pid in $pids; do
    # Numbers are used again within minutes on a busy machine, and what has ended waits to be collected by the
    # machine's first process, which may happen at any moment.
    state=$(awk '$1 == "State:" { print $2 }' "/proc/${pid%:*}/status" 2>/dev/null || true)
    if [[ $state && $state != Z && ${pid#*:} && $(start_time "${pid%:*}") == "${pid#*:}" ]]; then
      ps -o pid,ppid,stat,args -p "${pid%:*}"
      return 1
    fi
  done
}

# A Docker engine that does not answer: the next try on this machine must be free to choose.
kind_not_kept() {
  rm -f "$here_state/kind"
  refused env DEV_CLUSTER=k3d DOCKER_HOST=unix:///nonexistent "$here/../dev.sh" up
  [[ ! -e $here_state/kind ]]
}

# --- main -------------------------------------------------------------------------------------------------------

finish() {
  [[ -z $job ]] || kill -TERM -- "-$job" 2>/dev/null || true
  "$cluster" erase >/dev/null 2>&1 || true
  rm -rf "$scratch"
}
trap finish EXIT

"$cluster" erase >/dev/null
check "a kind of cluster that cannot run here is not remembered" kind_not_kept
check "comes up from nothing" up_with_an_open_file
# Some twenty starts follow: nothing that they run from changes meanwhile.
export BAILIWICK_BUILT=1
check "keeps no file open of whoever started it" nothing_open
check "pods run on both nodes" workload
check "pods reach pods of another node, and Services by name" traffic
check "a pod reaches the API server through its Service" api_from_pod
check "a volume is on its location's node and keeps what is written" volume_on_its_node
check "outside sees connections and names that leave" outside_sees
check "nothing beyond the cluster answers" nothing_beyond
check "a network policy is in force" policy_denies
check "Secrets are encrypted at rest" secrets_encrypted
check "the audit log has writes without contents" audited
check "the kubeconfig is private" only_root_reads
check "a node's devices are its own" own_devices
check "a second run changes nothing" second_up
check "up again after a node's first process was killed" up_after kill_first_process tr-1
check "up again after a node's outer process was killed" up_after kill_parent es-1
check "up again after the control plane was killed" up_after kill_first_process cp-1
check "up again after the control plane's settings changed" up_after settings_changed
check "killed daemons return while their pods go on" daemons_restart
check "up again after a network namespace was removed" up_after lose_a_namespace
check "up again after the machine's link was removed" up_after lose_the_link
check "a way beyond is noticed" way_is_noticed
check "down leaves nothing behind" down_leaves_nothing
check "up after down goes on with the volumes" up_after true
for moment in "limits 0.2 group" "network 0.5 group" "way 2 group" "way 5 script" "control 1 group" "control 5 group" "nodes 0.5 script"; do
  read -r step_name seconds whom <<<"$moment"
  check "up again after being killed ($whom) $seconds s after '$step_name'" up_killed "$step_name" "$seconds" "$whom"
done
check "down leaves nothing behind" down_leaves_nothing
echo "$passed passed, $failed failed"
((failed == 0))
