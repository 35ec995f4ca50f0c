#!/bin/sh
# Turns a Debian trixie root into the Postgres image. Run once as root, in the image, with this folder's files beside it:
#   packages.txt  what is installed            trim.sh  what is taken out again
#   omitted.txt   what is not, though asked for    VERSION  the tag: Postgres's version, our revision
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
major=17

words() { sed -e 's/#.*//' -e 's/[[:space:]].*//' -e '/^$/d' "$1"; }

# The owner of every data volume: fixed, because volumes outlive images.
groupadd --gid 10001 postgres
useradd --uid 10001 --gid 10001 --home-dir /var/lib/postgresql --no-create-home --shell /bin/bash postgres

# No cluster is made while packages are installed, and no service is started.
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d

apt-get update -q

standins=$(mktemp -d)
for name in $(words "$here/omitted.txt"); do
  version=$(apt-cache show --no-all-versions "$name" | sed -n 's/^Version: //p')
  provides=$(apt-cache show --no-all-versions "$name" | sed -n 's/^Provides: //p')
  mkdir -p "$standins/$name/DEBIAN"
  cat >"$standins/$name/DEBIAN/control" <<CONTROL
Package: $name
Version: $version
Architecture: $(dpkg --print-architecture)
Multi-Arch: $(apt-cache show --no-all-versions "$name" | sed -n 's/^Multi-Arch: //p' | grep . || echo no)
${provides:+Provides: $provides}
Maintainer: none
Description: empty stand-in while the image is built
CONTROL
  sed -i '/^$/d' "$standins/$name/DEBIAN/control"
  dpkg-deb --build -Znone "$standins/$name" "$standins/$name.deb" >/dev/null
done
dpkg --install "$standins"/*.deb

# shellcheck disable=SC2046 # one word a package
apt-get install -q -y --no-install-recommends locales $(words "$here/packages.txt")

# The one locale beside C.UTF-8, which glibc has built in. Not in the archive, which goes with the package.
localedef --no-archive -i en_US -f UTF-8 /usr/lib/locale/en_US.utf8

# Extensions that would need a superuser: a role that may create in a database may create them there.
# pg_cron is left out; bin/fixed-functions.sql tells why.
for name in postgis postgis_sfcgal postgis_topology vector pgaudit; do
  control=/usr/share/postgresql/$major/extension/$name.control
  [ -e "$control" ] || { echo "install: $control is missing" >&2; exit 1; }
  grep -q '^trusted' "$control" || printf 'trusted = true\n' >>"$control"
done

# What topology keeps in its schema belongs to whoever creates it, or nobody could let others in. Its functions run as their
# caller, so nothing is given away with it.
version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" /usr/share/postgresql/$major/extension/postgis_topology.control)
cat >>"/usr/share/postgresql/$major/extension/postgis_topology--$version.sql" <<'SQL'

ALTER SCHEMA topology OWNER TO @extowner@;
ALTER TABLE topology.topology OWNER TO @extowner@;
ALTER TABLE topology.layer OWNER TO @extowner@;
SQL

# shellcheck disable=SC2046
dpkg --purge --force-depends locales $(words "$here/omitted.txt")
rm -rf "$standins" /usr/sbin/policy-rc.d

sh "$here/trim.sh"

# What the pod mounts over or reads from; all else is read-only.
rm -rf /etc/postgresql /etc/postgresql-common /etc/pgbackrest.conf /etc/patroni/* /var/log/postgresql /var/log/pgbackrest
install -d -o postgres -g postgres -m 0700 /var/lib/postgresql /var/lib/postgresql/data
install -d -o postgres -g postgres -m 0750 /var/spool/pgbackrest
install -d -m 0755 /etc/patroni /etc/pgbackrest /etc/bailiwick /etc/bailiwick/tls
rm -rf /run/postgresql /var/run/pgbackrest

# Nobody becomes somebody else in here.
find / -xdev -type f -perm /6000 -exec chmod a-s {} +

# What is inside, for people and scanners.
mkdir -p /usr/lib/bailiwick
dpkg-query --show --showformat '${Package}\t${Version}\n' >/usr/lib/bailiwick/packages.tsv

# The tag promises a minor version, Debian brings its newest: a tag that falls behind is said, not hidden.
installed=$("/usr/lib/postgresql/$major/bin/postgres" --version | sed 's/^postgres (PostgreSQL) \([0-9.]*\).*/\1/')
promised=$(sed 's/-.*//' "$here/VERSION")
[ "$installed" = "$promised" ] || echo "warning: the tag says Postgres $promised, Debian installed $installed: raise platform/images/postgres/VERSION"
