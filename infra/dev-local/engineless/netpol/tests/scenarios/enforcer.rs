//! The enforcer as it runs on a node: the real program in a node's namespace, fed by an API server's lists and watches,
//! judged by packets. Prints how long a change takes from the API to the kernel.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bailiwick_dev_netpol::rules::Enforcement;
use serde_json::{Value, json};

use super::{DENY_ALL, remove_tables, unless};
use crate::cases::{Failure, NODES, POD_RANGES, Scene, TCP_80, verdict};
use crate::lab::{self, Lab, Probe, Prober, api};
use crate::{PROGRAM, TABLE, differences, every_probe, expected_open, observe};

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
    fn start() -> Result<Self, Failure> {
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
            .arg(env::current_exe()?)
            .arg(PROGRAM)
            .args(["--node", NODES[0], "--table", TABLE])
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .arg("--ready-file")
            .arg(folder.join("ready"))
            .arg("--socket")
            .arg(folder.join("socket"))
            .args(["--pod-range", POD_RANGES[0]])
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

    /// Calls the program as a network plugin for a new pod; gives what it prints.
    fn announce(&self, pod: &str, address: &str) -> Result<Value, Failure> {
        let (namespace, name) = pod.split_once('/').ok_or("a name is namespace/name")?;
        let mut plugin = Command::new(env::current_exe()?)
            .arg(PROGRAM)
            .env("CNI_COMMAND", "ADD")
            .env(
                "CNI_ARGS",
                format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={pod}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let configuration = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "bailiwick-dev-netpol",
            "socket": self.folder.join("socket"),
            "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": format!("{address}/24")}]},
        });
        let mut input = plugin.stdin.take().ok_or("the plugin has no input")?;
        input.write_all(configuration.to_string().as_bytes())?;
        drop(input);
        let output = plugin.wait_with_output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
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
    object["metadata"]["uid"] = json!(format!("{namespace}/{name}"));
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
    remove_tables()?;
    let running = Running::start()?;
    let mut life = Life {
        lab,
        running,
        scene: Scene::new(),
        failures: Vec::new(),
    };
    life.before_the_api()?;
    let late = ["y/b", "z/a", "z/c"].map(|name| (name, life.scene.pods.remove(name)));
    let [first, second, third] = late.map(|(name, pod)| (name, pod.unwrap_or_default()));
    life.first_list()?;
    life.new_pod(first)?;
    life.policy_that_the_watch_missed(second)?;
    life.announced_pod(third)?;
    life.new_policy()?;
    life.table_removed_by_others()?;
    life.table_added_to_by_others()?;
    life.new_list()?;
    life.end()?;
    Ok(life.failures)
}

/// A start on a node that has a table of that name which does not take the rules where it is.
pub fn start_with_a_strange_table(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    remove_tables()?;
    let strange = "chain forward { type filter hook input priority filter; }";
    lab::nft(NODES[0], &format!("table inet {TABLE} {{\n{strange}\n}}\n"))?;
    let mut running = Running::start()?;
    let mut scene = Scene::new();
    scene.apply(DENY_ALL)?;
    running.serve(&scene)?;
    running.until("the policy is in force", |ready| {
        ready["policies"]["x/deny-all"] == 1
    })?;
    compare(lab, &scene, "after a start with a strange table")
}

/// The enforcer under test, and what should hold by now.
struct Life<'l> {
    lab: &'l mut Lab,
    running: Running,
    scene: Scene,
    failures: Vec<String>,
}

