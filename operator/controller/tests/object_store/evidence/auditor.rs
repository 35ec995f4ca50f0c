//! The auditor: what its user may do, and the command that verifies.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use bailiwick_api::region::{Assurance, Region, RegionStatus, ResidencyStatus};
use bailiwick_model::canary::question::Class;
use bailiwick_model::evidence::object_key;
use bailiwick_model::names::{AUDITOR_USER, BACKUP_BUCKET, EVIDENCE_BUCKET};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Place, anchor, anchor_of, canary, expired, public};
use crate::server::outcome;

/// The auditor's user, and its secret as the server of the tests has it.
const AUDITOR: (&str, &str) = (AUDITOR_USER, "secret of evidence-auditor");

/// A folder of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("evidence-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, contents: &[u8]) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, contents).expect("a file");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the built program with `evidence`, without a cluster. Returns its exit code, output and hints.
fn run(place: &Place, arguments: &[&str]) -> (i32, String, String) {
    run_in(place, "/nonexistent", arguments)
}

/// A cluster that knows one thing: `region`. Returns its kubeconfig.
fn cluster(region: &Region) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = serde_json::to_string(region).expect("JSON");
    let path = format!("/apis/bailiwick.dev/v1alpha1/regions/{}", region.name_any());
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut request = String::new();
            let mut lines = BufReader::new(&stream);
            let mut first = String::new();
            let _ = lines.read_line(&mut first);
            while lines.read_line(&mut request).is_ok_and(|length| length > 2) {}
            let (code, body) = if first.starts_with(&format!("GET {path} ")) {
                ("200 OK", body.as_str())
            } else {
                ("404 Not Found", "{}")
            };
            let _ = write!(
                &stream,
                "HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
         clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}], users: [{{name: a, user: {{}}}}]}}"
    )
}

fn run_in(place: &Place, kubeconfig: &str, arguments: &[&str]) -> (i32, String, String) {
    // Whoever verifies needs nothing of root.
    let (user, secret) = AUDITOR;
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_bailiwick-operator"))
        .arg("evidence")
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", user)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", place.plan.store_region())
        .env("KUBECONFIG", kubeconfig)
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        status.code().expect("an exit code"),
        text(stdout),
        text(stderr),
    )
}

