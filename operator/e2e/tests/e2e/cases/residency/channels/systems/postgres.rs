//! What is said to Postgres, what it logs, and whether it streams its WAL to a stranger.

use bailiwick_model::names::REPLICATION_ROLE;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, LogParams};
use serde_json::json;

use super::super::bench::{Bench, Tried};
use super::{LIMIT, primary, secrets, stand};
use crate::client::{self, Running, Script};
use crate::failure::{Failure, Outcome, ensure};
use crate::wait::{Look, until};
use crate::writer::logins;

/// What a role of Postgres says.
#[derive(Clone, Copy)]
pub struct Saying {
    /// What it has then.
    out: &'static str,
    /// Whether it is the database's administrator, and not an application.
    administrator: bool,
    statement: &'static str,
}

/// Rows are offered to whoever subscribes.
pub const PUBLICATION: Saying = Saying {
    out: "a publication",
    administrator: true,
    statement: "CREATE PUBLICATION e2e_channel",
};

/// A program of the server gets rows.
pub const PROGRAM: Saying = Saying {
    out: "rows in a program",
    administrator: false,
    statement: "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
};

/// Says something to Postgres; the code of its refusal. A session that the quarantine ends says nothing: it is said again.
async fn tell(bench: &Bench<'_>, administrator: bool, statement: &str) -> Outcome<Option<String>> {
    // Postgres' own code: admin_shutdown.
    const ENDED: &str = "57P01";
    let refused = tell_once(bench, administrator, statement).await?;
    if refused.as_deref() == Some(ENDED) {
        return tell_once(bench, administrator, statement).await;
    }
    Ok(refused)
}

async fn tell_once(
    bench: &Bench<'_>,
    administrator: bool,
    statement: &str,
) -> Outcome<Option<String>> {
    let [admin, writer, _] = logins(&bench.place.names);
    let login = if administrator { admin } else { writer };
    let script = Script {
        name: "statement",
        told: json!({ "login": login, "statement": statement }),
        secrets: vec![login],
    };
    let answer = client::run(bench.cluster, &stand(bench), &script, LIMIT).await?;
    Ok(serde_json::from_value(answer["refused"].clone())?)
}

/// Says it.
pub async fn say(bench: &Bench<'_>, saying: Saying) -> Outcome<Tried> {
    // Postgres' own codes: insufficient_privilege, duplicate_object.
    match tell(bench, saying.administrator, saying.statement)
        .await?
        .as_deref()
    {
        None | Some("42710") => Ok(Tried::Out(saying.out.to_owned())),
        Some("42501") => Ok(Tried::Held("the role's rights".to_owned())),
        Some(other) => Err(Failure::new(format!("Postgres said {other}"))),
    }
}

/// Says a value, and looks for it in the log.
pub async fn logged(bench: &Bench<'_>) -> Outcome<Tried> {
    let value = format!("e2e-channel-{}", jiff::Timestamp::now().as_nanosecond());
    let refused = tell(bench, false, &format!("SELECT '{value}'")).await?;
    ensure(refused.is_none(), || format!("Postgres said {refused:?}"))?;
    let parameters = LogParams {
        container: Some("postgres".to_owned()),
        since_seconds: Some(60),
        ..LogParams::default()
    };
    let log = Api::<Pod>::namespaced(bench.cluster.client.clone(), &bench.namespace())
        .logs(&primary(bench).await?, &parameters)
        .await?;
    Ok(if log.contains(&value) {
        Tried::Out("a value in the log".to_owned())
    } else {
        Tried::Held("the log's settings".to_owned())
    })
}

/// Asks for the WAL; a stream that stands goes on until the scene ends.
pub async fn stream(bench: &Bench<'_>) -> Outcome<Tried> {
    let names = &bench.place.names;
    let stand = stand(bench);
    // With the right password: what is asked for besides is a certificate, which the opening hands over.
    let password = names.postgres_internal();
    client::hand_over(bench.cluster, bench.place, &password).await?;
    let certificate = secrets(bench, &stand.namespace)
        .get_opt(&names.client_certificate())
        .await?
        .map(|_| names.client_certificate());
    let [_, writer, _] = logins(names);
    let script = Script {
        name: "standby",
        told: json!({
            "login": writer, "password": password, "certificate": certificate, "role": REPLICATION_ROLE,
        }),
        secrets: [
            Some(writer.clone()),
            Some(password.clone()),
            certificate.clone(),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let running = Running::start(bench.cluster, &stand, &script).await?;
    let tried = until("an answer to who asks for the WAL", LIMIT, || async {
        let log = running.log().await?;
        Ok(if log.contains("streams") {
            Look::Seen(Tried::Out("WAL to a stranger".to_owned()))
        } else if log.contains("refused") {
            Look::Seen(Tried::Held(
                "pg_hba, the password and the certificate".to_owned(),
            ))
        } else {
            Look::NotYet(log)
        })
    })
    .await;
    if certificate.is_none() {
        secrets(bench, &stand.namespace)
            .delete(&password, &DeleteParams::default())
            .await?;
    }
    tried
}
