//! Components: the value of `app.kubernetes.io/name` on all that belongs to one.

/// Postgres with Patroni and pgBackRest.
pub const POSTGRES: &str = "postgres";
/// The object store.
pub const OBJECT_STORE: &str = "object-store";
/// The network boundary and the start fence.
pub const BOUNDARY: &str = "boundary";
/// The canaries.
pub const CANARY: &str = "canary";
