//! The enforcer as it runs on a node: the real program in a node's namespace, fed by an API server's lists and watches,
//! judged by packets. Prints how long a change takes from the API to the kernel.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use bailiwick_dev_netpol::rules::Enforcement;
use serde_json::{Value, json};

use super::{DENY_ALL, remove_tables, unless};
use crate::cases::{Failure, NODES, POD_RANGES, Scene, TCP_80, verdict};
use crate::lab::{self, Lab, Probe, Prober, api};
use crate::{TABLE, differences, every_probe, expected_open, observe};

const PORT: &str = "16443";
/// How long anything that is awaited may take. The comparison with the kernel's table comes every ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The running enforcer, its API server and its files, gone when dropped.
struct Running {
    enforcer: Child,
    api: Option<Prober>,
    folder: PathBuf,
}

impl Running {
    fn start(extra: &[&str]) -> Result<Self, Failure> {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("netpol-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let kubeconfig = folder.join("kubeconfig");
        fs::write(
            &kubeconfig,
            json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": format!("http://127.0.0.1:{PORT}")}}],
                "users": [{"name": "test", "user": {}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            })
            .to_string(),
        )?;
        let log = fs::File::create(folder.join("log"))?;
        let enforcer = lab::inside(NODES[0])
            .arg(env!("CARGO_BIN_EXE_bailiwick-dev-netpol"))
            .args(["--node", NODES[0], "--table", TABLE])
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .arg("--ready-file")
            .arg(folder.join("ready"))
            .args(extra)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self {
            enforcer,
            api: None,
            folder,
        })
    }

    fn serve(&mut self, scene: &Scene) -> Result<(), Failure> {
        self.api = Some(Prober::start(NODES[0], &[api::ARGUMENT, PORT])?);
        for order in objects(scene)? {
            self.order("put", &order)?;
        }
        Ok(())
    }

    fn order(&mut self, order: &str, object: &Value) -> Result<(), Failure> {
        let api = self.api.as_mut().ok_or("the API server is not started")?;
        api.order([format!("{order} {object}")])?;
        match api.answer()?.as_str() {
            "done" => Ok(()),
            other => Err(format!("the API server said {other} to {order}").into()),
        }
    }

