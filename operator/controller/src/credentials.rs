//! A Region's credentials, read from its Secrets by name and held in memory until the next look at them. They are
//! never logged: `Debug` shows names only. No I/O here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use bailiwick_model::names::{ANNOTATION_ARGO_SYNC, FIELD_MANAGER, RETAINED};
use bailiwick_model::secret::{has_control_character, is_replication_key};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

/// What a Secret said when it was read or written last, apart from its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its uid.
    pub uid: Option<String>,
    /// Its resourceVersion: another one is another look at its values.
    pub version: Option<String>,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// When somebody else wrote values of it last.
    pub edited: Option<Timestamp>,
    /// Whether nothing on it keeps whoever deploys the Region from Git from pruning it.
    pub prunable: bool,
    /// The keys whose values have a control character that they must not have: their values are not kept.
    pub control: BTreeSet<String>,
}

impl Seen {
    /// What a Secret says, apart from its values.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        let edited = secret
            .managed_fields()
            .iter()
            .filter(|entry| {
                entry.manager.as_deref() != Some(FIELD_MANAGER)
                    && entry.fields_v1.as_ref().is_some_and(|fields| {
                        ["f:data", "f:stringData"]
                            .iter()
                            .any(|key| fields.0.get(*key).is_some())
                    })
            })
            .filter_map(|entry| entry.time.as_ref())
            .map(|time| time.0)
            .max();
        Self {
            uid: secret.uid(),
            version: secret.resource_version(),
            made: secret.creation_timestamp().map(|time| time.0),
            edited,
            prunable: is_prunable(secret.annotations()),
            control: (secret.data.iter().flatten())
                .filter(|(key, value)| has_control_character(key, &value.0))
                .map(|(key, _)| key.clone())
                .collect(),
        }
    }
}

/// Whether nothing in an object's annotations keeps whoever deploys the Region from Git from pruning it.
#[must_use]
pub fn is_prunable(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(ANNOTATION_ARGO_SYNC).map(String::as_str) != Some(RETAINED)
}

/// Whether a mark on a Secret lets a controller copy it elsewhere.
#[must_use]
pub fn is_replicated(secret: &Secret) -> bool {
    secret
        .annotations()
        .keys()
        .chain(secret.labels().keys())
        .any(|key| is_replication_key(key))
}

/// The values of one Region's Secrets, by Secret and key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The Secrets that an annotation lets a controller copy elsewhere.
    replicated: BTreeSet<String>,
    /// What the metadata of each said.
    seen: BTreeMap<String, Seen>,
    /// The Secrets that are gone, and whose values are kept so that they can be put back.
    gone: BTreeSet<String>,
}

impl Credentials {
    /// Keeps the values of one Secret.
    pub fn insert(&mut self, secret: impl Into<String>, values: BTreeMap<String, Vec<u8>>) {
        let secret = secret.into();
        self.gone.remove(&secret);
        self.secrets.insert(secret, values);
    }

    /// Keeps the values of one Secret, and what its metadata says.
    pub fn take(&mut self, secret: &Secret, values: BTreeMap<String, Vec<u8>>) {
        self.seen.insert(secret.name_any(), Seen::of(secret));
        self.insert(secret.name_any(), values);
    }

    /// What the metadata of a Secret said last; none of one that is gone.
    #[must_use]
    pub fn seen(&self, secret: &str) -> Option<&Seen> {
        self.seen.get(secret)
    }

    /// Remembers that a Secret is gone, and its values.
    pub fn set_gone(&mut self, secret: &str) {
        self.replicated.remove(secret);
        self.seen.remove(secret);
        if self.secrets.contains_key(secret) {
            self.gone.insert(secret.to_owned());
        }
    }

    /// The Secrets that are gone, and whose values are kept.
    #[must_use]
    pub const fn gone(&self) -> &BTreeSet<String> {
        &self.gone
    }

    /// Remembers whether an annotation lets a controller copy a Secret elsewhere.
    pub fn set_replicated(&mut self, secret: &str, replicated: bool) {
        if replicated {
            self.replicated.insert(secret.to_owned());
        } else {
            self.replicated.remove(secret);
        }
    }

    /// Whether an annotation lets a controller copy a Secret elsewhere.
    #[must_use]
    pub fn is_replicated(&self, secret: &str) -> bool {
        self.replicated.contains(secret)
    }

    /// Whether any may be copied.
    #[must_use]
    pub fn any_replicated(&self) -> bool {
        !self.replicated.is_empty()
    }

    /// Forgets a Secret.
    pub fn remove(&mut self, secret: &str) {
        self.replicated.remove(secret);
        self.seen.remove(secret);
        self.gone.remove(secret);
        self.secrets.remove(secret);
    }

    /// The values of a Secret.
    #[must_use]
    pub fn secret(&self, secret: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.secrets.get(secret)
    }

    /// All Secrets with their values.
    pub fn secrets(&self) -> impl Iterator<Item = (&String, &BTreeMap<String, Vec<u8>>)> {
        self.secrets.iter()
    }

    /// A number that is another when any value is: what was made from these credentials is then made anew. It stays
    /// in this process.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.secrets.hash(&mut hasher);
        hasher.finish()
    }

    /// One value, when it is there and is text.
    #[must_use]
    pub fn text(&self, secret: &str, key: &str) -> Option<&str> {
        self.secrets
            .get(secret)?
            .get(key)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// One value as bytes.
    #[must_use]
    pub fn bytes(&self, secret: &str, key: &str) -> Option<&[u8]> {
        self.secrets.get(secret)?.get(key).map(Vec::as_slice)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}
