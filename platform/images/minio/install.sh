#!/bin/sh
# Adds what MinIO needs of Debian. Run as root while the image is built.
set -eu
groupadd --gid 10002 minio
useradd --uid 10002 --gid 10002 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin minio
if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends ca-certificates
  rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
fi
