#!/bin/sh
# Installs the client tools of the end-to-end suite. Run as root while the image is built.
set -eu
export DEBIAN_FRONTEND=noninteractive
groupadd --gid 65532 probe
useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp --shell /bin/bash probe
apt-get update -q
apt-get install -q -y --no-install-recommends \
  ca-certificates curl dnsutils iproute2 netcat-openbsd openssl \
  postgresql-client-17 python3-minimal python3-psycopg2
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
  /usr/share/man /usr/share/info
# No .pyc can be written into a read-only root: they are made here, valid whatever the files' times are.
python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3 /usr/lib/python3.13 || true
