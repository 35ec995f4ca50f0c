//! What the API server refuses of one object while others may fare better. Errors in, refusals as facts out; no I/O.

use bailiwick_model::facts::RefusedObject;

use crate::error::Error;
use crate::watch::Object;

/// What the API server refused so far of what one look writes.
#[derive(Debug, Default)]
pub struct Refusals {
    /// What was refused, in that order.
    pub objects: Vec<RefusedObject>,
    /// Whether what builds on others is changed all the same: of a Region that is to stop, it only makes pods end.
    pub nothing_waits: bool,
}

/// An error as the refusal of one object.
///
/// # Errors
/// The error itself when it is none.
pub fn refused_object(error: Error, kind: &str, object: &Object) -> Result<RefusedObject, Error> {
    let Some(cause) = error.refusal() else {
        return Err(error);
    };
    let refused = RefusedObject {
        verb: match &error {
            Error::Observe { .. } => "read",
            Error::Mint { .. } => "make",
            Error::Delete { .. } => "delete",
            Error::Apply { .. } | Error::Status { .. } | Error::NotLeader => "apply",
        },
        kind: kind.to_owned(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        cause,
        code: error.status().map(|status| status.code),
    };
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "{refused}; the rest goes on"
    );
    Ok(refused)
}
