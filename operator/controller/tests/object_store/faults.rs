//! The word of each failure; certificates and root credentials that change.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::facts::store::BucketOutlet;
use bailiwick_model::names::BACKUP_BUCKET;
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::store::{drift, steps};
use bailiwick_operator::credentials::Credentials;
use bailiwick_operator::store::Store;

use super::attempts::KEY;
use super::{client, converge, observe, ready, region, store};
use crate::fixture;
use crate::server::{Server, outcome};

#[tokio::test]

async fn each_failure_has_its_word() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let failure = async |store: Store| {
        let nobody = Credentials::default();
        let unread = ready(|| store.observe(&plan.names, &region, &nobody))
            .await
            .expect_err("it cannot be read");
        (unread.failure, unread.cause.expect("a cause"))
    };
    let because = |failure, cause: &str| (failure, cause.to_owned());
    let other =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let of = |endpoint: &str, access: &str, secret: &str, authority: &[u8]| {
        Store::new(endpoint, "tr-ist-1", access, secret, authority).expect("a client")
    };
    let ours = server.authority.clone();
    let endpoint = server.endpoint.clone();
    let (access, secret) = ("tr-s3-root-access-key", "tr-s3-root-secret-key");

    let wrong = of(&endpoint, access, "another secret", &ours);
    assert_eq!(
        failure(wrong).await,
        because(
            ReadFailure::Unauthenticated,
            "SignatureDoesNotMatch, HTTP 403"
        )
    );
    let unknown = of(&endpoint, "nobody", secret, &ours);
    assert_eq!(
        failure(unknown).await,
        because(ReadFailure::Unauthenticated, "InvalidAccessKeyId, HTTP 403")
    );
    let stranger = of(&endpoint, access, secret, other.cert.pem().as_bytes());
    assert_eq!(
        failure(stranger.clone()).await,
        because(ReadFailure::Untrusted, "TLS BadSignature")
    );
    let refused = stranger
        .perform(
            &StoreStep::RemoveOutlet {
                bucket: "x".to_owned(),
                outlet: BucketOutlet::Policy,
            },
            &server.credentials,
        )
        .await
        .expect_err("it cannot be done");
    assert_eq!(
        refused.failure,
        ReadFailure::Untrusted,
        "the S3 client's errors too"
    );
    assert_eq!(refused.cause().as_deref(), Some("TLS BadSignature"));
    assert_eq!(
        Store::new(&endpoint, "tr-ist-1", access, secret, b"no certificate").err(),
        Some(ReadFailure::Untrusted)
    );
    // A user without the right to look is refused it.
    let store = store(&plan, &server);
    converge(&store, &plan, &region, &server).await;
    let user = of(&endpoint, "auditor", "secret of auditor", &ours);
    assert_eq!(
        failure(user).await,
        because(ReadFailure::Forbidden, "AccessDenied, HTTP 403")
    );

    // Listing buckets is the one thing that the server allows in the name of another region.
    let elsewhere = Store::new(&endpoint, "es-mad-1", access, secret, &ours).expect("a client");
    assert_eq!(
        failure(elsewhere).await,
        because(
            ReadFailure::Unauthenticated,
            "AuthorizationHeaderMalformed, HTTP 400"
        )
    );

    // A Secret that is not there yet is no reason to make a user without a key, nor to leave out the other users.
    let step = StoreStep::CreateUser {
        user: "auditor".to_owned(),
        secret: "missing".to_owned(),
    };
    let error = store
        .perform(&step, &server.credentials)
        .await
        .expect_err("no Secret");
    assert_eq!(error.failure, ReadFailure::Malformed);
    assert_eq!(
        error.to_string(),
        "object store: create user auditor: Malformed"
    );
    assert_eq!(
        error.cause().as_deref(),
        Some("Secret missing: secret-key is missing")
    );

    server.stop();
    // A connection that was kept ends otherwise than a new one.
    assert_eq!(failure(store.clone()).await.0, ReadFailure::Unreachable);
    let gone = store.newest_object(BACKUP_BUCKET, "archive/").await;
    assert_eq!(gone, Err(ReadFailure::Unreachable));

    // One that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("https://{}", silent.local_addr().expect("an address"));
    let silent = of(&endpoint, access, secret, &ours);
    assert_eq!(
        failure(silent).await,
        because(ReadFailure::TimedOut, "operation timed out")
    );
}

#[tokio::test]
async fn a_renewed_certificate_comes_into_force_without_a_restart() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let presented = async |server: &Server| {
        let url = format!("{}/minio/health/live", server.endpoint);
        let answer = server.http().get(url).send().await.expect("an answer");
        let tls = answer.extensions().get::<reqwest::tls::TlsInfo>().cloned();
        tls.and_then(|tls| tls.peer_certificate().map(<[u8]>::to_vec))
            .expect("a certificate")
    };
    let first = presented(&server).await;
    server.renew(&plan);
    // The server looks once a minute.
    for _ in 0..180 {
        if presented(&server).await != first {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("it still presents the first certificate");
}

#[tokio::test]
async fn other_root_credentials_are_refused_until_a_restart_and_everything_is_still_there_then() {
    let region = region();
    let plan = fixture::planned(&region);
    let mut server = Server::start(&plan, &[]).await;
    let before = converge(&store(&plan, &server), &plan, &region, &server).await;
    let put = client(
        &server,
        "tr-ist-1",
        Some(("patient-api", "secret of patient-api")),
    )
    .put_object()
    .bucket("documents")
    .key(KEY)
    .body(ByteStream::from_static(b"kept"))
    .send()
    .await;
    assert_eq!(outcome(put), "ok");

    server.replace_root(&plan);
    let with_new = store(&plan, &server);
    let refused = with_new
        .observe(&plan.names, &region, &server.credentials)
        .await;
    // By this the operator knows that the servers run with the ones before.
    assert_eq!(
        refused.err().map(|unread| unread.failure),
        Some(ReadFailure::Unauthenticated)
    );

    server.stop();
    server.resume().await;
    let after = observe(&with_new, &plan, &region, &server).await;
    assert_eq!(after.users, before.users);
    assert_eq!(after.policies, before.policies);
    assert_eq!(steps(&plan, &after), []);
    assert_eq!(drift(&plan, &after), []);
    let got = client(
        &server,
        "tr-ist-1",
        Some(("patient-api", "secret of patient-api")),
    )
    .get_object()
    .bucket("documents")
    .key(KEY)
    .send()
    .await
    .expect("the object is there");
    let body = got.body.collect().await.expect("its content");
    assert_eq!(&body.into_bytes()[..], b"kept");
}
