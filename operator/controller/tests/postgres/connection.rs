//! Passwords, certificates and all that can be wrong with a connection.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use bailiwick_model::facts::postgres::{PasswordFact, PostgresFacts};
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{Names, REPLICATION_ROLE, REWIND_ROLE};
use bailiwick_model::secret::Contents;
use bailiwick_model::sql::step::SqlStep;
use bailiwick_operator::credentials::Credentials;
use bailiwick_operator::mint::derived;
use bailiwick_operator::postgres::Postgres;
use tokio_postgres::error::SqlState;

use super::server::{REGION, REPLICATION_PASSWORD, Server};
use super::{ROLES, converge, observe, spec, wanted};

#[tokio::test]

async fn a_renewed_secret_becomes_the_password_and_no_log_holds_it() {
    let mut server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    converge(&server, &wanted).await;
    server.renew_secret("bare", "a-renewed-password");
    let facts = observe(&server).await;
    assert_eq!(facts.roles["bare"].password, PasswordFact::Stale);
    let steps = wanted.steps(&facts);
    assert!(
        matches!(steps.as_slice(), [SqlStep::SetPassword { role, .. }] if role == "bare"),
        "{steps:#?}"
    );
    converge(&server, &wanted).await;
    assert!(server.login("bare", "clinical").await.is_ok());
    let old = server
        .login_with("bare", "password-of-bare", "clinical")
        .await
        .unwrap_err();
    assert_eq!(old.code(), Some(&SqlState::INVALID_PASSWORD));

    // Not even a server that logs everything gets to see it.
    let log = server.log();
    assert!(log.contains("database system is ready"), "{log}");
    for secret in ["a-renewed-password", "password-of-", "SCRAM-SHA-256$"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// How a look fails.
async fn class(postgres: &Postgres, credentials: &Credentials) -> ReadFailure {
    match postgres.observe(credentials).await {
        Observed::Failed(unread) => {
            assert!(unread.cause.is_some(), "{unread:?} tells no cause");
            unread.failure
        }
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[tokio::test]
async fn each_failure_has_its_class() {
    let server = Server::start(&[]).await;
    let names = Names::new(REGION);
    let nobody = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    assert_eq!(
        class(&server.operator_at(nobody), server.credentials()).await,
        ReadFailure::Unreachable
    );

    // Accepts, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert_eq!(
        class(
            &server.operator_at(silent.local_addr().unwrap()),
            server.credentials()
        )
        .await,
        ReadFailure::TimedOut
    );

    let mut credentials = server.credentials().clone();
    credentials.insert(
        names.postgres_internal(),
        [("control-password".to_owned(), b"wrong".to_vec())].into(),
    );
    assert_eq!(
        class(&server.operator(), &credentials).await,
        ReadFailure::Unauthenticated
    );
    credentials.remove(&names.postgres_internal());
    assert_eq!(
        class(&server.operator(), &credentials).await,
        ReadFailure::Unauthenticated
    );

    // Another authority's certificate, and another Region's name.
    let other = Server::start(&[]).await;
    assert_eq!(
        class(&other.operator_at(server.address()), other.credentials()).await,
        ReadFailure::Untrusted
    );
    let elsewhere = Names::new("es");
    let mut credentials = server.credentials().clone();
    for (from, to) in [
        (
            names.postgres_certificate(),
            elsewhere.postgres_certificate(),
        ),
        (names.postgres_internal(), elsewhere.postgres_internal()),
    ] {
        let values = server.credentials().secret(&from).unwrap().clone();
        credentials.insert(to, values);
    }
    let postgres = Postgres::new(elsewhere, &credentials, Some(server.address())).unwrap();
    assert_eq!(class(&postgres, &credentials).await, ReadFailure::Untrusted);
}

/// Members that are restarted with a password that the server does not take could not follow the primary.
#[tokio::test]
async fn passwords_of_members_that_the_server_does_not_take_are_known() {
    let server = Server::start(&[]).await;
    let role = format!(
        "CREATE ROLE {REPLICATION_ROLE} LOGIN REPLICATION PASSWORD '{REPLICATION_PASSWORD}'"
    );
    server
        .superuser("postgres")
        .await
        .batch_execute(&role)
        .await
        .unwrap();
    let internal = Names::new(REGION).postgres_internal();
    let right = server.credentials();
    let operator = server.operator();
    let logins = async |operator: &Postgres, credentials: &Credentials| {
        operator.read(credentials).await.unwrap().logins
    };
    let all = BTreeMap::from([(REPLICATION_ROLE, Ok(())), (REWIND_ROLE, Ok(()))]);
    assert_eq!(logins(&operator, right).await, all);
    assert_eq!(logins(&operator, right).await, all);
    let refused = Unread {
        failure: ReadFailure::Unauthenticated,
        cause: Some("SQLSTATE 28P01".to_owned()),
    };
    for (key, role) in [
        ("replication-password", REPLICATION_ROLE),
        ("rewind-password", REWIND_ROLE),
    ] {
        let mut values = right.secret(&internal).unwrap().clone();
        values.insert(key.to_owned(), b"another one of a person".to_vec());
        let mut edited = right.clone();
        edited.insert(internal.clone(), values);
        // By one that knew the password before, and by one that starts after the edit.
        for operator in [&operator, &server.operator()] {
            let mut expected = all.clone();
            expected.insert(role, Err(refused.clone()));
            assert_eq!(logins(operator, &edited).await, expected, "{key}");
        }
    }
    assert_eq!(logins(&operator, right).await, all);
}

#[tokio::test]
async fn a_certificate_secret_without_an_authority_is_refused_by_name() {
    let names = Names::new(REGION);
    let anywhere = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    for text in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let mut credentials = Credentials::default();
        credentials.insert(
            names.postgres_certificate(),
            [("ca.crt".to_owned(), text.as_bytes().to_vec())].into(),
        );
        let Err(error) = Postgres::new(names.clone(), &credentials, anywhere) else {
            panic!("{text:?} was accepted");
        };
        assert_eq!(error.failure, ReadFailure::Untrusted);
        assert!(
            format!("{:?}", error.source).contains("tr-pg-tls"),
            "{error:?}"
        );
    }
}

/// A step that cannot be done says what, and neither how nor with what.
#[tokio::test]
async fn the_error_of_a_step_names_it_and_no_value() {
    let server = Server::start(&[]).await;
    let step = SqlStep::SetPassword {
        role: "bare".to_owned(),
        secret: Names::new(REGION).postgres_role("bare"),
        mark: bailiwick_model::facts::postgres::Mark::new(bailiwick_api::region::Reclaim::Retain),
    };
    let error = server
        .operator()
        .perform(&step, server.credentials())
        .await
        .unwrap_err();
    assert_eq!(error.failure, ReadFailure::NotReady);
    assert_eq!(
        error.to_string(),
        "postgres: set the password of role bare from Secret tr-pg-role-bare: NotReady"
    );

    let mut with_secret = Server::start(&["bare"]).await;
    with_secret.renew_secret("bare", "never-in-a-message");
    let error = with_secret
        .operator()
        .perform(&step, with_secret.credentials())
        .await
        .unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("42704"), "{text}");
    for secret in ["never-in-a-message", "SCRAM-SHA-256$"] {
        assert!(!text.contains(secret), "{text}");
        assert!(!with_secret.log().contains(secret));
    }
}

#[test]
fn nothing_is_done_on_a_server_that_replays_wal() {
    let facts = PostgresFacts {
        in_recovery: true,
        ..PostgresFacts::default()
    };
    assert_eq!(wanted(&spec()).steps(&facts), []);
}

#[tokio::test]
async fn the_uri_of_a_login_works_as_it_was_minted() {
    let server = Server::start(&ROLES).await;
    converge(&server, &wanted(&spec())).await;
    let names = Names::new(REGION);
    let login = Contents::PostgresLogin {
        user: "bare".to_owned(),
        dbname: "clinical".to_owned(),
        host: format!("{}.{}.svc", names.postgres_rw(), names.namespace()),
    };
    let minted = |authority: &str| -> BTreeMap<&str, String> {
        derived(&login, "password-of-bare", authority)
            .into_iter()
            .collect()
    };
    let minted = minted(server.authority());
    assert_eq!(minted["ca.crt"], server.authority());
    // The Service's port is not that of a server on this machine.
    let uri = minted["uri"].replace(":5432/", &format!(":{}/", server.address().port()));
    let asked = "SELECT current_user || ' ' || ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(server.psql(&uri, asked), (true, "bare true".to_owned()));

    // Without the file that it names, nobody is trusted.
    let bare = uri.split("&sslrootcert=").next().unwrap();
    let (done, refused) = server.psql(bare, asked);
    assert!(
        !done && refused.contains("root certificate file"),
        "{refused}"
    );
}
