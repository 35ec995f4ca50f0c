//! What the API server says of one account's requests: its audit log. Reads a file of the running server.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use bailiwick_model::names::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use jiff::Timestamp;
use serde_json::Value;

use crate::api_server::ApiServer;

/// How long the API server may take to write an entry.
const FLUSH: Duration = Duration::from_millis(500);
/// When an operator that never comes to rest is given up.
const PATIENCE: Duration = Duration::from_mins(10);

/// The audit policy: the operator's requests without their bodies, and nobody else's.
pub fn policy() -> String {
    format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
         - level: Metadata\n  users: ['{}']\n",
        account()
    )
}

fn account() -> String {
    format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}")
}

/// One request that was answered; of a watch, that it was opened.
#[derive(Clone, Debug)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// The resource with its subresource.
    pub resource: String,
    /// The namespace and name of the object.
    pub object: (String, String),
    /// When it was answered.
    pub answered: Timestamp,
}

impl Request {
    pub fn renews_the_lease(&self) -> bool {
        self.resource == "leases"
    }

    /// A look at a Secret's metadata, as each Region's are taken every 25 seconds; or a reading of it.
    pub fn looks_at_a_secret(&self) -> bool {
        self.verb == "get" && self.resource == "secrets"
    }

    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete"].contains(&self.verb.as_str())
    }

    /// A question about one's own rights, which is sent as a write.
    pub fn is_review(&self) -> bool {
        self.resource == "selfsubjectaccessreviews"
    }

    /// Whether it writes one of a Region's objects: neither the Region's finalizer and status nor an Event that tells of it.
    fn writes_an_object(&self) -> bool {
        self.is_write()
            && !self.is_review()
            && !["leases", "events", "regions", "regions/status"].contains(&self.resource.as_str())
    }
}

/// What was applied.
pub struct Applied {
    /// How many objects, each counted once.
    pub count: usize,
    /// When the last of them stood.
    pub last: Timestamp,
}

/// The objects of Regions among some requests.
pub fn objects(requests: &[Request]) -> Applied {
    let written: Vec<&Request> = requests
        .iter()
        .filter(|request| request.writes_an_object())
        .collect();
    Applied {
        count: written
            .iter()
            .map(|request| (&request.resource, &request.object))
            .collect::<BTreeSet<_>>()
            .len(),
        last: written
            .iter()
            .map(|request| request.answered)
            .max()
            .unwrap_or_default(),
    }
}

/// The log, read as it grows.
pub struct AuditLog {
    file: File,
    partial: String,
    requests: Vec<Request>,
}

impl AuditLog {
    pub fn open(server: &ApiServer) -> Self {
        let path = server.audit_log();
        Self {
            file: File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            partial: String::new(),
            requests: Vec::new(),
        }
    }

    /// The end of the log: what was answered until now lies before it.
    pub fn mark(&mut self) -> usize {
        std::thread::sleep(FLUSH);
        self.read();
        self.requests.len()
    }

    /// The requests after a mark.
    pub fn since(&mut self, mark: usize) -> Vec<Request> {
        std::thread::sleep(FLUSH);
        self.read();
        self.requests[mark..].to_vec()
    }

    /// Waits until nothing but the Lease was written for so long.
    pub async fn until_still(&mut self, time: Duration) {
        let start = Instant::now();
        let (mut known, mut since) = (usize::MAX, Instant::now());
        while since.elapsed() < time {
            assert!(
                start.elapsed() < PATIENCE,
                "the operator does not come to rest"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.read();
            let count = self
                .requests
                .iter()
                .filter(|request| !request.renews_the_lease() && !request.looks_at_a_secret())
                .count();
            if count != known {
                (known, since) = (count, Instant::now());
            }
        }
    }

    fn read(&mut self) {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).expect("the audit log");
        self.partial += std::str::from_utf8(&bytes).expect("JSON");
        // The last line may be half written.
        let Some(end) = self.partial.rfind('\n') else {
            return;
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        self.requests.extend(whole.lines().filter_map(request));
    }
}

/// An entry that ends a request, or that says that a watch is open.
fn request(line: &str) -> Option<Request> {
    let entry: Value = serde_json::from_str(line).expect("an entry of the audit log");
    let word = |pointer: &str| {
        entry
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (verb, stage) = (word("/verb"), word("/stage"));
    let ends = if verb == "watch" {
        stage == "ResponseStarted"
    } else {
        ["ResponseComplete", "Panic"].contains(&stage.as_str())
    };
    if !ends {
        return None;
    }
    let mut resource = word("/objectRef/resource");
    let part = word("/objectRef/subresource");
    if !part.is_empty() {
        resource = format!("{resource}/{part}");
    }
    Some(Request {
        verb,
        resource,
        object: (word("/objectRef/namespace"), word("/objectRef/name")),
        answered: word("/stageTimestamp").parse().expect("a time"),
    })
}
