//! Makes the Secrets that a plan wants and the facts do not hold: with *create*, never apply, so that a stale look
//! cannot write over a key; certificates alone are renewed, under their resourceVersion. Randomness lives here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use bailiwick_model::evidence::SigningKey;
use bailiwick_model::names::{
    ANNOTATION_ARGO_SYNC, FIELD_MANAGER, Names, RETAINED, RETENTION_MANAGER, port,
};
use bailiwick_model::plan::Plan;
use bailiwick_model::secret::{
    Contents, Due, LOGIN_FOLDER, SIGNING_KEY, SIGNING_PUBLIC_KEY, SecretWanted, is_usable,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::crypto::CryptoProvider;

use crate::context::Context;
use crate::credentials::Credentials;
use crate::error::{Error, MintError};
use crate::refusals::{Refusals, refused_object};
use crate::watch::Object;

/// How long an authority is valid.
const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);
/// Certificates begin to be valid this long ago: clocks of nodes differ.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// The values of one Secret.
type Values = BTreeMap<String, Vec<u8>>;

/// Makes or renews what is due, in order, and keeps the values. Returns how many writes were sent. One that cannot be made
/// is added to `refused`, and stops the others only when they are made with it.
///
/// A Secret that somebody made in between is read instead: the winner's values are the values.
///
/// # Errors
/// [`Error::Mint`] with the Secret's name when it says nothing of this one Secret, and [`Error::NotLeader`] when the Lease
/// was lost.
pub async fn mint(
    ctx: &Context,
    plan: &Plan,
    due: &[(SecretWanted, Due)],
    credentials: &mut Credentials,
    now: Timestamp,
    refused: &mut Refusals,
) -> Result<usize, Error> {
    let mut writes = 0;
    for (wanted, due) in due {
        let written = match write(ctx, plan, (wanted, *due), credentials, now).await {
            Ok(written) => written,
            Err(error) => {
                let object = Object {
                    namespace: plan.names.namespace(),
                    name: wanted.name.clone(),
                };
                refused
                    .objects
                    .push(refused_object(error, "Secret", &object)?);
                if wanted.name == plan.names.authority() {
                    // The certificates would be told to lack what was just refused.
                    break;
                }
                continue;
            }
        };
        writes += 1;
        if *due == Due::PutBack {
            tracing::warn!(
                secret = wanted.name,
                "a key Secret had been deleted by somebody else and was put back as it was"
            );
            ctx.metrics.undone(plan.names.region());
        } else {
            tracing::info!(secret = wanted.name, ?due, "wrote a Secret");
        }
        if let Some(written) = written {
            credentials.take(&written, values_of(&written));
        }
    }
    Ok(writes)
}

/// Writes one Secret; returns it as it is then, none when it is gone or needed no write.
async fn write(
    ctx: &Context,
    plan: &Plan,
    (wanted, due): (&SecretWanted, Due),
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Option<Secret>, Error> {
    ctx.lease.check()?;
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &plan.names.namespace());
    let failed = |source| Error::Mint {
        name: wanted.name.clone(),
        source,
    };
    let made = || {
        let lifetime = ctx.certificate_lifetime;
        values(wanted, &plan.names, credentials, lifetime, now)
            .map(|values| secret(plan, wanted, &values))
            .map_err(failed)
    };
    match due {
        Due::Missing => create(&api, &made()?).await.map(Some),
        Due::Renewal => renew(&api, &made()?).await.map(Some),
        // Never with other values: what the key has closed would stay closed.
        Due::PutBack => {
            let remembered = credentials
                .secret(&wanted.name)
                .ok_or_else(|| failed(MintError::Forgotten))?;
            create(&api, &secret(plan, wanted, remembered))
                .await
                .map(Some)
        }
        Due::Derivation => {
            let authority = credentials
                .text(&plan.names.authority(), "tls.crt")
                .ok_or_else(|| failed(MintError::Authority(plan.names.authority())))?;
            derive(&api, wanted, authority).await
        }
        Due::Retention => {
            let uid = credentials
                .seen(&wanted.name)
                .and_then(|seen| seen.uid.as_deref());
            match uid {
                Some(uid) => retain(&api, &wanted.name, uid).await,
                None => Ok(None),
            }
        }
    }
    .map_err(|source| failed(MintError::Api(Box::new(source))))
}

