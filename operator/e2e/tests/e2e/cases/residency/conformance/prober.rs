//! A program in the network namespace of a pod: orders go in, what answered comes out. I/O: one process, its pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::pod;
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, While, ensure};
use crate::processes;

/// What runs there, with the machine's python.
const PROGRAM: &str = include_str!("prober.py");

/// A pod with its program.
pub struct Prober {
    /// The pod, as `namespace/name`.
    pub name: String,
    /// Its address.
    pub address: String,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    child: Child,
}

impl Prober {
    /// Makes a pod on a node of a location and starts the program.
    pub async fn start(cluster: &Cluster, name: String, location: &str) -> Outcome<Self> {
        let pod = pod(cluster, &name, location).await?;
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let address = address.ok_or_else(|| Failure::new(format!("pod {name} has no address")))?;
        let process = processes::of(&pod)?.into_iter().next();
        let process = process.ok_or_else(|| Failure::new(format!("pod {name} has no process")))?;
        let mut child = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", process.pid))
            .args(["python3", "-u", "-c", PROGRAM, &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .during(format_args!("start a prober in {name}"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Failure::new("a prober has no pipes"))?;
        let prober = Self {
            name,
            address,
            pipes: Mutex::new((input, BufReader::new(output))),
            child,
        };
        ensure(prober.line()? == "ready", || {
            format!("the prober in {} does not start", prober.name)
        })?;
        Ok(prober)
    }

    /// Lets it try targets, each `protocol/port/address`, all at once.
    pub fn order(&self, targets: impl Iterator<Item = String>) -> Outcome {
        let line = targets.collect::<Vec<_>>().join(" ");
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.0, "{line}").during(format_args!("order the prober in {}", self.name))
    }

    /// Whether each target of the last order answered.
    pub fn answers(&self, count: usize) -> Outcome<Vec<bool>> {
        let line = self.line()?;
        ensure(line.len() == count, || {
            format!(
                "the prober in {} says {line:?} of {count} targets",
                self.name
            )
        })?;
        Ok(line.bytes().map(|byte| byte == b'1').collect())
    }

    fn line(&self) -> Outcome<String> {
        let mut line = String::new();
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        pipes
            .1
            .read_line(&mut line)
            .during(format_args!("read from the prober in {}", self.name))?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
