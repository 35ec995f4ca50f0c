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

/// What `new` is asked for: the options, and the one that is named when they are refused.
fn grid() -> Vec<(Vec<String>, Option<&'static str>)> {
    let mut asked = Vec::new();
    // Members and servers together, as most people choose them.
    for instances in [0, 1, 2, 3, 9, 10] {
        for servers in [0, 1, 2, 3, 4, 5, 32, 33] {
            let refused = if !(1..=9).contains(&instances) {
                Some("--instances")
            } else if servers != 1 && !(4..=32).contains(&servers) {
                Some("--store-servers")
            } else {
                None
            };
            let options = format!("--instances={instances} --store-servers={servers}");
            asked.push((options, refused));
        }
    }
    let alone = [
        (
            "--postgres-version",
            &["16", "17", "18", "19"][..],
            &["17", "18"][..],
        ),
        (
            "--cpu",
            &["0", "1", "0.5", "500m", "1e1", "100Gi", "2k", "half"],
            &["1", "0.5", "500m", "1e1"],
        ),
        (
            "--memory",
            &["255Mi", "256Mi", "1e9", "1000m", "512", "1.5Gi", "8Ei"],
            &["256Mi", "1e9", "1.5Gi"],
        ),
        (
            "--volume-size",
            &["0", "1Gi", "10737418240", "511Mi", "1Ti", "100m", "ten"],
            &["1Gi", "10737418240", "1Ti"],
        ),
        (
            "--storage-class",
            &["tr-ist-1", "tr-ist-1-ssd", "fast", ""],
            &["tr-ist-1", "tr-ist-1-ssd"],
        ),
        (
            "--database",
            &["clinical", "no", "postgres", "Clinical", "pg_x", "a-b"],
            &["clinical", "no"],
        ),
        (
            "--bucket",
            &[
                "documents",
                "on1",
                "7days",
                "minio",
                "a",
                "Documents",
                "b.c",
                "a-bucket-with-a-name-of-more-than-32-letters",
            ],
            &["documents", "on1"],
        ),
        (
            "--client",
            &[
                "web:team=web",
                "web:team=",
                "Web:team=web",
                "web:=web",
                "web:a b=c",
                "web:team=no",
            ],
            &["web:team=web", "web:team=", "web:team=no"],
        ),
    ];
    for (option, values, taken) in alone {
        for value in values {
            let refused = (!taken.contains(value)).then_some(option);
            asked.push((format!("{option}={value}"), refused));
        }
    }
    asked
        .into_iter()
        .map(|(options, refused)| {
            // A value may have a blank in it.
            let words = if options.starts_with("--client") {
                vec![options]
            } else {
                options.split(' ').map(str::to_owned).collect()
            };
            (words, refused)
        })
        .collect()
}

#[test]
fn what_new_prints_is_what_check_accepts_and_the_rest_is_refused_at_its_option() {
    let folder = Folder::new("grid");
    let (mut files, mut refusals) = (Vec::new(), 0);
    for (number, (options, refused)) in grid().into_iter().enumerate() {
        let name = format!("r{number}");
        let mut arguments = vec!["new", &name, "--jurisdiction=TR", "--location=tr-ist-1"];
        arguments.extend(options.iter().map(String::as_str));
        let new = run(&arguments);
        if let Some(option) = refused {
            assert!(!new.status.success(), "{options:?}");
            assert_eq!(out(&new), "", "{options:?}");
            assert!(
                hints(&new).contains(&format!("\n{option}: ")),
                "{options:?}: {}",
                hints(&new)
            );
            refusals += 1;
        } else {
            assert!(new.status.success(), "{options:?}: {}", hints(&new));
            files.push(folder.file(&format!("{name}.yaml"), &out(&new)));
        }
    }
    for (name, place, option) in [
        ("Tr", ["--jurisdiction=TR", "--location=tr-ist-1"], "NAME"),
        (
            "kube-tr",
            ["--jurisdiction=TR", "--location=tr-ist-1"],
            "NAME",
        ),
        (
            "tr",
            ["--jurisdiction=Turkey", "--location=tr-ist-1"],
            "--jurisdiction",
        ),
        (
            "tr",
            ["--jurisdiction=TR", "--location=Istanbul"],
            "--location",
        ),
    ] {
        let new = run(&["new", name, place[0], place[1]]);
        assert!(
            !new.status.success() && hints(&new).contains(&format!("\n{option}: ")),
            "{name} {place:?}: {}",
            hints(&new)
        );
        refusals += 1;
    }
    let mut arguments = vec!["check"];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let checked = run(&arguments);
    assert!(
        checked.status.success(),
        "{}{}",
        out(&checked),
        hints(&checked)
    );
    println!(
        "{} files are accepted, {refusals} sets of options refused",
        files.len()
    );
    assert!(
        files.len() >= 35 && refusals >= 55,
        "{} {refusals}",
        files.len()
    );
}

