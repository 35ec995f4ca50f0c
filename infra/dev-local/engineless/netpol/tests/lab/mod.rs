//! A cluster's wires without the cluster: network namespaces for two nodes, their pods and the world outside come out,
//! with a prober in each. Needs root; everything it makes is inside namespaces whose names carry the process's id.

pub mod prober;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, fs};

use crate::cases::{Failure, NODES, Place, ProbePort, places};

/// Every namespace of the test begins with this; the id of the process that made it follows.
const PREFIX: &str = "bailiwick-np-";
/// The namespace between the nodes, which plays the world outside as well.
const OUTSIDE: &str = "outside";

/// The wires and the probers, taken down when dropped.
pub struct Lab {
    places: Vec<Place>,
    probers: BTreeMap<String, Prober>,
}

/// A process of this test inside a place's namespace.
struct Prober {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A connection to try.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Where it starts.
    pub from: Place,
    /// Where it goes.
    pub to: Place,
    /// The destination port.
    pub port: ProbePort,
}

impl Lab {
    /// Builds everything, after removing what killed runs left behind.
    pub fn new() -> Result<Self, Failure> {
        remove_leftovers()?;
        let mut lab = Self {
            places: places(),
            probers: BTreeMap::new(),
        };
        lab.lay_wires()?;
        for place in lab.places.clone() {
            let prober = Prober::start(&place)?;
            lab.probers.insert(place.name.clone(), prober);
        }
        Ok(lab)
    }

    /// Every place, in a fixed order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    fn lay_wires(&self) -> Result<(), Failure> {
        let mut adds = String::new();
        for place in &self.places {
            adds.push_str(&format!("netns add {}\n", namespace(&place.name)));
        }
        ip(None, &adds)?;
        let outside = namespace(OUTSIDE);
        let mut links = String::new();
        for place in self.places.iter().filter(|place| place.name != OUTSIDE) {
            let here = namespace(&place.name);
            let (upstream, port) = match (place.pod, place.node) {
                (true, Some(node)) => (namespace(NODES[node]), interface(place)),
                _ => (outside.clone(), place.name.clone()),
            };
            links.push_str(&format!(
                "link add eth0 netns {here} type veth peer name {port} netns {upstream}\n"
            ));
        }
        ip(None, &links)?;
        for place in &self.places {
            ip(Some(&place.name), &self.addresses_of(place))?;
        }
        Ok(())
    }

    /// Addresses and routes as the `ptp` plugin lays them: a pod knows its gateway alone, the node has a route a pod.
    fn addresses_of(&self, place: &Place) -> String {
        let mut batch = String::from("link set lo up\n");
        let mut add = |line: String| {
            batch.push_str(&line);
            batch.push('\n');
        };
        let address = place.address;
        if place.name == OUTSIDE {
            add(format!("addr add {address}/32 dev lo"));
            for (index, node) in self
                .places
                .iter()
                .filter(|other| !other.pod && other.node.is_some())
                .enumerate()
            {
                let third = index + 1;
                add(format!("addr add 10.202.{third}.1/30 dev {}", node.name));
                add(format!("link set {} up", node.name));
                add(format!(
                    "route add {} via {}",
                    crate::cases::POD_RANGES[index],
                    node.address
                ));
            }
            return batch;
        }
        add("link set eth0 up".to_owned());
        let Some(node) = place.node else { return batch };
        let third = node + 1;
        if place.pod {
            add(format!("addr add {address}/32 dev eth0"));
            add(format!("route add 10.201.{third}.1 dev eth0 scope link"));
            add(format!("route add default via 10.201.{third}.1"));
            return batch;
        }
        add(format!("addr add {address}/30 dev eth0"));
        add(format!("route add default via 10.202.{third}.1"));
        for pod in self
            .places
            .iter()
            .filter(|other| other.pod && other.node == Some(node))
        {
            add(format!(
                "addr add 10.201.{third}.1/32 dev {}",
                interface(pod)
            ));
            add(format!("link set {} up", interface(pod)));
            add(format!(
                "route add {}/32 dev {} scope link",
                pod.address,
                interface(pod)
            ));
        }
        batch
    }

    /// Tries connections, all at once; gives those that came about.
    ///
    /// The time is what a shut connection costs; an open one answers in well under it.
    pub fn open_among(
        &mut self,
        probes: &[Probe],
        milliseconds: u64,
    ) -> Result<Vec<Probe>, Failure> {
        let mut by_place: BTreeMap<&str, Vec<&Probe>> = BTreeMap::new();
        for probe in probes {
            by_place.entry(&probe.from.name).or_default().push(probe);
        }
        for (place, probes) in &by_place {
            let prober = self.prober(place)?;
            let orders = probes
                .iter()
                .map(|probe| format!("{} {}", probe.to.address, probe.port));
            prober.order(orders, milliseconds)?;
        }
        let mut open = Vec::new();
        for (place, probes) in &by_place {
            let answers = self.prober(place)?.answers(probes.len())?;
            for (probe, answer) in probes.iter().zip(answers) {
                match answer.as_str() {
                    "open" => open.push((*probe).clone()),
                    "shut" => {}
                    other => {
                        let (to, port) = (&probe.to.name, probe.port);
                        return Err(format!(
                            "{place} to {to} on {port} could not be tried: {other}"
                        )
                        .into());
                    }
                }
            }
        }
        Ok(open)
    }

    fn prober(&mut self, place: &str) -> Result<&mut Prober, Failure> {
        self.probers
            .get_mut(place)
            .ok_or_else(|| format!("there is no prober in {place}").into())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (_, mut prober) in std::mem::take(&mut self.probers) {
            drop(prober.orders);
            // The prober ends with its input; killing covers one that hangs.
            let _ = prober.child.kill();
            let _ = prober.child.wait();
        }
        for place in &self.places {
            let _ = Command::new("ip")
                .args(["netns", "delete", &namespace(&place.name)])
                .status();
        }
    }
}

