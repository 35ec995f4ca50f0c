//! A PostgreSQL of our own image for one test: made by `initdb` and the image's own bootstrap hook, on loopback, with
//! TLS, gone when it is dropped. It runs in a mount and a process namespace of its own, so that the image's root
//! file system stays as it is and nothing outlives the test.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bailiwick_model::names::{CONTROL_ROLE, Names, POSTGRES_UID};
use bailiwick_model::secret::LOGIN_FOLDER;
use bailiwick_operator::credentials::Credentials;
use bailiwick_operator::postgres::Postgres;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::{TcpSocket, TcpStream};
use tokio_postgres::Client;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The Region that the server belongs to.
pub const REGION: &str = "tr";

/// The superuser's password, which only tests know.
const SUPERUSER_PASSWORD: &str = "superuser-of-the-tests";

/// The control role's password, which the operator finds in its Secret.
const CONTROL_PASSWORD: &str = "the-control-role-of-the-tests";

/// The password of pg_rewind's role, as [`INITDB`] sets it in Patroni's place.
const REWIND_PASSWORD: &str = "the-rewind-role-of-the-tests";
/// That of the role of replication, which only the tests that ask for it make.
pub const REPLICATION_PASSWORD: &str = "the-replication-role-of-the-tests";

/// The mounts of a server, in its own mount namespace: its folder for the data, and what the image leaves empty.
const MOUNTS: &str = r#"
mount --bind "$1" "$2/var/lib/postgresql"
mount --rbind /dev "$2/dev"
mount -t proc proc "$2/proc"
mount -t tmpfs tmpfs "$2/tmp"
mount -t tmpfs tmpfs "$2/run"
chmod 1777 "$2/tmp" "$2/run"
exec chroot --userspec="$3:$3" "$2" /bin/sh -euc "$4"
"#;

/// An application of the image: its Secret's `ca.crt` in a folder, and `psql`.
const APPLICATION: &str = r#"
mount -t tmpfs tmpfs "$2/etc/bailiwick"
mkdir -p "$2$3"
cp "$1" "$2$3/ca.crt"
chmod 0444 "$2$3/ca.crt"
exec chroot --userspec="$4:$4" "$2" psql -XAtqc "$6" "$5"
"#;

const INITDB: &str = "
initdb --pgdata /var/lib/postgresql/data --username postgres --pwfile /var/lib/postgresql/superuser \
  --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8 --data-checksums --no-sync
cat >/var/lib/postgresql/data/pg_hba.conf <<HBA
local all postgres trust
hostssl all all 127.0.0.0/8 scram-sha-256
HBA
cat >>/var/lib/postgresql/data/postgresql.conf <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '/run'
fsync = off
log_statement = all
max_connections = 40
shared_buffers = 32MB
max_wal_size = 256MB
ssl_ca_file = '/var/lib/postgresql/ca.crt'
ssl_cert_file = '/var/lib/postgresql/tls.crt'
ssl_key_file = '/var/lib/postgresql/tls.key'
archive_mode = on
archive_timeout = 60
archive_command = 'while [ -e /var/lib/postgresql/hang ]; do sleep 0.1; done; test ! -e /var/lib/postgresql/down && cp %p /var/lib/postgresql/archive/%f'
CONF
pg_ctl start --pgdata /var/lib/postgresql/data --wait --silent --options '-c listen_addresses='
post-bootstrap 'host=/run user=postgres dbname=postgres'
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname 'host=/run user=postgres dbname=postgres' \
  --command \"ALTER ROLE bailiwick_rewind PASSWORD 'the-rewind-role-of-the-tests'\"
pg_ctl stop --pgdata /var/lib/postgresql/data --wait --silent
";

/// A running server.
pub struct Server {
    process: Child,
    folder: PathBuf,
    _cluster: Arc<Cluster>,
    address: SocketAddr,
    authority: String,
    names: Names,
    credentials: Credentials,
}

impl Server {
    /// Starts a server that holds what the image's bootstrap leaves. `roles` get Secrets.
    pub async fn start(roles: &[&str]) -> Self {
        Self::start_with(roles, "").await
    }

