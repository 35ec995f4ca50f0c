//! The admin API, version 3, of MinIO and its forks: requests signed with SigV4, bodies sealed with the caller's key, and
//! the answers as types. It knows nothing of Regions. I/O: HTTPS to one store, and random numbers for what is sealed.
//!
//! The API has no documentation but its client, <https://pkg.go.dev/github.com/minio/madmin-go/v3>: the names of operations,
//! of their parameters and of the fields of their answers are those that the client of that version writes and reads.

mod answer;
mod calls;
mod client;
mod error;
pub mod seal;

pub use answer::{
    IdentityProviders, Info, Ldap, OpenId, RemoteTarget, Server, Services, SiteReplication, Status,
    Tier, UserInfo,
};
pub use client::{CALL_TIMEOUT, CONNECT_TIMEOUT, Client};
pub use error::{ANSWER_LIMIT, Error};
pub use reqwest::Method;
