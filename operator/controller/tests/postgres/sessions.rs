//! Sessions of applications over the network: what is read of them, and which are ended, by their age.

use std::net::Ipv4Addr;
use std::time::Duration;

use bailiwick_model::sql::step::SqlStep;
use jiff::SignedDuration;
use tokio_postgres::Client;

use super::server::Server;
use super::{ROLES, converge, observe, perform, spec, wanted};

/// An address that is not the loopback's own, as a client's is not.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ROLE: &str = "clinical_app_writer";

async fn lives(client: &Client) -> bool {
    client.batch_execute("SELECT 1").await.is_ok()
}

#[tokio::test]
async fn sessions_of_an_age_are_ended_and_younger_ones_are_not() {
    let server = Server::start(&ROLES).await;
    converge(&server, &wanted(&spec())).await;
    let client = async |from| server.login_from(from, ROLE, "clinical").await.unwrap();
    let old = client(CLIENT).await;
    // What comes through the API server to the member itself is let in by who broke the glass.
    let local = client(Ipv4Addr::LOCALHOST).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let young = client(CLIENT).await;

    let facts = observe(&server).await;
    assert_eq!(facts.sessions.len(), 1, "{:?}", facts.sessions);
    let seen = facts.sessions[ROLE];
    assert_eq!(seen.count, 2);
    let oldest = seen.oldest.as_secs();
    assert!((4..30).contains(&oldest), "{oldest} s");
    // A primary is no standby: nothing is said of it.
    let asked = ["tr-pg-0".to_owned()];
    let standbys = server
        .operator()
        .standby_sessions(server.credentials(), asked)
        .await;
    assert!(standbys.is_empty(), "{standbys:?}");

    let end = |from_age| SqlStep::EndSessions {
        role: ROLE.to_owned(),
        standby: None,
        from_age,
    };
    perform(&server, &end(Some(SignedDuration::from_secs(3)))).await;
    assert!(!lives(&old).await, "the old one lives");
    assert!(lives(&young).await && lives(&local).await);
    perform(&server, &end(None)).await;
    assert!(!lives(&young).await, "the young one lives");
    assert!(lives(&local).await);
    assert!(observe(&server).await.sessions.is_empty());
}