    /// The same, with more settings on the server's command line.
    pub async fn start_with(roles: &[&str], settings: &str) -> Self {
        let image = image();
        let folder = folder();
        let names = Names::new(REGION);
        let (authority, certificate, key) = certificates(&names);
        let cluster = Cluster::made(&image);
        cluster.copy_to(&folder);
        fs::create_dir(folder.join("archive")).unwrap();
        for (name, text) in [
            ("ca.crt", &authority),
            ("tls.crt", &certificate),
            ("tls.key", &key),
        ] {
            fs::write(folder.join(name), text).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        for name in ["archive", "ca.crt", "tls.crt", "tls.key", "."] {
            own(&folder.join(name));
        }

        let mut credentials = Credentials::default();
        credentials.insert(
            names.postgres_certificate(),
            secret(&[("ca.crt", &authority)]),
        );
        credentials.insert(
            names.postgres_internal(),
            secret(&[
                ("control-password", CONTROL_PASSWORD),
                ("rewind-password", REWIND_PASSWORD),
                ("replication-password", REPLICATION_PASSWORD),
            ]),
        );
        for role in roles {
            credentials.insert(
                names.postgres_role(role),
                secret(&[("password", &format!("password-of-{role}"))]),
            );
        }

        let port = free_port();
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = namespace(
            &image,
            &folder,
            &format!("exec postgres -D /var/lib/postgresql/data -p {port} -c ssl=on {settings}"),
        )
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
        let server = Self {
            process,
            folder,
            _cluster: cluster,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            authority,
            names,
            credentials,
        };
        server.wait().await;
        server
    }

    /// The operator's client for it.
    pub fn operator(&self) -> Postgres {
        self.operator_at(self.address)
    }

    /// The operator's client for another address than the server's.
    pub fn operator_at(&self, address: SocketAddr) -> Postgres {
        Postgres::new(self.names.clone(), &self.credentials, Some(address)).unwrap()
    }

    /// What the operator knows.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a role another password in its Secret.
    pub fn renew_secret(&mut self, role: &str, password: &str) {
        self.credentials.insert(
            self.names.postgres_role(role),
            secret(&[("password", password)]),
        );
    }

    /// Connects as a role with the password of its Secret.
    pub async fn login(&self, role: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
        let password = self
            .credentials
            .text(&self.names.postgres_role(role), "password")
            .unwrap();
        self.login_with(role, password, database).await
    }

    /// The same from another address of this machine.
    pub async fn login_from(
        &self,
        source: Ipv4Addr,
        role: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let password = self
            .credentials
            .text(&self.names.postgres_role(role), "password")
            .unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let mut tls = self.tls();
        let tls = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::make_tls_connect(
            &mut tls,
            &host(&self.names),
        );
        let (client, connection) = tokio_postgres::Config::new()
            .user(role)
            .password(password)
            .dbname(database)
            .ssl_mode(SslMode::Require)
            .connect_raw(stream, tls.unwrap())
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// TLS that is verified against the Region's authority.
    fn tls(&self) -> MakeRustlsConnect {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.authority.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        MakeRustlsConnect::new(tls)
    }

    /// Connects with a password, over TLS that is verified against the Region's authority and the Service's name.
    pub async fn login_with(
        &self,
        role: &str,
        password: &str,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::Config::new()
            .host(host(&self.names))
            .hostaddr(self.address.ip())
            .port(self.address.port())
            .user(role)
            .password(password)
            .dbname(database)
            .ssl_mode(SslMode::Require)
            .connect_timeout(Duration::from_secs(5))
            .connect(self.tls())
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Connects as the superuser, for drift that no role of ours could make.
    pub async fn superuser(&self, database: &str) -> Client {
        self.login_with("postgres", SUPERUSER_PASSWORD, database)
            .await
            .unwrap()
    }

    /// Connects as the control role, as the operator does but with its own settings left out.
    pub async fn control(&self, database: &str) -> Client {
        self.login_with(CONTROL_ROLE, CONTROL_PASSWORD, database)
            .await
            .unwrap()
    }

    /// Whether the image's own `psql` succeeds and what it prints, as an application that mounts the Secret of its login where the `uri` in it says.
    /// Nothing is in its environment but the address, since no DNS knows the Service here.
    pub fn psql(&self, uri: &str, statement: &str) -> (bool, String) {
        let output = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-euc"])
            .arg(APPLICATION)
            .arg("sh")
            .arg(self.folder.join("ca.crt"))
            .arg(image())
            .arg(LOGIN_FOLDER)
            .arg(POSTGRES_UID.to_string())
            .args([uri, statement])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PGHOSTADDR", self.address.ip().to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&printed).trim().to_owned();
        (output.status.success(), text)
    }

    /// The Region's authority, in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The server's own `postgresql.conf`.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("data/postgresql.conf")
    }

    /// A file whose being there the archive command looks at: `down` makes it fail, `hang` makes it wait.
    pub fn archive_switch(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    async fn wait(&self) {
        let begun = Instant::now();
        loop {
            match self
                .login_with("postgres", SUPERUSER_PASSWORD, "postgres")
                .await
            {
                Ok(_) => return,
                Err(error) if begun.elapsed() > Duration::from_secs(30) => {
                    panic!("the server did not start: {error:?}\n{}", self.log())
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With the namespace's first process go all others in it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What `initdb` and the image's bootstrap hook leave: made once, and copied for every server of a run.
struct Cluster {
    folder: PathBuf,
}

impl Cluster {
    fn made(image: &Path) -> Arc<Self> {
        static MADE: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = made.upgrade() {
            return cluster;
        }
        let folder = folder();
        fs::create_dir(folder.join("data")).unwrap();
        fs::write(folder.join("superuser"), SUPERUSER_PASSWORD).unwrap();
        for name in ["data", "superuser", "."] {
            own(&folder.join(name));
        }
        let output = namespace(image, &folder, INITDB)
            .env("BAILIWICK_CONTROL_PASSWORD", CONTROL_PASSWORD)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "initdb or post-bootstrap failed:\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let cluster = Arc::new(Self { folder });
        *made = Arc::downgrade(&cluster);
        cluster
    }

    fn copy_to(&self, folder: &Path) {
        let copied = Command::new("cp")
            .arg("-a")
            .arg(self.folder.join("data"))
            .arg(folder)
            .status()
            .unwrap();
        assert!(copied.success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The name that the server's certificate carries.
fn host(names: &Names) -> String {
    format!("{}.{}.svc", names.postgres_rw(), names.namespace())
}

/// The root file system of the Postgres image.
fn image() -> PathBuf {
    let path = std::env::var_os("BAILIWICK_TEST_POSTGRES").map(PathBuf::from);
    match path {
        Some(path) if path.join("usr/lib/bailiwick/post-bootstrap").exists() => path,
        Some(path) => panic!(
            "BAILIWICK_TEST_POSTGRES is {}, expected the root file system of platform/images/postgres; `make test` \
             unpacks it and sets the variable",
            path.display()
        ),
        None => panic!(
            "BAILIWICK_TEST_POSTGRES is not set, expected the root file system of platform/images/postgres; run \
             `make test`, which unpacks it and sets the variable"
        ),
    }
}

/// A folder of its own for a server.
fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir().join(format!(
        "bailiwick-postgres-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}

fn own(path: &Path) {
    let uid = u32::try_from(POSTGRES_UID).unwrap();
    chown(path, Some(uid), Some(uid)).expect(
        "the files of the server need its owner: run the tests as root, as `make test` does",
    );
}

fn namespace(image: &Path, folder: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-euc",
            MOUNTS,
            "sh",
        ])
        .arg(folder)
        .arg(image)
        .arg(POSTGRES_UID.to_string())
        .arg(script)
        .env_clear()
        .env(
            "PATH",
            "/usr/lib/bailiwick:/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port()
}

fn secret(values: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// An authority, and a server certificate and key of it, in PEM.
fn certificates(names: &Names) -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate for its own issuer when both have the same name.
    params
        .distinguished_name
        .push(DnType::CommonName, "the authority of the tests");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host(names)])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}
