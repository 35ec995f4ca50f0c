//! What users can do, row by row.

use aws_sdk_s3::primitives::ByteStream;
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};

use super::attempts::{KEY, Try, attempt};
use super::{client, converge, region, store};
use crate::fixture;
use crate::server::{Server, outcome};

#[tokio::test]
async fn users_can_do_what_their_policy_says_and_nothing_else() {
    const OK: &str = "ok";
    const DENIED: &str = "AccessDenied";
    // "force-delete is forbidden on Object Locking enabled buckets"
    const FORBIDDEN_BY_LOCK: &str = "XMinioAdminInvalidArgument";
    let table: &[(&str, Try, &str, &str)] = &[
        // pgBackRest: the objects of its bucket, and nothing that would take old versions away.
        (BACKUP_USER, Try::Write, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::Read, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::List, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::Multipart, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::DeleteVersion, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::DeleteVersionInBulk, BACKUP_BUCKET, DENIED),
        (
            BACKUP_USER,
            Try::DeleteBypassingGovernance,
            BACKUP_BUCKET,
            DENIED,
        ),
        (
            BACKUP_USER,
            Try::ForceDelete,
            BACKUP_BUCKET,
            FORBIDDEN_BY_LOCK,
        ),
        (BACKUP_USER, Try::LockObject, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetVersioning, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetLifecycle, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetLock, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetPolicy, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::SetNotification, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::DeleteBucket, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::CreateBucket, BACKUP_BUCKET, DENIED),
        (BACKUP_USER, Try::Delete, BACKUP_BUCKET, OK),
        (BACKUP_USER, Try::List, "documents", DENIED),
        (BACKUP_USER, Try::Read, "documents", DENIED),
        (BACKUP_USER, Try::Write, "documents", DENIED),
        (BACKUP_USER, Try::Delete, "documents", DENIED),
        // An application that may write.
        ("patient-api", Try::List, "documents", OK),
        ("patient-api", Try::Read, "documents", OK),
        ("patient-api", Try::Write, "documents", OK),
        ("patient-api", Try::Multipart, "documents", OK),
        ("patient-api", Try::ReadTags, "documents", OK),
        ("patient-api", Try::ReadVersioning, "documents", OK),
        ("patient-api", Try::ListUploads, "documents", OK),
        ("patient-api", Try::DeleteVersion, "documents", DENIED),
        ("patient-api", Try::DeleteVersionInBulk, "documents", DENIED),
        ("patient-api", Try::SetVersioning, "documents", DENIED),
        ("patient-api", Try::SetLifecycle, "documents", DENIED),
        ("patient-api", Try::SetPolicy, "documents", DENIED),
        ("patient-api", Try::SetNotification, "documents", DENIED),
        ("patient-api", Try::DeleteBucket, "documents", DENIED),
        ("patient-api", Try::CreateBucket, "documents", DENIED),
        ("patient-api", Try::Write, "scratch", OK),
        ("patient-api", Try::List, "images", DENIED),
        ("patient-api", Try::ReadVersioning, "images", DENIED),
        ("patient-api", Try::Read, "images", DENIED),
        ("patient-api", Try::Write, "images", DENIED),
        ("patient-api", Try::List, BACKUP_BUCKET, DENIED),
        ("patient-api", Try::Read, BACKUP_BUCKET, DENIED),
        // The same where objects can be locked.
        ("imaging", Try::Write, "images", OK),
        ("imaging", Try::DeleteVersion, "images", DENIED),
        ("imaging", Try::ForceDelete, "images", FORBIDDEN_BY_LOCK),
        ("imaging", Try::LockObject, "images", OK),
        ("imaging", Try::Delete, "images", OK),
        // One that may only read.
        ("auditor", Try::List, "documents", OK),
        ("auditor", Try::Read, "documents", OK),
        ("auditor", Try::ReadTags, "documents", OK),
        ("auditor", Try::ReadVersioning, "documents", OK),
        ("auditor", Try::ListUploads, "documents", DENIED),
        ("auditor", Try::Write, "documents", DENIED),
        ("auditor", Try::Multipart, "documents", DENIED),
        ("auditor", Try::Delete, "documents", DENIED),
        ("auditor", Try::DeleteVersion, "documents", DENIED),
        ("auditor", Try::DeleteVersionInBulk, "documents", DENIED),
        ("auditor", Try::ForceDelete, "documents", DENIED),
        ("auditor", Try::SetPolicy, "documents", DENIED),
        ("auditor", Try::List, "scratch", DENIED),
        ("auditor", Try::Read, BACKUP_BUCKET, DENIED),
        // Nobody.
        ("", Try::List, "documents", DENIED),
        ("", Try::Read, "documents", DENIED),
        ("", Try::Write, "documents", DENIED),
        ("", Try::Delete, BACKUP_BUCKET, DENIED),
        ("patient-api", Try::Delete, "documents", OK),
    ];
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    converge(&store(&plan, &server), &plan, &region, &server).await;

    let root = plan.names.object_store_root();
    let text = |key| server.credentials.text(&root, key).expect("root's Secret");
    let root = client(
        &server,
        "tr-ist-1",
        Some((text("access-key"), text("secret-key"))),
    );
    let mut versions = std::collections::BTreeMap::new();
    for bucket in [BACKUP_BUCKET, "documents", "images", "scratch"] {
        let put = root
            .put_object()
            .bucket(bucket)
            .key(KEY)
            .body(ByteStream::from_static(b"text"))
            .send()
            .await
            .expect("root may write");
        // The store encrypts whatever it is given.
        assert!(put.server_side_encryption().is_some(), "{bucket}");
        versions.insert(bucket, put.version_id.unwrap_or_else(|| "null".to_owned()));
    }
    for (user, what, bucket, expected) in table {
        let secret = plan.names.object_store_user(user);
        let signer = server
            .credentials
            .text(&secret, "secret-key")
            .map(|secret| (*user, secret));
        assert_eq!(signer.is_none(), user.is_empty());
        let client = client(&server, "tr-ist-1", signer);
        let found = attempt(&client, bucket, &versions[bucket], *what).await;
        assert_eq!(found, *expected, "{user:?} tries {what:?} on {bucket}");
    }
    // Each was deleted by its user, and each first version is still there.
    for bucket in [BACKUP_BUCKET, "documents", "images"] {
        let first = root
            .get_object()
            .bucket(bucket)
            .key(KEY)
            .version_id(&versions[bucket])
            .send()
            .await;
        assert_eq!(outcome(first), OK, "the first version of {bucket} is gone");
    }

    // The limit of it: without object lock, MinIO lets whoever may delete an object delete its versions by force.
    let secret = Some(("patient-api", "secret of patient-api"));
    let forced = client(&server, "tr-ist-1", secret);
    let found = attempt(&forced, "documents", "null", Try::ForceDelete).await;
    assert_eq!(
        found, OK,
        "now object lock is not needed for it: say so in the reference"
    );

    // A key signs for this region alone, and with its own secret alone.
    let secret = Some((BACKUP_USER, "secret of pgbackrest"));
    let elsewhere = client(&server, "es-mad-1", secret);
    let found = attempt(&elsewhere, BACKUP_BUCKET, "null", Try::List).await;
    assert_eq!(found, "AuthorizationHeaderMalformed");
    let wrong = client(&server, "tr-ist-1", Some((BACKUP_USER, "another secret")));
    let found = attempt(&wrong, BACKUP_BUCKET, "null", Try::List).await;
    assert_eq!(found, "SignatureDoesNotMatch");
}
