//! The user of the object store: requests with the keys of a user that may read and write one bucket, from a client that the
//! Region lets in. I/O: one client pod.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use std::time::Duration;

use serde_json::{Value, json};

use super::{Adversary, Attempt, Expected, How, answers};
use crate::cases::components::access::BUCKET;
use crate::client::{self, Script, Stand};
use crate::cluster::{Cluster, Place};
use crate::failure::Outcome;

const LIMIT: Duration = Duration::from_mins(2);

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    body: Option<String>,
    headers: &'static [&'static str],
    /// Whether it is not signed at all.
    anonymous: bool,
    /// Whether it is signed with the keys of the neighbour's user of the same name.
    as_neighbour: bool,
}

/// A request without a body.
pub const fn request(method: &'static str, path: &'static str, query: &'static str) -> Request {
    Request {
        method,
        path,
        query,
        body: None,
        headers: &[],
        anonymous: false,
        as_neighbour: false,
    }
}

impl Request {
    fn with(self, body: impl Into<String>) -> Self {
        Self {
            body: Some(body.into()),
            ..self
        }
    }

    fn headed(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }

    fn anonymous(self) -> Self {
        Self {
            anonymous: true,
            ..self
        }
    }

    /// The same with the neighbour's keys.
    pub fn of_neighbour(self) -> Self {
        Self {
            as_neighbour: true,
            ..self
        }
    }
}

/// A policy by which everybody reads a bucket.
pub fn public(bucket: &str) -> String {
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": { "AWS": ["*"] },
        "Action": ["s3:GetObject"], "Resource": [format!("arn:aws:s3:::{bucket}/*")] }] })
    .to_string()
}

const REPLICATION: &str = "<ReplicationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Role></Role><Rule>\
    <ID>e2e</ID><Status>Enabled</Status><Priority>1</Priority><Filter><Prefix></Prefix></Filter>\
    <DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>\
    <Destination><Bucket>arn:minio:replication::1:e2e</Bucket></Destination></Rule></ReplicationConfiguration>";
const NOTIFICATION: &str = "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><QueueConfiguration>\
    <Id>e2e</Id><Queue>arn:minio:sqs::1:webhook</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>\
    </NotificationConfiguration>";
const TRANSITION: &str = "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule><ID>e2e</ID>\
    <Filter><Prefix></Prefix></Filter><Status>Enabled</Status><Transition><Days>0</Days><StorageClass>E2E</StorageClass>\
    </Transition></Rule></LifecycleConfiguration>";
const SUSPENDED: &str = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Suspended</Status>\
    </VersioningConfiguration>";
const UNLOCKED: &str = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
    <ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";

/// What the user tries.
pub fn attempts() -> Vec<Attempt> {
    super::attempts(
        Adversary::StoreUser,
        buckets().into_iter().chain(others()).chain(server()),
        How::Store,
    )
}

