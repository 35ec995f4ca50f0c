//! The evidence log against the real object store, started on this machine as the model describes it: written by two
//! writers at once, attacked with every right that the store knows, and verified from outside by the built program.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test that cannot go on must end, and a story is read in one piece"
)]

#[path = "../../model/tests/fixture/mod.rs"]
mod fixture;
#[path = "object_store_server/mod.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aws_credential_types::Credentials as Signer;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::BehaviorVersion;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bailiwick_model::evidence::entry::{
    CanaryAnswer, CanaryTry, Channel, Class, Guise, Name, Reach,
};
use bailiwick_model::evidence::{
    Anchor, Entry, Expected, Finding, PublicKey, SigningKey, Stored, Verified, object_key, verify,
};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::names::{AUDITOR_USER, BACKUP_BUCKET, BACKUP_USER, EVIDENCE_BUCKET};
use bailiwick_model::plan::Plan;
use bailiwick_model::region::{Assurance, EvidenceStatus, Region, RegionStatus, ResidencyStatus};
use bailiwick_model::secret::SIGNING_KEY;
use bailiwick_model::store::steps;
use bailiwick_operator::evidence::{CLOCK_TOLERANCE, EvidenceError, EvidenceLog, records};
use bailiwick_operator::store::Store;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use server::{Server, outcome};

/// A Region with a running store that has all its buckets and users.
struct Place {
    region: Region,
    plan: Plan,
    server: Server,
}

impl Place {
    async fn new() -> Self {
        let region = fixture::tr_with(
            "
spec:
  objectStore:
    buckets: [{name: documents}]
    users: [{name: patient-api, grants: [{bucket: documents, access: ReadWrite}]}]
",
        );
        let plan = fixture::planned(&region);
        let server = Server::start(&plan, &[]).await;
        let place = Self {
            region,
            plan,
            server,
        };
        let store = place.store();
        for _ in 0..100 {
            match store
                .observe(&place.plan.names, &place.region, &place.server.credentials)
                .await
            {
                Ok(seen) => {
                    for step in steps(&place.plan, &seen) {
                        store
                            .perform(&step, &place.server.credentials)
                            .await
                            .expect("a step");
                    }
                    return place;
                }
                Err(unread) if unread.failure == ReadFailure::NotReady => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(failure) => panic!("{failure:?}\n{}", place.server.log()),
            }
        }
        panic!("the store does not get ready:\n{}", place.server.log());
    }

    fn root(&self) -> (&str, &str) {
        let secret = self.plan.names.object_store_root();
        let text = |key| {
            self.server
                .credentials
                .text(&secret, key)
                .expect("root's Secret")
        };
        (text("access-key"), text("secret-key"))
    }

    fn store(&self) -> Store {
        let (user, secret) = self.root();
        Store::new(
            &self.server.endpoint,
            self.plan.store_region(),
            user,
            secret,
            &self.server.authority,
        )
        .expect("a client")
    }

    /// A log of its own connections and memory, as of another replica.
    fn log(&self) -> EvidenceLog {
        self.log_with_key(1)
    }

    fn log_with_key(&self, seed: u8) -> EvidenceLog {
        let mut credentials = self.server.credentials.clone();
        let pem = SigningKey::pem_of_seed(&[seed; 32]).into_bytes();
        credentials.insert(
            self.plan.names.evidence_key(),
            [(SIGNING_KEY.to_owned(), pem)].into(),
        );
        EvidenceLog::of(self.store(), &self.plan.names, &self.region, &credentials).expect("a log")
    }

    async fn records(&self) -> Vec<Stored> {
        records(&self.store()).await.expect("the records")
    }

    async fn judged(&self, anchor: Option<&Anchor>) -> Result<Verified, Vec<Finding>> {
        let keys = [public(1)];
        let region = self.plan.names.region();
        let expected = Expected {
            region,
            keys: &keys,
            claimed: &[],
            anchor,
            stretch: false,
        };
        verify(&self.records().await, &expected)
    }

    fn client(&self, user: &str, secret: &str) -> Client {
        let tls = TlsContext::builder()
            .with_trust_store(
                TrustStore::empty().with_pem_certificate(self.server.authority.clone()),
            )
            .build()
            .expect("TLS");
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls)
            .build_https();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new(
                self.plan.store_region().to_owned(),
            ))
            .endpoint_url(&self.server.endpoint)
            .force_path_style(true)
            .http_client(http)
            .credentials_provider(Signer::new(user, secret, None, None, "test"));
        Client::from_conf(config.build())
    }
}

