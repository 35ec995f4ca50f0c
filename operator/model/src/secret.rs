//! The Secrets that a Region needs, as a description without a value: the controller mints what is missing, with
//! *create* and never apply, so that nothing can write over a key. No I/O, no randomness.

use std::collections::BTreeSet;

use crate::facts::Facts;
use crate::names::Names;

/// A Secret that must exist in the Region's data namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretWanted {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub contents: Contents,
    /// Whether data is lost with it: when it is gone and the data is not, that is a condition and never a new key.
    pub key: bool,
}

/// What is in a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A certificate authority: `tls.crt`, `tls.key`.
    Authority {
        /// Its common name.
        common_name: String,
    },
    /// A certificate of the Region's authority: `ca.crt`, `tls.crt`, `tls.key`. Renewed before it expires.
    Certificate {
        /// Its common name.
        common_name: String,
        /// Its subject alternative names.
        dns_names: Vec<String>,
        /// Whether a server uses it.
        server: bool,
        /// Whether a client uses it.
        client: bool,
    },
    /// Generated passwords: one value for each key.
    Passwords {
        /// The keys of the Secret.
        keys: Vec<String>,
    },
    /// What an application needs to connect to Postgres:
    /// `host`, `port`, `dbname`, `user`, `password`, `uri`, `ca.crt`. The `uri` is whole for whoever mounts it at
    /// [`LOGIN_FOLDER`].
    PostgresLogin {
        /// The role.
        user: String,
        /// The database.
        dbname: String,
        /// The host of the primary's Service.
        host: String,
    },
    /// A user of the object store: `access-key`, `secret-key`, `endpoint`, `region`, `ca.crt`.
    StoreLogin {
        /// The access key; the secret key is generated.
        access_key: String,
        /// The endpoint.
        endpoint: String,
        /// The S3 region that requests are signed for.
        region: String,
    },
    /// A symmetric key for the object store: `kms-key`, as `<id>:<base64 of 32 bytes>`.
    StoreKey {
        /// The key's id.
        id: String,
    },
    /// An Ed25519 key pair: `signing.key` (PKCS #8) and `signing.pub` (SubjectPublicKeyInfo), both PEM.
    SigningKey,
}

impl Contents {
    /// The keys of what is generated and what a person may set instead: the rest of a login follows from them.
    #[must_use]
    pub fn generated(&self) -> Vec<&str> {
        match self {
            Self::PostgresLogin { .. } => vec!["password"],
            Self::StoreLogin { .. } => vec!["secret-key"],
            Self::Passwords { keys } => keys.iter().map(String::as_str).collect(),
            Self::Authority { .. }
            | Self::Certificate { .. }
            | Self::StoreKey { .. }
            | Self::SigningKey => Vec::new(),
        }
    }
}

/// Whether somebody signs in with the value of a key: then it is one line, since whoever reads it from a file or copies it
/// by hand leaves a line break out. PEM has many lines. The passphrase of the repository is not among them either: whatever
/// it is, the repository was written with it.
fn is_login(key: &str) -> bool {
    matches!(key, "access-key" | "secret-key" | "password") || key.ends_with("-password")
}

/// Whether the value of a key has a line break or another control character that it must not have.
#[must_use]
pub fn has_control_character(key: &str, value: &[u8]) -> bool {
    is_login(key) && std::str::from_utf8(value).is_ok_and(|text| text.chars().any(char::is_control))
}

/// Whether the value of a key in a Secret counts as one. An empty one is none: it would be a password that everybody
/// knows. What is no text is none either: no server takes it, and nobody could log in with it. Nor could most with a
/// line break at the end, of which nothing tells.
#[must_use]
pub fn is_usable(key: &str, value: &[u8]) -> bool {
    !value.is_empty() && std::str::from_utf8(value).is_ok() && !has_control_character(key, value)
}

