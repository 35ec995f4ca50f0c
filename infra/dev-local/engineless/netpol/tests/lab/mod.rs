//! A cluster's wires without the cluster: network namespaces for two nodes, their pods and the world outside come out,
//! with a prober in each. Needs root; everything it makes is inside namespaces whose names carry the process's id.

pub mod api;
pub mod prober;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, fs};

use crate::cases::{Failure, NODES, POD_RANGES, Place, ProbePort, places};

/// Every namespace of the test begins with this; the id of the process that made it follows.
const PREFIX: &str = "bailiwick-np-";
/// The place between the nodes, which plays the world outside as well.
const OUTSIDE: &str = "outside";

/// The wires and the probers, taken down when dropped.
pub struct Lab {
    places: Vec<Place>,
    probers: BTreeMap<String, Prober>,
}

/// A process of this test inside a place's namespace, which answers every order with one line.
pub struct Prober {
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
            let role = if place.pod { "ends" } else { "forwards" };
            let arguments = [prober::ARGUMENT, &place.address.to_string(), role];
            lab.probers
                .insert(place.name.clone(), Prober::start(&place.name, &arguments)?);
        }
        Ok(lab)
    }

    /// Every place, in a fixed order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The place of this name.
    pub fn place(&self, name: &str) -> Result<Place, Failure> {
        let found = self.places.iter().find(|place| place.name == name);
        found
            .cloned()
            .ok_or_else(|| format!("there is no place {name}").into())
    }

    fn lay_wires(&self) -> Result<(), Failure> {
        ip(
            None,
            self.places
                .iter()
                .map(|place| format!("netns add {}", namespace(&place.name))),
        )?;
        let ends = self.places.iter().filter(|place| place.name != OUTSIDE);
        let wires = ends.map(|place| {
            let (other, port) = match (place.pod, place.node) {
                (true, Some(node)) => (NODES[node], interface(place)),
                _ => (OUTSIDE, place.name.clone()),
            };
            let (here, other) = (namespace(&place.name), namespace(other));
            format!("link add eth0 netns {here} type veth peer name {port} netns {other}")
        });
        ip(None, wires)?;
        self.places
            .iter()
            .try_for_each(|place| ip(Some(&place.name), self.addresses_of(place)))
    }

    /// Addresses and routes as the `ptp` plugin lays them: a pod knows its gateway alone, the node has a route a pod.
    fn addresses_of(&self, place: &Place) -> Vec<String> {
        let address = place.address;
        let mut lines = vec!["link set lo up".to_owned()];
        let Some(node) = place.node else {
            lines.push(format!("addr add {address}/32 dev lo"));
            for (number, (node, range)) in NODES.iter().zip(POD_RANGES).enumerate() {
                let link = number + 1;
                lines.push(format!("addr add 10.202.{link}.1/30 dev {node}"));
                lines.push(format!("link set {node} up"));
                lines.push(format!("route add {range} via 10.202.{link}.2"));
            }
            return lines;
        };
        let number = node + 1;
        lines.push("link set eth0 up".to_owned());
        if place.pod {
            lines.push(format!("addr add {address}/32 dev eth0"));
            lines.push(format!("route add 10.201.{number}.1 dev eth0 scope link"));
            lines.push(format!("route add default via 10.201.{number}.1"));
            return lines;
        }
        lines.push(format!("addr add {address}/30 dev eth0"));
        lines.push(format!("route add default via 10.202.{number}.1"));
        for pod in self
            .places
            .iter()
            .filter(|other| other.pod && other.node == Some(node))
        {
            let wire = interface(pod);
            lines.push(format!("addr add 10.201.{number}.1/32 dev {wire}"));
            lines.push(format!("link set {wire} up"));
            lines.push(format!(
                "route add {}/32 dev {wire} scope link",
                pod.address
            ));
        }
        lines
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
        for (place, chosen) in &by_place {
            let tries = chosen
                .iter()
                .map(|probe| format!("try {} {}", probe.to.address, probe.port));
            self.prober(place)?
                .order(tries.chain([format!("within {milliseconds}")]))?;
        }
        let mut open = Vec::new();
        for (place, chosen) in &by_place {
            for probe in chosen {
                match self.prober(place)?.answer()?.as_str() {
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

    /// Opens a TCP connection to port 80 and keeps it. Whether it came about.
    pub fn hold(&mut self, from: &str, to: &Place) -> Result<bool, Failure> {
        self.ask(from, format!("hold {}", to.address))
            .map(|answer| answer == "open")
    }

    /// Sends something over the connection that is held, and waits for it to come back. Whether it does.
    pub fn talk(&mut self, from: &str) -> Result<bool, Failure> {
        self.ask(from, "talk".to_owned())
            .map(|answer| answer == "open")
    }

    /// Sends a datagram to port 82 of a place from any address, without waiting for an answer; tells whether the place
    /// hears it within half a second.
    pub fn shout(
        &mut self,
        from: &str,
        sender: IpAddr,
        to: &str,
        receiver: IpAddr,
    ) -> Result<bool, Failure> {
        let sent = self.ask(from, format!("shout {sender} {receiver}"))?;
        if sent != "sent" {
            return Err(format!("{from} could not send as {sender}: {sent}").into());
        }
        self.ask(to, format!("heard {sender}"))
            .map(|answer| answer == "yes")
    }

    /// Sends datagrams to port 82 of a place, all of one flow and as fast as the machine can, while `meanwhile` runs.
    /// Gives how many were sent, and whether the place heard one.
    pub fn flood(
        &mut self,
        from: &Place,
        to: &Place,
        meanwhile: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(u64, bool), Failure> {
        let started = self.ask(&from.name, format!("flood {}", to.address))?;
        if started != "flooding" {
            return Err(format!("{} could not flood {}: {started}", from.name, to.name).into());
        }
        let done = meanwhile();
        let sent = self.ask(&from.name, "ebb".to_owned())?.parse()?;
        done?;
        let heard = self.ask(&to.name, format!("heard {}", from.address))?;
        Ok((sent, heard == "yes"))
    }

    fn ask(&mut self, place: &str, order: String) -> Result<String, Failure> {
        let prober = self.prober(place)?;
        prober.order([order])?;
        prober.answer()
    }

    fn prober(&mut self, place: &str) -> Result<&mut Prober, Failure> {
        self.probers
            .get_mut(place)
            .ok_or_else(|| format!("there is no prober in {place}").into())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.probers.clear();
        for place in &self.places {
            // One that was never made is as gone as one that is removed.
            let _ = Command::new("ip")
                .args(["netns", "delete", &namespace(&place.name)])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Prober {
    /// Starts this program with the arguments in a place's namespace and waits until it is ready.
    pub fn start(place: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut child = inside(place)
            .arg(env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("the prober has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the prober has no output")?);
        let mut started = Self {
            child,
            orders,
            answers,
        };
        match started.answer()?.as_str() {
            "ready" => Ok(started),
            other => Err(format!("{arguments:?} in {place} said {other} instead of ready").into()),
        }
    }

    /// Gives orders, one a line.
    pub fn order(&mut self, orders: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        let lines: String = orders.into_iter().map(|order| order + "\n").collect();
        Ok(self.orders.write_all(lines.as_bytes())?)
    }

    /// Waits for the next answer.
    pub fn answer(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("a prober ended before it answered".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
}

/// Runs `ip` commands, in a place's namespace or in this one.
pub fn ip(place: Option<&str>, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut command = Command::new("ip");
    if let Some(place) = place {
        command.args(["-netns", &namespace(place)]);
    }
    let batch: String = lines.into_iter().map(|line| line + "\n").collect();
    fed(command.args(["-batch", "-"]), &batch)
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
    let said = String::from_utf8_lossy(&output.stderr);
    let program = command.get_program().display();
    Err(format!(
        "{program} failed (root and the commands nft, ip and nsenter are needed): {said}\n{input}"
    )
    .into())
}

fn namespace(place: &str) -> String {
    format!("{PREFIX}{}-{}", std::process::id(), place.replace('/', "-"))
}

/// The node's end of a pod's wire.
pub fn interface(pod: &Place) -> String {
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