#[tokio::test]
async fn the_auditor_reads_the_log_and_does_nothing_else() {
    const DENIED: &str = "AccessDenied";
    let place = Place::new().await;
    let now = Timestamp::now();
    place
        .log()
        .append(None, &[canary(Class::OtherNode)], now)
        .await
        .expect("two records");
    let (user, secret) = place.root();
    let root = place.client(user, secret);
    for bucket in [BACKUP_BUCKET, "documents"] {
        let put = root.put_object().bucket(bucket).key("text");
        put.body(ByteStream::from_static(b"text"))
            .send()
            .await
            .expect("root may write");
    }
    let before = place.records().await;
    let (user, secret) = AUDITOR;
    let auditor = place.client(user, secret);
    let key = object_key(2);

    // What it is there for.
    let listed = auditor
        .list_object_versions()
        .bucket(EVIDENCE_BUCKET)
        .send()
        .await
        .expect("the versions");
    assert_eq!(listed.versions().len(), 2);
    let version = listed
        .versions()
        .iter()
        .find(|version| version.key() == Some(key.as_str()))
        .and_then(|version| version.version_id())
        .expect("an id")
        .to_owned();
    let read = auditor
        .get_object()
        .bucket(EVIDENCE_BUCKET)
        .key(&key)
        .version_id(&version);
    assert_eq!(outcome(read.send().await), "ok");
    let retention = auditor
        .get_object_retention()
        .bucket(EVIDENCE_BUCKET)
        .key(&key)
        .version_id(&version)
        .send()
        .await
        .expect("its lock");
    assert_eq!(
        retention.retention().and_then(|lock| lock.mode()),
        Some(&ObjectLockRetentionMode::Compliance)
    );

    // And nothing else: not the log, not its lock, no other bucket.
    let lock = |mode, days: i64| {
        let until = now + SignedDuration::from_hours(24 * days);
        let lock = ObjectLockRetention::builder()
            .mode(mode)
            .retain_until_date(DateTime::from_secs(until.as_second()))
            .build();
        auditor
            .put_object_retention()
            .bucket(EVIDENCE_BUCKET)
            .key(&key)
            .version_id(&version)
            .retention(lock)
    };
    let delete = || auditor.delete_object().bucket(EVIDENCE_BUCKET).key(&key);
    let put = |bucket: &str, key: &str| {
        auditor
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(ByteStream::from_static(b"{}"))
    };
    let shorter = lock(ObjectLockRetentionMode::Governance, 1);
    // Here the lock answers first, and says the same to root.
    let locked = [
        outcome(shorter.clone().send().await),
        outcome(shorter.bypass_governance_retention(true).send().await),
    ];
    assert_eq!(locked, ["InvalidRequest", "InvalidRequest"]);
    let mut tried = vec![
        (
            "put over a record",
            outcome(put(EVIDENCE_BUCKET, &key).send().await),
        ),
        (
            "put the next record",
            outcome(put(EVIDENCE_BUCKET, &object_key(3)).send().await),
        ),
        ("delete", outcome(delete().send().await)),
        (
            "delete a version",
            outcome(delete().version_id(&version).send().await),
        ),
        (
            "delete a version around the lock",
            outcome(
                delete()
                    .version_id(&version)
                    .bypass_governance_retention(true)
                    .send()
                    .await,
            ),
        ),
        (
            "lengthen the lock",
            outcome(lock(ObjectLockRetentionMode::Compliance, 800).send().await),
        ),
        (
            "list without versions",
            outcome(
                auditor
                    .list_objects_v2()
                    .bucket(EVIDENCE_BUCKET)
                    .send()
                    .await,
            ),
        ),
        (
            "delete the bucket",
            outcome(auditor.delete_bucket().bucket(EVIDENCE_BUCKET).send().await),
        ),
        ("list buckets", outcome(auditor.list_buckets().send().await)),
        (
            "make a bucket",
            outcome(auditor.create_bucket().bucket("another").send().await),
        ),
    ];
    for bucket in [BACKUP_BUCKET, "documents"] {
        tried.extend([
            (
                "list another bucket",
                outcome(auditor.list_objects_v2().bucket(bucket).send().await),
            ),
            (
                "list another bucket's versions",
                outcome(auditor.list_object_versions().bucket(bucket).send().await),
            ),
            (
                "read another bucket",
                outcome(auditor.get_object().bucket(bucket).key("text").send().await),
            ),
            (
                "write another bucket",
                outcome(put(bucket, "other").send().await),
            ),
        ]);
    }
    println!("{tried:?}");
    for (what, code) in &tried {
        assert_eq!(code, DENIED, "{what}");
    }
    assert_eq!(place.records().await, before);
}