/// The auditor's user, and its secret as the server of the tests has it.
const AUDITOR: (&str, &str) = (AUDITOR_USER, "secret of evidence-auditor");

fn public(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).expect("a key").public()
}

fn canary(target: Class) -> Entry {
    Entry::Canary {
        run: Name::new("0e6d0a7c-6f7e-4a43-9d53-5a0f6c1a9b11").expect("a name"),
        guise: Guise::Plain,
        node: None,
        ended: None,
        answer: CanaryAnswer::Given,
        tries: vec![CanaryTry {
            target,
            expected: Reach::Blocked,
            result: Some(Reach::Blocked),
        }],
    }
}

fn expired(channel: u8, expires: Timestamp) -> Entry {
    Entry::ExceptionExpired {
        channel: Channel::new(channel).expect("a channel"),
        expires,
    }
}

fn kinds(verified: &Verified) -> Vec<&'static str> {
    verified
        .records
        .iter()
        .map(|record| record.entry.kind())
        .collect()
}

fn words(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(Finding::word).collect()
}

fn anchor_of(text: &str) -> Anchor {
    text.parse().expect("an anchor")
}

fn anchor(status: &EvidenceStatus) -> Anchor {
    Anchor::of(status).expect("an anchor")
}

#[tokio::test]
async fn a_chain_begins_goes_on_and_survives_its_writer() {
    let place = Place::new().await;
    // Real time: the store does not lock anything until a day that is past.
    let now = Timestamp::now();
    let log = place.log();
    let first = log
        .append(None, &[], now)
        .await
        .expect("a chain begins without an entry");
    assert_eq!(first.sequence, 1);
    let third = log
        .append(
            Some(&first),
            &[canary(Class::OtherNode), expired(35, now)],
            now,
        )
        .await
        .expect("two entries");
    assert_eq!(third.sequence, 3);
    assert_eq!(
        log.append(Some(&third), &[], now)
            .await
            .expect("nothing to do"),
        third
    );
    let verified = place.judged(Some(&anchor(&third))).await.expect("verified");
    assert_eq!(
        kinds(&verified),
        ["ChainStarted", "Canary", "ExceptionExpired"]
    );
    assert!(verified.anchored);

    // A new process carries on, from an anchor of any age, or from none.
    for known in [Some(&first), Some(&third), None] {
        let next = place.log();
        next.append(known, &[canary(Class::OutsideName)], now)
            .await
            .expect("an entry");
    }
    let sixth = place
        .judged(Some(&anchor(&third)))
        .await
        .expect("verified")
        .last;
    assert_eq!(sixth.sequence, 6);

    // Another key says so; who verifies must know it.
    let rotated = place
        .log_with_key(2)
        .append(Some(&third), &[canary(Class::OutsideName)], now)
        .await
        .expect("with a new key");
    assert_eq!(rotated.sequence, 8);
    assert_eq!(rotated.key_id, public(2).id().to_string());
    let unknown = place
        .judged(None)
        .await
        .expect_err("nobody vouches for the new key");
    assert_eq!(words(&unknown), ["UnknownKey", "UnknownKey"]);
    let by_anchor = place
        .judged(Some(&anchor(&rotated)))
        .await
        .expect("the anchor does");
    assert_eq!(kinds(&by_anchor)[6..], ["KeyRotated", "Canary"]);
}