/// The values that a Secret holds, of those that count as one ([`is_usable`]).
#[must_use]
pub fn values_of(secret: &Secret) -> Values {
    secret
        .data
        .iter()
        .flatten()
        .filter(|(key, value)| is_usable(key, &value.0))
        .map(|(key, value)| (key.clone(), value.0.clone()))
        .collect()
}

async fn create(api: &Api<Secret>, secret: &Secret) -> kube::Result<Secret> {
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&parameters, secret).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            api.get(&secret.name_any()).await
        }
        other => other,
    }
}

async fn renew(api: &Api<Secret>, secret: &Secret) -> kube::Result<Secret> {
    let Some(found) = api.get_opt(&secret.name_any()).await? else {
        // Somebody deleted it since it was read.
        return create(api, secret).await;
    };
    let mut next = secret.clone();
    next.metadata.resource_version = found.metadata.resource_version;
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    api.replace(&secret.name_any(), &parameters, &next).await
}

/// Marks a Secret as one that nobody prunes, if it still has this uid. As a manager of its own, since its values stay
/// whoever's they are. Returns the Secret as it is then, none when it is gone.
///
/// # Errors
/// What the API server answered.
pub async fn retain(api: &Api<Secret>, name: &str, uid: &str) -> kube::Result<Option<Secret>> {
    let patch = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        // With its uid an apply never makes a Secret, and never meets another's.
        "metadata": { "name": name, "uid": uid, "annotations": { ANNOTATION_ARGO_SYNC: RETAINED } },
    });
    let parameters = PatchParams::apply(RETENTION_MANAGER).force();
    match api.patch(name, &parameters, &Patch::Apply(&patch)).await {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Secrets carry no ownerReference: they outlive the Region, as its volumes do.
fn secret(plan: &Plan, wanted: &SecretWanted, values: &Values) -> Secret {
    let component = bailiwick_model::desired::secret_component(plan, &wanted.name);
    let type_ = match wanted.contents {
        Contents::Authority { .. } | Contents::Certificate { .. } => "kubernetes.io/tls",
        _ => "Opaque",
    };
    Secret {
        metadata: bailiwick_model::manifest::kept(
            plan,
            &plan.names.namespace(),
            &wanted.name,
            component,
        ),
        data: Some(
            values
                .iter()
                .map(|(key, value)| (key.clone(), ByteString(value.clone())))
                .collect(),
        ),
        type_: Some(type_.to_owned()),
        ..Secret::default()
    }
}

fn values(
    wanted: &SecretWanted,
    names: &Names,
    credentials: &Credentials,
    lifetime: SignedDuration,
    now: Timestamp,
) -> Result<Values, MintError> {
    let authority = || {
        credentials
            .text(&names.authority(), "tls.crt")
            .map(str::to_owned)
            .ok_or_else(|| MintError::Authority(names.authority()))
    };
    let text = |pairs: Vec<(&str, String)>| -> Values {
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into_bytes()))
            .collect()
    };
    Ok(match &wanted.contents {
        Contents::Authority { common_name } => {
            let (certificate, key) = new_authority(common_name, now)?;
            text(vec![("tls.crt", certificate), ("tls.key", key)])
        }
        Contents::Certificate {
            common_name,
            dns_names,
            server,
            client,
        } => {
            let mut usages = Vec::new();
            if *server {
                usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            }
            if *client {
                usages.push(ExtendedKeyUsagePurpose::ClientAuth);
            }
            let leaf = Leaf {
                common_name,
                dns_names,
                usages,
                lifetime,
            };
            text(certified(&leaf, names, credentials, now)?)
        }
        Contents::Passwords { keys } => keys
            .iter()
            .map(|key| Ok((key.clone(), password()?.into_bytes())))
            .collect::<Result<Values, MintError>>()?,
        Contents::PostgresLogin { .. } => {
            let password = password()?;
            let derived = derived(&wanted.contents, &password, &authority()?);
            let mut values = text(derived);
            values.insert("password".to_owned(), password.into_bytes());
            values
        }
        Contents::StoreLogin { .. } => {
            let secret_key = password()?;
            let derived = derived(&wanted.contents, &secret_key, &authority()?);
            let mut values = text(derived);
            values.insert("secret-key".to_owned(), secret_key.into_bytes());
            values
        }
        Contents::StoreKey { id } => text(vec![(
            "kms-key",
            format!("{id}:{}", base64(&random::<32>()?)),
        )]),
        Contents::SigningKey => {
            let pem = SigningKey::pem_of_seed(&random::<32>()?);
            let key = SigningKey::from_pem(&pem).map_err(|_| MintError::Randomness)?;
            text(vec![
                (SIGNING_PUBLIC_KEY, key.public().to_pem()),
                (SIGNING_KEY, pem),
            ])
        }
    })
}

