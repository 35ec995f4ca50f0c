//! The wires of one case: a pod, the node that enforces, and the world outside, each a network namespace of its own.
//! Needs root, `ip` and `nft`; what it makes is named after the process and taken down when dropped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

const PREFIX: &str = "bailiwick-fence-";
/// Everything outside: the responder, the peer of an allowed flow, and who must never be reached.
pub const OUTSIDE: [&str; 2] = ["198.51.100.2", "2001:db8:77::2"];
/// Who must never be reached.
pub const FORBIDDEN: u16 = 443;
/// The peer of the pod's own flow.
pub const PEER: u16 = 5432;
/// What the pod's main process says when it gets through.
const GREETING: &[u8] = b"main";

pub struct Lab {
    name: String,
    children: Vec<Child>,
}

/// What one listener outside was reached by.
pub type Record = Arc<Mutex<Vec<(SocketAddr, bool)>>>;

impl Lab {
    /// Lays the wires; the pod has IPv6 beside IPv4, or not.
    pub fn new(number: usize, has_six: bool) -> Self {
        let lab = Self {
            name: format!("{PREFIX}{}-{number}", std::process::id()),
            children: Vec::new(),
        };
        let [pod, node, outside] = [lab.at("pod"), lab.at("node"), lab.at("outside")];
        let places = [&pod, &node, &outside];
        ip(None, &places.map(|place| format!("netns add {place}")));
        // Nothing is tentative for its first seconds.
        let six = "net.ipv6.conf.";
        let settled = [
            format!("{six}all.accept_dad=0"),
            format!("{six}default.accept_dad=0"),
        ];
        for place in places {
            must(sysctl(place).args(&settled));
        }
        must(sysctl(&node).args(["net.ipv4.ip_forward=1", &format!("{six}all.forwarding=1")]));
        ip(
            None,
            &[
                format!("link add eth0 netns {pod} type veth peer name pod netns {node}"),
                format!("link add eth0 netns {outside} type veth peer name outside netns {node}"),
            ],
        );
        let words = |lines: &[&str]| -> Vec<String> {
            lines.iter().map(|line| (*line).to_owned()).collect()
        };
        ip(
            Some(&node),
            &words(&[
                "addr add 10.77.0.1/24 dev pod",
                "addr add fd77::1/64 dev pod nodad",
                "addr add 198.51.100.1/24 dev outside",
                "addr add 2001:db8:77::1/64 dev outside nodad",
                "link set pod up",
                "link set outside up",
            ]),
        );
        ip(
            Some(&outside),
            &words(&[
                "link set lo up",
                "addr add 198.51.100.2/24 dev eth0",
                "addr add 2001:db8:77::2/64 dev eth0 nodad",
                "link set eth0 up",
                "route add default via 198.51.100.1",
                "route add ::/0 via 2001:db8:77::1",
            ]),
        );
        let mut lines = words(&[
            "link set lo up",
            "addr add 10.77.0.2/24 dev eth0",
            "link set eth0 up",
            "route add default via 10.77.0.1",
        ]);
        if has_six {
            lines.push("addr add fd77::2/64 dev eth0 nodad".to_owned());
            lines.push("route add ::/0 via fd77::1".to_owned());
        }
        ip(Some(&pod), &lines);
        lab
    }

    /// The name of a namespace.
    pub fn at(&self, place: &str) -> String {
        format!("{}-{place}", self.name)
    }