impl Prober {
    fn start(place: &Place) -> Result<Self, Failure> {
        let mut child = inside(&place.name)
            .arg(env::current_exe()?)
            .args([
                prober::ARGUMENT,
                &place.address.to_string(),
                if place.pod { "" } else { "forward" },
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("the prober has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the prober has no output")?);
        let mut prober = Self {
            child,
            orders,
            answers,
        };
        match prober.answers(1)?.first().map(String::as_str) {
            Some("ready") => Ok(prober),
            other => Err(format!(
                "the prober in {} said {other:?} instead of ready",
                place.name
            )
            .into()),
        }
    }

    fn order(
        &mut self,
        orders: impl Iterator<Item = String>,
        milliseconds: u64,
    ) -> Result<(), Failure> {
        let mut batch: String = orders.map(|order| order + "\n").collect();
        batch.push_str(&format!("within {milliseconds}\n"));
        self.orders.write_all(batch.as_bytes())?;
        Ok(())
    }

    fn answers(&mut self, count: usize) -> Result<Vec<String>, Failure> {
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                return Err("a prober ended before it answered".into());
            }
            answers.push(line.trim_end().to_owned());
        }
        Ok(answers)
    }
}

/// A command that runs in a place's namespace; the program follows as the first argument.
pub fn inside(place: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", namespace(place)));
    command
}

/// Runs `nft` in a node's namespace with a ruleset as its input.
pub fn nft(node: &str, ruleset: &str) -> Result<(), Failure> {
    fed(inside(node).args(["nft", "-f", "-"]), ruleset)
        .map_err(|error| format!("{error}\n{ruleset}").into())
}

/// Runs a batch of `ip` commands, in a place's namespace or in this one.
pub fn ip(place: Option<&str>, batch: &str) -> Result<(), Failure> {
    let mut command = Command::new("ip");
    if let Some(place) = place {
        command.args(["-netns", &namespace(place)]);
    }
    fed(command.args(["-batch", "-"]), batch).map_err(|error| format!("{error}\n{batch}").into())
}

fn fed(command: &mut Command, input: &str) -> Result<(), Failure> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!(
        "{:?} failed (root and the commands nft, ip and nsenter are needed): {said}",
        command.get_program()
    )
    .into())
}

fn namespace(place: &str) -> String {
    format!("{PREFIX}{}-{}", std::process::id(), place.replace('/', "-"))
}

/// The node's end of a pod's wire.
fn interface(pod: &Place) -> String {
    format!("pod-{}", pod.name.replace('/', "-"))
}

/// Removes the namespaces of runs whose process is gone. Their probers ended with it, for they live by its pipes.
fn remove_leftovers() -> Result<(), Failure> {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return Ok(());
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(owner) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if !is_test(owner) {
            Command::new("ip")
                .args(["netns", "delete", &name])
                .status()?;
        }
    }
    Ok(())
}

/// Whether the process lives and is a run of this test, not another that got the same id.
fn is_test(id: &str) -> bool {
    let Ok(program) = fs::read_link(format!("/proc/{id}/exe")) else {
        return false;
    };
    let own = env::current_exe().unwrap_or_default();
    let stem = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str()?.split('-').next().map(str::to_owned))
    };
    stem(&program) == stem(&own)
}
