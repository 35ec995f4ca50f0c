//! The evidence log as an auditor meets it: read from the cluster's own bucket with the auditor's Secret, verified with the
//! operator's own program against the anchor in the status, taken home for a day; whatever is done to a copy is found, and
//! the auditor's user does nothing but read. I/O: client pods, and files in a folder of this machine that is removed again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bailiwick_model::evidence::{Anchor, Record, object_key, sequence_of};
use bailiwick_model::names::{AUDITOR_USER, BACKUP_BUCKET, EVIDENCE_BUCKET};
use bailiwick_model::secret::SIGNING_PUBLIC_KEY;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use futures::future::try_join_all;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cases::components::access::BUCKET;
use crate::client::{self, Running, Script, Stand};
use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::programs::{OPERATOR, run, run_offline};
use crate::wait::{Look, until};

/// How long reading a log may take.
const READING: Duration = Duration::from_mins(3);
/// A canary's run is recorded with the next write of the status, which comes every five minutes.
const RECORDED: Duration = Duration::from_mins(7);
/// What every log must have by now.
const KINDS: [&str; 4] = ["ChainStarted", "ChannelChanged", "Placement", "Canary"];

/// The objects of a log by their keys.
type Objects = BTreeMap<String, Vec<u8>>;

/// What the client says at last.
#[derive(Deserialize)]
struct Told {
    covered: Vec<String>,
    markers: usize,
    last: Option<(String, String)>,
}

