//! `bailiwick-operator check`: says of files what the API server and the operator would say of the Regions in them,
//! without a cluster: the schema, the rules, the namespaces and rights that must come with them, and the plan.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use bailiwick_model::admission::{Admission, Refusal};
use bailiwick_model::offline::{faults, identity, is_meant_as_region, no_object};
use bailiwick_model::yaml::read::{Document, documents};
use clap::Args;
use jiff::Timestamp;

use super::CommandError;

/// What is checked.
#[derive(Args, Debug)]
pub struct Check {
    /// Files with Regions, each with the namespaces and bindings that it needs.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    /// A check of these files.
    #[must_use]
    pub const fn of(files: Vec<PathBuf>) -> Self {
        Self { files }
    }
}

/// Prints each fault as `file: Kind name: field: message` to `out`, and what it comes to, to `hints`.
///
/// # Errors
/// A file cannot be read, the output cannot be written, or a Region has faults.
pub fn run(check: Check, out: &mut impl Write, hints: &mut impl Write) -> Result<(), CommandError> {
    let Check { files } = check;
    let admission = Admission::new()?;
    let now = Timestamp::now();
    let (mut regions, mut count) = (0, 0);
    let mut seen = BTreeMap::new();
    for file in &files {
        let documents = read(file)?;
        let before = regions;
        for (index, document) in documents.iter().enumerate() {
            let what = identity(&document.object)
                .unwrap_or_else(|| format!("document {} without a name", index + 1));
            let mut found: Vec<Refusal> = no_object(&document.object).into_iter().collect();
            found.extend(twice(&what, file, &mut seen));
            if is_meant_as_region(&document.object) {
                regions += 1;
                // Of one that is no object it is said once.
                let faults = faults(&admission, document, &documents, now)?;
                found.retain(|refusal| faults.iter().all(|fault| fault.field != refusal.field));
                found.extend(faults);
            }
            for fault in found {
                count += 1;
                let line = format!("{}: {what}: {fault}", file.display());
                writeln!(out, "{}", escaped(&line))?;
            }
        }
        if regions == before {
            count += 1;
            writeln!(
                out,
                "{}: holds no Region; name a file that `bailiwick-operator new` printed",
                file.display()
            )?;
        }
    }
    if count > 0 {
        return Err(CommandError::Faults {
            faults: count,
            files: files.len(),
        });
    }
    writeln!(
        hints,
        "{regions} Regions in {} files are in order. Next: `kubectl apply -f` them; whether the cluster has their \
         nodes and storage classes is for the operator to say.",
        files.len()
    )?;
    Ok(())
}

/// A line as it may be shown: names and keys of a file could else begin lines of their own, or steer the terminal.
fn escaped(line: &str) -> String {
    let shown = line.chars().map(|letter| {
        if letter.is_control() {
            letter.escape_default().to_string()
        } else {
            letter.to_string()
        }
    });
    shown.collect()
}

/// What is wrong with an object that is in the files already: of two, the one that is applied last would be the cluster's.
fn twice(what: &str, file: &Path, seen: &mut BTreeMap<String, PathBuf>) -> Option<Refusal> {
    // `document 2 without a name` is another one in every file.
    let of_file = if what.starts_with("document ") {
        format!("{}: {what}", file.display())
    } else {
        what.to_owned()
    };
    let Some(before) = seen.get(&of_file) else {
        seen.insert(of_file, file.to_owned());
        return None;
    };
    let place = if before == file {
        "is in this file twice".to_owned()
    } else {
        format!("is in {} as well", before.display())
    };
    Some(Refusal {
        field: "metadata.name".to_owned(),
        message: format!(
            "{place}, and the one that is applied last replaces the other; take one out or give it another name"
        ),
    })
}

/// The objects of a file, as kubectl reads them.
///
/// # Errors
/// The file cannot be read or is not YAML.
pub(super) fn read(file: &Path) -> Result<Vec<Document>, CommandError> {
    let contents = std::fs::read_to_string(file).map_err(|source| CommandError::Read {
        file: file.to_owned(),
        source,
    })?;
    documents(&contents).map_err(|source| CommandError::Yaml {
        file: file.to_owned(),
        source,
    })
}