    /// Waits until what the readiness file tells is so; gives the time it took.
    fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Result<Duration, Failure> {
        let started = Instant::now();
        loop {
            let ready = self.ready();
            if so(&ready) {
                return Ok(started.elapsed());
            }
            if started.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(
                    format!("waited in vain until {what}; told: {ready}; log:\n{log}").into(),
                );
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn ready(&self) -> Value {
        let text = fs::read(self.folder.join("ready")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.enforcer.kill();
        let _ = self.enforcer.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The scene's objects with their kinds and names.
fn objects(scene: &Scene) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    for (name, labels) in &scene.namespaces {
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}));
    }
    for name in scene.pods.keys() {
        objects.push(pod(scene, name)?);
    }
    for name in scene.policies.keys() {
        objects.push(policy(scene, name, 1)?);
    }
    Ok(objects)
}

fn named(mut object: Value, version: &str, kind: &str, name: &str) -> Result<Value, Failure> {
    let (namespace, name) = name.split_once('/').ok_or("a name is namespace/name")?;
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["name"] = json!(name);
    Ok(object)
}

fn pod(scene: &Scene, name: &str) -> Result<Value, Failure> {
    let object = scene
        .pods
        .get(name)
        .ok_or_else(|| format!("there is no pod {name}"))?;
    named(object.clone(), "v1", "Pod", name)
}

fn policy(scene: &Scene, name: &str, generation: i64) -> Result<Value, Failure> {
    let spec = scene
        .policies
        .get(name)
        .ok_or_else(|| format!("there is no policy {name}"))?;
    let object = json!({"metadata": {"generation": generation}, "spec": spec});
    named(object, "networking.k8s.io/v1", "NetworkPolicy", name)
}

/// Compares every connection on TCP 80 with what the scene asks of the one node that has an enforcer.
fn compare(lab: &mut Lab, scene: &Scene, when: &str) -> Result<Vec<String>, Failure> {
    let [first, _] = scene.enforcements()?;
    let enforcements = [first, Enforcement::default()];
    let probes: Vec<Probe> = every_probe(lab)
        .into_iter()
        .filter(|probe| probe.port == TCP_80)
        .collect();
    let allowed = expected_open(&probes, |probe| {
        verdict(&enforcements, &probe.from, &probe.to, probe.port)
    });
    let observed = observe(lab, &probes, &allowed)?;
    let differing = differences(&probes, &allowed, &observed);
    Ok(differing
        .into_iter()
        .map(|difference| format!("{when}: {difference}"))
        .collect())
}

/// From the first start to the end of the process.
pub fn whole_life(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let mut failures = Vec::new();
    remove_tables()?;
    let mut nothing_known = Scene::new();
    nothing_known.pods.clear();
    let mut running = Running::start(&["--pod-range", POD_RANGES[0]])?;
    wait_for_table(true)?;
    failures.extend(compare(
        lab,
        &nothing_known,
        "before the API server answers",
    )?);
    failures.extend(unless(
        running.ready().is_null(),
        "it should not be ready before the API server answers",
    ));

    let mut scene = Scene::new();
    scene.apply(DENY_ALL)?;
    let (late, later) = (scene.pods.remove("y/b"), scene.pods.remove("z/a"));
    running.serve(&scene)?;
    running.until("all pods but two are known", |ready| ready["pods"] == 3)?;
    failures.extend(compare(
        lab,
        &scene,
        "with a default deny and two pods not seen",
    )?);

    scene.pods.extend(late.map(|pod| ("y/b".to_owned(), pod)));
    let new_pod = pod(&scene, "y/b")?;
    running.order("put", &new_pod)?;
    let pod_took = running.until("the pod is known", |ready| ready["pods"] == 4)?;
    failures.extend(compare(lab, &scene, "with the pod's address")?);

    // The policy's watch has died unnoticed; the pod that it selects comes up.
    running.order("mute", &Value::Null)?;
    scene.apply((
        "z/deny",
        "{podSelector: {}, policyTypes: [Ingress, Egress]}",
    ))?;
    running.order("put", &policy(&scene, "z/deny", 1)?)?;
    scene.pods.extend(later.map(|pod| ("z/a".to_owned(), pod)));
    running.order("put", &pod(&scene, "z/a")?)?;
    running.until("the pod is known", |ready| ready["pods"] == 5)?;
    let told = running.ready()["policies"]["z/deny"] == 1;
    failures.extend(unless(
        told,
        "a pod should not be known before the policies that were there",
    ));
    failures.extend(compare(
        lab,
        &scene,
        "with a pod whose policy the watch missed",
    )?);
    running.order("speak", &Value::Null)?;

    let generation = running.ready()["generation"].clone();
    let mut heartbeat = new_pod.clone();
    heartbeat["status"]["message"] = json!("still running");
    running.order("put", &heartbeat)?;
    scene.apply(("y/deny", "{podSelector: {}, policyTypes: [Ingress]}"))?;
    running.order("put", &policy(&scene, "y/deny", 7)?)?;
    let policy_took = running.until("the policy is in force", |ready| {
        ready["policies"]["y/deny"] == 7
    })?;
    failures.extend(compare(lab, &scene, "with another policy")?);
    let next = generation.as_u64().map(|before| before + 1);
    failures.extend(unless(
        running.ready()["generation"].as_u64() == next,
        "a heartbeat should write nothing",
    ));

    lab::nft(NODES[0], &format!("delete table inet {TABLE}\n"))?;
    wait_for_table(true)?;
    failures.extend(compare(lab, &scene, "after somebody removed the table")?);

    let gone = policy(&scene, "x/deny-all", 1)?;
    scene.policies.remove("x/deny-all");
    running.order("forget", &gone)?;
    running.order("expire", &Value::Null)?;
    running.until("the policy that went unseen is gone", |ready| {
        ready["policies"].get("x/deny-all").is_none()
    })?;
    failures.extend(compare(lab, &scene, "after a new list")?);

    let stopped = Command::new("kill")
        .args(["-TERM", &running.enforcer.id().to_string()])
        .status()?;
    let ended = running.enforcer.wait()?;
    failures.extend(unless(
        stopped.success() && ended.success(),
        "it should end well on SIGTERM",
    ));
    failures.extend(compare(lab, &scene, "after it ended")?);
    println!(
        "       a pod's address was in force {} ms after the API had it, a policy after {} ms",
        pod_took.as_millis(),
        policy_took.as_millis()
    );
    Ok(failures)
}

fn wait_for_table(present: bool) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let listed = lab::inside(NODES[0])
            .args(["nft", "list", "table", "inet", TABLE])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if listed.success() == present {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err("the table did not come back".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
}