type Row = (&'static str, Request, Expected);
const DENIED: Expected = Expected::Refused("403 AccessDenied");

/// What one's own bucket is told.
fn buckets() -> Vec<Row> {
    vec![
        (
            "everybody may read the bucket",
            request("PUT", "/documents", "policy=").with(public("documents")),
            DENIED,
        ),
        (
            "the bucket is copied elsewhere",
            request("PUT", "/documents", "replication=").with(REPLICATION),
            DENIED,
        ),
        (
            "the bucket tells somebody of its objects",
            request("PUT", "/documents", "notification=").with(NOTIFICATION),
            DENIED,
        ),
        (
            "objects move to a tier elsewhere",
            request("PUT", "/documents", "lifecycle=").with(TRANSITION),
            DENIED,
        ),
        (
            "objects are listened for",
            request("GET", "/documents", "events=s3%3AObjectCreated%3A%2A"),
            DENIED,
        ),
        (
            "versions are kept no more",
            request("PUT", "/documents", "versioning=").with(SUSPENDED),
            DENIED,
        ),
        (
            "the bucket is encrypted no more",
            request("DELETE", "/documents", "encryption="),
            DENIED,
        ),
        (
            "the bucket is deleted",
            request("DELETE", "/documents", ""),
            DENIED,
        ),
        (
            "another bucket is made",
            request("PUT", "/e2e-attack", ""),
            DENIED,
        ),
        (
            "an object is read without keys",
            request("GET", "/documents/e2e", "").anonymous(),
            DENIED,
        ),
        (
            "the bucket is listed without keys",
            request("GET", "/documents", "list-type=2").anonymous(),
            DENIED,
        ),
    ]
}

/// Buckets that are not one's own.
fn others() -> Vec<Row> {
    vec![
        (
            "the archive is listed",
            request("GET", "/bailiwick-backup", "list-type=2"),
            DENIED,
        ),
        (
            "an object of the archive is read",
            request("GET", "/bailiwick-backup/tr/archive/e2e", ""),
            DENIED,
        ),
        (
            "an object of the archive is written",
            request("PUT", "/bailiwick-backup/tr/archive/e2e", "").with("e2e"),
            DENIED,
        ),
        (
            "an object of the archive is copied to one's own bucket",
            request("PUT", "/documents/e2e", "")
                .headed(&["x-amz-copy-source: /bailiwick-backup/tr/archive/e2e"]),
            DENIED,
        ),
        (
            "the evidence log is listed",
            request("GET", "/bailiwick-evidence", "list-type=2"),
            DENIED,
        ),
        (
            "a record of the evidence log is deleted",
            request("DELETE", "/bailiwick-evidence/tr/1", ""),
            DENIED,
        ),
        (
            "a locked version of the evidence log is deleted",
            request(
                "DELETE",
                "/bailiwick-evidence/tr/1",
                "versionId=00000000-0000-0000-0000-000000000000",
            )
            .headed(&["x-amz-bypass-governance-retention: true"]),
            DENIED,
        ),
        (
            "the lock of the evidence log is taken off",
            request("PUT", "/bailiwick-evidence", "object-lock=").with(UNLOCKED),
            DENIED,
        ),
        (
            "every bucket of the archive's kind is deleted",
            request("DELETE", "/bailiwick-evidence", ""),
            DENIED,
        ),
    ]
}

/// The server itself.
fn server() -> Vec<Row> {
    vec![
        (
            "users are listed",
            request("GET", "/minio/admin/v3/list-users", ""),
            DENIED,
        ),
        (
            "a user is made",
            request("PUT", "/minio/admin/v3/add-user", "accessKey=e2e").with("{}"),
            DENIED,
        ),
        (
            "a policy is attached to oneself",
            request(
                "PUT",
                "/minio/admin/v3/set-user-or-group-policy",
                "isGroup=false&policyName=consoleAdmin&userOrGroup=documents",
            ),
            DENIED,
        ),
        (
            "the server's settings are read",
            request("GET", "/minio/admin/v3/config", ""),
            DENIED,
        ),
        (
            "the server's settings are written",
            request("PUT", "/minio/admin/v3/set-config-kv", "").with("e2e"),
            DENIED,
        ),
        (
            "the server is copied to another site",
            request(
                "PUT",
                "/minio/admin/v3/site-replication/add",
                "api-version=1",
            )
            .with("[]"),
            DENIED,
        ),
        (
            "a remote target is made",
            request(
                "PUT",
                "/minio/admin/v3/set-remote-target",
                "bucket=documents",
            )
            .with("{}"),
            DENIED,
        ),
        (
            "a remote tier is made",
            request("PUT", "/minio/admin/v3/tier", "").with("{}"),
            DENIED,
        ),
        (
            "requests of all are watched",
            request("GET", "/minio/admin/v3/trace", "s3=true"),
            DENIED,
        ),
        (
            "everybody's rights are exported",
            request("GET", "/minio/admin/v3/export-iam", ""),
            DENIED,
        ),
    ]
}

/// Sends requests one after the other; what the store said to each, none for one that got in.
pub async fn run(
    cluster: &Cluster,
    victim: &Place,
    neighbour: &Place,
    attempts: &[&Attempt],
) -> Outcome<Vec<Option<String>>> {
    let user = victim.names.object_store_user(BUCKET);
    let strange = neighbour.names.object_store_user(BUCKET);
    let stand = Stand::allowed(victim);
    client::hand_over(cluster, victim, &user).await?;
    client::hand_over_to(cluster, neighbour, &strange, &stand.namespace).await?;
    let tried = attempts.iter().filter_map(|attempt| match &attempt.how {
        How::Store(request) => Some(json!({
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "body": request.body,
            "headers": request.headers,
            "anonymous": request.anonymous,
            "as": request.as_neighbour.then_some(&strange),
        })),
        _ => None,
    });
    let own = json!({ "method": "GET", "path": "/documents", "query": "list-type=2" });
    let told: Vec<Value> = std::iter::once(own).chain(tried).collect();
    let script = Script {
        name: "attack_store",
        told: json!({ "user": user, "attempts": told }),
        secrets: vec![user.clone(), strange.clone()],
    };
    answers(
        client::run(cluster, &stand, &script, LIMIT).await?,
        attempts,
    )
}
