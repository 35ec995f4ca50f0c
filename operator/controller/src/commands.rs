//! The commands that people run, one file each: arguments in, text out. They read files that are named to them and
//! write to standard output; what to do next goes to standard error, so that output can be piped.

pub mod crd;
pub mod new;
pub mod run;

use std::io;

/// What ends a command with an exit code other than 0.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The definition of Region could not be written.
    #[error(transparent)]
    Crd(#[from] bailiwick_model::region::CrdError),
    /// An object could not be written.
    #[error(transparent)]
    Document(#[from] bailiwick_model::delegation::DocumentError),
    /// Standard output is gone.
    #[error("the output could not be written")]
    Output(#[from] io::Error),
    /// The cluster could not be found.
    #[error(
        "no cluster to connect to; run in a pod with a ServiceAccount, or point KUBECONFIG at one"
    )]
    Cluster(#[source] Box<kube::Error>),
    /// Another replica works now.
    #[error("the Lease was lost to another replica; this one ends, and is started anew")]
    LeaseLost,
    /// An argument is not what was expected.
    #[error("{0}")]
    Argument(String),
}
