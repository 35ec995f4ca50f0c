//! A real object store on this machine: the server of the engine-less cluster with the very arguments, settings and
//! Secrets that the model describes, moved from the pod's paths to a directory of the test. In goes a plan, out
//! comes its endpoint; the process ends with the value.
#![allow(
    clippy::expect_used,
    dead_code,
    reason = "a server that does not start must end the test; not every test uses all of it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bailiwick_model::desired::object_store::{KMS_KEY, manifests};
use bailiwick_model::evidence::SigningKey;
use bailiwick_model::plan::Plan;
use bailiwick_model::secret::{Contents, SIGNING_KEY};
use bailiwick_operator::credentials::Credentials;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;

/// A region's certificate authority.
type Authority = CertifiedIssuer<'static, KeyPair>;

static DIRECTORIES: AtomicU32 = AtomicU32::new(0);

/// A running server.
pub struct Server {
    child: Option<Child>,
    directory: PathBuf,
    binary: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    issuer: Authority,
    pod: Value,
    /// Its endpoint.
    pub endpoint: String,
    /// The region's authority, in PEM.
    pub authority: Vec<u8>,
    /// The Region's Secrets.
    pub credentials: Credentials,
}

impl Server {
    /// Starts the store of `plan`, with more `settings` in its environment, and waits until it answers.
    pub async fn start(plan: &Plan, settings: &[(&str, &str)]) -> Self {
        let binary = binary();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "object-store-{}-{}",
            std::process::id(),
            DIRECTORIES.fetch_add(1, Ordering::Relaxed)
        ));
        let port = free_port();
        let endpoint = format!("https://127.0.0.1:{port}");
        let issuer = authority();
        let credentials = secrets(plan, &endpoint, &issuer);

        let stateful_set = manifests(plan)
            .into_iter()
            .find(|manifest| manifest.resource.kind == "StatefulSet")
            .expect("the model describes a StatefulSet");
        let pod = stateful_set.object.data["spec"]["template"]["spec"].clone();
        mount(&pod, &credentials, &directory, "..first");
        fs::create_dir_all(directory.join("data0")).expect("a directory");
        let container = &pod["containers"][0];
        let here = directory.display().to_string();
        let moved = |text: &str| match text {
            "/tmp" => here.clone(),
            _ => text
                .replace("/etc/object-store", &format!("{here}/etc/object-store"))
                .replace("/data", &format!("{here}/data")),
        };
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let arguments = container["args"]
            .as_array()
            .expect("arguments")
            .iter()
            .map(|argument| match text(argument).as_str() {
                ":9000" => format!("127.0.0.1:{port}"),
                argument => moved(argument),
            })
            .collect();
        let mut environment: BTreeMap<String, String> = container["env"]
            .as_array()
            .expect("settings")
            .iter()
            .map(|setting| (text(&setting["name"]), moved(&text(&setting["value"]))))
            .collect();
        environment.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let mut server = Self {
            child: None,
            directory,
            binary,
            arguments,
            environment,
            endpoint,
            authority: issuer.pem().into_bytes(),
            issuer,
            pod,
            credentials,
        };
        server.resume().await;
        server
    }

    /// Starts the process and waits until it answers.
    pub async fn resume(&mut self) {
        let log = fs::File::create(self.directory.join("log")).expect("a log file");
        let child = Command::new(&self.binary)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("the object store's program starts");
        self.child = Some(child);
        let client = self.http();
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let url = format!("{}/minio/health/ready", self.endpoint);
            if let Ok(answer) = client.get(url).send().await
                && answer.status().is_success()
                && !answer.headers().contains_key("x-minio-server-status")
            {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()?);
            assert!(
                Instant::now() < deadline && ended.is_none(),
                "the store does not answer:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A client that trusts the region's authority.
    pub fn http(&self) -> reqwest::Client {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(&self.authority);
        reqwest::Client::builder()
            .tls_certs_only([authority.expect("a certificate")])
            .timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(0)
            .tls_info(true)
            .build()
            .expect("a client")
    }

    /// Renews its certificate, as the operator would, while it runs.
    pub fn renew(&mut self, plan: &Plan) {
        let name = plan.names.object_store_certificate();
        self.credentials.insert(name, certificate(&self.issuer));
        mount(&self.pod, &self.credentials, &self.directory, "..second");
    }

    /// Gives its Secret other root credentials while it runs, as the operator does when that was deleted.
    pub fn replace_root(&mut self, plan: &Plan) {
        let values = [
            ("access-key", "another-root"),
            ("secret-key", "with another secret key"),
        ]
        .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        self.credentials
            .insert(plan.names.object_store_root(), values.into());
        mount(&self.pod, &self.credentials, &self.directory, "..third");
    }

    /// Ends the process.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The server's program, which `make binaries` puts into the cache.
fn binary() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
    let cache = std::env::var_os("BAILIWICK_CACHE").map_or_else(
        || {
            std::env::var_os("XDG_CACHE_HOME")
                .map_or_else(|| home().join(".cache"), PathBuf::from)
                .join("bailiwick")
        },
        PathBuf::from,
    );
    let binary = cache.join("bin/minio");
    assert!(
        binary.exists(),
        "{} is not there; run `make binaries`",
        binary.display()
    );
    binary
}

/// A TCP port of this machine that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// An authority that nobody else has.
fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// The certificate Secret of a server on this machine.
fn certificate(authority: &Authority) -> BTreeMap<String, Vec<u8>> {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])
        .and_then(|params| params.signed_by(&key, authority))
        .expect("a certificate");
    [
        ("ca.crt", authority.pem()),
        ("tls.crt", certificate.pem()),
        ("tls.key", key.serialize_pem()),
    ]
    .map(|(key, value)| (key.to_owned(), value.into_bytes()))
    .into()
}

