#!/usr/bin/env bash
# Runs the Postgres image as a Region runs it, without a container engine, and tries what the operator will rely on.
#   in:  the image's archive and the commands of the engine-less cluster in $BAILIWICK_CACHE; root
#   out: one line a check, then "N passed, N failed"; exit status 1 when one failed
# Two members, an API server with etcd as the DCS, MinIO with TLS as the store, and jobs, each in a network namespace of
# its own that reaches the others and nothing else. Everything lives in namespaces of this process and ends with it.
# BAILIWICK_KEEP=1 keeps the working folder.
# shellcheck disable=SC2016,SC2317 # single quotes are for the shell in the container; finish is called by the trap
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BAILIWICK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bailiwick}
bin=$cache/bin
readonly cidr=10.99.0 namespace=tr bucket=tr-archive location=tr-ist-1 stanza=tr-1
readonly api=https://$cidr.1:6443 tls_names=tr-pg.tr.svc

if [[ ${1:-} != --inside ]]; then
  [[ $EUID == 0 ]] || { echo "test: root is needed to make namespaces" >&2; exit 1; }
  for file in "$bin"/{etcd,kube-apiserver,kubectl,minio} "$cache/images/postgres.tar"; do
    [[ -e $file ]] || { echo "test: $file is missing: run infra/dev-local/engineless/binaries.sh, then images.sh" >&2; exit 1; }
  done
  for tool in buildah curl ip jq nft nsenter openssl setpriv unshare; do
    command -v "$tool" >/dev/null || { echo "test: $tool is missing: apt-get install buildah curl iproute2 jq nftables openssl util-linux" >&2; exit 1; }
  done
  work=$(mktemp -d "${TMPDIR:-/tmp}/bailiwick-postgres-test.XXXXXX")
  unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private bash "$0" --inside "$work" &
  world=$!
  # The namespaces' first process dies with its parent, and everything in them with it.
  finish() {
    kill -KILL "$world" 2>/dev/null && { wait "$world" || true; } 2>/dev/null
    if [[ -n ${BAILIWICK_KEEP:-} ]]; then echo "test: kept $work" >&2; else rm -rf "$work" || { sleep 2; rm -rf "$work"; }; fi
  }
  trap finish EXIT
  status=0
  wait "$world" || status=$?
  exit "$status"
fi
[[ $$ == 1 ]] || { echo "test: run it without --inside" >&2; exit 1; }

work=$2
pki=$work/pki
passed=0 failed=0

# --- checks -----------------------------------------------------------------------------------------------------

# $1 what is expected, then a command: passes when it succeeds.
expect() {
  local what=$1
  shift
  if "$@" >"$work/said" 2>&1; then
    passed=$((passed + 1)); echo "ok      $what"
  else
    failed=$((failed + 1)); echo "FAILED  $what"; sed 's/^/        | /' "$work/said" | tail -n 12
  fi
}

# $1 what is expected, $2 a pattern, then a command: passes when it fails and says why.
refused() {
  local what=$1 pattern=$2
  shift 2
  if "$@" >"$work/said" 2>&1; then
    failed=$((failed + 1)); echo "FAILED  $what: it was allowed"
  elif ! grep -qE -- "$pattern" "$work/said"; then
    failed=$((failed + 1)); echo "FAILED  $what: refused, but not with /$pattern/"; sed 's/^/        | /' "$work/said" | tail -n 12
  else
    passed=$((passed + 1)); echo "ok      $what"
  fi
}

# $1 seconds, then a command that is tried until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 1
  done
}

is() { [[ $1 == "$2" ]] || { echo "expected $2, got $1"; return 1; }; }

# --- the region's certificates ----------------------------------------------------------------------------------

# $1 file, $2 common name, $3 alternative names
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" \
    -keyout "$pki/$1.key" -out "$pki/$1.csr" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 2 -out "$pki/$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n' "$3") 2>/dev/null
}

# $1 a folder like a mounted Secret: a link to a dated folder of links; $2 the certificate's file
mount_certificate() {
  local dated
  dated=$(mktemp -d "$1/..XXXXXX")
  install -m 0440 -g 10001 "$pki/ca.crt" "$dated/ca.crt"
  install -m 0440 -g 10001 "$pki/$2.crt" "$dated/tls.crt"
  install -m 0440 -g 10001 "$pki/$2.key" "$dated/tls.key"
  chmod 0755 "$dated"
  ln -sfn "$(basename "$dated")" "$1/..next"
  mv -T "$1/..next" "$1/..data"
  local file
  for file in ca.crt tls.crt tls.key; do ln -sfn "..data/$file" "$1/$file"; done
}

# --- containers -------------------------------------------------------------------------------------------------

# A network namespace named $1 with the address $2, reaching the others over one bridge.
network() {
  ip netns add "$1"
  ip link add "v-$1" type veth peer name eth0 netns "$1"
  ip link set "v-$1" master br0 up
  ip -n "$1" link set lo up
  ip -n "$1" addr add "$cidr.$2/24" dev eth0
  ip -n "$1" link set eth0 up
}

# What a pod gets, as folders: $1 its name, $2 the certificate that it is given, $3 its pgBackRest settings
pod() {
  local dir=$work/pods/$1
  mkdir -p "$dir"/{data,run,tmp,spool,patroni,pgbackrest,tls,account}
  # An emptyDir is writable for everybody in the pod; a volume is root's, with the pod's fsGroup.
  chmod 0777 "$dir"/{run,tmp,spool}
  chown root:10001 "$dir/data"
  chmod 2775 "$dir/data"
  cp "$here/examples/patroni.yml" "$dir/patroni/patroni.yml"
  cp "$here/examples/$3" "$dir/pgbackrest/pgbackrest.conf"
  mount_certificate "$dir/tls" "$2"
  cp "$pki/ca.crt" "$dir/account/ca.crt"
  printf patroni-token >"$dir/account/token"
  printf %s "$namespace" >"$dir/account/namespace"
  cat >"$dir/env" <<ENV
PATH=/usr/lib/bailiwick:/usr/lib/postgresql/17/bin:/usr/bin:/bin
PGDATA=/var/lib/postgresql/data/pgdata
LANG=C.UTF-8
HOME=/tmp
PYTHONDONTWRITEBYTECODE=1
BAILIWICK_RELOAD_SECONDS=2
KUBERNETES_SERVICE_HOST=$cidr.1
KUBERNETES_SERVICE_PORT=6443
PATRONI_NAME=$1
PATRONI_POSTGRESQL_CONNECT_ADDRESS=$1.$tls_names:5432
PATRONI_RESTAPI_CONNECT_ADDRESS=$1.$tls_names:8008
PATRONI_SUPERUSER_PASSWORD=$superuser_password
PATRONI_REPLICATION_PASSWORD=$replication_password
PATRONI_REWIND_USERNAME=bailiwick_rewind
PATRONI_REWIND_PASSWORD=$rewind_password
BAILIWICK_CONTROL_PASSWORD=$control_password
PGBACKREST_STANZA=$stanza
PGBACKREST_REPO1_CIPHER_PASS=$cipher
PGBACKREST_REPO1_S3_KEY=$store_user
PGBACKREST_REPO1_S3_KEY_SECRET=$store_password
ENV
}

