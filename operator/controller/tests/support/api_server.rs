//! A real kube-apiserver with its etcd, alone on this machine: no kubelet, no controllers, an empty folder that goes
//! with it. In come the binaries of the cache, out comes a client. Starts processes and ends them by their handle.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kube::config::{AuthInfo, Config};
use kube::{Client, ResourceExt};

/// How long the API server may take to become ready on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// The administrator's token. The server answers on loopback alone and lives as long as the test.
const TOKEN: &str = "test-administrator";
/// The cluster's own programs, which are known by their names; each name is its token too.
const CONTROLLERS: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";

/// A running API server. Dropping it ends its processes and removes its folder; so does the end of the test's
/// process, whatever ended it.
pub struct ApiServer {
    folder: PathBuf,
    port: u16,
    authority: Vec<u8>,
    processes: Vec<Child>,
}

impl ApiServer {
    /// Starts etcd and the API server and waits until it is ready. Nothing here outlives the test, so nothing needs to
    /// reach a disk.
    pub async fn start() -> Self {
        Self::start_with(&["--unsafe-no-fsync"], None).await
    }

    /// The same with an etcd that waits for its disk, as a cluster's does.
    pub async fn start_on_disk() -> Self {
        Self::start_with(&[], None).await
    }

    /// [`Self::start`], with an audit log of what `policy` names at [`Self::audit_log`].
    pub async fn start_audited(policy: &str) -> Self {
        Self::start_with(&["--unsafe-no-fsync"], Some(policy)).await
    }

    async fn start_with(etcd: &[&str], audit_policy: Option<&str>) -> Self {
        // The provider can be installed once a process; a second time is no error here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = new_folder();
        let [port, etcd_port, peer_port] = free_ports();
        let authority = write_credentials(&folder);
        let mut server = Self {
            folder,
            port,
            authority,
            processes: Vec::new(),
        };
        server.spawn_etcd(etcd_port, peer_port, etcd);
        server.spawn_api_server(etcd_port, audit_policy);
        server.write_kubeconfig("kubeconfig", TOKEN);
        server.wait_until_ready().await;
        server
    }

