//! A Region's credentials, read from its Secrets by name and held in memory until the next look at them. They are
//! never logged: `Debug` shows names only. No I/O here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The values of one Region's Secrets, by Secret and key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The Secrets that an annotation lets a controller copy elsewhere.
    replicated: BTreeSet<String>,
}

impl Credentials {
    /// Keeps the values of one Secret.
    pub fn insert(&mut self, secret: impl Into<String>, values: BTreeMap<String, Vec<u8>>) {
        self.secrets.insert(secret.into(), values);
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
