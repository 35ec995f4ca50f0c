//! The repository of the backups: its marker, its files, and its newest object.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::facts::repository::{Difference, Marker};
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::repository::{ArchivedFile, MARKER, MARKER_LIMIT, Owner, PASSPHRASE};
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::store::{Drift, drift, steps};

use super::{client, converge, observe, perform, region, store};
use crate::fixture;
use crate::server::{Server, outcome};

#[tokio::test]

async fn the_newest_object_is_found_by_folder_and_time() {
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    converge(&store, &plan, &region, &server).await;
    let newest = async || {
        let found = store
            .newest_object(BACKUP_BUCKET, "pgbackrest/archive/tr-i1/")
            .await;
        found.expect("it can be read").map(|(key, _)| key)
    };
    assert_eq!(newest().await, None);

    let secret = Some((BACKUP_USER, "secret of pgbackrest"));
    let pgbackrest = client(&server, "tr-ist-1", secret);
    let put = async |key: &str| {
        pgbackrest
            .put_object()
            .bucket(BACKUP_BUCKET)
            .key(format!("pgbackrest/archive/{key}"))
            .body(ByteStream::from_static(b"wal"))
            .send()
            .await
            .expect("it may write");
    };
    put("tr-i1/archive.info").await;
    assert_eq!(
        newest().await.as_deref(),
        Some("pgbackrest/archive/tr-i1/archive.info")
    );
    let folder = "tr-i1/17-1/0000000100000000";
    put(&format!("{folder}/000000010000000000000001-aa.zst")).await;
    put(&format!("{folder}/000000010000000000000002-bb.zst")).await;
    put("tr-i2/17-1/0000000100000000/000000010000000000000009-ff.zst").await;
    assert_eq!(
        newest().await,
        Some(format!(
            "pgbackrest/archive/{folder}/000000010000000000000002-bb.zst"
        ))
    );
    // A later timeline counts, whatever came late on the one before it.
    put("tr-i1/17-1/0000000200000000/000000020000000000000003-cc.zst").await;
    put(&format!("{folder}/000000010000000000000003-dd.zst")).await;
    let found = newest().await.expect("it is there");
    assert!(
        found.ends_with("000000020000000000000003-cc.zst"),
        "{found}"
    );
}

/// Removes every version of the repository's marker, as root.
pub async fn remove_marker(root: &Client) {
    let versions = root
        .list_object_versions()
        .bucket(BACKUP_BUCKET)
        .prefix(MARKER);
    for version in versions.send().await.expect("root may list").versions() {
        root.delete_object()
            .bucket(BACKUP_BUCKET)
            .key(MARKER)
            .version_id(version.version_id().expect("an id"))
            .send()
            .await
            .expect("root may");
    }
}

/// Puts bytes in the place of the repository's marker, as root.
async fn put_in_its_place(root: &Client, bytes: Vec<u8>) {
    root.put_object()
        .bucket(BACKUP_BUCKET)
        .key(MARKER)
        .body(ByteStream::from(bytes))
        .send()
        .await
        .expect("root may");
}

/// The bytes at the marker's key, and of how many versions they are the last.
async fn in_its_place(root: &Client) -> (Vec<u8>, usize) {
    let object = root.get_object().bucket(BACKUP_BUCKET).key(MARKER);
    let object = object.send().await.expect("it is there");
    let bytes = object.body.collect().await.expect("a body").to_vec();
    let versions = root
        .list_object_versions()
        .bucket(BACKUP_BUCKET)
        .prefix(MARKER);
    let versions = versions.send().await.expect("root may list");
    (bytes, versions.versions().len())
}

