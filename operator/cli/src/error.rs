//! Why the plugin could not do what was asked: what failed, what was expected, and what to do next. No I/O.

use std::io;

use crate::text::one_line;

/// Why a command could not do what was asked: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No cluster is configured.
    #[error(
        "no cluster to read Regions from; expected a kubeconfig as kubectl has it. \
         Next: point KUBECONFIG or --kubeconfig at one, and try `kubectl get regions`"
    )]
    NoCluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A kubeconfig cannot be used.
    #[error(
        "the kubeconfig cannot be used; expected a file with the context that --context names. \
         Next: see `kubectl config get-contexts`"
    )]
    Kubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// A Region is not there.
    #[error(
        "Region {name} is not in this cluster; expected one of `kubectl get regions`. Next: look at the name and at the context"
    )]
    NoSuchRegion {
        /// The Region.
        name: String,
    },
    /// The kind is not there.
    #[error(
        "{what} cannot be read: this cluster does not know the kind Region. Next: install Bailiwick's CustomResourceDefinition, crds/regions.yaml, or choose another --context"
    )]
    NoSuchKind {
        /// What was to be read.
        what: String,
    },
    /// The API server does not let us.
    #[error(
        "{what} cannot be read: the API server says {reason}; expected the rights to get and list regions.bailiwick.dev. Next: ask for the rights in docs/how-to/use-the-kubectl-plugin.md"
    )]
    Refused {
        /// What was to be read.
        what: String,
        /// The API server's word.
        reason: String,
    },
    /// The API server does not answer.
    #[error(
        "{what} cannot be read: the API server gave no answer that could be used. Next: see that `kubectl get regions` works; if it does, the operator may be newer than this plugin"
    )]
    Unread {
        /// What was to be read.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// A Region cannot be decoded.
    #[error(
        "Region {name} cannot be decoded: {field}: {cause}. Next: mend the field, see `kubectl explain region`; if the operator accepts it, it is newer than this plugin"
    )]
    Undecodable {
        /// The Region.
        name: String,
        /// The field.
        field: String,
        /// Why.
        cause: String,
    },
    /// The API server takes too long.
    #[error(
        "{what} cannot be read: no answer within {seconds} s. Next: see that `kubectl get regions` works"
    )]
    Silent {
        /// What was to be read.
        what: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// There is nothing to audit.
    #[error(
        "there is no Region in this cluster, so nothing was audited; expected at least one. Next: look at the context, or make one with `kubectl bailiwick new`"
    )]
    NothingToAudit,
    /// A channel is not known.
    #[error(
        "channel {word:?} is not known; expected 1 to {last}, or a name or a part of one. Next: `kubectl bailiwick residency explain` lists them"
    )]
    NoSuchChannel {
        /// What was asked for.
        word: String,
        /// The highest number.
        last: usize,
    },
    /// The output cannot be written.
    #[error("the output cannot be written. Next: see what it is piped into")]
    Output(#[from] io::Error),
    /// A report cannot be written as JSON.
    #[error(
        "the report cannot be written as JSON; this is a defect of Bailiwick, please report it"
    )]
    Json(#[from] serde_json::Error),
    /// A report cannot be written as YAML.
    #[error(
        "the report cannot be written as YAML; this is a defect of Bailiwick, please report it"
    )]
    Yaml(#[from] serde_yaml::Error),
    /// The file of a new Region cannot be written.
    #[error(transparent)]
    Draft(#[from] bailiwick_model::draft::DraftError),
}

impl CliError {
    pub(crate) fn no_cluster(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::NoCluster(source.into())
    }

    pub(crate) fn kubeconfig(source: kube::config::KubeconfigError) -> Self {
        Self::Kubeconfig(Box::new(source))
    }

    /// Why the Region `name`, or all of them, could not be read.
    pub(crate) fn regions(name: Option<&str>, error: kube::Error) -> Self {
        match (error, name) {
            // With a name in it, the Region is missing; without, the path itself is.
            (kube::Error::Api(refusal), Some(name))
                if refusal.code == 404 && refusal.message.contains(&format!("\"{name}\"")) =>
            {
                Self::NoSuchRegion {
                    name: name.to_owned(),
                }
            }
            (kube::Error::Api(refusal), _) if refusal.code == 404 => {
                Self::NoSuchKind { what: named(name) }
            }
            (kube::Error::Api(refusal), _) => Self::Refused {
                what: named(name),
                reason: one_line(&refusal.reason),
            },
            (source, _) => Self::Unread {
                what: named(name),
                source: Box::new(source),
            },
        }
    }
}

/// `Region tr`, or `the Regions`.
pub(crate) fn named(name: Option<&str>) -> String {
    name.map_or_else(|| "the Regions".to_owned(), |name| format!("Region {name}"))
}