    /// Starts the cluster's own controllers, each with its own ServiceAccount, and its scheduler. Nodes are not watched
    /// over: a node of a test has no kubelet.
    pub fn start_controllers(&mut self) {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let manager = [
            format!("--kubeconfig={}", file("controllers.kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            format!(
                "--service-account-private-key-file={}",
                file("service-accounts.key")
            ),
            format!("--root-ca-file={}", file("authority.crt")),
            "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-taint-eviction-controller".to_owned(),
        ];
        let scheduler = [
            format!("--kubeconfig={}", file("scheduler.kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        self.write_kubeconfig("controllers.kubeconfig", CONTROLLERS);
        self.write_kubeconfig("scheduler.kubeconfig", SCHEDULER);
        self.spawn("kube-controller-manager", &manager);
        self.spawn("kube-scheduler", &scheduler);
    }

    /// A client with every right.
    pub fn client(&self) -> Client {
        Client::try_from(self.config()).expect("a client")
    }

    /// A client that acts as a ServiceAccount.
    pub fn client_as(&self, namespace: &str, service_account: &str) -> Client {
        let mut config = self.config();
        config.auth_info.impersonate = Some(format!(
            "system:serviceaccount:{namespace}:{service_account}"
        ));
        Client::try_from(config).expect("a client")
    }

    /// The same, in one more group.
    pub fn client_as_member(&self, namespace: &str, service_account: &str, group: &str) -> Client {
        let mut config = self.config();
        config.auth_info.impersonate = Some(format!(
            "system:serviceaccount:{namespace}:{service_account}"
        ));
        config.auth_info.impersonate_groups = Some(vec![group.to_owned()]);
        Client::try_from(config).expect("a client")
    }

    /// The configuration of [`Self::client`].
    pub fn config(&self) -> Config {
        let mut config = Config::new(
            format!("https://127.0.0.1:{}", self.port)
                .parse()
                .expect("a URL"),
        );
        config.root_cert = Some(vec![self.authority.clone()]);
        config.auth_info = AuthInfo {
            token: Some(TOKEN.to_owned().into()),
            ..AuthInfo::default()
        };
        config
    }

    /// Writes a kubeconfig of whoever holds a token and returns its path; it goes with the server.
    pub fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let authority = self.folder.join("authority.crt");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://127.0.0.1:{}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: test, user: {{token: {token}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.port,
            authority.display()
        );
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("a kubeconfig");
        path
    }

    /// Where the audit log is written, if the server was started with one.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// `kubectl` of the cache, with every right here.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(binary("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(self.folder.join("kubeconfig"));
        command
    }

    /// Runs `kubectl` and returns what it printed; panics with its errors when it fails.
    pub fn run_kubectl(&self, arguments: &[&str]) -> String {
        let output = self.kubectl().args(arguments).output().expect("kubectl");
        assert!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn spawn_etcd(&mut self, port: u16, peer_port: u16, more: &[&str]) {
        let clients = format!("http://127.0.0.1:{port}");
        let peers = format!("http://127.0.0.1:{peer_port}");
        let data = self.folder.join("etcd");
        let mut arguments = vec![
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
        ];
        arguments.extend(more.iter().map(|&flag| flag.to_owned()));
        self.spawn("etcd", &arguments);
    }

    fn spawn_api_server(&mut self, etcd_port: u16, audit_policy: Option<&str>) {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--cert-dir={}", file("certificates")),
            format!(
                "--service-account-key-file={}",
                file("service-accounts.pub")
            ),
            format!(
                "--service-account-signing-key-file={}",
                file("service-accounts.key")
            ),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            // As kubeadm and k3s have it.
            "--allow-privileged=true".to_owned(),
            // So that the field by which a volume is filled from another namespace is not dropped unseen.
            "--feature-gates=CrossNamespaceVolumeDataSource=true".to_owned(),
        ];
        if let Some(policy) = audit_policy {
            std::fs::write(file("audit-policy.yaml"), policy).expect("an audit policy");
            arguments.extend([
                format!("--audit-policy-file={}", file("audit-policy.yaml")),
                format!("--audit-log-path={}", self.audit_log().display()),
            ]);
        }
        self.spawn("kube-apiserver", &arguments);
    }

    /// Starts a program that ends with us: its shell kills it when our end of the pipe closes, even when we are killed.
    fn spawn(&mut self, program: &str, arguments: &[String]) {
        let log = std::fs::File::create(self.folder.join(format!("{program}.log"))).expect("a log");
        let child = Command::new("sh")
            .args([
                "-c",
                "\"$@\" </dev/null & program=$!; read -r _; kill -KILL $program; wait $program",
                "sh",
            ])
            .arg(binary(program))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        self.processes.push(child);
    }

    async fn wait_until_ready(&self) {
        let start = Instant::now();
        loop {
            // The built-in roles and priority levels come with the hooks that /readyz waits for.
            let answer = self
                .kubectl()
                .args(["get", "--raw", "/readyz"])
                .output()
                .expect("kubectl");
            if answer.status.success() {
                return;
            }
            assert!(
                start.elapsed() < READY_WITHIN
                    && !self.log_tail("kube-apiserver").contains("command failed"),
                "the API server is not ready: {}; its log ends with:\n{}",
                String::from_utf8_lossy(&answer.stderr),
                self.log_tail("kube-apiserver")
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The end of a program's log.
    pub fn log_tail(&self, program: &str) -> String {
        let log =
            std::fs::read_to_string(self.folder.join(format!("{program}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The API server first: without etcd it would fill its log.
        for process in self.processes.iter_mut().rev() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A program of the cache.
pub fn binary(name: &str) -> PathBuf {
    let path = cache().join("bin").join(name);
    assert!(
        path.exists(),
        "{} is missing; build it with `make binaries`",
        path.display()
    );
    path
}

fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("BAILIWICK_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("bailiwick")))
        .or_else(|| variable("HOME").map(|path| path.join(".cache/bailiwick")))
        .expect("HOME is set")
}

fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir().join(format!(
        "bailiwick-api-server-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    ));
    // One that a killed process of the same number left behind.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Ports that were free a moment ago; all are held at once, so they differ.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// Writes a certificate authority, the server's certificate, the key of service accounts and the administrator's
/// token; returns the authority in DER.
fn write_credentials(folder: &Path) -> Vec<u8> {
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "test authority");
    let authority =
        rcgen::CertifiedIssuer::self_signed(parameters, authority_key).expect("an authority");
    let server_key = rcgen::KeyPair::generate().expect("a key");
    let server =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
            .expect("parameters")
            .signed_by(&server_key, &authority)
            .expect("a certificate");
    write("authority.crt", &authority.pem());
    write("server.crt", &server.pem());
    write("server.key", &server_key.serialize_pem());
    let accounts_key = rcgen::KeyPair::generate().expect("a key");
    write("service-accounts.key", &accounts_key.serialize_pem());
    write("service-accounts.pub", &accounts_key.public_key_pem());
    write(
        "tokens.csv",
        &format!(
            "{TOKEN},administrator,1,\"system:masters\"\n{CONTROLLERS},{CONTROLLERS},2\n{SCHEDULER},{SCHEDULER},3\n"
        ),
    );
    authority.der().to_vec()
}

/// Waits until the API server serves a definition.
pub async fn wait_until_established(client: &Client, definition: &str) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let api: kube::Api<CustomResourceDefinition> = kube::Api::all(client.clone());
    let start = Instant::now();
    loop {
        let crd = api.get(definition).await.expect("the definition");
        let conditions = crd
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
            .cloned()
            .unwrap_or_default();
        if conditions
            .iter()
            .any(|condition| condition.type_ == "Established" && condition.status == "True")
        {
            return;
        }
        assert!(
            start.elapsed() < READY_WITHIN,
            "{} is not established: {conditions:?}",
            crd.name_any()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