# Becomes a container: $1 pod, then the command. The root is read-only, the user 10001 without any capability.
enter() {
  local dir=$work/pods/$1 root=$work/root name chroot
  chroot=$(type -P chroot)
  shift
  mount --bind "$root" "$root"
  mount -o remount,bind,ro,nosuid "$root"
  mount -t proc proc "$root/proc"
  mount -t tmpfs -o mode=0755 dev "$root/dev"
  for name in null zero full random urandom tty; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
  ln -s /proc/self/fd "$root/dev/fd"
  mkdir "$root/dev/shm"
  mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
  touch "$root/dev/termination-log"; chmod 0666 "$root/dev/termination-log"
  mount --bind "$dir/run" "$root/run"
  mkdir -p "$dir/run/secrets/kubernetes.io/serviceaccount"
  mount --bind "$dir/account" "$root/run/secrets/kubernetes.io/serviceaccount"
  mount --bind "$dir/tmp" "$root/tmp"
  mount --bind "$dir/spool" "$root/var/spool/pgbackrest"
  mount --bind "$dir/data" "$root/var/lib/postgresql/data"
  mount --bind "$work/hosts" "$root/etc/hosts"
  for name in patroni pgbackrest; do mount --bind "$dir/$name" "$root/etc/$name"; mount -o remount,bind,ro "$root/etc/$name"; done
  mount --bind "$dir/tls" "$root/etc/bailiwick/tls"
  set -a
  # shellcheck source=/dev/null
  . "$dir/env"
  set +a
  [[ -z ${TEST_ENV:-} ]] || export "${TEST_ENV?}"
  exec "$chroot" "$root" setpriv --reuid 10001 --regid 10001 --groups 10001 --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@"
}

# $1 network namespace, $2 pod, then the command. TEST_ENV=NAME=value changes one variable; replace=exec gives it this process.
container() {
  local net=$1
  shift
  ${replace:-} nsenter --net="/run/netns/$net" unshare --mount --pid --fork --kill-child --propagation private \
    env -i PATH="$PATH" work="$work" TEST_ENV="${TEST_ENV:-}" bash -c "$(declare -f enter); set -euo pipefail; enter \"\$@\"" enter "$@"
}

# Starts a member's two containers. $1 pod
start_member() {
  replace='exec' container "$1" "$1" /usr/bin/tini -- /usr/lib/bailiwick/postgres-run >>"$work/$1.log" 2>&1 &
  pid_of[$1]=$!
  replace='exec' container "$1" "$1" /usr/bin/tini -- /usr/lib/bailiwick/pgbackrest-server >>"$work/$1-server.log" 2>&1 &
  pid_of[$1-server]=$!
}

# Runs a command inside the running container $1, like kubectl exec.
inside() {
  local init
  init=$(pgrep -P "${pid_of[$1]}" | head -n 1)
  shift
  nsenter --target "$init" --mount --pid --net --root --wd=/ \
    setpriv --reuid 10001 --regid 10001 --groups 10001 --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@"
}
declare -A pid_of

# SQL as the superuser on the member $1, in the database $2.
as_superuser() { inside "$1" /usr/lib/postgresql/17/bin/psql -h /run/postgresql -U postgres -d "$2" -XAtq -v ON_ERROR_STOP=1 -c "$3"; }

# SQL over the network with verified TLS: $1 role, $2 its password, $3 database, $4 statement, $5 member (default: the primary)
over_tls() {
  container job job env PGPASSWORD="$2" psql -XAtq -v ON_ERROR_STOP=1 -c "$4" \
    "host=${5:-$primary}.$tls_names dbname=$3 user=$1 sslmode=verify-full sslrootcert=/etc/bailiwick/tls/ca.crt connect_timeout=5"
}
as_operator() { over_tls bailiwick_operator "$control_password" "$1" "$2"; }

