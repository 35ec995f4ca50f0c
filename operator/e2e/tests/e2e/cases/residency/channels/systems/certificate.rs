//! The servers' certificate of Postgres, and the other Region's in its place.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::super::bench::{Bench, Tried};
use super::{LIMIT, keep, prepare, restart_operator, secrets, stand};
use crate::client::{self, Script};
use crate::failure::{Outcome, While};
use crate::writer::logins;

/// The Secret of the certificate as it was.
const CERTIFICATE: &str = "e2e-channel-certificate";
/// The Secret of the certificate as it is.
const PRESENT: &str = "e2e-channel-present";

/// Keeps the servers' certificate of Postgres.
pub async fn keep_certificate(bench: &Bench<'_>) -> Outcome {
    prepare(bench).await?;
    let names = &bench.place.names;
    let secret = bench
        .cluster
        .secret(&names.namespace(), &names.postgres_certificate())
        .await?;
    keep(bench, CERTIFICATE, &secret.data.unwrap_or_default()).await
}

async fn replace(bench: &Bench<'_>, secret: Secret) -> Outcome {
    let names = &bench.place.names;
    secrets(bench, &names.namespace())
        .patch(
            &names.postgres_certificate(),
            &PatchParams::default(),
            &Patch::Merge(json!({ "data": secret.data })),
        )
        .await
        .during("exchange the certificate")?;
    Ok(())
}

/// Puts the other Region's certificate in its place.
pub async fn exchange(bench: &Bench<'_>) -> Outcome {
    bench.pause(true).await?;
    let names = &bench.other.names;
    let foreign = bench
        .cluster
        .secret(&names.namespace(), &names.postgres_certificate())
        .await?;
    replace(bench, foreign).await
}

/// Puts the certificate back.
pub async fn put_back(bench: &Bench<'_>) -> Outcome {
    let clients = secrets(bench, &stand(bench).namespace);
    if let Some(kept) = clients.get_opt(CERTIFICATE).await? {
        replace(bench, kept).await?;
        for name in [CERTIFICATE, PRESENT] {
            if clients.get_metadata_opt(name).await?.is_some() {
                clients.delete(name, &DeleteParams::default()).await?;
            }
        }
        bench.pause(false).await?;
        restart_operator(bench).await?;
        // The kubelets may have mounted the foreign certificate in the seconds that it was there, and whatever is tried next
        // would meet it.
        let members = (0..2).map(|ordinal| bench.place.names.postgres_member(ordinal));
        let members: Vec<String> = members.collect();
        bench.cluster.mounted_anew(bench.place, &members).await?;
    }
    Ok(())
}

/// Whether the certificate that the servers are given is of the Region's authority, as a client checks it.
pub async fn verify(bench: &Bench<'_>) -> Outcome<Tried> {
    let names = &bench.place.names;
    let present = bench
        .cluster
        .secret(&names.namespace(), &names.postgres_certificate())
        .await?;
    let mut data = present.data.unwrap_or_default();
    data.remove("tls.key");
    keep(bench, PRESENT, &data).await?;
    let [_, writer, _] = logins(names);
    let script = Script {
        name: "chain",
        told: json!({ "authority": writer, "certificate": PRESENT }),
        secrets: vec![writer, PRESENT.to_owned()],
    };
    let found = client::run(bench.cluster, &stand(bench), &script, LIMIT).await?;
    Ok(if found["verified"] == json!(true) {
        Tried::Held("the Region's authority".to_owned())
    } else {
        Tried::Out("another's certificate".to_owned())
    })
}