#[tokio::test]
async fn many_writers_at_once_write_one_chain() {
    const WRITERS: u8 = 4;
    const ENTRIES: u8 = 12;
    let place = Place::new().await;
    let now = Timestamp::now();
    // All begin each round at once, three of four with an end that is no longer the end.
    let round = tokio::sync::Barrier::new(usize::from(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let log = place.log();
        let round = &round;
        async move {
            let mut known = None;
            for entry in 0..ENTRIES {
                round.wait().await;
                // Which writer wrote which entry is in the expiry.
                let expires =
                    now + SignedDuration::from_secs(i64::from(writer) * 100 + i64::from(entry));
                let end = log
                    .append(known.as_ref(), &[expired(writer + 1, expires)], now)
                    .await
                    .expect("an entry");
                known = Some(end);
            }
        }
    });
    futures::future::join_all(writers).await;
    let verified = place.judged(None).await.expect("one chain");
    assert_eq!(verified.records.len(), usize::from(WRITERS * ENTRIES) + 1);
    // Each entry once, and each writer's in its own order.
    let mut changes = 0;
    let mut next = [0_u8; WRITERS as usize];
    let mut before = None;
    for record in &verified.records {
        if let Entry::ExceptionExpired { channel, .. } = record.entry {
            next[usize::from(u8::from(channel) - 1)] += 1;
            changes += usize::from(before.replace(channel) != Some(channel));
        }
    }
    assert_eq!(next, [ENTRIES; WRITERS as usize]);
    println!(
        "{} records of {WRITERS} writers, {changes} changes of writer",
        verified.records.len()
    );
    assert!(
        changes > usize::from(ENTRIES),
        "they did not meet, so the race was not tried"
    );
}

#[tokio::test]
async fn a_record_cannot_be_removed_and_whatever_covers_it_is_seen() {
    let place = Place::new().await;
    let now = Timestamp::now();
    let log = place.log();
    let entries = [canary(Class::OtherNode), canary(Class::OutsideAddress)];
    let end = log
        .append(None, &entries, now)
        .await
        .expect("three records");
    let before = place.records().await;

    let (user, secret) = place.root();
    let root = place.client(user, secret);
    let key = object_key(2);
    let listing = root
        .list_object_versions()
        .bucket(EVIDENCE_BUCKET)
        .prefix(&key);
    let versions = listing.send().await.expect("a listing");
    let version = versions.versions()[0]
        .version_id()
        .expect("an id")
        .to_owned();

    // Not even root, with every bypass that S3 has.
    let delete = || {
        root.delete_object()
            .bucket(EVIDENCE_BUCKET)
            .key(&key)
            .version_id(&version)
    };
    let sooner = ObjectLockRetention::builder()
        .mode(ObjectLockRetentionMode::Governance)
        .retain_until_date(DateTime::from_secs(now.as_second() + 60))
        .build();
    let retain = || {
        root.put_object_retention()
            .bucket(EVIDENCE_BUCKET)
            .key(&key)
            .version_id(&version)
            .retention(sooner.clone())
    };
    let put = || {
        root.put_object()
            .bucket(EVIDENCE_BUCKET)
            .key(&key)
            .body(ByteStream::from_static(b"{}"))
    };
    let refused = [
        outcome(delete().send().await),
        outcome(delete().bypass_governance_retention(true).send().await),
        outcome(retain().send().await),
        outcome(retain().bypass_governance_retention(true).send().await),
        outcome(root.delete_bucket().bucket(EVIDENCE_BUCKET).send().await),
        outcome(put().if_none_match("*").send().await),
    ];
    println!("{refused:?}");
    // It is the lock that refuses: without one, the same requests are granted.
    let free = root.put_object().bucket(EVIDENCE_BUCKET).key("free");
    let free = free.send().await.expect("an object without a lock");
    let free = free.version_id().expect("an id");
    let retain_free = root
        .put_object_retention()
        .bucket(EVIDENCE_BUCKET)
        .key("free")
        .version_id(free);
    let delete_free = || {
        root.delete_object()
            .bucket(EVIDENCE_BUCKET)
            .key("free")
            .version_id(free)
    };
    let granted = [
        outcome(retain_free.retention(sooner.clone()).send().await),
        outcome(delete_free().bypass_governance_retention(true).send().await),
    ];
    assert_eq!(granted, ["ok", "ok"]);
    assert!(refused.iter().all(|code| code != "ok"), "{refused:?}");
    assert_eq!(place.records().await, before);

    // The store's other users get nothing of it.
    for (user, secret) in [
        (BACKUP_USER, "secret of pgbackrest"),
        ("patient-api", "secret of patient-api"),
    ] {
        let other = place.client(user, secret);
        let found = [
            outcome(other.list_objects_v2().bucket(EVIDENCE_BUCKET).send().await),
            outcome(
                other
                    .get_object()
                    .bucket(EVIDENCE_BUCKET)
                    .key(&key)
                    .send()
                    .await,
            ),
            outcome(
                other
                    .delete_object()
                    .bucket(EVIDENCE_BUCKET)
                    .key(&key)
                    .send()
                    .await,
            ),
            outcome(
                other
                    .put_object()
                    .bucket(EVIDENCE_BUCKET)
                    .key(object_key(4))
                    .body(ByteStream::from_static(b"{}"))
                    .send()
                    .await,
            ),
        ];
        assert!(
            found.iter().all(|code| code == "AccessDenied"),
            "{user}: {found:?}"
        );
    }

    // Root can cover a record, which is seen, and the record is still read.
    assert_eq!(outcome(put().send().await), "ok");
    let covered = place.records().await;
    assert_eq!(
        (covered[1].versions, &covered[1].bytes),
        (2, &before[1].bytes)
    );
    let found = place
        .judged(Some(&anchor(&end)))
        .await
        .expect_err("written over");
    assert_eq!(words(&found), ["Overwritten"]);
    let last = object_key(3);
    let hidden = root.delete_object().bucket(EVIDENCE_BUCKET).key(&last);
    assert_eq!(outcome(hidden.send().await), "ok");
    let found = place
        .judged(Some(&anchor(&end)))
        .await
        .expect_err("and deleted");
    assert_eq!(words(&found), ["Overwritten", "Overwritten"]);

    // A writer that starts now neither takes the hidden end for free nor what covers a record for the record.
    let fourth = place
        .log()
        .append(None, &entries[..1], now)
        .await
        .expect("a fourth record");
    assert_eq!(fourth.sequence, 4);
    let found = place
        .judged(Some(&anchor(&fourth)))
        .await
        .expect_err("still two");
    assert_eq!(words(&found), ["Overwritten", "Overwritten"]);
}