kube() { "$bin/kubectl" --kubeconfig "$work/kubeconfig" "$@"; }
role_of() { kube -n "$namespace" get pod "$1" -o jsonpath='{.metadata.labels.role}'; }
find_primary() {
  local name
  for name in tr-pg-0 tr-pg-1; do
    if [[ $(role_of "$name") == primary ]]; then primary=$name; [[ $name == tr-pg-0 ]] && replica=tr-pg-1 || replica=tr-pg-0; return 0; fi
  done
  return 1
}
# Patroni's REST API without, and with, a client certificate: method, path, more of curl.
rest() { curl -sS -o "$work/body" -w '%{http_code}' --cacert "$pki/ca.crt" --resolve "$primary.$tls_names:8008:$(address_of "$primary")" -X "$1" "https://$primary.$tls_names:8008$2" "${@:3}"; }
rest_signed() { rest "$@" --cert "$pki/operator.crt" --key "$pki/operator.key"; }
address_of() { [[ $1 == tr-pg-0 ]] && echo $cidr.11 || echo $cidr.12; }
# The serial number of the certificate that $1:$2 shows; $3 postgres for its way of starting TLS.
serial() { openssl s_client -connect "$(address_of "$1"):$2" ${3:+-starttls $3} -CAfile "$pki/ca.crt" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
s3() { curl -sS -f --cacert "$pki/ca.crt" --resolve "tr-store.tr.svc:9000:$cidr.1" --aws-sigv4 "aws:amz:$location:s3" --user "$store_user:$store_password" "$@"; }

# A job: $1 its command line; the typed result goes to $work/result.
job() {
  local status=0
  container job job bash -c 'status=0; pgbackrest-job "$@" || status=$?; echo "---"; cat /dev/termination-log; exit $status' job "$@" >"$work/job.log" 2>&1 || status=$?
  sed -n '/^---$/,$p' "$work/job.log" | sed 1d >"$work/result"
  cat "$work/job.log"
  return $status
}
result() { jq -r ".$1" "$work/result"; }
# The job fails, with this reason, and its result names no host and no path. $1 reason, then the job
job_fails_with() {
  local reason=$1
  shift
  if job "$@"; then echo "the job succeeded"; return 1; fi
  is "$(wc -l <"$work/result")" 1 && is "$(result state)" Failed && is "$(result reason)" "$reason" && ! grep -qE 'svc|10\.99|/var|/etc' "$work/result"
}

start_store() {
  MINIO_ROOT_USER=$store_user MINIO_ROOT_PASSWORD=$store_password MINIO_SITE_REGION=$location MINIO_BROWSER=off MINIO_UPDATE=off \
    "$bin/minio" server --quiet --address $cidr.1:9000 --certs-dir "$work/minio-certs" "$work/store" >>"$work/minio.log" 2>&1 &
  pid_of[store]=$!
  within 30 curl -sf -o /dev/null --cacert "$pki/ca.crt" --resolve "tr-store.tr.svc:9000:$cidr.1" https://tr-store.tr.svc:9000/minio/health/live
}

# --- the world --------------------------------------------------------------------------------------------------

secret() { openssl rand -hex 20; }
superuser_password=$(secret) replication_password=$(secret) rewind_password=$(secret) control_password=$(secret)
cipher=$(secret) store_user=tr-pgbackrest store_password=$(secret)

mkdir -p "$pki" "$work"/{etcd,store,minio-certs/CAs,pods}
mount -t tmpfs netns /run/netns 2>/dev/null || { mkdir -p /run/netns; mount -t tmpfs netns /run/netns; }
ip link set lo up
ip link add br0 type bridge
ip addr add $cidr.1/24 dev br0
ip link set br0 up
network tr-pg-0 11
network tr-pg-1 12
network job 20
network restored 21
cat >"$work/hosts" <<HOSTS
127.0.0.1 localhost
$cidr.1 tr-store.tr.svc
$cidr.11 tr-pg-0.$tls_names
$cidr.12 tr-pg-1.$tls_names
HOSTS

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tr-ca -addext keyUsage=critical,keyCertSign,cRLSign \
  -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>/dev/null
certificate tr-pg-0 tr-pg "DNS:tr-pg-0.$tls_names,DNS:tr-pg-rw.tr.svc"
certificate tr-pg-1 tr-pg "DNS:tr-pg-1.$tls_names,DNS:tr-pg-rw.tr.svc"
certificate store tr-store DNS:tr-store.tr.svc
certificate job tr-backup DNS:tr-backup
certificate stranger tr-stranger DNS:tr-stranger
certificate operator bailiwick-operator DNS:bailiwick-operator
certificate api api "IP:$cidr.1"
openssl genrsa -out "$pki/accounts.key" 2048 2>/dev/null

# The image as it ships, its layers one over the other.
export BUILDAH_ISOLATION=chroot
b() { buildah --storage-driver vfs --root "$work/layers" --runroot "$work/layers-run" "$@"; }
mounted=$(b mount "$(b from -q "docker-archive:$(readlink -f "$cache/images/postgres.tar")" 2>"$work/said")")
mv "$mounted" "$work/root"
rm -rf "$work/layers" "$work/layers-run"
touch "$work/root/etc/hosts"

"$bin/etcd" --data-dir "$work/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level error >"$work/etcd.log" 2>&1 &
printf 'admin-token,admin,admin,system:masters\npatroni-token,system:serviceaccount:tr:tr-pg,patroni\n' >"$work/tokens.csv"
"$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --bind-address=$cidr.1 --advertise-address=$cidr.1 --secure-port=6443 \
  --tls-cert-file="$pki/api.crt" --tls-private-key-file="$pki/api.key" --client-ca-file="$pki/ca.crt" --cert-dir="$work/etcd" \
  --token-auth-file="$work/tokens.csv" --authorization-mode=RBAC --service-cluster-ip-range=10.98.0.0/24 \
  --service-account-issuer=https://test --service-account-key-file="$pki/accounts.key" --service-account-signing-key-file="$pki/accounts.key" \
  --disable-admission-plugins=ServiceAccount >"$work/api.log" 2>&1 &
cat >"$work/kubeconfig" <<KUBECONFIG
{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: admin}}],
 clusters: [{name: c, cluster: {server: "$api", certificate-authority: "$pki/ca.crt"}}], users: [{name: admin, user: {token: admin-token}}]}
KUBECONFIG
cp "$pki/store.crt" "$work/minio-certs/public.crt"
cp "$pki/store.key" "$work/minio-certs/private.key"
cp "$pki/ca.crt" "$work/minio-certs/CAs/ca.crt"
start_store || { cat "$work/minio.log"; exit 1; }
s3 -X PUT -H 'x-amz-bucket-object-lock-enabled: true' "https://tr-store.tr.svc:9000/$bucket" -o /dev/null

within 60 kube get --raw /readyz >/dev/null 2>&1 || { tail -n 20 "$work/api.log"; echo "test: the API server did not start" >&2; exit 1; }
kube create namespace "$namespace" >/dev/null
kube apply -f "$here/examples/rbac.yaml" >/dev/null
kube -n "$namespace" create rolebinding tr-pg --role=tr-pg --serviceaccount=tr:tr-pg >/dev/null
for name in tr-pg-0 tr-pg-1; do
  kube apply -f - >/dev/null <<POD
{apiVersion: v1, kind: Pod, metadata: {name: $name, namespace: $namespace, labels: {bailiwick.dev/component: postgres, bailiwick.dev/scope: tr-pg}},
 spec: {containers: [{name: postgres, image: none}]}}
POD
  pod "$name" "$name" pgbackrest-member.conf
done
pod job job pgbackrest-job.conf
pod restored job pgbackrest-member.conf

# --- the image --------------------------------------------------------------------------------------------------

root=$work/root
size() { du -sm --one-file-system "$root" | cut -f1; }
echo "        image: $(size) MB unpacked, $(chroot "$root" /usr/lib/postgresql/17/bin/postgres --version)"
expect "the image takes at most 500 MB" test "$(size)" -le 500
expect "postgres is 10001:10001, with a passwd entry" is "$(chroot "$root" getent passwd postgres | cut -d: -f3,4)" 10001:10001
expect "no setuid or setgid file" is "$(find "$root" -xdev -type f -perm /6000 | wc -l)" 0
expect "no private key, no cluster inside" is "$(grep -rlE 'PRIVATE KEY' "$root/etc" "$root/var" 2>/dev/null | wc -l)$(find "$root/var/lib/postgresql" -type f | wc -l)" 00
missing_libraries() {
  chroot "$root" sh -c 'for file in /usr/lib/postgresql/17/lib/*.so /usr/lib/postgresql/17/bin/* /usr/bin/pgbackrest; do ldd "$file" 2>/dev/null | grep "not found" && echo "$file"; done; true'
}
expect "every library of the server and its extensions is there" is "$(missing_libraries)" ""
expect "C.UTF-8 and en_US.UTF-8 are there" is "$(chroot "$root" locale -a | grep -cE '^(C.utf8|en_US.utf8)$')" 2
refused "it does not run as root" "runAsUser" chroot "$root" /usr/lib/bailiwick/postgres-run

