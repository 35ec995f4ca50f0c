//! The processes of one pod, found by the pod's own control group on this machine and by nothing else, so that no
//! other process can ever be meant. Reads /sys/fs/cgroup and /proc, sends signals, freezes and thaws, and closes a
//! pod's own network.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::failure::{Failure, Outcome, While, ensure};

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";
/// How deep a pod's group may lie below a hierarchy: node, kubepods, class of service, pod.
const DEPTH: usize = 4;

/// A process of a pod.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id on this machine.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
}

/// The processes of a pod.
pub fn of(pod: &Pod) -> Outcome<Vec<Process>> {
    let group = group(pod, "pids")?;
    let mut processes = Vec::new();
    collect(&group, &mut processes);
    ensure(!processes.is_empty(), || {
        format!(
            "pod {} has no processes in {}",
            pod.name_any(),
            group.display()
        )
    })?;
    Ok(processes)
}

/// Sends a signal to the processes of a pod that run a program; returns how many there were.
pub fn signal(pod: &Pod, program: &str, signal: &str) -> Outcome<usize> {
    send(pod, signal, |process| process.name == program)
}

/// Sends a signal to every process of a pod but the one that holds its namespaces; returns how many there were.
pub fn signal_all(pod: &Pod, signal: &str) -> Outcome<usize> {
    send(pod, signal, |process| process.name != "pause")
}

fn send(pod: &Pod, signal: &str, chosen: impl Fn(&Process) -> bool) -> Outcome<usize> {
    let pids: Vec<String> = of(pod)?
        .into_iter()
        .filter(chosen)
        .map(|process| process.pid.to_string())
        .collect();
    ensure(!pids.is_empty(), || {
        format!("pod {} has no such process", pod.name_any())
    })?;
    // One process among several may have ended meanwhile: kill says so and signals the others all the same.
    Command::new("kill")
        .arg(format!("-{signal}"))
        .args(&pids)
        .output()
        .during(format_args!(
            "send {signal} to processes of {}",
            pod.name_any()
        ))?;
    Ok(pids.len())
}

/// A pod whose processes all stand still, until this is dropped.
pub struct Frozen {
    switch: PathBuf,
    thawed: &'static str,
}

impl Frozen {
    /// Stops every process of the pod where it is. Connections stay open and nobody answers.
    pub fn freeze(pod: &Pod) -> Outcome<Self> {
        let (switch, frozen, thawed) = switch(pod)?;
        fs::write(&switch, frozen).during(format_args!("freeze {}", pod.name_any()))?;
        Ok(Self { switch, thawed })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.switch, self.thawed)
            && self.switch.exists()
        {
            eprintln!("{} could not be thawed: {error}", self.switch.display());
        }
    }
}

/// A pod that hears nothing of what servers on a port of other pods send it, until this is dropped.
pub struct Deaf {
    network: PathBuf,
}

impl Deaf {
    /// Drops what comes from the port, in the network namespace of the pod alone.
    pub fn to(pod: &Pod, port: i32) -> Outcome<Self> {
        let holder = of(pod)?
            .into_iter()
            .find(|process| process.name == "pause")
            .ok_or_else(|| Failure::new(format!("pod {} holds no namespace", pod.name_any())))?;
        let deaf = Self {
            network: PathBuf::from(format!("/proc/{}/ns/net", holder.pid)),
        };
        deaf.rules(&format!(
            "table inet deaf {{ chain input {{ type filter hook input priority 0; \
             iifname != \"lo\" tcp sport {port} drop; }}; }}"
        ))
        .during(format_args!("make {} deaf", pod.name_any()))?;
        Ok(deaf)
    }