/// The Region's Secrets as the operator would mint them, with a certificate for this machine.
fn secrets(plan: &Plan, endpoint: &str, authority: &Authority) -> Credentials {
    let mut credentials = Credentials::default();
    for wanted in &plan.secrets {
        let values: Vec<(&str, Vec<u8>)> = match &wanted.contents {
            Contents::Passwords { keys } => keys
                .iter()
                .map(|key| (key.as_str(), format!("{}-{key}", wanted.name).into_bytes()))
                .collect(),
            Contents::StoreKey { id } => {
                // 32 times the byte 1, in base64.
                let key = format!("{id}:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
                vec![(KMS_KEY, key.into_bytes())]
            }
            Contents::StoreLogin {
                access_key, region, ..
            } => vec![
                ("access-key", access_key.clone().into_bytes()),
                ("secret-key", format!("secret of {access_key}").into_bytes()),
                ("endpoint", endpoint.as_bytes().to_vec()),
                ("region", region.clone().into_bytes()),
            ],
            Contents::SigningKey => {
                vec![(SIGNING_KEY, SigningKey::pem_of_seed(&[1; 32]).into_bytes())]
            }
            _ => continue,
        };
        let values = values
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        credentials.insert(&wanted.name, values);
    }
    let name = plan.names.object_store_certificate();
    credentials.insert(name, certificate(authority));
    credentials
}

/// Lays the pod's Secret volumes out as the kubelet does, as the pod template describes them: each key is a link
/// through `..data` to a directory of this version, so that a new version comes into force at once.
fn mount(pod: &Value, credentials: &Credentials, directory: &Path, version: &str) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for volume in list(&pod["volumes"]) {
        let Some(secret) = volume["secret"]["secretName"].as_str() else {
            continue;
        };
        let name = &volume["name"];
        let path = list(&pod["containers"][0]["volumeMounts"])
            .iter()
            .find(|mount| mount["name"] == *name)
            .and_then(|mount| mount["mountPath"].as_str())
            .map(|path| directory.join(path.trim_start_matches('/')))
            .expect("every volume is mounted");
        fs::create_dir_all(&path).expect("a directory");
        for item in list(&volume["secret"]["items"]) {
            let text = |key: &str| item[key].as_str().expect("text").to_owned();
            let file = path.join(version).join(text("path"));
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            let value = credentials.bytes(secret, &text("key"));
            fs::write(&file, value.expect("the Secret holds the key")).expect("a file");
            let top = text("path");
            let top = top.split('/').next().expect("a name");
            // It is there already from an earlier version.
            let _ = symlink(Path::new("..data").join(top), path.join(top));
        }
        symlink(version, path.join("..next")).expect("a link");
        fs::rename(path.join("..next"), path.join("..data")).expect("a link");
    }
}

/// The code by which the store refused, or `ok`.
pub fn outcome<T, E, R>(result: Result<T, SdkError<E, R>>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => match error.code() {
            Some(code) => code.to_owned(),
            None => format!("{error:?}"),
        },
    }
}
