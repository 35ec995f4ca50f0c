#!/usr/bin/env bash
# The development cluster, whichever kind this machine can run: k3d with a Docker engine, else engine-less.
#   in:  DEV_CLUSTER=k3d|engineless to choose; out: a cluster with overlays/dev-local applied, .state/kubeconfig
# usage: dev.sh up | operator | status | logs [NODE] | reset | down
set -euo pipefail
if ((BASH_VERSINFO[0] < 5)); then echo "bash $BASH_VERSION is too old: install version 5 and put it first in PATH" >&2; exit 1; fi
shopt -s inherit_errexit
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/engineless/settings.sh"
source "$here/engineless/progress.sh"
source "$here/apply.sh"
export KUBECONFIG=$kubeconfig PATH=$bin:$PATH

# The kind that runs now stays: a Docker engine that appears later must not leave the other one behind.
kind_of_cluster() {
  local chosen
  chosen=${DEV_CLUSTER:-$(cat "$here_state/kind" 2>/dev/null || true)}
  if [[ -z $chosen ]]; then
    if timeout 10 docker info >/dev/null 2>&1; then chosen=k3d; else chosen=engineless; fi
  fi
  case $chosen in
    k3d | engineless) echo "$chosen" ;;
    *) echo "DEV_CLUSTER is '$chosen': use k3d or engineless" >&2; return 1 ;;
  esac
}

kind=$(kind_of_cluster)
case $kind in
  k3d) cluster=$here/k3d.sh ;;
  engineless) cluster=$here/engineless/cluster.sh ;;
esac

up() {
  # A kind that this machine cannot run is not to be the one that is tried next time.
  "$cluster" preflight
  mkdir -p "$here_state"
  echo "$kind" >"$here_state/kind"
  echo "cluster: $kind"
  "$cluster" up
  "$cluster" load
  apply_overlay
}

case ${1:-} in
  up) up ;;
  # The operator of this checkout into the cluster that runs; OPERATOR_PROFILE=release takes the release binary.
  operator) "$cluster" load; step "operator" operator_restart_when_new ;;
  reset) "$cluster" erase; up ;;
  down) "$cluster" down; rm -f "$here_state/kind" ;;
  status) echo "cluster: $kind"; "$cluster" status; regions_table ;;
  logs)
    if [[ -n ${2:-} ]]; then
      "$cluster" logs "$2"
    else
      kubectl -n bailiwick-system logs deployment/bailiwick-operator --tail 100 --follow
    fi ;;
  *) sed -n '4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
