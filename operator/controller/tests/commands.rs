//! The commands that people run, as they run them: the built program, its output, its hints and its exit code. Writes
//! files to a folder of its own.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

#[test]
fn a_new_region_passes_check_and_renders() {
    let folder = Folder::new("new");
    let new = run(&NEW);
    assert!(new.status.success());
    assert!(hints(&new).starts_with("Next: "), "{}", hints(&new));
    let (file, _) = new_file(&folder);

    let checked = check(&file);
    assert!(
        checked.status.success(),
        "{}{}",
        out(&checked),
        hints(&checked)
    );
    assert_eq!(out(&checked), "");
    assert!(hints(&checked).contains("Next: "), "{}", hints(&checked));

    let rendered = run(&["render", file.to_str().unwrap()]);
    assert!(rendered.status.success(), "{}", hints(&rendered));
    let text = out(&rendered);
    let first = text.find("kind: ").unwrap();
    assert!(
        text[first..].starts_with("kind: NetworkPolicy"),
        "the boundary is not first"
    );
    assert!(text.contains("# key Secret tr-ca, minted once"), "{text}");
    assert!(text.contains("kind: StatefulSet"), "{text}");
}

#[test]
fn check_names_the_file_the_region_and_the_field() {
    let folder = Folder::new("field");
    let (_, good) = new_file(&folder);
    let file = folder.file("bad.yaml", &good.replace("instances: 3", "instances: 11"));
    let checked = check(&file);
    assert!(!checked.status.success());
    let expected = format!("{}: Region tr: spec.postgres.instances: ", file.display());
    assert!(out(&checked).starts_with(&expected), "{}", out(&checked));
    assert!(
        hints(&checked).contains("1 faults in 1 files"),
        "{}",
        hints(&checked)
    );
}

#[test]
fn check_reports_every_fault_at_once() {
    let folder = Folder::new("all");
    let (_, good) = new_file(&folder);
    let bad = good
        .replace("instances: 3", "instances: 11")
        .replace("servers: 4", "servers: 3");
    let faults = out(&check(&folder.file("bad.yaml", &bad)));
    assert!(
        faults.contains("spec.postgres.instances") && faults.contains("spec.objectStore.servers"),
        "{faults}"
    );
}

#[test]
fn check_finds_rights_that_are_missing_or_too_many() {
    let folder = Folder::new("rights");
    let (_, good) = new_file(&folder);
    for (name, from, to, expected) in [
        (
            "namespace",
            "  name: tr-obs\n---",
            "  name: tr-other\n---",
            "Namespace tr-obs is not in the file",
        ),
        (
            "label",
            "bailiwick.dev/location: tr-ist-1",
            "bailiwick.dev/location: es-mad-1",
            "metadata.labels",
        ),
        (
            "rule",
            "  verbs:\n  - list\n  - watch\n",
            "  verbs:\n  - list\n  - watch\n  - delete\n",
            "the expected rules",
        ),
        (
            "role",
            "name: bailiwick-region\n",
            "name: cluster-admin\n",
            "the expected roleRef",
        ),
    ] {
        assert!(good.contains(from), "{name}: {from}");
        let file = folder.file(&format!("{name}.yaml"), &good.replacen(from, to, 1));
        let checked = check(&file);
        assert!(!checked.status.success(), "{name}");
        assert!(
            out(&checked).contains(expected),
            "{name}: {}",
            out(&checked)
        );
    }
}

#[test]
fn check_of_nothing_is_no_success() {
    let folder = Folder::new("nothing");
    for (name, contents) in [
        ("empty", ""),
        ("other", "kind: Pod\napiVersion: v1\nmetadata: {name: a}\n"),
    ] {
        let checked = check(&folder.file(name, contents));
        assert!(!checked.status.success(), "{name}");
        assert!(
            out(&checked).contains("holds no Region"),
            "{name}: {}",
            out(&checked)
        );
    }
    let missing = check(&folder.0.join("missing.yaml"));
    assert!(!missing.status.success());
    assert!(
        hints(&missing).contains("missing.yaml cannot be read"),
        "{}",
        hints(&missing)
    );
    let broken = check(&folder.file("broken", "a: [\n"));
    assert!(hints(&broken).contains("because: "), "{}", hints(&broken));
}

#[test]
fn render_refuses_a_region_of_another_cluster() {
    let folder = Folder::new("elsewhere");
    let (file, _) = new_file(&folder);
    let rendered = run(&["render", file.to_str().unwrap(), "--location", "fr-par-1"]);
    assert!(!rendered.status.success());
    assert!(
        hints(&rendered).contains("spec.residency.location: "),
        "{}",
        hints(&rendered)
    );
    assert_eq!(out(&rendered), "");
}

#[test]
fn wrong_arguments_say_what_was_expected() {
    let output = run(&[
        "new",
        "tr",
        "--jurisdiction",
        "TR",
        "--location",
        "tr-ist-1",
        "--client",
        "patient",
    ]);
    assert!(!output.status.success());
    assert!(
        hints(&output).contains("NAME:LABEL=VALUE"),
        "{}",
        hints(&output)
    );
}