/// What Secrets lack that are there, as sentences: a value that is missing or not usable is nobody's credential.
#[must_use]
pub fn lacking(wanted: &[SecretWanted], facts: &Facts) -> Vec<String> {
    wanted
        .iter()
        .filter_map(|secret| Some((secret, facts.secrets.get(&secret.name)?)))
        .flat_map(|(secret, found)| {
            let keys = secret.contents.generated().into_iter();
            keys.filter(|key| !found.keys.contains(*key))
                .map(|key| told(secret, key, found.control.contains(key)))
        })
        .collect()
}

/// That a Secret has no usable value for a key, and what to do.
fn told(secret: &SecretWanted, key: &str, control: bool) -> String {
    let name = &secret.name;
    let anew = if secret.key {
        "put back the value that it had"
    } else {
        "delete the Secret and it is made anew"
    };
    if control {
        format!(
            "Secret {name} has a line break or another control character in the value of key {key}, which is not set \
             anywhere; what was set before stays in force: write it without one, as `printf %s` and `kubectl create secret \
             --from-literal` do, and `echo` and files of text do not; or {anew}"
        )
    } else {
        format!(
            "Secret {name} has no value for key {key}, an empty one, or one that is no text (UTF-8), which is not set \
             anywhere: give it a value, or {anew}"
        )
    }
}

impl SecretWanted {
    /// A Secret whose loss can be repaired by making it anew.
    #[must_use]
    pub const fn replaceable(name: String, contents: Contents) -> Self {
        Self {
            name,
            contents,
            key: false,
        }
    }

    /// A Secret whose loss loses data.
    #[must_use]
    pub const fn key(name: String, contents: Contents) -> Self {
        Self {
            name,
            contents,
            key: true,
        }
    }
}

/// Where an application mounts the Secret of its login to Postgres: the `uri` in it names `ca.crt` there.
pub const LOGIN_FOLDER: &str = "/etc/bailiwick/postgres";

/// The key of a [`Contents::SigningKey`] with the private half.
pub const SIGNING_KEY: &str = "signing.key";
/// The key of a [`Contents::SigningKey`] with the public half.
pub const SIGNING_PUBLIC_KEY: &str = "signing.pub";

/// The Secrets that every Region has, apart from those of components.
#[must_use]
pub fn authority(names: &Names) -> Vec<SecretWanted> {
    vec![
        SecretWanted::key(
            names.authority(),
            Contents::Authority {
                common_name: format!("bailiwick {} authority", names.region()),
            },
        ),
        SecretWanted::replaceable(
            names.client_certificate(),
            Contents::Certificate {
                common_name: names.client_common_name(),
                dns_names: vec![names.client_common_name()],
                server: false,
                client: true,
            },
        ),
        // No data is lost with it: what it signed still verifies, and a new one begins with a record of its own.
        SecretWanted::replaceable(names.evidence_key(), Contents::SigningKey),
    ]
}

/// Whether an annotation or label of a Secret lets a controller copy it elsewhere: those of Reflector, Kubernetes
/// Replicator, Config Syncer, Replizieren, Keess and the Hierarchical Namespace Controller. Whatever the admission
/// policy bailiwick-secrets refuses is among them.
#[must_use]
pub fn is_replication_key(key: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "reflector.v1.k8s.emberstack.com/",
        "replicator.v1.mittwald.de/",
        "kubed.appscode.com/",
        "config-syncer.appscode.com/sync",
        "replizieren.dev/",
        "keess.powerhrg.com/",
        "propagate.hnc.x-k8s.io/",
    ];
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Why a Secret must be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It does not exist.
    Missing,
    /// It is a key, it was deleted, and its values are remembered: it is made as it was.
    PutBack,
    /// Its certificate has passed two thirds of its life, names other hosts, or is of another authority.
    Renewal,
    /// Somebody changed its password, or what follows from it; the password stays, and the rest is made to follow.
    Derivation,
    /// Nothing on it keeps whoever deploys the Region from Git from pruning it.
    Retention,
}