impl Life<'_> {
    fn before_the_api(&mut self) -> Result<(), Failure> {
        wait_for_table(|table| table.is_some())?;
        let mut nothing_known = Scene::new();
        nothing_known.pods.clear();
        let differing = compare(self.lab, &nothing_known, "before the API server answers")?;
        self.failures.extend(differing);
        self.expect(
            self.running.ready().is_null(),
            "it should not be ready before the API server answers",
        );
        Ok(())
    }

    fn first_list(&mut self) -> Result<(), Failure> {
        self.scene.apply(DENY_ALL)?;
        self.running.serve(&self.scene)?;
        self.running
            .until("the first pods are known", |ready| ready["pods"] == 2)?;
        self.compare("with a default deny and three pods not seen")
    }

    fn new_pod(&mut self, (name, object): (&str, Value)) -> Result<(), Failure> {
        self.scene.pods.insert(name.to_owned(), object);
        self.running.order("put", &pod(&self.scene, name)?)?;
        let took = self
            .running
            .until("the pod is known", |ready| ready["pods"] == 3)?;
        println!(
            "       a pod's address was in force {} ms after the API had it",
            took.as_millis()
        );
        self.compare("with a new pod")
    }

    /// The policies' watch has died unnoticed; the pod that a policy selects comes up.
    fn policy_that_the_watch_missed(
        &mut self,
        (name, object): (&str, Value),
    ) -> Result<(), Failure> {
        self.running.order("mute", &Value::Null)?;
        self.scene.apply((
            "z/deny",
            "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        ))?;
        self.running
            .order("put", &policy(&self.scene, "z/deny", 1)?)?;
        self.scene.pods.insert(name.to_owned(), object);
        self.running.order("put", &pod(&self.scene, name)?)?;
        self.running
            .until("the pod is known", |ready| ready["pods"] == 4)?;
        let told = self.running.ready()["policies"]["z/deny"] == 1;
        self.expect(
            told,
            "a pod should not be known before the policies that were there",
        );
        self.compare("with a pod whose policy the watch missed")?;
        self.running.order("speak", &Value::Null)
    }

    /// The pod is there, its address is not: the network plugin tells it before the API does.
    fn announced_pod(&mut self, (name, object): (&str, Value)) -> Result<(), Failure> {
        self.scene.pods.insert(name.to_owned(), object);
        let with_address = pod(&self.scene, name)?;
        let mut without = with_address.clone();
        without["status"] = json!({"phase": "Pending"});
        self.running.order("put", &without)?;
        let address = with_address["status"]["podIP"].as_str().unwrap_or_default();
        let started = Instant::now();
        let said = self.running.announce(name, address)?;
        let took = started.elapsed();
        self.expect(
            said["ips"][0]["address"] == format!("{address}/24"),
            "the plugin should pass the result on",
        );
        self.expect(
            took < Duration::from_secs(4),
            "the plugin should not wait in vain",
        );
        self.compare("with a pod that the API has no address of")?;
        println!(
            "       a pod's start waited {} ms for its rules",
            took.as_millis()
        );
        let generation = self.running.ready()["generation"].clone();
        self.running.order("put", &with_address)?;
        thread::sleep(Duration::from_millis(300));
        self.expect(
            self.running.ready()["generation"] == generation,
            "what the API learns later should change nothing",
        );
        Ok(())
    }

    fn new_policy(&mut self) -> Result<(), Failure> {
        let generation = self.running.ready()["generation"].as_u64();
        let mut heartbeat = pod(&self.scene, "x/a")?;
        heartbeat["status"]["message"] = json!("still running");
        self.running.order("put", &heartbeat)?;
        self.scene
            .apply(("y/deny", "{podSelector: {}, policyTypes: [Ingress]}"))?;
        self.running
            .order("put", &policy(&self.scene, "y/deny", 7)?)?;
        let took = self.running.until("the policy is in force", |ready| {
            ready["policies"]["y/deny"] == 7
        })?;
        println!(
            "       a policy was in force {} ms after the API had it",
            took.as_millis()
        );
        let one_more = generation.map(|before| before + 1);
        self.expect(
            self.running.ready()["generation"].as_u64() == one_more,
            "a heartbeat should write nothing",
        );
        self.compare("with another policy")
    }

    fn table_removed_by_others(&mut self) -> Result<(), Failure> {
        lab::nft(NODES[0], &format!("delete table inet {TABLE}\n"))?;
        wait_for_table(|table| table.is_some())?;
        self.compare("after somebody removed the table")
    }

    fn table_added_to_by_others(&mut self) -> Result<(), Failure> {
        lab::nft(NODES[0], &format!("add chain inet {TABLE} strange\n"))?;
        wait_for_table(|table| table.is_some_and(|text| !text.contains("strange")))?;
        self.compare("after somebody added to the table")
    }

    /// A change that no watch told, found by the list that follows an expired watch.
    fn new_list(&mut self) -> Result<(), Failure> {
        let gone = policy(&self.scene, "x/deny-all", 1)?;
        self.scene.policies.remove("x/deny-all");
        self.running.order("forget", &gone)?;
        self.running.order("expire", &Value::Null)?;
        self.running.until("the policy is gone", |ready| {
            ready["policies"].get("x/deny-all").is_none()
        })?;
        self.compare("after a new list")
    }

    fn end(&mut self) -> Result<(), Failure> {
        let id = self.running.enforcer.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status()?;
        let ended = self.running.enforcer.wait()?;
        self.expect(
            asked.success() && ended.success(),
            "it should end well on SIGTERM",
        );
        self.compare("after it ended")
    }

    fn compare(&mut self, when: &str) -> Result<(), Failure> {
        let differing = compare(self.lab, &self.scene, when)?;
        self.failures.extend(differing);
        Ok(())
    }

    fn expect(&mut self, holds: bool, failure: &str) {
        self.failures.extend(unless(holds, failure));
    }
}

/// Waits until the table's listing, none when there is no table, is so.
fn wait_for_table(so: impl Fn(Option<&str>) -> bool) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let listed = lab::inside(NODES[0])
            .args(["nft", "list", "table", "inet", TABLE])
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&listed.stdout);
        if so(listed.status.success().then_some(text.as_ref())) {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(
                format!("waited in vain for the table to be put right; it is:\n{text}").into(),
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
}