/// A folder on this machine that goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(region: &str) -> Outcome<Self> {
        let name = format!("bailiwick-e2e-{}-{region}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).during(path.display())?;
        Ok(Self(path))
    }

    /// Writes a copy of a log and returns its path.
    fn copy(&self, name: &str, objects: &Objects) -> Outcome<String> {
        let folder = self.0.join(name);
        for (key, bytes) in objects {
            let file = folder.join(key);
            std::fs::create_dir_all(file.parent().unwrap_or(&folder))?;
            std::fs::write(file, bytes)?;
        }
        Ok(text(&folder))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Outcome<String> {
        let file = self.0.join(name);
        std::fs::write(&file, bytes)?;
        Ok(text(&file))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The log of every Region verifies; copies that somebody changed do not.
pub async fn verifies(cluster: &Cluster) -> Outcome<String> {
    let regions = cluster
        .places
        .iter()
        .map(async |place| of_region(cluster, place).await.during(&place.region));
    Ok(try_join_all(regions).await?.join("; "))
}

async fn of_region(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let secret = place.names.object_store_user(AUDITOR_USER);
    client::hand_over(cluster, place, &secret).await?;
    let what = format!("records of every kind that a log of {} has", place.region);
    let (anchor, objects, last) = until(&what, RECORDED, || async {
        let anchor = anchor(cluster, place).await?;
        let (objects, last) = read(cluster, place, &secret).await?;
        let kinds = kinds(&objects)?;
        let missing: Vec<_> = KINDS.iter().filter(|kind| !kinds.contains(*kind)).collect();
        Ok(if missing.is_empty() {
            Look::Seen((anchor, objects, last))
        } else {
            Look::NotYet(format!("{} records, no {missing:?}", objects.len()))
        })
    })
    .await?;
    let folder = Folder::new(&place.region)?;
    let copy = folder.copy("log", &objects)?;
    let region = place.region.as_str();
    let held = anchor.to_string();

    // By the anchor in the cluster, which may have moved on since the log was read; by the one from before.
    let verified = run(
        OPERATOR,
        &[
            "evidence", "verify", "--region", region, "--anchor", &held, &copy,
        ],
    )?
    .ended_with(0)?;
    for kind in KINDS {
        ensure(verified.contains(&format!(" {kind}\n")), || {
            format!("no {kind} in {verified}")
        })?;
    }
    by_the_cluster(cluster, place, &secret, &folder).await?;
    takes_a_day_home(cluster, place, &objects, &held, &folder).await?;
    finds_what_was_done(place, &objects, &anchor, &folder)?;
    let refused = does_nothing_else(cluster, place, &secret, &last).await?;
    Ok(format!(
        "{region}: {} records up to {} verify, 4 changed copies do not, {refused} attempts of the auditor were refused",
        objects.len(),
        anchor.sequence
    ))
}

/// `--cluster` takes the anchor from the status: it holds for whatever is read after it.
async fn by_the_cluster(
    cluster: &Cluster,
    place: &Place,
    secret: &str,
    folder: &Folder,
) -> Outcome {
    // The status may move between the two; the log that is read after that holds it.
    let what = format!("the anchor of {} in its log", place.region);
    until(&what, READING, || async {
        let (objects, _) = read(cluster, place, secret).await?;
        let copy = folder.copy("present", &objects)?;
        let said = run(
            OPERATOR,
            &[
                "evidence",
                "verify",
                "--region",
                &place.region,
                "--cluster",
                &copy,
            ],
        )?;
        Ok(if said.code == 0 {
            Look::Seen(())
        } else {
            Look::NotYet(format!("{} {}", said.out, said.hints))
        })
    })
    .await
}

/// A day's bundle verifies without the cluster, by the key alone or by the end that the export printed.
async fn takes_a_day_home(
    cluster: &Cluster,
    place: &Place,
    objects: &Objects,
    anchor: &str,
    folder: &Folder,
) -> Outcome {
    let key = cluster
        .secret(&place.names.namespace(), &place.names.evidence_key())
        .await?
        .data
        .and_then(|mut data| data.remove(SIGNING_PUBLIC_KEY))
        .ok_or_else(|| Failure::new("the Secret of the key has no public half"))?;
    let key = folder.file("signing.pub", &key.0)?;
    let newest = records(objects)?
        .pop()
        .ok_or_else(|| Failure::new("the log is empty"))?;
    let day = newest.time.to_zoned(TimeZone::UTC).date().to_string();
    let from = text(&folder.0.join("log"));
    let bundle = text(&folder.0.join("day.tar"));
    let region = place.region.as_str();
    let exported = run(
        OPERATOR,
        &[
            "evidence", "export", "--region", region, "--day", &day, "--anchor", anchor, "--from",
            &from, "--out", &bundle,
        ],
    )?
    .ended_with(0)?;
    let end = exported
        .lines()
        .find_map(|line| line.strip_prefix("end:"))
        .map(str::trim)
        .ok_or_else(|| Failure::new(format!("the export does not say its end: {exported}")))?;
    run_offline(
        OPERATOR,
        &[
            "evidence", "verify", &bundle, "--key", &key, "--anchor", end,
        ],
    )?
    .ended_with(0)?;
    // Nothing to hold it against is no proof.
    run_offline(OPERATOR, &["evidence", "verify", &bundle])?.ended_with(2)?;
    Ok(())
}

/// Copies that were edited, that miss a record, whose records changed places, and that were cut off.
fn finds_what_was_done(
    place: &Place,
    objects: &Objects,
    anchor: &Anchor,
    folder: &Folder,
) -> Outcome {
    // Two neighbours before the anchor, so that a record after them stands.
    let middle = anchor.sequence / 2;
    ensure(middle >= 2 && middle + 1 < anchor.sequence, || {
        format!("the log has only {} records", anchor.sequence)
    })?;
    let (one, other) = (object_key(middle), object_key(middle + 1));
    let changed = |change: &dyn Fn(&mut Objects)| {
        let mut copy = objects.clone();
        change(&mut copy);
        copy
    };
    let edited = changed(&|copy| {
        if let Some(byte) = copy.get_mut(&one).and_then(|bytes| bytes.get_mut(40)) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
    });
    let dropped = changed(&|copy| {
        copy.remove(&one);
    });
    let reordered = changed(&|copy| {
        let (first, second) = (copy.get(&one).cloned(), copy.get(&other).cloned());
        copy.extend(first.map(|bytes| (other.clone(), bytes)));
        copy.extend(second.map(|bytes| (one.clone(), bytes)));
    });
    let truncated = changed(&|copy| {
        copy.retain(|key, _| sequence_of(key).is_some_and(|sequence| sequence < anchor.sequence));
    });
    for (name, copy, words) in [
        (
            "edited",
            edited,
            &["Edited", "BadSignature", "Malformed"][..],
        ),
        ("dropped", dropped, &["Missing"]),
        ("reordered", reordered, &["Reordered"]),
        ("truncated", truncated, &["Truncated"]),
    ] {
        ensure(copy != *objects, || format!("nothing was {name}"))?;
        let copy = folder.copy(name, &copy)?;
        let found = run_offline(
            OPERATOR,
            &[
                "evidence",
                "verify",
                "--region",
                &place.region,
                "--anchor",
                &anchor.to_string(),
                &copy,
            ],
        )?
        .ended_with(1)
        .during(format_args!("a log that was {name}"))?;
        ensure(
            words
                .iter()
                .any(|word| found.contains(&format!("{word}: "))),
            || format!("a log that was {name} is said to be: {found}"),
        )?;
    }
    Ok(())
}

/// A request of the auditor that must be refused.
struct Request {
    what: &'static str,
    method: &'static str,
    path: String,
    query: String,
    body: Option<String>,
    headers: &'static [&'static str],
    expected: &'static str,
}

impl Request {
    fn new(what: &'static str, method: &'static str, path: &str, query: &str) -> Self {
        Self {
            what,
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            body: None,
            headers: &[],
            expected: "403 AccessDenied",
        }
    }

    fn with(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Around a lock that may be gone around; one in compliance mode may not.
    const fn around(mut self) -> Self {
        self.headers = &["x-amz-bypass-governance-retention: true"];
        self
    }

    /// The lock itself says no first, as it does to root.
    const fn locked(mut self) -> Self {
        self.expected = "400 InvalidRequest";
        self
    }
}

/// What the auditor's user could try with a record that is there.
fn requests(key: &str, version: &str) -> Vec<Request> {
    let log = format!("/{EVIDENCE_BUCKET}");
    let record = format!("{log}/{key}");
    let next = object_key(sequence_of(key).unwrap_or_default() + 1_000_000);
    let other = format!("/{BUCKET}");
    let this = format!("versionId={version}");
    let its_lock = format!("retention=&{this}");
    let lock = |mode: &str, until: &str| {
        format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
             <RetainUntilDate>{until}</RetainUntilDate></Retention>"
        )
    };
    let sooner = lock("GOVERNANCE", "2027-01-01T00:00:00Z");
    let later = lock("COMPLIANCE", "2099-01-01T00:00:00Z");
    vec![
        Request::new("puts a record", "PUT", &format!("{log}/{next}"), "").with("{}"),
        Request::new("puts over a record", "PUT", &record, "").with("{}"),
        Request::new("deletes a record", "DELETE", &record, ""),
        Request::new("deletes a version", "DELETE", &record, &this),
        Request::new("deletes it around the lock", "DELETE", &record, &this).around(),
        Request::new("shortens the lock", "PUT", &record, &its_lock)
            .with(sooner)
            .around()
            .locked(),
        Request::new("lengthens the lock", "PUT", &record, &its_lock).with(later),
        Request::new("lists the bucket", "GET", &log, "list-type=2"),
        Request::new("deletes the bucket", "DELETE", &log, ""),
        Request::new(
            "lists the archive",
            "GET",
            &format!("/{BACKUP_BUCKET}"),
            "versions=",
        ),
        Request::new("lists the clients' objects", "GET", &other, "list-type=2"),
        Request::new(
            "writes among them",
            "PUT",
            &format!("{other}/e2e/auditor"),
            "",
        )
        .with("{}"),
    ]
}

/// What the auditor's user tries beside reading; returns how much of it was refused, which must be all.
async fn does_nothing_else(
    cluster: &Cluster,
    place: &Place,
    secret: &str,
    (key, version): &(String, String),
) -> Outcome<usize> {
    let requests = requests(key, version);
    let attempts: Vec<Value> = requests
        .iter()
        .map(|request| {
            json!({
                "method": request.method, "path": request.path, "query": request.query, "body": request.body,
                "headers": request.headers,
            })
        })
        .collect();
    let script = Script {
        name: "attack_store",
        told: json!({ "user": secret, "attempts": attempts }),
        secrets: vec![secret.to_owned()],
    };
    let answers = client::run(cluster, &Stand::allowed(place), &script, READING).await?;
    let answers: Vec<Option<String>> = serde_json::from_value(answers)?;
    ensure(answers.len() == requests.len(), || format!("{answers:?}"))?;
    for (request, answer) in requests.iter().zip(&answers) {
        ensure(
            answer
                .as_ref()
                .is_some_and(|answer| answer.starts_with(request.expected)),
            || {
                format!(
                    "the auditor {}: {answer:?}, expected {}",
                    request.what, request.expected
                )
            },
        )?;
    }
    Ok(requests.len())
}

/// The end of the log as the status has it now.
async fn anchor(cluster: &Cluster, place: &Place) -> Outcome<Anchor> {
    cluster
        .regions()
        .get(&place.region)
        .await?
        .status
        .and_then(|status| status.residency)
        .and_then(|residency| residency.evidence)
        .as_ref()
        .and_then(Anchor::of)
        .ok_or_else(|| Failure::new("status.residency.evidence is not there"))
}

/// Reads the log as the auditor, from a client's pod. Returns its objects, and the last one's key and version.
async fn read(
    cluster: &Cluster,
    place: &Place,
    secret: &str,
) -> Outcome<(Objects, (String, String))> {
    let script = Script {
        name: "evidence",
        told: json!({ "user": secret, "bucket": EVIDENCE_BUCKET }),
        secrets: vec![secret.to_owned()],
    };
    let running = Running::start(cluster, &Stand::allowed(place), &script).await?;
    let log = running.end(READING).await?;
    let mut lines: Vec<&str> = log.lines().collect();
    let told: Told = serde_json::from_str(lines.pop().unwrap_or_default())?;
    ensure(told.covered.is_empty() && told.markers == 0, || {
        format!(
            "something was put on top of records: {:?}, and {} markers of deletion",
            told.covered, told.markers
        )
    })?;
    let objects = lines
        .into_iter()
        .map(|line| {
            let (key, bytes) = line
                .split_once(' ')
                .ok_or_else(|| Failure::new(format!("the client printed {line:?}")))?;
            Ok((key.to_owned(), BASE64_STANDARD.decode(bytes)?))
        })
        .collect::<Outcome<Objects>>()?;
    let last = told
        .last
        .ok_or_else(|| Failure::new("the log has no record"))?;
    Ok((objects, last))
}

fn records(objects: &Objects) -> Outcome<Vec<Record>> {
    objects
        .iter()
        .map(|(key, bytes)| Ok(Record::read(bytes).during(key)?.0))
        .collect()
}

fn kinds(objects: &Objects) -> Outcome<Vec<&'static str>> {
    Ok(records(objects)?
        .iter()
        .map(|record| record.entry.kind())
        .collect())
}