/// A certificate and its key, signed by the Region's authority, by key.
fn certified(
    leaf: &Leaf<'_>,
    names: &Names,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, MintError> {
    let authority = names.authority();
    let (Some(ca), Some(ca_key)) = (
        credentials.text(&authority, "tls.crt"),
        credentials.text(&authority, "tls.key"),
    ) else {
        return Err(MintError::Authority(authority));
    };
    let (certificate, key) = new_certificate(leaf, ca, ca_key, now)?;
    Ok(vec![
        ("ca.crt", ca.to_owned()),
        ("tls.crt", certificate),
        ("tls.key", key),
    ])
}

/// What follows in a login from its password and the Region's authority, by key; nothing in any other Secret.
#[must_use]
pub fn derived(
    contents: &Contents,
    password: &str,
    authority: &str,
) -> Vec<(&'static str, String)> {
    match contents {
        Contents::PostgresLogin { user, dbname, host } => vec![
            ("host", host.clone()),
            ("port", port::POSTGRES.to_string()),
            ("dbname", dbname.clone()),
            ("user", user.clone()),
            (
                "uri",
                format!(
                    "postgresql://{user}:{}@{host}:{}/{dbname}?sslmode=verify-full&sslrootcert={LOGIN_FOLDER}/ca.crt",
                    percent_encoded(password),
                    port::POSTGRES
                ),
            ),
            ("ca.crt", authority.to_owned()),
        ],
        Contents::StoreLogin {
            access_key,
            endpoint,
            region,
        } => vec![
            ("access-key", access_key.clone()),
            ("endpoint", endpoint.clone()),
            ("region", region.clone()),
            ("ca.crt", authority.to_owned()),
        ],
        _ => Vec::new(),
    }
}

/// Text as it stands in a part of a URI: whatever is not a letter, a digit or one of `-._~` is escaped.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Whether a value of a login does not follow from its password and the Region's authority.
#[must_use]
pub fn drifted(wanted: &SecretWanted, names: &Names, credentials: &Credentials) -> bool {
    let (Some(values), Some(authority)) = (
        credentials.secret(&wanted.name),
        credentials.text(&names.authority(), "tls.crt"),
    ) else {
        return false;
    };
    let password = wanted
        .contents
        .generated()
        .first()
        .and_then(|key| credentials.text(&wanted.name, key));
    password.is_some_and(|password| {
        derived(&wanted.contents, password, authority)
            .into_iter()
            .any(|(key, value)| values.get(key).map(Vec::as_slice) != Some(value.as_bytes()))
    })
}

/// Makes the values of a login that follow from its password follow from it, as it is now: what somebody set stays.
async fn derive(
    api: &Api<Secret>,
    wanted: &SecretWanted,
    authority: &str,
) -> kube::Result<Option<Secret>> {
    let Some(mut found) = api.get_opt(&wanted.name).await? else {
        // Somebody deleted it since it was read: the next look makes it anew.
        return Ok(None);
    };
    let values = values_of(&found);
    let password = wanted
        .contents
        .generated()
        .first()
        .and_then(|key| values.get(*key))
        .and_then(|value| std::str::from_utf8(value).ok());
    let Some(password) = password else {
        return Ok(Some(found));
    };
    let data = found.data.get_or_insert_default();
    for (key, value) in derived(&wanted.contents, password, authority) {
        data.insert(key.to_owned(), ByteString(value.into_bytes()));
    }
    found
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(ANNOTATION_ARGO_SYNC.to_owned(), RETAINED.to_owned());
    found.metadata.managed_fields = None;
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    // Under its resourceVersion: what somebody writes in between is not written over.
    api.replace(&wanted.name, &parameters, &found)
        .await
        .map(Some)
}

struct Leaf<'a> {
    common_name: &'a str,
    dns_names: &'a [String],
    usages: Vec<ExtendedKeyUsagePurpose>,
    lifetime: SignedDuration,
}