#[tokio::test]
async fn the_repositorys_marker_is_put_where_none_is_and_over_nothing() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    let empty = observe(&store, &plan, &region, &server).await;
    assert_eq!(empty.marker, Observed::NotAsked, "there is no bucket yet");
    converge(&store, &plan, &region, &server).await;
    let secret = plan.names.object_store_root();
    let text = |key| {
        server
            .credentials
            .text(&secret, key)
            .expect("root's Secret")
    };
    let root = client(
        &server,
        "tr-ist-1",
        Some((text("access-key"), text("secret-key"))),
    );
    let put = StoreStep::PutMarker {
        owner: Owner::of(&plan.names, &region.spec.residency),
        secret: plan.names.backup_key(),
    };
    let marker = async || observe(&store, &plan, &region, &server).await.marker;

    // A second one, as of another replica, finds it there.
    let (ours, versions) = in_its_place(&root).await;
    assert_eq!(versions, 1);
    perform(&store, &server, std::slice::from_ref(&put)).await;
    assert_eq!(in_its_place(&root).await, (ours.clone(), 1));

    // The Region was deleted and made anew: it is still its own.
    let mut anew = region.clone();
    anew.metadata.uid = Some("another".to_owned());
    let seen = observe(&store, &plan, &anew, &server).await;
    assert_eq!(seen.marker, Observed::Seen(Marker::Ours));

    // Without it, it is missed, and of many who put it at once one does.
    let delete = root.delete_object().bucket(BACKUP_BUCKET).key(MARKER);
    delete.send().await.expect("root may");
    let seen = observe(&store, &plan, &region, &server).await;
    assert_eq!(seen.marker, Observed::Seen(Marker::Missing));
    assert_eq!(steps(&plan, &seen), std::slice::from_ref(&put));
    let many = (0..8).map(|_| store.perform(&put, &server.credentials));
    for put in futures::future::join_all(many).await {
        put.expect("whoever was first, it is there");
    }
    assert_eq!(in_its_place(&root).await, (ours.clone(), 2));
    assert_eq!(marker().await, Observed::Seen(Marker::Ours));

    // Another's stays, whatever it is.
    let es = fixture::tr_with("metadata: {name: es}");
    let theirs = Owner::of(
        &bailiwick_model::names::Names::of(&es),
        &region.spec.residency,
    );
    let theirs = theirs.marker(b"another passphrase").expect("a marker");
    let forged = Owner::of(&plan.names, &region.spec.residency);
    let forged = forged.marker(b"another passphrase").expect("a marker");
    for (bytes, difference) in [
        (theirs, Difference::Region),
        (forged, Difference::Key),
        (b"no marker".to_vec(), Difference::Form),
        (Vec::new(), Difference::Form),
        (vec![b' '; 100 * MARKER_LIMIT], Difference::Form),
    ] {
        put_in_its_place(&root, bytes.clone()).await;
        let seen = observe(&store, &plan, &region, &server).await;
        assert_eq!(seen.marker, Observed::Seen(Marker::Foreign(difference)));
        assert_eq!(
            drift(&plan, &seen),
            [Drift::ForeignMarker {
                difference,
                region: "tr".to_owned()
            }]
        );
        assert_eq!(steps(&plan, &seen), []);
        perform(&store, &server, std::slice::from_ref(&put)).await;
        assert_eq!(in_its_place(&root).await.0, bytes);
    }

    // One that cannot be read is not missing, and the rest of the store is read all the same. Only who has the key that it
    // is encrypted with may read it: 32 times `k`.
    root.put_object()
        .bucket(BACKUP_BUCKET)
        .key(MARKER)
        .sse_customer_algorithm("AES256")
        .sse_customer_key("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
        .sse_customer_key_md5("mT2HRsMGJ5IX5C+0rreZ8Q==")
        .body(ByteStream::from(ours.clone()))
        .send()
        .await
        .expect("root may");
    let seen = observe(&store, &plan, &region, &server).await;
    let unread = Unread {
        failure: ReadFailure::Malformed,
        cause: Some("InvalidRequest, HTTP 400".to_owned()),
    };
    assert_eq!(seen.marker, Observed::Failed(unread));
    assert_eq!(steps(&plan, &seen), []);
    assert_eq!(drift(&plan, &seen), []);

    // With another key it is another's: the repository could not be read with it.
    put_in_its_place(&root, ours).await;
    assert_eq!(marker().await, Observed::Seen(Marker::Ours));
    let another = [(PASSPHRASE.to_owned(), b"another".to_vec())].into();
    server.credentials.insert(plan.names.backup_key(), another);
    let seen = observe(&store, &plan, &region, &server).await;
    let foreign = Marker::Foreign(Difference::Key);
    assert_eq!(seen.marker, Observed::Seen(foreign));
    // Without its Secret nobody looks.
    server.credentials.remove(&plan.names.backup_key());
    let seen = observe(&store, &plan, &region, &server).await;
    assert_eq!(seen.marker, Observed::NotAsked);
    assert_eq!(steps(&plan, &seen), []);
}

