//! Certificates are renewed under connections: one that is open lives, and new ones verify all the time. I/O: the API
//! server, a client pod.

use std::time::Duration;

use bailiwick_model::names::OPERATOR_NAMESPACE;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use serde_json::{Value, json};

use crate::client::{MANAGER, Running, Script, Stand};
use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if, until};
use crate::writer::{logins, prepare};

/// How long the whole may take.
const RENEWED: Duration = Duration::from_mins(2);
/// How long a client may take to start.
const START: Duration = Duration::from_mins(1);
/// How long the Region may take to be settled.
const SETTLED: Duration = Duration::from_mins(2);
/// The serial number of the certificates that are due.
const DUE: u8 = 0x51;
/// How old they are, and how long they are valid: more than two thirds of their life are over.
const AGE: SignedDuration = SignedDuration::from_hours(80 * 24);
const LEFT: SignedDuration = SignedDuration::from_hours(10 * 24);

/// Lets the certificates of Region `es` come of age.
pub async fn certificates(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("es")?;
    cluster.settled(&place.region, SETTLED).await?;
    prepare(cluster, place).await?;
    let [_, login, _] = logins(&place.names);
    let names = &place.names;
    let host = |service: &str| format!("{service}.{}.svc", names.namespace());
    let server = |name: &str, host: String, port: u16, postgres: bool| json!({ "name": name, "host": host, "port": port, "postgres": postgres });
    let script = Script {
        name: "renewed",
        told: json!({
            "login": login, "seconds": RENEWED.as_secs(), "between": [format!("{DUE:02X}")],
            "servers": [
                server("primary", host(&names.postgres_rw()), 5432, true),
                server("replica", host(&names.postgres_ro()), 5432, true),
                server("store", names.object_store_host(), 9000, false),
            ],
        }),
        secrets: vec![login],
    };
    let client = Running::start(cluster, &Stand::allowed(place), &script).await?;
    until("a connection that is held", START, || async {
        let log = client.log().await?;
        Ok(if log.starts_with("held") {
            Look::Seen(())
        } else {
            Look::NotYet(log)
        })
    })
    .await?;
    let mut put = Vec::new();
    for (secret, common_name, hosts) in [
        (
            names.postgres_certificate(),
            names.postgres(),
            vec![
                host(&format!("*.{}", names.postgres())),
                host(&names.postgres()),
                host(&names.postgres_rw()),
                host(&names.postgres_ro()),
            ],
        ),
        (
            names.object_store_certificate(),
            names.object_store_host(),
            vec![names.object_store_host()],
        ),
    ] {
        let old = due(cluster, place, &secret, common_name, hosts).await?;
        put.push((secret, old));
    }
    // Secrets are read at the first look, and every five minutes.
    Api::<Pod>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
        .delete_collection(
            &DeleteParams::default(),
            &ListParams::default().labels("app.kubernetes.io/name=bailiwick-operator"),
        )
        .await
        .during("start the operator again")?;
    for (secret, old) in &put {
        until(
            &format!("another certificate in {secret}"),
            RENEWED,
            || async {
                let now = cluster.secret(&names.namespace(), secret).await?;
                let now = now.data.unwrap_or_default().remove("tls.crt");
                let other = now.is_some_and(|now| now.0 != old.as_bytes());
                Ok(seen_if(other, || "it is the one that is due".to_owned()))
            },
        )
        .await?;
    }
    let mut pods: Vec<String> = (0..2).map(|it| names.postgres_member(it)).collect();
    pods.push(format!("{}-0", names.object_store()));
    cluster.mounted_anew(place, &pods).await?;
    let log = client.end(START + RENEWED).await?;
    let found: Value = serde_json::from_str(log.lines().last().unwrap_or_default())?;
    let seen = found["seen"].as_object().map_or(0, serde_json::Map::len);
    let none_failed = found["failed"].as_array().is_some_and(Vec::is_empty);
    ensure(
        seen == 3 && none_failed && found["asked"].as_u64() >= Some(5),
        || format!("expected three new certificates and no connection that fails: {found}"),
    )?;
    cluster.settled(&place.region, SETTLED).await?;
    Ok(format!(
        "new certificates after {} s; {} verified connections and the held one's {} questions, 0 failed",
        found["seen"], found["tries"], found["asked"]
    ))
}

/// Puts a certificate of the Region's own authority into a Secret, valid and due for renewal, and returns it.
async fn due(
    cluster: &Cluster,
    place: &Place,
    name: &str,
    common_name: String,
    hosts: Vec<String>,
) -> Outcome<String> {
    let namespace = place.names.namespace();
    let authority = cluster
        .secret(&namespace, &place.names.authority())
        .await?
        .data
        .unwrap_or_default();
    let text = |key: &str| -> Outcome<String> {
        let value = authority
            .get(key)
            .ok_or_else(|| Failure::new(format!("the authority has no {key}")))?;
        Ok(String::from_utf8(value.0.clone())?)
    };
    let issuer =
        Issuer::from_ca_cert_pem(&text("tls.crt")?, KeyPair::from_pem(&text("tls.key")?)?)?;
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(hosts)?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters.serial_number = Some(SerialNumber::from_slice(&[DUE]));
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    parameters.use_authority_key_identifier_extension = true;
    let date = |at: Timestamp| {
        let day = at.to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(
            day.year().into(),
            day.month().unsigned_abs(),
            day.day().unsigned_abs(),
        )
    };
    parameters.not_before = date(Timestamp::now() - AGE);
    parameters.not_after = date(Timestamp::now() + LEFT);
    let certificate = parameters.signed_by(&key, &issuer)?;
    let patch =
        json!({ "stringData": { "tls.crt": certificate.pem(), "tls.key": key.serialize_pem() } });
    Api::<Secret>::namespaced(cluster.break_glass.clone(), &namespace)
        .patch(
            name,
            &PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            },
            &Patch::Merge(patch),
        )
        .await
        .during(format_args!("put a certificate that is due into {name}"))?;
    Ok(certificate.pem())
}
