//! The commands that people run, one file each: arguments in, text out. They read files that are named to them and
//! write to standard output; what to do next goes to standard error, so that output can be piped.

pub mod crd;
pub mod new;

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
    /// An argument is not what was expected.
    #[error("{0}")]
    Argument(String),
}