#[tokio::test]
async fn who_writes_the_backups_cannot_write_or_remove_their_marker() {
    let region = region();
    let plan = fixture::planned(&region);
    let server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    converge(&store, &plan, &region, &server).await;
    let user = client(
        &server,
        "tr-ist-1",
        Some((BACKUP_USER, "secret of pgbackrest")),
    );
    let put = async |key: &str| {
        let put = user.put_object().bucket(BACKUP_BUCKET).key(key);
        let body = ByteStream::from_static(b"theirs");
        outcome(put.body(body).send().await)
    };
    let delete = async |key: &str| {
        let delete = user.delete_object().bucket(BACKUP_BUCKET).key(key);
        outcome(delete.send().await)
    };
    for (key, expected) in [
        ("tr/archive/tr-i1/archive.info", "ok"),
        (".residency.json2", "ok"),
        ("tr/.residency.json", "ok"),
        (MARKER, "AccessDenied"),
    ] {
        assert_eq!(put(key).await, expected, "{key}");
        assert_eq!(delete(key).await, expected, "{key}");
    }
    assert_eq!(put("tr/source").await, "ok");
    let copy = user.copy_object().bucket(BACKUP_BUCKET).key(MARKER);
    let copy = copy.copy_source(format!("{BACKUP_BUCKET}/tr/source"));
    assert_eq!(outcome(copy.send().await), "AccessDenied");
    let upload = user
        .create_multipart_upload()
        .bucket(BACKUP_BUCKET)
        .key(MARKER);
    assert_eq!(outcome(upload.send().await), "AccessDenied");
    let object = ObjectIdentifier::builder().key(MARKER).build();
    let delete = Delete::builder().objects(object.expect("an object"));
    let bulk = user
        .delete_objects()
        .bucket(BACKUP_BUCKET)
        .delete(delete.build().expect("a deletion"));
    let bulk = bulk.send().await.expect("an answer for each");
    assert_eq!(bulk.errors()[0].code(), Some("AccessDenied"));
    assert_eq!(
        observe(&store, &plan, &region, &server).await.marker,
        Observed::Seen(Marker::Ours)
    );
}

#[tokio::test]
async fn an_archived_file_is_found_where_pgbackrest_lays_it_and_nowhere_else() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let store = store(&plan, &server);
    let archived = |name: &str| {
        let mut seen = PostgresFacts {
            server_version: 170_012,
            ..PostgresFacts::default()
        };
        seen.archiver.last_archived = Some(name.to_owned());
        ArchivedFile::newest(&plan.names, 1, &seen).expect("a file")
    };
    let file = archived("00000001000000000000000A");
    let missing = store.archived(&file).await;
    assert!(missing.is_err(), "without a bucket nothing is known");
    converge(&store, &plan, &region, &server).await;
    let user = client(
        &server,
        "tr-ist-1",
        Some((BACKUP_USER, "secret of pgbackrest")),
    );
    let put = async |key: &str| {
        let put = user.put_object().bucket(BACKUP_BUCKET).key(key);
        let body = ByteStream::from_static(b"wal");
        assert_eq!(outcome(put.body(body).send().await), "ok", "{key}");
    };
    // What looks like it and is not.
    for key in [
        "tr/archive/tr-i1/archive.info",
        "tr/archive/tr-i1/17-1/0000000100000000/00000001000000000000000B-ab.zst",
        "tr/archive/tr-i1/17-1/0000000100000000/00000001000000000000000A.partial-ab.zst",
        "tr/archive/tr-i1/17-1/0000000100000000/00000001000000000000000A.00000028.backup",
        "tr/archive/tr-i2/17-1/0000000100000000/00000001000000000000000A-ab.zst",
        "tr/archive/tr-i1/16-1/0000000100000000/00000001000000000000000A-ab.zst",
        "es/archive/es-i1/17-1/0000000100000000/00000001000000000000000A-ab.zst",
    ] {
        put(key).await;
    }
    assert_eq!(store.archived(&file).await, Ok(false));
    for (name, key) in [
        (
            "00000001000000000000000A",
            "17-1/0000000100000000/00000001000000000000000A-ab.zst",
        ),
        (
            "00000001000000000000000C",
            "17-2/0000000100000000/00000001000000000000000C-ab.zst",
        ),
        ("00000002.history", "17-1/00000002.history"),
    ] {
        assert_eq!(store.archived(&archived(name)).await, Ok(false), "{name}");
        put(&format!("tr/archive/tr-i1/{key}")).await;
        assert_eq!(store.archived(&archived(name)).await, Ok(true), "{name}");
    }
    for name in [
        "00000001000000000000000A.partial",
        "00000001000000000000000A.00000028.backup",
    ] {
        assert_eq!(store.archived(&archived(name)).await, Ok(true), "{name}");
    }
    // A store that does not answer does not say that it is not there.
    server.stop();
    let gone = store.archived(&file).await;
    let gone = gone.expect_err("it does not answer");
    assert_eq!(gone.failure, ReadFailure::Unreachable);
    assert!(gone.cause.is_some(), "{gone:?}");
}
