//! What can go wrong, one variant a step of the pipeline. `Display` leaves the source to the log's chain.

use bailiwick_model::facts::ReadFailure;

/// A step behind S3, SQL or Patroni that was not done. It carries no secret and no data of users.
#[derive(Debug, thiserror::Error)]
#[error("{system}: {what}: {}", failure.as_str())]
pub struct StepError {
    /// `object store`, `postgres` or `patroni`.
    pub system: &'static str,
    /// What was to be done, for example `create bucket documents`.
    pub what: String,
    /// Why it was not.
    pub failure: ReadFailure,
    /// The cause, for the log alone: it may quote what a server said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
