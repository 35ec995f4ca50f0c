//! The Secrets that a Region needs, as a description without a value: the controller mints what is missing, with
//! *create* and never apply, so that nothing can write over a key. No I/O, no randomness.

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
    /// `host`, `port`, `dbname`, `user`, `password`, `uri`, `ca.crt`.
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
    ]
}