fn new_authority(common_name: &str, now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject(common_name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = date(now - BACKDATED);
    parameters.not_after = date(now + AUTHORITY_LIFETIME);
    Ok((parameters.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn new_certificate(
    leaf: &Leaf<'_>,
    ca: &str,
    ca_key: &str,
    now: Timestamp,
) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject(leaf.common_name);
    for name in leaf.dns_names {
        parameters
            .subject_alt_names
            .push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
    }
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages.clone_from(&leaf.usages);
    parameters.use_authority_key_identifier_extension = true;
    parameters.not_before = date(now - BACKDATED);
    parameters.not_after = date(now + leaf.lifetime);
    let issuer = Issuer::from_ca_cert_pem(ca, KeyPair::from_pem(ca_key)?)?;
    Ok((
        parameters.signed_by(&key, &issuer)?.pem(),
        key.serialize_pem(),
    ))
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn date(at: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.as_second())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// 32 letters and digits: 190 bits, and nothing that a URI, an INI file or a shell would need escaped.
fn password() -> Result<String, MintError> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = String::with_capacity(32);
    while password.len() < 32 {
        // Values of 248 and above would make the first letters likelier.
        for byte in random::<64>()?.into_iter().filter(|byte| *byte < 248) {
            if password.len() < 32 {
                password.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
    }
    Ok(password)
}

/// Bytes of the process's TLS provider, which is the one source of randomness.
fn random<const N: usize>() -> Result<[u8; N], MintError> {
    let mut bytes = [0; N];
    CryptoProvider::get_default()
        .and_then(|provider| provider.secure_random.fill(&mut bytes).ok())
        .ok_or(MintError::Randomness)?;
    Ok(bytes)
}

fn base64(bytes: &[u8]) -> String {
    // serde of ByteString is base64 by the API's own rule: no second encoder is needed.
    serde_json::to_value(ByteString(bytes.to_vec()))
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_key_comes_with_its_public_half_and_is_another_each_time() {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let names = Names::new("tr");
        let wanted = SecretWanted::replaceable(names.evidence_key(), Contents::SigningKey);
        let minted = || {
            let nothing = Credentials::default();
            values(
                &wanted,
                &names,
                &nothing,
                SignedDuration::ZERO,
                Timestamp::UNIX_EPOCH,
            )
            .unwrap()
        };
        let values = minted();
        let text = |key| std::str::from_utf8(&values[key]).unwrap();
        let key = SigningKey::from_pem(text(SIGNING_KEY)).unwrap();
        assert_eq!(text(SIGNING_PUBLIC_KEY), key.public().to_pem());
        assert_ne!(values, minted());
    }
}
