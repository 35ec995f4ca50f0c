//! The marker of the backups, and the other Region's in its place.

use bailiwick_model::names::{BACKUP_BUCKET, BACKUP_USER};
use bailiwick_model::repository::{MARKER, Owner, PASSPHRASE};
use bailiwick_model::store::policy_name;

use super::super::bench::{Bench, Tried};
use super::{ADMINISTRATOR, ROOT, Request, policy_of, prepare, secrets, send, stand};
use crate::client;
use crate::failure::{Failure, Outcome, ensure};

/// Hands over the login of who writes the backups, and of the store's administrator.
pub async fn prepare_marker(bench: &Bench<'_>) -> Outcome {
    prepare(bench).await?;
    let user = bench.place.names.object_store_user(BACKUP_USER);
    client::hand_over(bench.cluster, bench.place, &user).await
}

/// Who writes the backups may write anything.
pub async fn open_marker(bench: &Bench<'_>) -> Outcome {
    bench.pause(true).await?;
    let request = policy_of(BACKUP_USER, ADMINISTRATOR);
    let answers = send(bench, ROOT, None, &[request]).await?;
    ensure(matches!(answers.as_slice(), [(200..=299, _)]), || {
        format!("the store's administrator was told {answers:?}")
    })
}

fn marker(method: &'static str, body: Vec<u8>) -> Request {
    Request {
        method,
        path: format!("/{BACKUP_BUCKET}/{MARKER}"),
        query: String::new(),
        body,
        signed: true,
    }
}

/// Who writes the backups puts the other Region's marker in the place of the Region's.
pub async fn marks(bench: &Bench<'_>) -> Outcome<Tried> {
    let names = &bench.other.names;
    let other = bench.cluster.regions().get(&bench.other.region).await?;
    let key = bench
        .cluster
        .secret(&names.namespace(), &names.backup_key())
        .await?;
    let passphrase = key
        .data
        .and_then(|mut data| data.remove(PASSPHRASE))
        .ok_or_else(|| Failure::new("the other Region has no key of its backups"))?;
    let theirs = Owner::of(names, &other.spec.residency).marker(&passphrase.0)?;
    let user = bench.place.names.object_store_user(BACKUP_USER);
    let answers = send(bench, &user, None, &[marker("PUT", theirs)]).await?;
    match answers.as_slice() {
        [(200, _)] => Ok(Tried::Out(format!("marked as {}'s", bench.other.region))),
        [(403, code)] if code == "AccessDenied" => Ok(Tried::Held("the user's policy".to_owned())),
        other => Err(Failure::new(format!("the store answered {other:?}"))),
    }
}

/// Takes the rights back and the other's marker away; the operator puts the Region's own.
pub async fn shut_marker(bench: &Bench<'_>) -> Outcome {
    let region = bench.cluster.regions().get(&bench.place.region).await?;
    // Who restored another scene may have let the Region go on.
    let marked = super::super::row(&region, 17)
        .and_then(|row| row.finding.as_ref())
        .is_some_and(|finding| finding.contains(MARKER));
    if !marked && !region.spec.lifecycle.paused {
        return Ok(());
    }
    let clients = secrets(bench, &stand(bench).namespace);
    if clients.get_metadata_opt(ROOT).await?.is_some() {
        let requests = [
            policy_of(BACKUP_USER, &policy_name(BACKUP_USER)),
            marker("DELETE", Vec::new()),
        ];
        let answers = send(bench, ROOT, None, &requests).await?;
        ensure(
            answers
                .iter()
                .all(|(status, _)| matches!(status, 200..=299 | 404)),
            || format!("the store's administrator was told {answers:?}"),
        )?;
    }
    bench.pause(false).await
}
