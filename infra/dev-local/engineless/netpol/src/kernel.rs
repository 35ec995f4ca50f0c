//! The table in the kernel: ruleset text goes in through `nft -f -`, the listing of what is in force comes out. Runs
//! the `nft` command in the network namespace of the process.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use tokio::task::spawn_blocking;

/// A ruleset could not be applied or read.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The command could not be run at all.
    #[error(
        "nft could not be run for table inet {table}: {source}; install nftables and run as root"
    )]
    Run {
        /// The table that was to be written or read.
        table: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command refused.
    #[error("nft refused table inet {table}: {message}; what was in force before still is")]
    Refused {
        /// The table that was to be written or read.
        table: String,
        /// The first lines of what the command said.
        message: String,
    },
}

/// The one table that the enforcer owns.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
}

impl Table {
    /// The table of this name, which need not exist yet.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name }
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Applies a ruleset as one transaction.
    ///
    /// # Errors
    /// [`KernelError`] when the command cannot be run or refuses; nothing has changed then.
    pub async fn replace(&self, ruleset: &str) -> Result<(), KernelError> {
        let output = self.run(&["-f", "-"], ruleset).await?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr)
            .lines()
            .take(3)
            .collect::<Vec<_>>()
            .join(" | ");
        Err(KernelError::Refused {
            table: self.name.clone(),
            message,
        })
    }

    /// The table as the kernel has it, without counters; nothing when there is no such table.
    ///
    /// # Errors
    /// [`KernelError::Run`] when the command cannot be run.
    pub async fn listing(&self) -> Result<Option<String>, KernelError> {
        let output = self
            .run(&["--stateless", "list", "table", "inet", &self.name], "")
            .await?;
        Ok(output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<Output, KernelError> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let input = input.to_owned();
        let ended = spawn_blocking(move || nft(&arguments, &input)).await;
        ended
            .map_err(io::Error::from)
            .flatten()
            .map_err(|source| KernelError::Run {
                table: self.name.clone(),
                source,
            })
    }
}

/// Runs the command to its end.
fn nft(arguments: &[String], input: &str) -> io::Result<Output> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends early says why on its own; the broken pipe adds nothing.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}
