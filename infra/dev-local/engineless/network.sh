# shellcheck shell=bash
# The cluster's network: one namespace a node, one that plays the internet, and no way beyond. Sourced.
#   in:  settings.sh; out: network namespaces, links, routes and one packet filter table in the hub
#
#   machine --/30-- cp-1 (hub, bridge 10.200.0.1) --veth-- tr-1, es-1
#                     |--veth-- outside 198.51.100.10, and 169.254.169.254 on a link of its own
#
# The hub has no default route, and the machine forwards and masquerades nothing.

in_namespace() { local name=$1; shift; nsenter --net="/run/netns/$name" "$@"; }

# $1 the namespace. The machine's defaults would otherwise leak in, and IPv6 would be a second way round.
prepare_namespace() {
  ip netns add "$1"
  in_namespace "$1" sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
    net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1
  # Frames between nodes cross the hub's bridge, not its packet filter.
  in_namespace "$1" sysctl -q -e -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
  ip -n "$1" link set lo up
}

# $1 the upper two octets are taken from it; prints "machine-address hub-address" of a /30 that nothing on
# the machine uses, the same for the same checkout unless somebody took it.
free_link_addresses() {
  local try number base
  for try in $(seq 0 63); do
    number=$(((16#$1 + try * 251) % 16384))
    base=$machine_range.$((number / 64)).$((number % 64 * 4))
    if ! ip -4 route show match "$base" | grep -qv '^default' && [[ -z $(ip -4 -o address show to "$base/30") ]]; then
      echo "${base%.*}.$((number % 64 * 4 + 1)) ${base%.*}.$((number % 64 * 4 + 2))"
      return
    fi
  done
  echo "no free /30 in $machine_range.0.0/16: remove a cluster of another checkout (make dev-down there)" >&2
  return 1
}

connect_machine() {
  local hub_namespace machine_side hub_side
  hub_namespace=$(namespace_of "$hub")
  read -r machine_side hub_side < <(free_link_addresses "${cluster_id:0:4}")
  # The filter stands before the link does.
  in_namespace "$hub_namespace" nft -f - <<RULES
    table inet bailiwick_border {
      chain forward {
        type filter hook forward priority -10; policy accept;
        iifname "machine" drop
        oifname "machine" drop
      }
      chain output {
        type filter hook output priority -10; policy accept;
        oifname "machine" ct state established,related accept
        oifname "machine" drop
      }
      chain input {
        type filter hook input priority -10; policy accept;
        iifname "machine" ip saddr != $machine_side drop
        iifname != "machine" ip daddr { $machine_side, $hub_side } drop
      }
    }
RULES
  ip link add "$machine_link" type veth peer name machine netns "$hub_namespace"
  sysctl -q -e -w "net.ipv6.conf.$machine_link.disable_ipv6=1"
  ip address add "$machine_side/30" dev "$machine_link"
  ip link set "$machine_link" up
  ip -n "$hub_namespace" address add "$hub_side/30" dev machine
  ip -n "$hub_namespace" link set machine up
  echo "$machine_side $hub_side" >"$state/machine-link"
}

# $1 a node that is not the hub.
connect_node() {
  local hub_namespace namespace
  hub_namespace=$(namespace_of "$hub")
  namespace=$(namespace_of "$1")
  prepare_namespace "$namespace"
  ip link add "$1" netns "$hub_namespace" type veth peer name nodes netns "$namespace"
  ip -n "$hub_namespace" link set "$1" master nodes up
  ip -n "$namespace" address add "${node_address[$1]}/${node_range#*/}" dev nodes
  ip -n "$namespace" link set nodes up
  ip -n "$namespace" route add default via "${node_address[$hub]}"
}

connect_outside() {
  local hub_namespace
  hub_namespace=$(namespace_of "$hub")
  prepare_namespace "$outside_namespace"
  ip link add internet netns "$hub_namespace" type veth peer name cluster netns "$outside_namespace"
  ip -n "$hub_namespace" address add "$outside_gateway/24" dev internet
  ip -n "$hub_namespace" link set internet up
  ip -n "$outside_namespace" address add "$outside_address/24" dev cluster
  ip -n "$outside_namespace" link set cluster up
  ip -n "$outside_namespace" route add default via "$outside_gateway"
  ip link add metadata netns "$hub_namespace" type veth peer name metadata netns "$outside_namespace"
  ip -n "$hub_namespace" address add "$metadata_gateway/30" dev metadata
  ip -n "$hub_namespace" link set metadata up
  ip -n "$outside_namespace" address add "$metadata_address/30" dev metadata
  ip -n "$outside_namespace" link set metadata up
}

# Between the nodes' ranges of pods. The hub, which has no default route, also needs one for Services: what its own
# programs send there is looked up before kube-proxy translates it.
network_routes() {
  local node other
  for node in "${nodes[@]}"; do
    for other in "${nodes[@]}"; do
      [[ $node == "$other" ]] || ip -n "$(namespace_of "$node")" route replace "${node_pods[$other]}" via "${node_address[$other]}"
    done
  done
  ip -n "$(namespace_of "$hub")" route replace "$service_range" dev nodes
}

network_create() {
  local node hub_namespace
  hub_namespace=$(namespace_of "$hub")
  prepare_namespace "$hub_namespace"
  ip -n "$hub_namespace" link add nodes type bridge
  ip -n "$hub_namespace" address add "${node_address[$hub]}/${node_range#*/}" dev nodes
  ip -n "$hub_namespace" link set nodes up
  for node in "${workers[@]}"; do connect_node "$node"; done
  network_routes
  connect_outside
  connect_machine
}

# Removes what network_create made, whole or in part. The nodes' processes are gone before.
network_remove() {
  local name
  ip link delete "$machine_link" 2>/dev/null || true
  for name in "$outside_namespace" "${nodes[@]/#/$prefix-}"; do
    if [[ -e /run/netns/$name ]]; then ip netns delete "$name"; fi
  done
  rm -f "$state/machine-link" "$state/network"
}

# True when the network is whole: it was finished in this boot and every namespace and link answers.
network_whole() {
  local node machine_side hub_side
  [[ -s $state/network && $(<"$state/network") == "$(</proc/sys/kernel/random/boot_id)" ]] || return 1
  read -r machine_side hub_side <"$state/machine-link" || return 1
  [[ -n $machine_side ]] || return 1
  ip -4 -o address show dev "$machine_link" 2>/dev/null | grep -qF "$machine_side/30" || return 1
  ping -q -c 1 -W 1 "$hub_side" >/dev/null || return 1
  for node in "${workers[@]}"; do
    in_namespace "$(namespace_of "$node")" ping -q -c 1 -W 1 "$outside_address" >/dev/null || return 1
    in_namespace "$(namespace_of "$node")" ping -q -c 1 -W 1 "$metadata_address" >/dev/null || return 1
  done
}

# Every IPv4 address of the machine, and its gateways.
machine_addresses() {
  ip -4 -o address show scope global | awk '{sub("/.*", "", $4); print $4}'
  ip -4 route show default | awk '$2 == "via" {print $3}'
}

# Refuses to go on when anything of the cluster could reach the machine or what is beyond it.
network_closed() {
  local name target default machine_side hub_side expected beyond=()
  read -r machine_side hub_side <"$state/machine-link"
  for name in "${nodes[@]}" outside; do
    case $name in
      "$hub") expected='' ;;
      outside) expected="default via $outside_gateway dev cluster" ;;
      *) expected="default via ${node_address[$hub]} dev nodes" ;;
    esac
    default=$(ip -n "$prefix-$name" -4 route show table all default | sed 's/ *$//')
    [[ $default == "$expected" ]] || beyond+=("$name has the default route '$default' instead of '$expected'")
    [[ -z $(ip -n "$prefix-$name" -6 route show table all default) ]] || beyond+=("$name has an IPv6 default route")
  done
  in_namespace "$(namespace_of "$hub")" nft list chain inet bailiwick_border forward >/dev/null 2>&1 ||
    beyond+=("the hub's border filter is gone")
  # Tried, not only read: the machine's own addresses, its gateway and the machine's end of the link.
  while read -r name; do beyond+=("$name"); done < <(
    for target in $(machine_addresses | sort -u); do
      for name in "${nodes[@]}" outside; do
        { in_namespace "$prefix-$name" ping -q -c 1 -W 1 "$target" >/dev/null 2>&1 && echo "$name reaches $target"; } &
      done
    done
    wait
  )
  if ((${#beyond[@]})); then
    printf 'network: a way beyond the cluster exists: %s\n' "${beyond[@]}" >&2
    echo "network: run make dev-reset; if it stays, look at ip netns exec ${prefix}-${hub} ip route" >&2
    return 1
  fi
}
