//! The commands, one file each: arguments and what was read in, text out. What to do next goes to `hints`, so that the
//! output can be piped.

pub mod audit;
pub mod explain;
pub mod new;
pub mod status;
pub mod watch;

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::CliError;
use crate::text::Palette;

/// How output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people, which scripts can cut at two blanks.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// How and in which colours output is written.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// How.
    pub format: Format,
    /// In which colours.
    pub palette: Palette,
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that is not as it should be: exit code 0.
    Nothing,
    /// Something that is not as it should be: exit code 1.
    Something,
}

impl Found {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Something => 1,
        }
    }
}

/// Writes a value as JSON or YAML, in one document.
///
/// # Errors
/// The value or the output cannot be written.
pub fn document(
    value: &impl Serialize,
    format: Format,
    out: &mut impl Write,
) -> Result<(), CliError> {
    if format == Format::Yaml {
        out.write_all(serde_yaml::to_string(value)?.as_bytes())?;
    } else {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)?;
    }
    Ok(())
}
