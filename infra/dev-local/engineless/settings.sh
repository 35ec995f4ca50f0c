# shellcheck shell=bash
# shellcheck disable=SC2034 # read by the scripts that source this file
# Names, paths and addresses of one checkout's cluster. Sourced; no I/O but reading links.
#   in: BAILIWICK_CACHE; DEV_INSTANCE, a name, for another cluster of the same checkout (tests); CLUSTER_ID to
#       remove the cluster of a checkout that is gone
#
# Everything of a cluster lives in network namespaces of its own, so the addresses are constants and
# two checkouts on one machine share nothing but the cache. Only names seen by the machine carry the id.

engineless=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$engineless/../../.." && pwd -P)
instance=${DEV_INSTANCE:-}
cluster_id=${CLUSTER_ID:-$(printf %s "$checkout${instance:+#$instance}" | sha256sum | cut -c1-6)}

cache=${BAILIWICK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bailiwick}
bin=$cache/bin
images=$cache/images
state=$cache/clusters/$cluster_id   # disks of the nodes: images, volumes, etcd
records=$state/processes            # one file a process: boot id, pid, start time
here_state=$checkout/.state${instance:+/$instance}   # what people and tests look at
logs=$here_state/logs
audit=$here_state/audit
kubeconfig=$here_state/kubeconfig

prefix=bw$cluster_id                # network namespaces, cgroups and the machine's link start with it
outside_namespace=$prefix-outside
machine_link=$prefix

hub=cp-1                            # the control plane's node is also the router between the nodes
nodes=(cp-1 tr-1 es-1)
workers=(tr-1 es-1)
declare -A node_address=([cp-1]=10.200.0.1 [tr-1]=10.200.0.11 [es-1]=10.200.0.12)
declare -A node_pods=([cp-1]=10.201.0.0/24 [tr-1]=10.201.1.0/24 [es-1]=10.201.2.0/24)
declare -A node_location=([tr-1]=tr-ist-1 [es-1]=es-mad-1)

node_range=10.200.0.0/24
pod_range=10.201.0.0/16
service_range=10.202.0.0/16
api_service=10.202.0.1
cluster_dns=10.202.0.10
machine_range=10.203                # the first two octets of the /30 between the machine and the hub
outside_address=198.51.100.10       # TEST-NET-2: documentation only, nobody's address
outside_gateway=198.51.100.1
metadata_address=169.254.169.254
metadata_gateway=169.254.169.253

namespace_of() { echo "$prefix-$1"; }