/// The Secrets that must be made or renewed now, in the order in which they need each other.
#[must_use]
pub fn due(wanted: &[SecretWanted], facts: &Facts) -> Vec<(SecretWanted, Due)> {
    wanted
        .iter()
        .filter_map(|secret| {
            let Some(found) = facts.secrets.get(&secret.name) else {
                let due = if facts.remembered.contains(&secret.name) {
                    Due::PutBack
                } else {
                    Due::Missing
                };
                return Some((secret.clone(), due));
            };
            let retention = || found.prunable.then(|| (secret.clone(), Due::Retention));
            let Contents::Certificate { dns_names, .. } = &secret.contents else {
                let follows = secret
                    .contents
                    .generated()
                    .iter()
                    .all(|key| found.keys.contains(*key));
                return (found.drifted && follows)
                    .then(|| (secret.clone(), Due::Derivation))
                    .or_else(retention);
            };
            let current = found.certificate.as_ref().is_some_and(|certificate| {
                let life = certificate.not_after.duration_since(certificate.not_before);
                let names: BTreeSet<String> = dns_names.iter().cloned().collect();
                certificate.signed_by_authority
                    && certificate.dns_names == names
                    && facts.now < certificate.not_after - life / 3
            });
            (!current)
                .then(|| (secret.clone(), Due::Renewal))
                .or_else(retention)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{CertificateFact, SecretFact};

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_or_when_it_no_longer_fits() {
        let wanted = vec![SecretWanted::replaceable(
            "tls".to_owned(),
            Contents::Certificate {
                common_name: "a".to_owned(),
                dns_names: vec!["a".to_owned()],
                server: true,
                client: false,
            },
        )];
        let certificate = CertificateFact {
            not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
            not_after: "2026-01-31T00:00:00Z".parse().unwrap(),
            dns_names: BTreeSet::from(["a".to_owned()]),
            signed_by_authority: true,
        };
        let due_of = |now: &str, certificate: Option<CertificateFact>| {
            let mut facts = Facts {
                now: now.parse().unwrap(),
                ..Facts::default()
            };
            facts.secrets.insert(
                "tls".to_owned(),
                SecretFact {
                    certificate,
                    ..SecretFact::default()
                },
            );
            due(&wanted, &facts).first().map(|(_, due)| *due)
        };
        assert_eq!(
            due_of("2026-01-20T00:00:00Z", Some(certificate.clone())),
            None
        );
        assert_eq!(
            due_of("2026-01-22T00:00:00Z", Some(certificate.clone())),
            Some(Due::Renewal)
        );
        assert_eq!(due_of("2026-01-02T00:00:00Z", None), Some(Due::Renewal));
        let strangers = CertificateFact {
            signed_by_authority: false,
            ..certificate.clone()
        };
        assert_eq!(
            due_of("2026-01-02T00:00:00Z", Some(strangers)),
            Some(Due::Renewal)
        );
        let elsewhere = CertificateFact {
            dns_names: BTreeSet::from(["b".to_owned()]),
            ..certificate
        };
        assert_eq!(
            due_of("2026-01-02T00:00:00Z", Some(elsewhere)),
            Some(Due::Renewal)
        );
        assert_eq!(
            due(&wanted, &Facts::default()).first().map(|(_, due)| *due),
            Some(Due::Missing)
        );
    }

    #[test]
    fn whatever_admission_takes_for_a_mark_of_replication_is_read_back_as_one() {
        let policy = include_str!("../../../platform/policies/secrets.yaml");
        let marks: Vec<&str> = policy
            .split_once("name: marks")
            .and_then(|(_, rest)| rest.split_once('['))
            .and_then(|(_, rest)| rest.split_once(']'))
            .map(|(list, _)| list.split('\'').filter(|word| word.contains('/')).collect())
            .unwrap();
        assert!(marks.len() >= 6, "{marks:?}");
        for mark in marks {
            assert!(is_replication_key(&format!("{mark}anything")), "{mark}");
        }
        assert!(!is_replication_key("bailiwick.dev/region"));
    }
}
