//! As much of an API server as the enforcer talks to: lists and watches of three kinds and one Node. Orders that change
//! objects come in on standard input; HTTP without TLS goes out on the loopback address of the namespace.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cases::{Failure, NODES, POD_RANGES};

/// The argument that makes the test binary an API server.
pub const ARGUMENT: &str = "serve-api-on";
/// Where each kind is served.
const PATHS: [(&str, &str, &str); 3] = [
    ("/api/v1/pods", "v1", "Pod"),
    ("/api/v1/namespaces", "v1", "Namespace"),
    (
        "/apis/networking.k8s.io/v1/networkpolicies",
        "networking.k8s.io/v1",
        "NetworkPolicy",
    ),
];

#[derive(Default)]
struct Objects {
    version: u64,
    /// Objects by kind, namespace and name.
    live: BTreeMap<(String, String, String), Value>,
    /// What happened at which version.
    events: Vec<(u64, Value)>,
    /// Watches from before this version are told to list again.
    expired: u64,
    /// Whether watches of policies fall silent, as ones on a dead connection do.
    mute: bool,
}

type Shared = Arc<Mutex<Objects>>;

fn locked(objects: &Shared) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until the input ends. Takes the port. Orders are `put` and `delete` with an object, `forget` with an object
/// that goes without an event, `expire`, which ends all watches with 410, and `mute` and `speak` for the watches of
/// policies; each is answered with `done`.
pub fn run(port: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    let objects = Shared::default();
    let served = Arc::clone(&objects);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let objects = Arc::clone(&served);
            thread::spawn(move || {
                // A client that goes away in the middle is no matter of the server's.
                let _ = answer(&connection, &objects);
            });
        }
    });
    let mut output = io::stdout();
    writeln!(output, "ready")?;
    output.flush()?;
    for line in io::stdin().lock().lines() {
        locked(&objects).obey(&line?)?;
        writeln!(output, "done")?;
        output.flush()?;
    }
    Ok(())
}

impl Objects {
    fn obey(&mut self, line: &str) -> Result<(), String> {
        let (order, object) = line.split_once(' ').unwrap_or((line, "null"));
        let mut object: Value = serde_json::from_str(object).map_err(|error| error.to_string())?;
        self.version += 1;
        if order == "expire" {
            self.expired = self.version;
            return Ok(());
        }
        if matches!(order, "mute" | "speak") {
            self.mute = order == "mute";
            return Ok(());
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (
            text(&object["kind"]),
            text(&object["metadata"]["namespace"]),
            text(&object["metadata"]["name"]),
        );
        let before = if order == "put" {
            self.live.insert(key, object.clone())
        } else {
            self.live.remove(&key)
        };
        let event = match (order, before) {
            ("put", None) => "ADDED",
            ("put", Some(_)) => "MODIFIED",
            ("delete", _) => "DELETED",
            ("forget", _) => return Ok(()),
            (other, _) => return Err(format!("{other} is no order")),
        };
        self.events
            .push((self.version, json!({"type": event, "object": object})));
        Ok(())
    }
}

fn answer(mut connection: &TcpStream, objects: &Shared) -> io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameter = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    let head = "Content-Type: application/json\r\nConnection: close\r\n\r\n";
    let node = format!("/api/v1/nodes/{}", NODES[0]);
    if path == node {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODES[0]},
            "spec": {"podCIDR": POD_RANGES[0], "podCIDRs": [POD_RANGES[0]]},
        });
        return write!(connection, "HTTP/1.1 200 OK\r\n{head}{node}");
    }
    let Some((_, version, kind)) = PATHS.iter().find(|(served, ..)| *served == path) else {
        return write!(connection, "HTTP/1.1 404 Not Found\r\n{head}{{}}");
    };
    if !matches!(parameter("watch"), Some("true" | "1")) {
        let objects = locked(objects);
        let items: Vec<&Value> = objects
            .live
            .iter()
            .filter(|((found, ..), _)| found == kind)
            .map(|(_, object)| object)
            .collect();
        let list = json!({
            "apiVersion": version, "kind": format!("{kind}List"),
            "metadata": {"resourceVersion": objects.version.to_string()},
            "items": items,
        });
        return write!(connection, "HTTP/1.1 200 OK\r\n{head}{list}");
    }
    write!(connection, "HTTP/1.1 200 OK\r\n{head}")?;
    let started = parameter("resourceVersion")
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    let mut told: u64 = started;
    loop {
        let events: Vec<(u64, Value)> = {
            let objects = locked(objects);
            if objects.expired > started {
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "code": 410, "reason": "Expired", "message": "too old"});
                return writeln!(connection, "{}", json!({"type": "ERROR", "object": status}));
            }
            let silent = objects.mute && *kind == "NetworkPolicy";
            let new = objects
                .events
                .iter()
                .filter(|(at, event)| !silent && *at > told && event["object"]["kind"] == **kind);
            new.cloned().collect()
        };
        for (at, event) in events {
            writeln!(connection, "{event}")?;
            told = at;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
