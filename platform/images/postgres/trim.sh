#!/bin/sh
# Takes out of the image what no pod reads, then compiles what Python would compile at every start. Run by install.sh.
set -eu
major=17
share=/usr/share/postgresql/$major
lib=/usr/lib/postgresql/$major/lib

apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log

# Documentation and translations; licences stay.
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -depth -type d -empty -delete
rm -rf /usr/share/man /usr/share/info /usr/share/lintian /usr/share/locale /usr/share/bug /usr/share/doc-base \
  /usr/share/applications /usr/share/pixmaps "$share/man"

# JIT: without llvmjit.so the server knows that it has none.
rm -rf "$lib/bitcode" "$lib"/llvmjit* "$share/llvmjit"*

# Raster, and the geocoders for addresses of the United States.
rm -f "$lib"/postgis_raster-3.so "$lib"/address_standardizer-3.so "$share"/extension/postgis_raster* \
  "$share"/extension/postgis_tiger_geocoder* "$share"/extension/address_standardizer*
rm -rf "$share"/contrib

# Headers and static libraries, and the regression tests of Postgres.
rm -rf /usr/include "$lib/pgxs" /usr/lib/*/*.a /usr/lib/*/pkgconfig

# No .pyc can be written into a read-only root: made here, valid whatever the files' times are.
find / -xdev -name __pycache__ -prune -exec rm -rf {} +
python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3 /usr/lib/python3.*/ /usr/share/patroni 2>/dev/null || true