    /// Runs the responder outside, until the lab is taken down.
    pub fn respond(&mut self) {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.at("outside")])
            .args([env!("CARGO_BIN_EXE_bailiwick-fence"), "respond"])
            .spawn()
            .unwrap();
        self.children.push(child);
        let answered = inside(&self.at("outside"), || {
            let end = Instant::now() + Duration::from_secs(10);
            loop {
                match TcpStream::connect((OUTSIDE[0], 7443)) {
                    Ok(mut stream) => {
                        let mut said = String::new();
                        stream.read_to_string(&mut said).unwrap();
                        return said;
                    }
                    Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
                    Err(error) => panic!("the responder does not answer: {error}"),
                }
            }
        });
        assert_eq!(answered.join().unwrap(), "bailiwick-fence\n");
    }

    /// Takes connections on a port outside, and notes each with whether the pod's main process made it.
    pub fn record(&self, port: u16) -> Record {
        let record = Record::default();
        let (notes, bound) = (Arc::clone(&record), Arc::new(Mutex::new(false)));
        let is_bound = Arc::clone(&bound);
        inside(&self.at("outside"), move || {
            let listener = TcpListener::bind(("::", port)).unwrap();
            *is_bound.lock().unwrap() = true;
            for mut stream in listener.incoming().flatten() {
                let notes = Arc::clone(&notes);
                thread::spawn(move || {
                    let from = stream.peer_addr();
                    let mut said = [0; 4];
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                    let main = stream.read_exact(&mut said).is_ok() && said == GREETING;
                    if let Ok(from) = from {
                        notes.lock().unwrap().push((from, main));
                    }
                });
            }
        });
        wait_for(&bound);
        record
    }

    /// Cluster DNS: knows `peer.test`, says of every other name that it does not exist.
    pub fn serve_names(&self) {
        let bound = Arc::new(Mutex::new(false));
        let is_bound = Arc::clone(&bound);
        inside(&self.at("outside"), move || {
            let socket = UdpSocket::bind((OUTSIDE[0], 53)).unwrap();
            *is_bound.lock().unwrap() = true;
            let mut question = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(&answer(&question[..length]), client);
            }
        });
        wait_for(&bound);
    }

    /// The pod's resolver is the one outside.
    pub fn resolves_outside(&self) {
        let folder = self.netns_folder();
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join("resolv.conf"),
            format!("nameserver {}\n", OUTSIDE[0]),
        )
        .unwrap();
    }

    fn netns_folder(&self) -> PathBuf {
        Path::new("/etc/netns").join(self.at("pod"))
    }

    /// Replaces the node's rules at once.
    pub fn enforce(&self, rules: &str) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.at("node"), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let all = format!("add table inet fence\ndelete table inet fence\n{rules}\n");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(all.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success(), "nft does not take {rules}");
    }

    /// Runs in the pod what a kubelet would: the fence, and when it ends well the main process, which connects at once.
    /// `before` are the words of the fence's command line, or of something else in its place.
    pub fn start(&self, before: &[String]) -> Child {
        let mut targets = Vec::new();
        for port in [FORBIDDEN, PEER] {
            targets.extend(OUTSIDE.map(|outside| format!("{outside}/{port}")));
        }
        Command::new("ip")
            .args(["netns", "exec", &self.at("pod"), "bash", "-c", MAIN, "pod"])
            .args(before)
            .env("TARGETS", targets.join(" "))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

const MAIN: &str = r#"
"$@"
code=$?
if [ $code = 0 ]; then
  for target in $TARGETS; do
    timeout 1 bash -c "exec 3<>/dev/tcp/$target && echo main >&3" 2>/dev/null &
  done
  wait
fi
exit $code"#;

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(self.netns_folder());
        remove_namespaces(&self.name);
    }
}

/// Takes down what a run that was killed left behind.
pub fn remove_leftovers() {
    let names = Command::new("ip").args(["netns", "list"]).output().unwrap();
    for line in String::from_utf8_lossy(&names.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let process = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            remove_namespaces(name);
            let _ = fs::remove_dir_all(Path::new("/etc/netns").join(name));
        }
    }
}

/// Removes the namespaces whose names begin so.
fn remove_namespaces(beginning: &str) {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(beginning);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

/// Runs something in a namespace, on a thread of its own.
pub fn inside<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let file = File::open(Path::new("/run/netns").join(namespace)).unwrap();
    thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

fn wait_for(flag: &Mutex<bool>) {
    let end = Instant::now() + Duration::from_secs(10);
    while !*flag.lock().unwrap() {
        assert!(Instant::now() < end, "nobody listens outside");
        thread::sleep(Duration::from_millis(5));
    }
}

fn sysctl(namespace: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "sysctl", "-qw"]);
    command
}

fn ip(namespace: Option<&str>, lines: &[String]) {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip is missing: install iproute2");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.join("\n").as_bytes())
        .unwrap();
    assert!(
        child.wait().unwrap().success(),
        "ip does not take {lines:?}"
    );
}

/// Runs a command that has to end well.
pub fn must(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// The response to a question of one name (RFC 1035, section 4).
fn answer(question: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"\x04peer\x04test\0";
    const A: [u8; 2] = [0, 1];
    let known = question[12..].starts_with(NAME);
    let of_type = question.get(12 + NAME.len()..14 + NAME.len());
    let mut response = question.to_vec();
    // A response, with recursion; no such name, or no error.
    response[2] = 0x81;
    response[3] = if known { 0x80 } else { 0x83 };
    // Nothing beside the question, such as EDNS.
    response[8..12].fill(0);
    response.truncate(12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5);
    if known && of_type == Some(&A) {
        response[7] = 1;
        // The name of the question, type A, class IN, 30 s, 4 bytes.
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 198, 51, 100, 2]);
    }
    response
}