# --- two members ------------------------------------------------------------------------------------------------

begun=$SECONDS
start_member tr-pg-0
start_member tr-pg-1
expect "a primary comes up, through ConfigMaps, with Patroni's Role alone" within 90 find_primary
find_primary || { tail -n 40 "$work"/tr-pg-?.log; exit 1; }
streaming() { [[ $(as_superuser "$primary" postgres "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 2>/dev/null) == 1 ]]; }
expect "the other streams from it over verified TLS" within 60 streaming
echo "        primary and replica in $((SECONDS - begun)) s"
encrypted() { [[ $(as_superuser "$primary" postgres "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)") == t ]]; }
expect "the replica's connection is encrypted" within 15 encrypted
quorum() { [[ $(as_superuser "$primary" postgres "SELECT sync_state FROM pg_stat_replication" 2>/dev/null) == quorum ]]; }
expect "commits wait for a quorum" within 30 quorum
replica_labelled() { [[ $(role_of "$replica") == replica ]]; }
expect "the pods carry role=primary and role=replica" within 30 replica_labelled
echo "        ConfigMaps: $(kube -n "$namespace" get configmaps -o jsonpath='{.items[*].metadata.name}')"
setting() { as_superuser "$primary" postgres "SHOW $1"; }
expect "data checksums are on" is "$(setting data_checksums)" on
expect "names sort alike in every image: the builtin provider" is "$(as_superuser "$primary" postgres "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'template1'")" bC.UTF-8
expect "no rule trusts anybody" is "$(as_superuser "$primary" postgres "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust' OR error IS NOT NULL")" 0
expect "every password is stored as SCRAM" is "$(as_superuser "$primary" postgres "SELECT count(*) FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256%'")" 0
expect "the settings hold what Patroni was given" is "$(setting archive_mode)$(setting ssl)$(setting jit)" ononoff

expect "GET /readiness without a client certificate" is "$(rest GET /readiness)" 200
expect "GET /primary too" is "$(rest GET /primary)" 200
expect "PATCH /config without a client certificate is refused" is "$(rest PATCH /config -d '{"ttl": 31}')" 403
expect "PATCH /config with one is done" is "$(rest_signed PATCH /config -d '{"ttl": 31}')" 200
expect "POST /restart without one is refused" is "$(rest POST /restart -d '{}')" 403

# --- who comes in -----------------------------------------------------------------------------------------------

expect "the control role, over verified TLS" is "$(as_operator postgres 'SELECT current_user')" bailiwick_operator
refused "the superuser over the network" "pg_hba.conf rejects|no pg_hba.conf entry" over_tls postgres "$superuser_password" postgres 'SELECT 1'
refused "a wrong password" "password authentication failed" over_tls bailiwick_operator wrong postgres 'SELECT 1'
refused "a connection without TLS" "pg_hba.conf rejects|no pg_hba.conf entry" container job job env PGPASSWORD="$control_password" \
  psql -XAtqc 'SELECT 1' "host=$primary.$tls_names dbname=postgres user=bailiwick_operator sslmode=disable"
refused "a server by a name that its certificate does not have" "does not match host name" container job job env PGPASSWORD="$control_password" \
  psql -XAtqc 'SELECT 1' "host=$(address_of "$primary") dbname=postgres user=bailiwick_operator sslmode=verify-full sslrootcert=/etc/bailiwick/tls/ca.crt"
refused "another user of the system on the socket" "Peer authentication failed|pg_hba.conf rejects" inside "$primary" psql -h /run/postgresql -U bailiwick_operator -d postgres -XAtqc 'SELECT 1'

# With the right passwords: what is asked for besides is the certificate.
copies() { container job job env PGPASSWORD="$1" psql -XAtqc "$2" "host=$primary.$tls_names $3 sslmode=verify-full sslrootcert=/etc/bailiwick/tls/ca.crt ${4:-sslcert=/nowhere}"; }
with_certificate="sslcert=/etc/bailiwick/tls/tls.crt sslkey=/etc/bailiwick/tls/tls.key"
refused "a standby with the right password and no certificate" "requires a valid client certificate" copies "$replication_password" 'IDENTIFY_SYSTEM' "user=bailiwick_replication dbname=postgres replication=true"
refused "pg_rewind with the right password and no certificate" "requires a valid client certificate" copies "$rewind_password" 'SELECT 1' "user=bailiwick_rewind dbname=postgres"
expect "pg_rewind's role with both" is "$(copies "$rewind_password" 'SELECT 1' "user=bailiwick_rewind dbname=postgres" "$with_certificate")" 1
families() { ip netns exec "$1" ss -Hltn | awk '{print $4}' | grep -cE "^(\*|\[::\]):$2$" || true; }
for port in 5432 8008 8432; do
  if read -r _ 2>/dev/null </proc/net/if_inet6; then
    expect "port $port takes IPv6 and IPv4" is "$(families "$primary" "$port")" 1
  fi
done

# --- the control role -------------------------------------------------------------------------------------------

state_of_roles() {
  as_superuser "$primary" postgres "
    SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1;
    SELECT roleid::regrole, member::regrole, admin_option, inherit_option, set_option FROM pg_auth_members WHERE member::regrole::text LIKE 'bailiwick%' ORDER BY 1, 2;
    SELECT setrole::regrole, setconfig FROM pg_db_role_setting ORDER BY 1; SELECT datname, datacl FROM pg_database ORDER BY 1;
    SELECT nspname, nspacl FROM pg_namespace ORDER BY 1; SELECT proacl FROM pg_proc WHERE proname = 'pg_switch_wal'"
}
before=$(state_of_roles)
post_bootstrap() {
  container "$primary" "$primary" post-bootstrap 'host=/run/postgresql user=postgres dbname=postgres'
}
expect "post-bootstrap by hand, a second time" post_bootstrap
expect "and a third" post_bootstrap
expect "left everything as it was" diff <(echo "$before") <(state_of_roles)
expect "and the control role's password works" as_operator postgres 'SELECT 1'
refused "post-bootstrap without a password" "BAILIWICK_CONTROL_PASSWORD is not set" env TEST_ENV=BAILIWICK_CONTROL_PASSWORD= bash -c "$(declare -f container enter); work='$work' container '$primary' '$primary' post-bootstrap x"
in_logs() { cat "$work"/tr-pg-*.log | grep -cE "$control_password|$superuser_password|$replication_password|$rewind_password|$cipher|$store_password|SCRAM-SHA-256\\$" || true; }
expect "no secret and no verifier in any log" is "$(in_logs)" 0
in_arguments() { local file; for file in /proc/[0-9]*/cmdline; do { tr '\0' ' ' <"$file"; } 2>/dev/null | grep -E "$control_password|$superuser_password|$cipher" | grep -v 'env -i\|PGPASSWORD='; done; true; }
expect "nor in any argument list" is "$(in_arguments)" ""

may() { expect "it may $1" as_operator "$2" "$3"; }
may_not() { refused "it may not $1" 'permission denied|must be superuser|Only roles with|must be able to SET ROLE|must have admin option|must have' as_operator "$2" "$3"; }
may "make roles" postgres "CREATE ROLE shop_owner NOLOGIN; CREATE ROLE shop_writer LOGIN; CREATE ROLE shop_reader LOGIN"
may "make a database that another role owns" postgres "CREATE DATABASE shop OWNER shop_owner TEMPLATE template1"
may "close it to everybody" postgres "REVOKE ALL ON DATABASE shop FROM PUBLIC"
may "open it to a role" postgres "GRANT CONNECT ON DATABASE shop TO shop_writer, shop_reader"
may "set a role's password, as a verifier" postgres "ALTER ROLE shop_writer PASSWORD 'SCRAM-SHA-256\$4096:AAAAAAAAAAAAAAAAAAAAAA==\$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='"
shop_password=$(secret)
may "set a role's password" postgres "ALTER ROLE shop_writer PASSWORD '$shop_password'"
may "limit a role" postgres "ALTER ROLE shop_reader CONNECTION LIMIT 10; ALTER ROLE shop_reader SET statement_timeout = '1min'"
may "give a database its settings" postgres "ALTER DATABASE shop SET timezone = 'UTC'"
may "make schemas that another role owns" shop "CREATE SCHEMA app AUTHORIZATION shop_owner; CREATE SCHEMA audit AUTHORIZATION shop_owner; CREATE SCHEMA extensions"
for extension in postgis postgis_sfcgal postgis_topology vector pgaudit uuid-ossp pgcrypto citext hstore pg_trgm; do
  case $extension in pgaudit | postgis_topology) schema= ;; *) schema='SCHEMA extensions' ;; esac
  may "create the extension $extension" shop "SET search_path = extensions, pg_catalog; CREATE EXTENSION IF NOT EXISTS \"$extension\" $schema"
done
may "let others into topology" shop "GRANT USAGE ON SCHEMA topology TO shop_owner; GRANT ALL ON ALL TABLES IN SCHEMA topology TO shop_owner; GRANT ALL ON ALL SEQUENCES IN SCHEMA topology TO shop_owner"
may "grant and revoke" shop "GRANT USAGE ON SCHEMA app TO shop_writer, shop_reader; GRANT USAGE ON SCHEMA extensions TO shop_owner, shop_writer, shop_reader; REVOKE CREATE ON SCHEMA app FROM shop_reader"
may "set another role's default privileges" shop "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA app GRANT SELECT ON TABLES TO shop_reader; ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA app GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop_writer; ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
may "work as a role that it made" shop "SET ROLE shop_owner; CREATE TABLE app.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text, spot extensions.geography(point), embedding extensions.vector(3))"
may "read pg_stat_archiver" postgres "SELECT archived_count, failed_count, last_failed_wal FROM pg_stat_archiver"
may "list the archive's status" postgres "SELECT name, modification FROM pg_ls_archive_statusdir()"
may "list the WAL" postgres "SELECT count(*) FROM pg_ls_waldir()"
expect "it may see who replicates, in full" is "$(as_operator postgres "SELECT count(client_addr) FROM pg_stat_replication WHERE replay_lsn IS NOT NULL")" 1
may "finish a segment" postgres "SELECT pg_switch_wal()"
may "read the system identifier" postgres "SELECT system_identifier FROM pg_control_system()"
may "change its own password" postgres "ALTER ROLE bailiwick_operator PASSWORD '$control_password'"
as_operator postgres "CREATE ROLE gone LOGIN PASSWORD '$shop_password'" >/dev/null
as_operator postgres "CREATE DATABASE gone OWNER gone" >/dev/null
over_tls gone "$shop_password" gone 'SELECT pg_sleep(60)' >/dev/null 2>&1 &
in_use() { [[ $(as_operator postgres "SELECT count(*) FROM pg_stat_activity WHERE datname = 'gone' AND state = 'active'") == 1 ]]; }
within 15 in_use
refused "it may not drop a database that is in use" "is being accessed by other users" as_operator postgres "DROP DATABASE gone"
may "drop it by force" postgres "DROP DATABASE gone WITH (FORCE)"
may "drop a role" postgres "DROP ROLE gone"

may_not "become superuser" postgres "ALTER ROLE bailiwick_operator SUPERUSER"
may_not "make a superuser" postgres "CREATE ROLE evil SUPERUSER"
may_not "make a role that replicates" postgres "CREATE ROLE evil REPLICATION"
may_not "make a role that passes row security by" postgres "CREATE ROLE evil BYPASSRLS"
may_not "set the superuser's password" postgres "ALTER ROLE postgres PASSWORD 'x'"
may_not "set the replication role's password" postgres "ALTER ROLE bailiwick_replication PASSWORD 'x'"
may_not "become the superuser" postgres "SET ROLE postgres"
may_not "pass pg_monitor on" postgres "GRANT pg_monitor TO shop_reader"
may_not "give itself the server's files" postgres "GRANT pg_read_server_files TO bailiwick_operator"
may_not "read a file" postgres "SELECT pg_read_file('/etc/passwd')"
may_not "run a program" postgres "COPY (SELECT 1) TO PROGRAM 'true'"
may_not "change the server's settings" postgres "ALTER SYSTEM SET archive_command = 'true'"
may_not "start a backup" postgres "SELECT pg_backup_start('x')"
may_not "see password verifiers" postgres "SELECT rolpassword FROM pg_authid"
may_not "create an extension that is not trusted" shop "CREATE EXTENSION file_fdw"
may_not "write a function in C" shop "CREATE FUNCTION evil() RETURNS int LANGUAGE c AS 'libc', 'getpid'"
refused "an application role comes into no other database" "permission denied for database" over_tls shop_writer "$shop_password" postgres 'SELECT 1'
expect "an application role writes and reads in its own" is "$(over_tls shop_writer "$shop_password" shop "INSERT INTO app.orders (what, spot) VALUES ('a', 'POINT(28.9 41.0)'); SELECT count(*) FROM app.orders")" 1
expect "and uses PostGIS" is "$(over_tls shop_writer "$shop_password" shop "SELECT round(extensions.ST_X(extensions.ST_Transform(extensions.ST_SetSRID(extensions.ST_MakePoint(28.9, 41.0), 4326), 3857)))")" 3217133
expect "the owner uses topology" over_tls bailiwick_operator "$control_password" shop "SET ROLE shop_owner; SET search_path = extensions, topology; SELECT CreateTopology('roads', 3857)"
may_not "own pg_cron" shop "CREATE EXTENSION pg_cron"
refused "an application role may not have it made" "permission denied" over_tls shop_writer "$shop_password" shop "SELECT bailiwick.create_pg_cron('shop_writer')"
refused "and creates nothing in public" "permission denied" over_tls shop_writer "$shop_password" shop 'CREATE TABLE public.mine ()'

# --- the archive ------------------------------------------------------------------------------------------------

expect "the job stanza succeeds" job stanza
expect "it says so in one typed line" is "$(wc -l <"$work/result")$(result state)$(result stanza)" 1Succeeded$stanza
identifier=$(as_operator postgres 'SELECT system_identifier FROM pg_control_system()')
expect "it names the database" is "$(result systemIdentifier)" "$identifier"
expect "the job stanza again" job stanza
marker=marker-$(secret)
as_superuser "$primary" shop "INSERT INTO app.orders (what) SELECT '$marker' FROM generate_series(1, 1000)"
wal=$(as_superuser "$primary" postgres "SELECT pg_walfile_name(pg_switch_wal())")
objects() { s3 "https://tr-store.tr.svc:9000/$bucket?list-type=2&prefix=tr%2F1%2F" | grep -oE '<Key>[^<]*</Key>' | sed 's/<[^>]*>//g'; }
newest_wal() { objects | grep -oE '[0-9A-F]{24}-[0-9a-f]{40}.zst' | sort | tail -n 1; }
archived() { [[ ! $(newest_wal) < "$1" ]]; }
expect "the segment arrives in the bucket" within 30 archived "$wal"
key=$(objects | grep "$(newest_wal)")
s3 "https://tr-store.tr.svc:9000/$bucket/$key" -o "$work/segment"
s3 "https://tr-store.tr.svc:9000/$bucket/tr/1/archive/$stanza/archive.info" -o "$work/archive.info"
expect "it is encrypted" is "$(head -c 8 "$work/segment")" Salted__
decrypt() { openssl enc -d -aes-256-cbc -md sha1 -pass env:pass 2>/dev/null; }
archive_pass=$(pass=$cipher decrypt <"$work/archive.info" | sed -n 's/^cipher-pass="\(.*\)"$/\1/p')
expect "with a key that is itself encrypted with the Region's" test -n "$archive_pass"
expect "and is a segment once decrypted" is "$(pass=$archive_pass decrypt <"$work/segment" | head -c 4 | od -An -tx1 | tr -d ' ')" 28b52ffd
expect "nothing in the bucket is plain" is "$(grep -rlE "$marker|backrest-format|app\.orders" "$work/store/$bucket" | wc -l)" 0

expect "the job backup full succeeds, from another host through the TLS server" job backup full
full=$(result label)
echo "        full backup $full: $(result bytes) bytes of data, $(result storedBytes) stored, $(result start) to $(result stop)"
expect "it says so in one typed line" is "$(wc -l <"$work/result")$(result state)$(result systemIdentifier)" "1Succeeded$identifier"
expect "the job backup incr succeeds" job backup incr
expect "it builds on the full one" is "$(result label | cut -d_ -f1)" "$full"

# What was archived after the backup comes back too.
as_superuser "$primary" shop "INSERT INTO app.orders (what) SELECT 'later' FROM generate_series(1, 500)" >/dev/null
rows=$(as_superuser "$primary" shop "SELECT count(*) FROM app.orders")
wal=$(as_superuser "$primary" postgres "SELECT pg_walfile_name(pg_switch_wal())")
within 30 archived "$wal"
restore() {
  container restored restored bash -c '
    set -e
    pgbackrest restore --log-level-console=warn
    pg_ctl start --silent --wait --timeout 60 --log /tmp/log --options "-c listen_addresses= -c archive_mode=off -c ssl=off -c cron.database_name=postgres" || { cat /tmp/log; exit 1; }
    until [[ $(psql -h /run/postgresql -U postgres -d shop -XAtqc "SELECT pg_is_in_recovery()") == f ]]; do sleep 1; done
    psql -h /run/postgresql -U postgres -d shop -XAtqc "SELECT count(*) FROM app.orders"
    pg_ctl stop --silent --mode fast'
}
mkdir -p "$work/pods/restored/run/postgresql" && chmod 0777 "$work/pods/restored/run/postgresql"
begun=$SECONDS
expect "the backup restores elsewhere, with every row of before and after it" is "$(restore | tail -n 1)" "$rows"
echo "        restored $rows rows in $((SECONDS - begun)) s"

# --- failures ---------------------------------------------------------------------------------------------------

TEST_ENV=PGBACKREST_REPO1_CIPHER_PASS=another expect "a wrong key is KeyMismatch" job_fails_with KeyMismatch stanza
TEST_ENV=PGBACKREST_REPO1_S3_KEY_SECRET=another expect "a wrong secret is AuthenticationFailed" job_fails_with AuthenticationFailed backup full
TEST_ENV=PGBACKREST_REPO1_S3_BUCKET=another expect "a bucket that is not there is BucketMissing" job_fails_with BucketMissing stanza
TEST_ENV=PGBACKREST_REPO1_S3_REGION=es-mad-1 expect "another site's region is RegionMismatch" job_fails_with RegionMismatch stanza
TEST_ENV=PGBACKREST_REPO1_STORAGE_CA_FILE=/etc/ssl/certs/ca-certificates.crt expect "a store of another CA is CertificateInvalid" job_fails_with CertificateInvalid stanza
TEST_ENV=PGBACKREST_STANZA= expect "a job without a stanza is ConfigInvalid" job_fails_with ConfigInvalid stanza
mount_certificate "$work/pods/job/tls" stranger
expect "a certificate of the same CA that is no job's is refused: NotAuthorized" job_fails_with NotAuthorized stanza
mount_certificate "$work/pods/job/tls" job

expect "and with the right settings all is well again" job stanza

# Another database under the name of this one: its member's own settings, and a data folder of its own.
pod other job pgbackrest-member.conf
mkdir -m 0777 "$work/pods/other/run/postgresql"
other_database() {
  container restored other bash -c '
    initdb --auth=peer --pgdata="$PGDATA" >/dev/null
    pg_ctl start --silent --wait --log /tmp/log --options "-c listen_addresses= -c unix_socket_directories=/run/postgresql"
    pgbackrest-job stanza; pg_ctl stop --silent --mode fast; cat /dev/termination-log' | tail -n 1 >"$work/result"
  is "$(result reason)" StanzaMismatch
}
expect "another database's stanza of the same name is StanzaMismatch" other_database

# The store refuses, then swallows: Postgres goes on writing, the archiver says so in time, nothing is missing afterwards.
failures() { as_operator postgres 'SELECT failed_count FROM pg_stat_archiver'; }
failed_more() { [[ $(failures) -gt $1 ]]; }
oldest_ready() { as_operator postgres "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"; }
# Finishes a segment and prints its name; without a row in it, Postgres would name the unfinished one.
finished_segment() { write mark && as_operator postgres 'SELECT pg_walfile_name(pg_switch_wal())'; }
write() { as_superuser "$primary" shop "INSERT INTO app.orders (what) VALUES ('$1')"; }
# $1 what the store does
archive_fails() {
  local before begun=$SECONDS
  before=$(failures)
  write "$1"
  wal=$(finished_segment)
  expect "the store $1: pg_stat_archiver says so within 60 s" within 60 failed_more "$before"
  echo "        noticed after $((SECONDS - begun)) s"
  expect "the segment waits, where the control role sees it" test "$(oldest_ready)" -ge 1
  expect "and rows are still taken" write "during: the store $1"
}
caught_up() { [[ $(oldest_ready) == 0 ]] && archived "$1"; }

kill "${pid_of[store]}"; wait "${pid_of[store]}" || true
archive_fails refuses
begun=$SECONDS
TEST_ENV=PGBACKREST_IO_TIMEOUT=3 expect "a job says StoreUnreachable" job_fails_with StoreUnreachable stanza
echo "        after $((SECONDS - begun)) s"
start_store
wal=$(finished_segment)
expect "the store is back: the archive catches up" within 90 caught_up "$wal"

nft -f - <<NFT
table ip swallow { chain in { type filter hook input priority 0; ip saddr $cidr.0/27 tcp dport 9000 drop; }; }
NFT
archive_fails swallows
TEST_ENV=BAILIWICK_JOB_SECONDS=3 expect "a job past its limit is Timeout" job_fails_with Timeout stanza
nft delete table ip swallow
wal=$(finished_segment)
expect "the store is back: the archive catches up" within 90 caught_up "$wal"
gaps() {
  local segment last=
  while read -r segment; do
    [[ -z $last || $((16#${segment:16})) == $((16#$last + 1)) ]] || echo "gap before $segment"
    last=${segment:16}
  done < <(objects | grep -oE "[0-9A-F]{24}-[0-9a-f]{40}" | cut -c1-24 | sort -u)
}
expect "without a gap" is "$(gaps)" ""

# --- changes while it runs --------------------------------------------------------------------------------------

started() { as_superuser "$1" postgres 'SELECT pg_postmaster_start_time()'; }
begun_at="$(started tr-pg-0) $(started tr-pg-1)"
for name in tr-pg-0 tr-pg-1; do
  certificate "$name" tr-pg "DNS:$name.$tls_names,DNS:tr-pg-rw.tr.svc"
  mount_certificate "$work/pods/$name/tls" "$name"
done
renewed() {
  local name
  for name in tr-pg-0 tr-pg-1; do
    [[ $(serial "$name" "$1" "${2:-}") == "$(openssl x509 -noout -serial -in "$pki/$name.crt")" ]] || return 1
  done
}
expect "a renewed certificate reaches Postgres" within 30 renewed 5432 postgres
expect "and Patroni" within 30 renewed 8008
expect "and pgBackRest" within 30 renewed 8432
expect "and no server was started again for it" is "$(started tr-pg-0) $(started tr-pg-1)" "$begun_at"
expect "the jobs still come in" job stanza

for name in tr-pg-0 tr-pg-1; do sed -i 's/cron.database_name: postgres/cron.database_name: shop/' "$work/pods/$name/patroni/patroni.yml"; done
pending() {
  local primary
  for primary in tr-pg-0 tr-pg-1; do rest GET /patroni >/dev/null && jq -e '.pending_restart' "$work/body" >/dev/null || return 1; done
}
expect "a changed setting is seen, and waits for a restart" within 40 pending
restart() { local primary=$1; is "$(rest_signed POST /restart -d '{"restart_pending": true}')" 200; }
expect "POST /restart, the replica first" restart "$replica"
expect "then the primary" restart "$primary"
ready() { [[ $(setting cron.database_name 2>/dev/null) == shop ]] && streaming; }
expect "the setting holds" within 60 ready
may "have pg_cron made in the database it is set to" shop "SELECT bailiwick.create_pg_cron('shop_writer')"
may_not "schedule as another" shop "INSERT INTO cron.job (schedule, command, database, username) VALUES ('* * * * *', 'SELECT 1', 'shop', 'postgres')"
ran() { [[ $(as_superuser "$primary" shop "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'") -ge 1 ]]; }
expect "an application role schedules a job" over_tls shop_writer "$shop_password" shop "SELECT cron.schedule('beat', '1 second', 'SELECT 1')"
expect "and it runs, without a password anywhere" within 30 ran
expect "as that role" is "$(as_superuser "$primary" shop "SELECT DISTINCT username FROM cron.job_run_details")" shop_writer
expect "and is taken off again" over_tls shop_writer "$shop_password" shop "SELECT cron.unschedule('beat')"

# --- losing the primary -----------------------------------------------------------------------------------------

# Writes one row after the other through whichever member is primary, and notes each that was acknowledged and when.
writer() {
  container job job env PGPASSWORD="$shop_password" bash -c '
    for ((row = 1; ; row++)); do
      psql -XAtqc "INSERT INTO app.orders (what) VALUES ('"'"'ack-$row'"'"')" \
        "host=tr-pg-0.tr-pg.tr.svc,tr-pg-1.tr-pg.tr.svc dbname=shop user=shop_writer sslmode=verify-full sslrootcert=/etc/bailiwick/tls/ca.crt connect_timeout=2 target_session_attrs=read-write" 2>/dev/null &&
        echo "$row $EPOCHREALTIME"
    done' >"$work/acknowledged" 2>/dev/null
}
writer &
within 20 test -s "$work/acknowledged"
sleep 3
within 30 find_primary # a restart on a slow machine may have moved it
# After the restarts the replica counts only once Patroni has taken it back into the quorum, which its next look does:
# until then nobody may take over, and the primary is started again where it is.
may_take_over() { rest GET /cluster >/dev/null && jq -e --arg name "$replica" '.members[] | select(.name == $name and .role == "quorum_standby")' "$work/body" >/dev/null; }
expect "the restarted replica counts for the quorum again" within 60 may_take_over
old=$primary
inside "$old" sh -c 'kill -9 "$(head -n 1 /var/lib/postgresql/data/pgdata/postmaster.pid)"'
moved() { find_primary && [[ $primary != "$old" ]]; }
expect "kill -9 of the primary's Postgres: the other becomes primary" within 60 moved
sleep 5
rejoined() { [[ $(as_superuser "$primary" postgres "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 2>/dev/null) == 1 ]]; }
expect "the old one follows it" within 90 rejoined
kill %writer 2>/dev/null || kill "$(jobs -p | tail -n 1)" 2>/dev/null || true
sed '$d' "$work/acknowledged" | cut -d' ' -f1 | sort >"$work/wanted"
as_superuser "$primary" shop "SELECT substr(what, 5) FROM app.orders WHERE what LIKE 'ack-%'" | sort >"$work/held"
expect "no acknowledged row is lost" is "$(comm -23 "$work/wanted" "$work/held" | wc -l)" 0
echo "        $(wc -l <"$work/wanted") rows acknowledged, longest gap $(awk 'NR > 1 && $2 - last > gap { gap = $2 - last } { last = $2 } END { printf "%.1f", gap }' "$work/acknowledged") s"
wal=$(finished_segment)
expect "the new primary archives" within 60 archived "$wal"
expect "and is backed up" job backup incr

# --- a member that was away -------------------------------------------------------------------------------------

# What the other wrote meanwhile is nowhere else, and the other is gone as well: a volume that was kept must not lead, by
# what Patroni remembers alone.
stop_member() {
  local name
  for name in "$1" "$1-server"; do
    # The namespace's first process takes all others of it along.
    pkill -KILL -P "${pid_of[$name]}"
    { wait "${pid_of[$name]}" || true; } 2>/dev/null
  done
}
timeline() { rest GET /patroni >/dev/null && jq -r '.timeline // 0' "$work/body"; }
# $1 a timeline: the one that led before leads again, on a later one, and has written that into the history that others go
# by: Patroni does so with its next look after a promotion.
leads_again() {
  local before=$primary
  find_primary && is "$primary" "$before" && [[ $(timeline) -gt $1 ]]
  rest GET /history >/dev/null && [[ $(jq -r '.[-1][0] // 0' "$work/body") -ge $1 ]]
}
# $1 seconds. Every look counts in which its server answered: one that does not run cannot lead, and proves nothing.
never_leads() {
  local deadline=$((SECONDS + $1)) looks=0 recovering
  while ((SECONDS < deadline)); do
    recovering=$(as_superuser "$stale" postgres 'SELECT pg_is_in_recovery()' 2>/dev/null) || recovering=
    if [[ $recovering == f || $(role_of "$stale") == primary ]]; then echo "it leads: $(tail -n 3 "$work/$stale.log")"; return 1; fi
    if [[ $recovering == t ]]; then looks=$((looks + 1)); fi
    sleep 1
  done
  echo "$looks looks" >"$work/looks"
  ((looks >= 10)) || { echo "its server answered $looks times"; return 1; }
}
configure() { local primary=$stale; is "$(rest_signed PATCH /config -d "$1")" 200; }

find_primary
stale=$replica
stop_member "$stale"
expect "a member is gone: the other writes on alone" within 60 write alone
before=$(timeline)
inside "$primary" sh -c 'kill -9 "$(head -n 1 /var/lib/postgresql/data/pgdata/postmaster.pid)"'
expect "and again on a timeline of its own" within 90 leads_again "$before"
expect "with a row that no other has" within 60 write unseen
current=$primary
stop_member "$current"
start_member "$stale"
expect "the member comes back alone, on its stale volume: it does not lead (quorum commit)" never_leads 60
echo "        $(cat "$work/looks") while it recovered"
expect "its commits are to wait for one standby that is named" configure '{"synchronous_mode": true}'
expect "and it does not lead (one synchronous standby)" never_leads 25
echo "        $(cat "$work/looks") while it recovered"
expect "its commits are to wait for no standby any more, and it may lack much" configure '{"synchronous_mode": false, "maximum_lag_on_failover": 1073741824}'
expect "and it does not lead (its timeline is older)" never_leads 40
echo "        $(cat "$work/looks") while it recovered"
expect "the commits wait again" configure '{"synchronous_mode": "quorum", "maximum_lag_on_failover": 1048576}'
start_member "$current"
came_back() { find_primary && is "$primary" "$current" && rejoined; }
expect "the other is there again: it leads, and the stale one follows" within 120 came_back
followed() { is "$(as_superuser "$stale" shop "SELECT count(*) FROM app.orders WHERE what IN ('alone', 'unseen')")" 2; }
expect "with every row" within 30 followed

# --- a first copy that is cut off -------------------------------------------------------------------------------

data=$work/pods/$stale/data/pgdata
begins_anew() {
  stop_member "$stale"
  rm -rf "$data"
  sed -i "s/max-rate: .*/max-rate: $1/" "$work/pods/$stale/patroni/patroni.yml"
  start_member "$stale"
}
begins_anew 1M
copying() { [[ -e $data/backup_label && -e $data/base/1/PG_VERSION ]]; }
expect "a member on an empty volume makes its first copy" within 60 copying
stop_member "$stale"
expect "which is cut off before its end" test ! -e "$data/global/pg_control"
sed -i 's/max-rate: .*/max-rate: 200M/' "$work/pods/$stale/patroni/patroni.yml"
start_member "$stale"
expect "it is made anew when the member comes back" within 120 rejoined
expect "with every row" within 30 followed
stop_member "$stale"
rm "$data/global/pg_control" "$data/base/1/PG_VERSION"
: >"$work/$stale.log"
start_member "$stale"
expect "data that has lost its control file and more is taken for no copy" within 60 grep -q 'system ID is invalid' "$work/$stale.log"
expect "and left as it is" compgen -G "$data/base/*/PG_VERSION"
begins_anew 200M
expect "a member whose volume was emptied follows" within 120 rejoined
expect "with every row" within 30 followed

for name in tr-pg-0 tr-pg-1; do pkill -KILL -P "${pid_of[$name-server]}"; done
expect "without any member's TLS server a job says MemberUnreachable" job_fails_with MemberUnreachable stanza
in_logs() { cat "$work"/tr-pg-*.log "$work"/job.log | grep -cE "$control_password|$superuser_password|$replication_password|$rewind_password|$shop_password|$cipher|$store_password" || true; }
expect "and still no secret in any log" is "$(in_logs)" 0

echo "$passed passed, $failed failed"
((failed == 0))
