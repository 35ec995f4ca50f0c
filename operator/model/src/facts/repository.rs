//! What was found in the repository of WAL and backups. No I/O.

use std::fmt;

/// What a bucket says about whose repository it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The store answered that there is no marker.
    Missing,
    /// It is the Region's.
    Ours,
    /// It is another's, or was changed.
    Foreign(Difference),
}

/// The first thing in which a marker differs from the Region's own. A closed list: nothing that was read is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It is no marker at all.
    Form,
    /// It is of another version of this format.
    Version,
    /// It names another Region.
    Region,
    /// It names another jurisdiction.
    Jurisdiction,
    /// It names another location.
    Location,
    /// It names another bucket.
    Bucket,
    /// It names all as the Region's own does, and was made with another key.
    Key,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "is no marker",
            Self::Version => "is of another version",
            Self::Region => "names another Region",
            Self::Jurisdiction => "names another jurisdiction",
            Self::Location => "names another location",
            Self::Bucket => "names another bucket",
            Self::Key => "was made with another key",
        })
    }
}

/// What became of the newest file that Postgres says was archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// Whether it is in the repository.
    pub found: bool,
    /// Whether it was archived so short a time ago that it must be.
    pub recent: bool,
}
