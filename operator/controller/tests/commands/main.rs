//! The commands that people run, as they run them: the built program, its output, its hints and its exit code. Writes
//! files to a folder of its own.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod beside;
mod check;
mod new;
mod probe;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("bailiwick-commands-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bailiwick-operator"))
        .args(arguments)
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn hints(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const NEW: [&str; 12] = [
    "new",
    "tr",
    "--jurisdiction",
    "TR",
    "--location",
    "tr-ist-1",
    "--database",
    "clinical",
    "--bucket",
    "documents",
    "--client",
    "patient:team=patient",
];

fn new_file(folder: &Folder) -> (PathBuf, String) {
    let printed = out(&run(&NEW));
    (folder.file("tr.yaml", &printed), printed)
}

fn check(file: &Path) -> Output {
    run(&["check", file.to_str().unwrap()])
}

/// The line of a document's object of the API, which is said of every Region.
const API_VERSION: &str = "apiVersion: bailiwick.dev/v1alpha1";

/// A reader that leaves, as `head` does, of the output and of the hints.
#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::new("left");
    let (file, good) = new_file(&folder);
    let bad = folder.file("bad.yaml", &good.replace("instances: 3", "instances: 11"));
    let (file, bad) = (file.to_str().unwrap(), bad.to_str().unwrap());
    // A verdict is the same, whoever reads it.
    for (arguments, succeeds) in [
        (&["crd"][..], true),
        (&NEW, true),
        (&["render", file], true),
        (&["reference"], true),
        (&["check", file], true),
        (&["check", bad], false),
        (&["render", "/nonexistent"], false),
    ] {
        for both in [false, true] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick-operator"))
                .args(arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            drop(command.stdout.take());
            if both {
                drop(command.stderr.take());
            }
            let ended = command.wait_with_output().unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            // A panic is 101.
            let code = i32::from(!succeeds);
            assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {said}");
            assert!(
                !said.contains("could not be written"),
                "{arguments:?}: {said}"
            );
        }
    }
}