#[test]
fn check_names_the_key_the_cause_and_what_was_meant() {
    let folder = Folder::new("meant");
    let (_, good) = new_file(&folder);
    let parameters = |text: &str| {
        good.replace(
            "  postgres:\n",
            &format!("  postgres:\n    parameters: {{{text}}}\n"),
        )
    };
    for (name, file, expected) in [
        (
            "misspelt",
            parameters("work_mems: 64MB"),
            "spec.postgres.parameters.work_mems: is no setting of PostgreSQL 17.12 or of an extension in its image; did you mean work_mem?",
        ),
        (
            "kept",
            parameters("ssl: \"off\""),
            "spec.postgres.parameters.ssl: decides how clients come in (addresses, TLS, passwords), which the operator does; take it out",
        ),
        (
            "boolean",
            parameters("enable_hashjoin: true"),
            "spec.postgres.parameters.enable_hashjoin: is of type boolean, expected a whole number or text; write it in quotes",
        ),
        (
            "lines",
            parameters("work_mem: \"64MB\\n\""),
            "spec.postgres.parameters.work_mem: has a line break, expected one line",
        ),
        (
            "unit",
            parameters("work_mem: 64mb"),
            "spec.postgres.parameters.work_mem: ",
        ),
        (
            "both",
            parameters("ssl: \"off\", work_mems: 64MB, work_mem: 64MB"),
            "spec.postgres.parameters.work_mems: ",
        ),
        (
            "field",
            good.replace("instances: 3", "instnaces: 3"),
            "spec.postgres.instnaces: is no field of a Region; did you mean instances?",
        ),
        (
            "stranger",
            good.replace("instances: 3", "instances: 3\n    replicas: 3"),
            "spec.postgres.replicas: is no field of a Region; `kubectl explain region.spec.postgres` has those that there are",
        ),
        (
            "word",
            good.replace("instances: 3", "instances: 3\n    durability: Bouded"),
            "spec.postgres.durability: is \"Bouded\", expected one of ",
        ),
        (
            "meant-word",
            good.replace("instances: 3", "instances: 3\n    durability: Bouded"),
            "; did you mean Bounded?",
        ),
        (
            "cpu",
            good.replace("cpu: 250m", "cpu: 100Gi"),
            "spec.postgres.resources.cpu: expected CPUs from 1m to 1000",
        ),
        (
            "past",
            good.replace(
                "    location: tr-ist-1\n",
                "    location: tr-ist-1\n    exceptions: [{channel: '35', reason: r, approvedBy: dpo, expires: '2020-01-31T00:00:00Z'}]\n",
            ),
            "spec.residency.exceptions[0].expires: is 2020-01-31T00:00:00Z, which is past: the exception for channel 35 excepts nothing",
        ),
        (
            "no-day",
            good.replace(
                "    location: tr-ist-1\n",
                "    location: tr-ist-1\n    exceptions: [{channel: '35', reason: r, approvedBy: dpo, expires: '2026-02-30T00:00:00Z'}]\n",
            ),
            "spec.residency.exceptions[0].expires: expected a moment that there is",
        ),
    ] {
        assert_ne!(file, good, "{name}");
        let checked = check(&folder.file(&format!("{name}.yaml"), &file));
        assert!(!checked.status.success(), "{name}");
        let faults = out(&checked);
        assert!(faults.contains(expected), "{name}: {faults}");
        if name == "both" {
            assert_eq!(faults.lines().count(), 2, "{faults}");
        }
    }
}