    fn rules(&self, rules: &str) -> Outcome {
        let mut nft = Command::new("nsenter")
            .arg(format!("--net={}", self.network.display()))
            .args(["nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(rules.as_bytes())?;
        }
        let said = nft.wait_with_output()?;
        ensure(said.status.success(), || {
            String::from_utf8_lossy(&said.stderr).into_owned()
        })
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        // With the pod its network is gone too.
        if self.network.exists()
            && let Err(failure) = self.rules("delete table inet deaf")
        {
            eprintln!("a pod stays deaf: {failure}");
        }
    }
}

/// Thaws a pod that a run before this one left frozen; one that is not frozen stays as it is.
pub fn thaw(pod: &Pod) -> Outcome {
    let (switch, _, thawed) = switch(pod)?;
    fs::write(&switch, thawed).during(format_args!("thaw {}", pod.name_any()))
}

/// A pod of a node's own, whose manifest is away until this is dropped.
pub struct Taken {
    manifest: PathBuf,
    away: PathBuf,
}

/// Takes a node's own pod away, and kills its program, so that it ends at once and is not started again.
pub fn static_pod_taken(pod: &Pod, program: &str) -> Outcome<Taken> {
    let root = Node::of(pod)?.root()?;
    let taken = Taken {
        manifest: root.join(format!("etc/kubernetes/manifests/{program}.yaml")),
        away: root.join(format!("etc/kubernetes/{program}.yaml.away")),
    };
    fs::rename(&taken.manifest, &taken.away)
        .during(format_args!("take {} away", taken.manifest.display()))?;
    signal(pod, program, "KILL")?;
    Ok(taken)
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Err(error) = fs::rename(&self.away, &self.manifest) {
            eprintln!("{} could not be put back: {error}", self.manifest.display());
        }
    }
}

/// The node of a pod, by the processes of its own: those of no pod.
pub struct Node {
    host: PathBuf,
}

impl Node {
    /// The node that runs a pod.
    pub fn of(pod: &Pod) -> Outcome<Self> {
        let group = group(pod, "pids")?;
        let host = group.ancestors().map(|folder| folder.join("host"));
        host.into_iter()
            .find(|folder| folder.is_dir())
            .map(|host| Self { host })
            .ok_or_else(|| {
                Failure::new(format!(
                    "no folder above {} is a node's of the engine-less cluster",
                    group.display()
                ))
            })
    }

    /// What the node has as its file system.
    pub fn root(&self) -> Outcome<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.first()?)))
    }

    /// Pulls the plug: with a node's first process the kernel ends all others of it, those of its pods too.
    pub fn kill(&self) -> Outcome {
        let first = self.first()?.to_string();
        let said = Command::new("kill").args(["-KILL", &first]).output()?;
        crate::failure::ensure(said.status.success(), || {
            String::from_utf8_lossy(&said.stderr).into_owned()
        })
    }

    /// The process that is number 1 in its own namespace.
    fn first(&self) -> Outcome<u32> {
        let mut processes = Vec::new();
        collect(&self.host, &mut processes);
        let is_first = |process: &&Process| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid));
            status.unwrap_or_default().lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next() == Some("NSpid:") && words.count() == 2 && line.ends_with("\t1")
            })
        };
        processes
            .iter()
            .find(is_first)
            .map(|process| process.pid)
            .ok_or_else(|| Failure::new(format!("{} has no first process", self.host.display())))
    }
}

fn switch(pod: &Pod) -> Outcome<(PathBuf, &'static str, &'static str)> {
    let group = group(pod, "freezer")?;
    Ok(if group.join("freezer.state").exists() {
        (group.join("freezer.state"), "FROZEN", "THAWED")
    } else {
        (group.join("cgroup.freeze"), "1", "0")
    })
}

/// The pod's control group: of one controller in the first version of control groups, the only one in the second.
fn group(pod: &Pod, controller: &str) -> Outcome<PathBuf> {
    let first = Path::new(GROUPS).join(controller);
    let root = if first.is_dir() {
        first
    } else {
        PathBuf::from(GROUPS)
    };
    // A pod that the node itself runs has a group of its manifest's hash; the API server gives its picture another uid.
    let hash = pod.annotations().get("kubernetes.io/config.hash").cloned();
    let name = format!("pod{}", hash.or_else(|| pod.uid()).unwrap_or_default());
    let mut found = all(&root, &name, DEPTH);
    // Two clusters have the same manifests, and with them the same hashes.
    ensure(found.len() < 2, || {
        format!(
            "pod {} may be any of {found:?}: stop the other cluster of this machine (make dev-down in its checkout)",
            pod.name_any()
        )
    })?;
    found.pop().ok_or_else(|| {
        Failure::new(format!(
            "pod {} has no control group {name} below {}: does the cluster run on this machine?",
            pod.name_any(),
            root.display()
        ))
    })
}

fn all(folder: &Path, name: &str, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if path.file_name().is_some_and(|it| it == name) {
            found.push(path);
        } else if depth > 1 {
            found.extend(all(&path, name, depth - 1));
        }
    }
    found
}

fn collect(group: &Path, processes: &mut Vec<Process>) {
    let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.parse::<u32>().ok()) {
        // It may have ended since.
        if let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) {
            processes.push(Process {
                pid,
                name: name.trim().to_owned(),
            });
        }
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), processes);
        }
    }
}
