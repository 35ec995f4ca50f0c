//! The commands that people run, one file each: arguments in, text out. They read files that are named to them and
//! write to standard output; what to do next goes to standard error, so that output can be piped.

pub mod check;
pub mod crd;
pub mod evidence;
pub mod new;
pub mod probe;
pub mod reference;
pub mod render;
pub mod run;

use std::io;
use std::path::PathBuf;

use bailiwick_api::violation::Violation;

/// What ends a command with an exit code other than 0.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The definition of Region could not be written.
    #[error(transparent)]
    Crd(#[from] bailiwick_api::region::CrdError),
    /// An object could not be written.
    #[error(transparent)]
    Document(#[from] bailiwick_model::delegation::DocumentError),
    /// The file of a new Region cannot be written.
    #[error(transparent)]
    Draft(#[from] bailiwick_model::draft::DraftError),
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
    /// A file could not be read.
    #[error("{} cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("{} cannot be written; name a file that is not there yet, in a folder that may be written to", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A Region could not be read from the cluster.
    #[error("Region {name} cannot be read; look at its name and your rights in the cluster")]
    Region {
        /// The Region.
        name: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// A bundle of evidence cannot be made or read.
    #[error(transparent)]
    Bundle(#[from] bailiwick_model::evidence::bundle::BundleError),
    /// Something is wrong with an evidence log; each finding was printed.
    #[error("the evidence log is not proven whole; findings: {count}")]
    Findings {
        /// How many.
        count: usize,
    },
    /// A file is not what was expected.
    #[error("{} is not the YAML of Kubernetes objects", file.display())]
    Yaml {
        /// The file.
        file: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: serde_yaml::Error,
    },
    /// A Region was refused.
    #[error("Region {name} is refused:{}", listed(violations))]
    Refused {
        /// The Region.
        name: String,
        /// Every reason.
        violations: Vec<Violation>,
    },
    /// Regions have faults, which were printed.
    #[error("{faults} faults in {files} files; mend them and check again")]
    Faults {
        /// How many.
        faults: usize,
        /// In how many files.
        files: usize,
    },
    /// An argument is not what was expected.
    #[error("{0}")]
    Argument(String),
}

/// Violations, one a line.
fn listed(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|violation| format!("\n  {violation}"))
        .collect::<Vec<_>>()
        .concat()
}
