//! A settled operator writes nothing: what the API server's audit log says of it. Reads a file of the checkout.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use bailiwick_model::names::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use serde_json::Value;

use crate::cluster::{Cluster, audit_log};
use crate::failure::{Outcome, While, ensure};

/// How long the log is read.
const WINDOW: Duration = Duration::from_mins(1);
/// How long the API server may take to write an entry.
const FLUSH: Duration = Duration::from_secs(2);
/// A Region writes its steps of five minutes at once; two Regions, so of three windows in a row at most two hold such a
/// write.
const WINDOWS: usize = 3;

/// Within one of three windows the operator's only writes renew its Lease.
pub async fn quiet(cluster: &Cluster) -> Outcome<String> {
    cluster.all_settled(Duration::from_mins(3)).await?;
    let mut loud = Vec::new();
    for _ in 0..WINDOWS {
        let requests = window().await?;
        let lease = requests
            .iter()
            .filter(|((verb, what), _)| what == "leases" && changes(verb, what))
            .map(|(_, count)| count)
            .sum::<usize>();
        ensure(lease > 0, || {
            format!(
                "the audit log shows no renewal of the Lease: is it the right log? {requests:?}"
            )
        })?;
        let writes: Vec<String> = requests
            .iter()
            .filter(|((verb, what), _)| changes(verb, what) && what != "leases")
            .map(|((verb, what), count)| format!("{count} {verb} {what}"))
            .collect();
        let all: Vec<String> = requests
            .iter()
            .map(|((verb, what), count)| format!("{count} {verb} {what}"))
            .collect();
        if writes.is_empty() {
            let before = if loud.is_empty() {
                String::new()
            } else {
                format!("; the window before: {}", loud.join(", "))
            };
            return Ok(format!(
                "0 writes in {} s, all requests: {}{before}",
                WINDOW.as_secs(),
                all.join(", ")
            ));
        }
        // Only the steps of `latestRestorable` and `checkedAt` are no surprise.
        ensure(
            requests.iter().all(|((verb, what), _)| {
                !changes(verb, what) || what == "leases" || what == "regions/status"
            }),
            || format!("a settled operator wrote: {}", writes.join(", ")),
        )?;
        loud.extend(writes);
    }
    Err(crate::failure::Failure::new(format!(
        "a settled operator wrote in {WINDOWS} windows of {} s in a row: {}",
        WINDOW.as_secs(),
        loud.join(", ")
    )))
}

/// Where the log ends now.
pub fn end() -> Outcome<u64> {
    let path = audit_log();
    Ok(std::fs::metadata(&path).during(path.display())?.len())
}

/// What the log says from there on.
pub fn entries(from: u64) -> Outcome<Vec<Value>> {
    let path = audit_log();
    let mut file = File::open(&path).during(path.display())?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text).during(path.display())?;
    // The last line may be half written.
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// A review of one's own rights is a `create` of something that is never kept.
pub fn changes(verb: &str, what: &str) -> bool {
    !["get", "list", "watch"].contains(&verb)
        && !["selfsubjectaccessreviews", "selfsubjectrulesreviews"].contains(&what)
}

/// How often the operator asked for what, by verb and resource.
async fn window() -> Outcome<BTreeMap<(String, String), usize>> {
    let from = end()?;
    tokio::time::sleep(WINDOW + FLUSH).await;
    let operator = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    let mut requests = BTreeMap::new();
    for entry in entries(from)? {
        // A watch that goes on has no other stage yet.
        let counts = matches!(entry["stage"].as_str(), Some("ResponseComplete" | "Panic"))
            || (entry["stage"] == "ResponseStarted" && entry["verb"] == "watch");
        if entry["user"]["username"] != operator.as_str() || !counts {
            continue;
        }
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut what = word(&entry["objectRef"]["resource"]);
        if let Some(part) = entry["objectRef"]["subresource"].as_str() {
            what = format!("{what}/{part}");
        }
        *requests.entry((word(&entry["verb"]), what)).or_insert(0) += 1;
    }
    Ok(requests)
}