/// A way to the store at `endpoint` that opens after a while, as a new pod's network does. Returns its endpoint, on the same
/// host.
fn opening_late(endpoint: &str, after: Duration) -> String {
    let (host, port) = endpoint.rsplit_once(':').expect("a port");
    let to: u16 = port.parse().expect("a port");
    let reserved = TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = reserved.local_addr().expect("an address");
    drop(reserved);
    // It ends with the process.
    std::thread::spawn(move || {
        std::thread::sleep(after);
        let listener = TcpListener::bind(from).expect("the same port");
        for stream in listener.incoming().map_while(Result::ok) {
            let store = TcpStream::connect(("127.0.0.1", to)).expect("the store");
            let there = (stream.try_clone(), store.try_clone());
            for (from, to) in [there, (Ok(store), Ok(stream))] {
                let (mut from, mut to) = (from.expect("a stream"), to.expect("a stream"));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    format!("{host}:{}", from.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_whose_network_opens_late_waits_for_it() {
    let place = Place::new().await;
    let now = Timestamp::now();
    let end = place
        .log()
        .append(None, &[canary(Class::OtherNode)], now)
        .await
        .expect("an entry");
    let anchor = anchor(&end).to_string();
    let folder = Folder::new("late");
    let ca = folder.file("ca.crt", &place.server.authority);
    let region = place.plan.names.region();
    let verify = |endpoint: &str, more: &[&str]| {
        let asked = ["verify", "--region", region, "--anchor", &anchor];
        let bucket = ["--endpoint", endpoint, "--ca", &ca];
        run(&place, &[&asked[..], &bucket[..], more].concat())
    };
    let late = opening_late(&place.server.endpoint, Duration::from_secs(3));
    let (code, out, hints) = verify(&late, &["--wait", "0s"]);
    let unreachable = hints.contains("Unreachable");
    assert_eq!((code, unreachable), (2, true), "{out}{hints}");
    let (code, out, hints) = verify(&late, &[]);
    assert_eq!(code, 0, "{out}{hints}");
    let (code, _, hints) = verify(&late, &["--wait", "soon"]);
    assert_eq!((code, hints.contains("30s or 5m")), (2, true), "{hints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_verifies_the_bucket_and_takes_a_day_home() {
    let place = Place::new().await;
    // The log's own days, each with its end.
    let today = Timestamp::now();
    let day = |days: i64| today + SignedDuration::from_hours(24 * days);
    let log = place.log();
    let mut end = None;
    for days in [0, 1, 2] {
        let entries = [canary(Class::OtherNode), expired(35, day(days))];
        end = Some(
            log.append(end.as_ref(), &entries, day(days))
                .await
                .expect("entries"),
        );
    }
    let end = anchor(&end.expect("an end")).to_string();
    let folder = Folder::new("auditor");
    let ca = folder.file("ca.crt", &place.server.authority);
    let key = folder.file("signing.pub", public(1).to_pem().as_bytes());
    let stranger = folder.file("stranger.pub", public(9).to_pem().as_bytes());
    let region = place.plan.names.region();
    let bucket = ["--endpoint", &place.server.endpoint, "--ca", &ca];

    let verify = |more: &[&str]| {
        run(
            &place,
            &[&["verify", "--region", region], &bucket[..], more].concat(),
        )
    };
    let (code, out, hints) = verify(&["--anchor", &end]);
    assert_eq!(code, 0, "{out}{hints}");
    assert!(
        out.contains("records 1 to 7") && out.contains("verified"),
        "{out}"
    );
    assert!(
        out.contains(&format!("end:    {end}")) && out.contains("is one of them"),
        "{out}"
    );
    assert!(hints.contains("Next:"), "{hints}");
    let (code, out, hints) = verify(&["--key", &key]);
    assert_eq!(
        (code, hints.contains("cut-off end is not seen")),
        (0, true),
        "{out}{hints}"
    );
    let (code, out, hints) = verify(&["--key", &stranger]);
    assert_eq!((code, out.lines().count()), (1, 7), "{out}{hints}");
    assert!(
        out.starts_with("UnknownKey: records/00000000000000000001.json:"),
        "{out}"
    );
    let (code, out, _) = verify(&["--anchor", &end.replacen('7', "8", 1)]);
    assert_eq!((code, out.starts_with("Truncated: ")), (1, true), "{out}");
    let (code, _, hints) = verify(&[]);
    assert_eq!(
        (code, hints.contains("nothing to hold the log against")),
        (2, true),
        "{hints}"
    );
    let (code, _, hints) = verify(&["--cluster"]);
    assert_eq!(code, 2, "{hints}");

    // The anchor from the Region's status, whole and cut off.
    for (sequence, code, word) in [(7, 0, "is one of them"), (8, 1, "Truncated: ")] {
        let mut known = place.region.clone();
        let mut status = anchor_of(&end).status(public(1).id());
        status.sequence = sequence;
        let residency = ResidencyStatus {
            assurance: Assurance::Simulated,
            evidence: Some(status),
            channels: Vec::new(),
            exceptions: bailiwick_api::region::ExceptionsStatus::default(),
            checked_at: None,
            breach: bailiwick_api::region::BreachStatus::default(),
            ways: None,
        };
        known.status = Some(RegionStatus {
            residency: Some(residency),
            ..RegionStatus::default()
        });
        let kubeconfig = folder.file("kubeconfig", cluster(&known).as_bytes());
        let what = [&["verify", "--region", region, "--cluster"], &bucket[..]].concat();
        let (found, out, hints) = run_in(&place, &kubeconfig, &what);
        assert_eq!((found, out.contains(word)), (code, true), "{out}{hints}");
    }
    let kubeconfig = folder.file("kubeconfig", cluster(&place.region).as_bytes());
    for (name, expected) in [
        (region, "status.residency.evidence is not there"),
        ("eu", "cannot be read"),
    ] {
        let what = [&["verify", "--region", name, "--cluster"], &bucket[..]].concat();
        let (code, out, hints) = run_in(&place, &kubeconfig, &what);
        assert_eq!((code, hints.contains(expected)), (2, true), "{out}{hints}");
    }

    // A day, as a file.
    let of = |days: i64| day(days).strftime("%Y-%m-%d").to_string();
    let bundle = folder.path("day.tar");
    let export = |day: &str, out: &str| {
        let what = [
            "export", "--region", region, "--day", day, "--out", out, "--anchor", &end,
        ];
        run(&place, &[&what, &bucket[..]].concat())
    };
    let (code, out, hints) = export(&of(1), &bundle);
    assert_eq!(code, 0, "{out}{hints}");
    assert!(!hints.contains("OpenEnd"), "{hints}");
    assert!(
        out.contains("records 3 to 6"),
        "the day and its neighbours: {out}"
    );
    let (code, _, hints) = export(&of(1), &bundle);
    assert_eq!(
        (code, hints.contains("cannot be written")),
        (2, true),
        "{hints}"
    );
    let (code, _, hints) = export(&of(-1), &folder.path("early.tar"));
    assert_eq!((code, hints.contains("begins after")), (2, true), "{hints}");

    // Elsewhere, with nothing but the file and the key.
    let offline = |path: &str, more: &[&str]| run(&place, &[&["verify", path], more].concat());
    let (code, out, hints) = offline(&bundle, &["--key", &key]);
    assert_eq!(
        (code, out.contains("records 3 to 6")),
        (0, true),
        "{out}{hints}"
    );
    let (code, out, _) = offline(&bundle, &["--key", &stranger]);
    assert_eq!((code, out.contains("UnknownKey")), (1, true), "{out}");
    let (code, _, hints) = offline(&bundle, &[]);
    assert_eq!(
        (code, hints.contains("nothing to hold")),
        (2, true),
        "{hints}"
    );
    let (code, _, hints) = offline(&bundle, &["--key", &key, "--region", "eu"]);
    assert_eq!((code, hints.contains("is of Region")), (2, true), "{hints}");
    let (code, _, hints) = offline(&ca, &["--key", &key]);
    assert_eq!(code, 2, "no archive: {hints}");

    // The last day needs the anchor.
    let last = folder.path("last.tar");
    let (code, _, hints) = export(&of(2), &last);
    assert_eq!(
        (
            code,
            hints.contains("with --key alone it ends with OpenEnd")
        ),
        (0, true),
        "{hints}"
    );
    assert_eq!(offline(&last, &["--anchor", &end]).0, 0);
    let (code, out, _) = offline(&last, &["--key", &key]);
    assert_eq!((code, out.starts_with("OpenEnd: ")), (1, true), "{out}");
    assert!(out.contains("as of today"), "{out}");

    // Unpacked by any tool, it is a bundle still; with a record changed or gone, it is not.
    let unpacked = Folder::new("unpacked");
    let path = unpacked.0.display().to_string();
    let unpack = || {
        let _ = fs::remove_dir_all(&unpacked.0);
        fs::create_dir_all(&unpacked.0).expect("a folder");
        let done = Command::new("tar")
            .args(["-xf", &bundle, "-C", &path])
            .status();
        assert!(done.expect("tar runs").success());
    };
    unpack();
    assert_eq!(offline(&path, &["--key", &key]).0, 0);
    for sequence in 3..=6 {
        let record = unpacked.0.join(object_key(sequence));
        let bytes = fs::read(&record).expect("a record");
        fs::write(&record, [&bytes[..], b"\n"].concat()).expect("a file");
        let (code, out, _) = offline(&path, &["--key", &key]);
        assert_eq!(
            (code, out.contains("Malformed")),
            (1, true),
            "{sequence}: {out}"
        );
        fs::remove_file(&record).expect("it was there");
        let (code, out, _) = offline(&path, &["--key", &key]);
        assert_eq!(code, 1, "{sequence}: {out}");
        unpack();
    }
    // OpenSSL, which knows nothing of us, agrees about one record.
    let stored = place.records().await.remove(3);
    let payload: serde_json::Value = serde_json::from_slice(&stored.bytes).expect("an envelope");
    let decoded = |text: &serde_json::Value| {
        let value: k8s_openapi::ByteString = serde_json::from_value(text.clone()).expect("base64");
        value.0
    };
    let body = decoded(&payload["payload"]);
    let kind = payload["payloadType"].as_str().expect("a type");
    let header = format!("DSSEv1 {} {kind} {} ", kind.len(), body.len());
    let message = folder.file("message", &[header.as_bytes(), &body].concat());
    let signature = folder.file("signature", &decoded(&payload["signatures"][0]["sig"]));
    let openssl = Command::new("openssl")
        .args([
            "pkeyutl", "-verify", "-pubin", "-inkey", &key, "-rawin", "-in", &message,
        ])
        .args(["-sigfile", &signature])
        .output()
        .expect("openssl runs");
    assert!(
        openssl.status.success(),
        "{}",
        String::from_utf8_lossy(&openssl.stderr)
    );
}
