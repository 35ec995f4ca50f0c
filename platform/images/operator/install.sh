#!/bin/sh
# Adds what the operator needs of Debian. Run as root while the image is built.
set -eu
groupadd --gid 65532 bailiwick
useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bailiwick
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends ca-certificates
  rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
fi
