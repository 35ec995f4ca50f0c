//! What was asked of the cluster and the systems, and whether it was read: a failed read is never empty. No I/O.

use std::collections::BTreeMap;
use std::fmt;

/// The outcome of reading one system.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Observed<T> {
    /// It was read, and this is what is there.
    Seen(T),
    /// It could not be read.
    Failed(Unread),
    /// It was not asked: what it runs on is not up yet, or is stopped on purpose.
    #[default]
    NotAsked,
}

impl<T> Observed<T> {
    /// What was seen, if it was.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Failed(_) | Self::NotAsked => None,
        }
    }

    /// Why it could not be read, if it was asked for.
    pub const fn unread(&self) -> Option<&Unread> {
        match self {
            Self::Failed(unread) => Some(unread),
            Self::Seen(_) | Self::NotAsked => None,
        }
    }
}

/// Why something could not be read, as the status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The closed word.
    pub failure: ReadFailure,
    /// Who said so and its cause: a SQLSTATE, a code of S3, a status of HTTP, an errno or a reason of TLS. It quotes no value.
    pub cause: Option<String>,
}

impl From<ReadFailure> for Unread {
    fn from(failure: ReadFailure) -> Self {
        Self {
            failure,
            cause: None,
        }
    }
}

/// The closed word, and the cause in brackets.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.as_str())?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

/// Why a system could not be read. A closed list: it goes into the status, which carries no raw error text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadFailure {
    /// No connection: refused, reset, no route, no such name.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The peer's certificate could not be verified.
    Untrusted,
    /// Our credentials were refused.
    Unauthenticated,
    /// We were refused the right to read it.
    Forbidden,
    /// It answered with something that we do not understand.
    Malformed,
    /// It answered that it cannot serve now.
    NotReady,
    /// It refused this very thing, as a quota or an admission policy of the cluster has it.
    Refused,
}

impl ReadFailure {
    /// Whether it is said of the one thing that was asked for, and not of the system: what else is asked may go well.
    #[must_use]
    pub const fn is_of_one_thing(self) -> bool {
        matches!(self, Self::Forbidden | Self::Malformed | Self::Refused)
    }

    /// The CamelCase word for conditions and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::TimedOut => "TimedOut",
            Self::Untrusted => "Untrusted",
            Self::Unauthenticated => "Unauthenticated",
            Self::Forbidden => "Forbidden",
            Self::Malformed => "Malformed",
            Self::NotReady => "NotReady",
            Self::Refused => "Refused",
        }
    }
}

/// An object of the Region that the API server refused to write, or to delete, as it is desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedObject {
    /// `apply`, `change`, `make`, `read` or `delete`.
    pub verb: &'static str,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The answer as codes, as `HTTP 422 Invalid: spec.ports (FieldValueInvalid)`: no value of anything.
    pub cause: String,
    /// The status of HTTP; none when it could not be asked for.
    pub code: Option<u16>,
}

impl RefusedObject {
    /// Whether it is part of the boundary: what is in force there is not what is desired, or nobody knows.
    #[must_use]
    pub fn is_of_boundary(&self) -> bool {
        self.kind == "NetworkPolicy"
    }

    /// Whether pods are not what they should be without it: they need it before they start, or are made from it.
    pub(super) fn is_needed_by_pods(&self) -> bool {
        self.is_of_boundary() || matches!(self.kind.as_str(), "Secret" | "StatefulSet")
    }
}

impl fmt::Display for RefusedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            kind,
            namespace,
            name,
            cause,
            code: _,
        } = self;
        write!(
            f,
            "cannot {verb} {kind} {name} in namespace {namespace}: {cause}"
        )
    }
}

/// A Region's objects of one kind, told apart by namespace: a restore drill's `<region>-pg-0` is not the live member of
/// that name. Whoever reads them says which they mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByNamespace<F> {
    /// Those of the data's namespace, by name.
    pub live: BTreeMap<String, F>,
    /// Those of the Region's other namespaces, as `namespace/name`.
    pub beside: BTreeMap<String, F>,
}

impl<F> ByNamespace<F> {
    /// Sorts objects, each with its namespace and its name, for a Region whose data is in namespace `data`.
    pub fn new(data: &str, objects: impl IntoIterator<Item = (String, String, F)>) -> Self {
        let (mut live, mut beside) = (BTreeMap::new(), BTreeMap::new());
        for (namespace, name, fact) in objects {
            if namespace == data {
                live.insert(name, fact);
            } else {
                beside.insert(format!("{namespace}/{name}"), fact);
            }
        }
        Self { live, beside }
    }

    /// Those of all the Region's namespaces, the data's first: by name there, and as `namespace/name` elsewhere.
    pub fn all(&self) -> impl Iterator<Item = (&String, &F)> {
        self.live.iter().chain(&self.beside)
    }

    /// Whether the Region has none in any namespace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.beside.is_empty()
    }
}
