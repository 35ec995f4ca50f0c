#!/usr/bin/env bash
# Every test of the repository, on a machine that may be fresh.
#   in:  a checkout, root; out: each suite's own output, a table of the suites, and a last line with what all of them counted;
#        .state/test/ has each suite's log and results.tsv
# A suite that fails does not keep the others from running; the exit code is 1 when any failed. Each has a deadline, and a
# number of tests that it must count at least: whoever takes tests away says so here.
set -uo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout" || exit 1
engineless=infra/dev-local/engineless
suites=$checkout/.state/test
source infra/suites.sh
suites_start

# What computes: it gives way to the suites beside it, which wait for each other's answers by the second.
tests_of_the_code() {
  suite "runner of the suites" 10 120 infra/suites-test.sh
  suite "programs and tests" 0 3000 nice -n 5 infra/cargo-tests.sh build
  echo $? >"$suites/built"
  suite "checks" 0 2400 nice -n 5 make --no-print-directory check
  suite "unit, invariant and integration tests" 679 3000 nice -n 5 infra/cargo-tests.sh run
}

# What waits: each in networks of its own, one cluster at a time. Its output is shown when it has ended.
tests_of_the_images() { BESIDE=1 suite "Postgres image" 173 2400 platform/images/postgres/test.sh; }

# The status is that of the development cluster's start.
tests_of_the_cluster() {
  export BESIDE=1
  if ! suite "engine-less cluster" 33 3000 "$engineless/test.sh"; then
    # One that was ended by its deadline may have left its cluster.
    DEV_INSTANCE=cluster-test "$engineless/cluster.sh" erase >/dev/null 2>&1
  fi
  # The operator under test is the one that is being built meanwhile.
  until [[ -s $suites/built ]]; do sleep 1; done
  [[ $(<"$suites/built") == 0 ]] || return 1
  # A cluster of this checkout may be left from an earlier run; the suite starts from nothing.
  suite "development cluster" 0 1800 make --no-print-directory dev-reset
}

# $1 and on: a command; begins it beside what follows, with its process in $begun.
begin() {
  "$@" &
  begun=$!
  : >"$suites/running/$begun"
}

# $1 the process of what was begun; waits for it, and returns its status.
join() {
  local code=0
  wait "$1" || code=$?
  rm -f "$suites/running/$1"
  return "$code"
}

# Prints the names of the images that hold no program of cargo's.
images_without_programs() { "$engineless/images.sh" --list | awk '$5 !~ /^bailiwick-/ {print $1}'; }

# On a fresh machine the one waits for the network and disks, and the other computes.
debian_images() { BESIDE=1 suite "images of Debian packages" 0 1800 "$engineless/images.sh" probe postgres; }
commands_and_base() {
  local code=0
  begin debian_images
  suite "Go commands" 0 3600 "$engineless/binaries.sh" \
    etcd containerd kubernetes coredns local-path-provisioner minio kube-router kube-score || code=1
  join "$begun"
  return "$code"
}

# Without these nothing else can be judged.
if suite "Debian packages" 0 900 "$engineless/packages.sh" && commands_and_base; then
  # shellcheck disable=SC2046 # names are words
  suite "images" 0 1800 "$engineless/images.sh" $(images_without_programs)
  if BAILIWICK_TEST_POSTGRES=$("$engineless/rootfs.sh" postgres); then
    export BAILIWICK_TEST_POSTGRES
  fi
  # Nobody below looks again whether packages, commands and programs must be made.
  export BAILIWICK_BUILT=1
  begin tests_of_the_images
  images_begun=$begun
  begin tests_of_the_cluster
  cluster_begun=$begun
  tests_of_the_code
  join "$images_begun"
  # The end-to-end suite has the machine to itself: it measures how long clients wait.
  if join "$cluster_begun"; then
    suite "end to end" 44 3600 make --no-print-directory test-e2e
  fi
  suite "development cluster stops" 0 300 make --no-print-directory dev-down
fi
suites_table "Debian packages" "images of Debian packages" "Go commands" "images" "runner of the suites" "programs and tests" \
  "checks" "Postgres image" "engine-less cluster" "development cluster" "unit, invariant and integration tests" "end to end"