#[tokio::test]
async fn a_writer_does_not_go_on_after_an_end_that_is_gone() {
    let place = Place::new().await;
    let now = Timestamp::now();
    let end = place
        .log()
        .append(None, &[canary(Class::OtherNode)], now)
        .await
        .expect("two");
    let later = EvidenceStatus {
        sequence: 9,
        ..end.clone()
    };
    let other = EvidenceStatus {
        hash: "0".repeat(64),
        ..end.clone()
    };
    for known in [later, other] {
        let refused = place
            .log()
            .append(Some(&known), &[canary(Class::OtherNode)], now)
            .await
            .expect_err("the log is not the one that the status names");
        assert!(matches!(refused, EvidenceError::Broken { .. }), "{refused}");
    }
    assert_eq!(place.records().await.len(), 2, "nothing was written");

    // Nor where nothing can be reached: what was not recorded is told.
    let mut place = place;
    let log = place.log();
    place.server.stop();
    let error = log
        .append(Some(&end), &[canary(Class::OtherNode)], now)
        .await;
    let Err(EvidenceError::Store {
        written: 0,
        failure: ReadFailure::Unreachable,
        ..
    }) = error
    else {
        panic!("{error:?}");
    };
    place.server.resume().await;
    let mut tries = 0;
    let third = loop {
        match log
            .append(Some(&end), &[canary(Class::OtherNode)], now)
            .await
        {
            Ok(end) => break end,
            Err(_) if tries < 50 => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error:?}"),
        }
        tries += 1;
    };
    assert_eq!(third.sequence, 3);
}

#[tokio::test]
async fn clocks_that_differ_a_little_are_no_finding_and_one_rolled_back_is() {
    let place = Place::new().await;
    let now = Timestamp::now();
    let append = |time| {
        let log = place.log();
        async move {
            log.append(None, &[canary(Class::OtherNode)], time)
                .await
                .expect("an entry")
        }
    };
    append(now).await;
    append(now - CLOCK_TOLERANCE).await;
    let verified = place
        .judged(None)
        .await
        .expect("the clocks of two replicas");
    let times: Vec<i64> = verified
        .records
        .iter()
        .map(|record| record.time.as_second())
        .collect();
    assert_eq!(times, [now.as_second(); 3]);
    append(now - CLOCK_TOLERANCE - SignedDuration::from_secs(1)).await;
    let found = place.judged(None).await.expect_err("rolled back");
    assert_eq!(words(&found), ["ClockRolledBack"]);
    assert!(
        found[0].to_string().contains(&object_key(4)),
        "{}",
        found[0]
    );
}

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
            exceptions: bailiwick_model::region::ExceptionsStatus::default(),
            checked_at: None,
            breach: bailiwick_model::region::BreachStatus::default(),
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
