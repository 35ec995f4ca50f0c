//! The operator as it is shipped: a process of its own with the rights of its own ServiceAccount. Starts and ends it,
//! reads its memory from /proc and its metrics over HTTP.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api_server::{ApiServer, free_ports};
use crate::cluster::platform;
use crate::figure::in_mebibytes;

const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often memory is read.
const EVERY: Duration = Duration::from_millis(250);

/// A running operator. Dropping it ends it, and so does the end of this process.
pub struct Operator {
    shell: Child,
    process: u32,
    port: u16,
}

/// What a process holds in memory, in bytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// All of it, the program's own pages among it.
    pub resident: u64,
    /// What it allocated.
    pub anonymous: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} MiB, {:.1} of it allocated",
            in_mebibytes(self.resident),
            in_mebibytes(self.anonymous)
        )
    }
}

impl Operator {
    /// Starts it and waits until it is ready.
    pub async fn start(server: &ApiServer, token: &str) -> Self {
        let [port] = free_ports();
        let platform = platform();
        let mut arguments = vec![
            format!("--listen=127.0.0.1:{port}"),
            "--identity=bench".to_owned(),
            format!("--object-store-image={}", platform.object_store_image),
            format!("--operator-image={}", platform.operator_image),
            format!("--fence-image={}", platform.fence_image),
        ];
        arguments.extend(
            platform
                .locations
                .iter()
                .map(|location| format!("--location={location}")),
        );
        arguments.extend(
            platform
                .postgres_images
                .iter()
                .map(|(major, image)| format!("--postgres-image={major}={image}")),
        );
        arguments.extend(
            platform
                .image_registries
                .iter()
                .map(|(prefix, location)| format!("--image-registry={prefix}={location}")),
        );
        // Its shell kills it when our end of the pipe closes, even when we are killed.
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "\"$@\" </dev/null >\"$LOG\" 2>&1 & program=$!; echo $program; read -r _; kill -KILL $program; wait $program",
                "sh",
                env!("CARGO_BIN_EXE_bailiwick-operator"),
                "run",
            ])
            .args(arguments)
            .env_clear()
            .envs(heap())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LOG", server.audit_log().with_file_name("operator.log"))
            .env("KUBECONFIG", server.write_kubeconfig("operator", token))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It would say that it killed the operator.
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut process = String::new();
        BufReader::new(shell.stdout.take().expect("a pipe"))
            .read_line(&mut process)
            .expect("the operator's process id");
        let operator = Self {
            shell,
            process: process.trim().parse().expect("a process id"),
            port,
        };
        let start = Instant::now();
        while !operator
            .get("/readyz")
            .await
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        {
            assert!(
                start.elapsed() < READY_WITHIN,
                "the operator is not ready; its log: {}",
                std::fs::read_to_string(server.audit_log().with_file_name("operator.log"))
                    .unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        operator
    }

    /// The most that it held at once within some time.
    pub async fn memory_within(&self, time: Duration) -> Memory {
        let start = Instant::now();
        let mut most = Memory::default();
        while start.elapsed() < time {
            let now = self.memory();
            if now.resident > most.resident {
                most = now;
            }
            tokio::time::sleep(EVERY).await;
        }
        most
    }

    fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.process);
        let status =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let field = |name: &str| -> u64 {
            let kibibytes: u64 = status
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .strip_prefix(':')?
                        .trim()
                        .strip_suffix(" kB")
                })
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("{path} has no {name}"));
            kibibytes * 1024
        };
        Memory {
            resident: field("VmRSS"),
            anonymous: field("RssAnon"),
        }
    }

    /// How many looks at Regions it has taken.
    pub async fn looks(&self) -> usize {
        self.get("/metrics")
            .await
            .expect("the operator's metrics")
            .lines()
            .filter(|line| line.starts_with("bailiwick_reconciles_total{"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok())
            .sum()
    }

    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// The heap's settings, as the Deployment has them.
fn heap() -> Vec<(String, String)> {
    let manifests = include_str!("../../../../platform/operator/deployment.yaml");
    let settings: Vec<(String, String)> = serde_yaml::Deserializer::from_str(manifests)
        .filter_map(|document| Deployment::deserialize(document).ok())
        .filter_map(|deployment| deployment.spec?.template.spec)
        .flat_map(|pod| pod.containers)
        .flat_map(|container| container.env.unwrap_or_default())
        .filter(|variable| variable.name.starts_with("MALLOC_"))
        .filter_map(|variable| Some((variable.name, variable.value?)))
        .collect();
    assert!(!settings.is_empty(), "the Deployment sets no heap");
    settings
}
