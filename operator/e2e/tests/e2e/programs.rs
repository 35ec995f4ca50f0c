//! The programs that people run, as they were built beside this suite: arguments in, the exit code and what was printed out.
//! I/O: starts one program, which talks to the cluster under test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::kubeconfig;
use crate::failure::{Failure, Outcome, While, ensure};

/// `evidence verify` and `export` are commands of it.
pub const OPERATOR: &str = "bailiwick-operator";
/// The plugin of kubectl.
pub const PLUGIN: &str = "kubectl-bailiwick";

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its output.
    pub out: String,
    /// What it said beside.
    pub hints: String,
}

impl Said {
    /// What it printed, when it ended with this code.
    pub fn ended_with(self, code: i32) -> Outcome<String> {
        ensure(self.code == code, || {
            format!(
                "expected exit code {code}, found {}: {} {}",
                self.code, self.out, self.hints
            )
        })?;
        Ok(self.out)
    }
}

/// Where a program is: cargo puts it one folder above its tests.
fn path(name: &str) -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own
        .parent()
        .and_then(Path::parent)
        .map(|folder| folder.join(name))
        .filter(|program| program.is_file());
    program.ok_or_else(|| {
        Failure::new(format!(
            "{name} is not built beside {}: run the suite with `make test-e2e`, which builds it",
            own.display()
        ))
    })
}

/// Runs a program against the cluster under test.
pub fn run<A: AsRef<OsStr>>(name: &str, arguments: &[A]) -> Outcome<Said> {
    run_in(name, arguments, &kubeconfig())
}

/// The same without any cluster.
pub fn run_offline<A: AsRef<OsStr>>(name: &str, arguments: &[A]) -> Outcome<Said> {
    run_in(name, arguments, Path::new("/nonexistent/kubeconfig"))
}

fn run_in<A: AsRef<OsStr>>(name: &str, arguments: &[A], kubeconfig: &Path) -> Outcome<Said> {
    let output = Command::new(path(name)?)
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .output()
        .during(format_args!("run {name}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        hints: text(&output.stderr),
    })
}
