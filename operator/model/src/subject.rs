//! What steps are about. No I/O.

/// What a step is about. When a step fails for what it is about, later steps about the same are left out: they may need
/// it. Steps about others go on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A bucket.
    Bucket(String),
    /// A user of the object store, with its policy.
    StoreUser(String),
    /// A database of Postgres, with all that is in it.
    Database(String),
    /// A role of Postgres.
    Role(String),
}
