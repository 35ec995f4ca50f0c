//! The commands that people run, as they run them: the built program, its output, its hints and its exit code. Writes
//! files to a folder of its own.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

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
fn what_a_file_holds_begins_no_line_and_steers_no_terminal() {
    let folder = Folder::new("escapes");
    let region = "apiVersion: bailiwick.dev/v1alpha1\nkind: Region\nmetadata: {name: tr}\nspec: \
                  {\"a\\nother.yaml: Region tr: forged\": 1, \"b\\e[31mred\": 2}\n";
    let said = out(&check(&folder.file("escapes", region)));
    assert!(
        said.contains("forged") && said.contains("[31mred"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said:?}");
    assert!(
        said.lines().all(|line| !line.starts_with("other.yaml")),
        "{said}"
    );
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
            // Of an option that may be repeated, the value is named.
            let said = match *options.first().unwrap() {
                ref given if ["--database", "--bucket", "--client"].contains(&option) => {
                    format!("\n{option} {:?}: ", given.split_once('=').unwrap().1)
                }
                _ => format!("\n{option}: "),
            };
            assert!(hints(&new).contains(&said), "{options:?}: {}", hints(&new));
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

/// The line of a document's object of the API, which is said of every Region.
const API_VERSION: &str = "apiVersion: bailiwick.dev/v1alpha1";

/// The annotations of the Region of the file.
const ANNOTATIONS: &str =
    "  annotations:\n    argocd.argoproj.io/sync-options: Prune=confirm,Delete=confirm\n";

/// What is replaced by what in a good file, and what is said of it.
const BESIDE: [(&str, &str, &str, &str); 19] = [
    (
        "version",
        API_VERSION,
        "apiVersion: bailiwick.dev/v1",
        "Region tr: apiVersion: is \"bailiwick.dev/v1\", expected bailiwick.dev/v1alpha1",
    ),
    (
        "group",
        API_VERSION,
        "apiVersion: baliwick.dev/v1alpha1",
        "Region tr: apiVersion: is \"baliwick.dev/v1alpha1\", expected bailiwick.dev/v1alpha1",
    ),
    (
        "core",
        API_VERSION,
        "apiVersion: v1",
        "Region tr: apiVersion: is \"v1\", expected ",
    ),
    (
        "no-version",
        API_VERSION,
        "apiversion: bailiwick.dev/v1alpha1",
        "Region tr: apiVersion: is missing, expected bailiwick.dev/v1alpha1",
    ),
    (
        "misspelt-version",
        API_VERSION,
        "apiversion: bailiwick.dev/v1alpha1",
        "Region tr: apiversion: is no field of a Region; did you mean apiVersion?",
    ),
    (
        "kind",
        "kind: Region",
        "kind: Regoin",
        "Regoin tr: kind: is \"Regoin\", expected Region",
    ),
    (
        "no-kind",
        "kind: Region",
        "Kind: Region",
        "kind: is missing, expected Region",
    ),
    (
        "spec",
        "\nspec:\n",
        "\nSpec:\n",
        "Region tr: Spec: is no field of a Region; did you mean spec?",
    ),
    (
        "specs",
        "\nspec:\n",
        "\nspecs:\n",
        "Region tr: specs: is no field of a Region; did you mean spec?",
    ),
    (
        "data",
        "\nspec:\n",
        "\ndata: {}\nspec:\n",
        "Region tr: data: is no field of a Region; `kubectl explain region` has those that there are",
    ),
    (
        "labels",
        ANNOTATIONS,
        "  lables: {team: a}\n",
        "Region tr: metadata.lables: is no field of a Region; did you mean labels?",
    ),
    (
        "label",
        ANNOTATIONS,
        "  labels: {team: 1}\n",
        "Region tr: metadata.labels.team: is of type integer, expected string; write it in quotes",
    ),
    (
        "no-name",
        "  name: tr\n  annotations",
        "  name: null\n  annotations",
        " without a name: metadata.name: is missing, expected the Region's name",
    ),
    (
        "empty-name",
        "  name: tr\n  annotations",
        "  name: ''\n  annotations",
        " without a name: metadata.name: is missing, expected the Region's name",
    ),
    (
        "tilde",
        "  name: tr\n  annotations",
        "  annotations",
        " without a name: metadata.name: is missing, expected the Region's name",
    ),
    (
        "number",
        "  name: tr\n  annotations",
        "  name: 17\n  annotations",
        "metadata.name: is of type integer, expected string; write it in quotes",
    ),
    (
        "namespace",
        "  name: tr-obs\n---",
        "  nmae: tr-obs\n  name: tr-obs\n---",
        "Region tr: metadata.name: Namespace tr-obs metadata.nmae: is no field of a Namespace; did you mean name?",
    ),
    (
        "subject",
        "roleRef:\n",
        "roleref: {}\nroleRef:\n",
        "roleref: is no field of a RoleBinding; did you mean roleRef?",
    ),
    (
        "object",
        API_VERSION,
        "a: b\n---\napiVersion: bailiwick.dev/v1alpha1",
        "without a name: kind: is missing, expected that of an object of Kubernetes",
    ),
];

#[test]
fn check_refuses_what_the_api_server_refuses_beside_the_spec() {
    let folder = Folder::new("beside");
    let (_, good) = new_file(&folder);
    for (name, from, to, expected) in BESIDE {
        assert!(good.contains(from), "{name}: {from}");
        // The Region is the last document.
        let bad = if from.contains("---") || from.contains("roleRef") {
            good.replacen(from, to, 1)
        } else {
            let at = good.rfind(from).unwrap();
            format!("{}{to}{}", &good[..at], &good[at + from.len()..])
        };
        let file = folder.file(&format!("{name}.yaml"), &bad);
        let checked = check(&file);
        assert!(!checked.status.success(), "{name}");
        let faults = out(&checked);
        assert!(faults.contains(expected), "{name}: {faults}");
        if ["version", "group", "no-name", "label"].contains(&name) {
            assert_eq!(faults.lines().count(), 1, "{name}: {faults}");
            // Nor is it rendered.
            let rendered = run(&["render", file.to_str().unwrap()]);
            assert!(!rendered.status.success(), "{name}");
            let field = expected.split(": ").nth(1).unwrap();
            assert!(
                hints(&rendered).contains(field),
                "{name}: {}",
                hints(&rendered)
            );
        }
    }
    // What other programs leave behind is no fault.
    let at = good.rfind("  name: tr\n").unwrap();
    let taken = format!(
        "{}  creationTimestamp: null\n  labels: {{team: a}}\n{}status: {{}}\n",
        &good[..at],
        &good[at..]
    );
    let checked = check(&folder.file("taken.yaml", &taken));
    assert!(checked.status.success(), "{}", out(&checked));
}

#[test]
fn check_says_what_kubectl_reads_without_quotes() {
    let folder = Folder::new("bare");
    let (_, good) = new_file(&folder);
    let parameters = |text: &str| {
        good.replace(
            "  postgres:\n",
            &format!("  postgres:\n    parameters: {{{text}}}\n"),
        )
    };
    let norway = good
        .replace("jurisdiction: TR", "jurisdiction: 'NO'")
        .replace("tr-ist-1", "no-osl-1");
    let in_order = check(&folder.file("norway.yaml", &norway));
    assert!(in_order.status.success(), "{}", out(&in_order));
    let bare = |word: &str| format!("kubectl reads {word} without quotes as the boolean ");
    let mut faults = 0;
    for (name, file, field, cause) in [
        (
            "jurisdiction",
            norway.replace("'NO'", "NO"),
            "spec.residency.jurisdiction: is of type boolean",
            bare("NO"),
        ),
        (
            "label",
            norway.replacen("'NO'", "NO", 1),
            "Namespace tr metadata.labels.bailiwick.dev/jurisdiction: is of type boolean",
            bare("NO"),
        ),
        (
            "off",
            parameters("jit: off"),
            "spec.postgres.parameters.jit: is of type boolean",
            bare("off"),
        ),
        (
            "Yes",
            parameters("jit: Yes"),
            "spec.postgres.parameters.jit: is of type boolean",
            bare("Yes"),
        ),
        (
            "database",
            good.replace("- name: clinical", "- name: y"),
            "spec.postgres.databases[0].name: is of type boolean",
            bare("y"),
        ),
        (
            "key",
            parameters("on: '1'"),
            "spec.postgres.parameters.true: ",
            bare("on"),
        ),
        (
            "octal",
            good.replace("instances: 3", "instances: 011"),
            "spec.postgres.instances: kubectl reads 011 without quotes as the number 9",
            "write '011' for the text, or 9 for the number".to_owned(),
        ),
        (
            "underscore",
            parameters("work_mem: 4_096"),
            "spec.postgres.parameters.work_mem: kubectl reads 4_096 without quotes as the number 4096",
            String::new(),
        ),
        (
            "client",
            good.replace("team: patient", "team: on"),
            "spec.network.clients[0].namespaceSelector.matchLabels.team: is of type boolean, expected string",
            bare("on"),
        ),
    ] {
        assert_ne!(file, good, "{name}");
        let checked = check(&folder.file(&format!("{name}.yaml"), &file));
        assert!(!checked.status.success(), "{name}");
        let found = out(&checked);
        assert!(
            found
                .lines()
                .any(|line| line.contains(field) && line.contains(&cause)),
            "{name}: {found}"
        );
        faults += 1;
    }
    assert!(faults >= 9);
}

#[test]
fn what_all_readers_read_alike_may_stand_without_quotes() {
    let folder = Folder::new("alike");
    let (_, good) = new_file(&folder);
    let parameters = |text: &str| {
        good.replace(
            "  postgres:\n",
            &format!("  postgres:\n    parameters: {{{text}}}\n"),
        )
    };
    // A word where a boolean is wanted, and words in quotes, are read alike by all.
    for (name, file) in [
        (
            "boolean",
            good.replace(
                "- name: documents\n    users",
                "- name: documents\n      versioning: yes\n    users",
            ),
        ),
        (
            "quoted",
            parameters("enable_hashjoin: 'off', random_page_cost: \"1.1\""),
        ),
        (
            "block",
            good.replace("team: patient", "team: >-\n            on"),
        ),
    ] {
        assert_ne!(file, good, "{name}");
        let file = folder.file(&format!("{name}.yaml"), &file);
        let checked = check(&file);
        assert!(checked.status.success(), "{name}: {}", out(&checked));
        let rendered = run(&["render", file.to_str().unwrap()]);
        assert!(rendered.status.success(), "{name}: {}", hints(&rendered));
    }
}

#[test]
fn check_finds_an_object_that_is_there_twice() {
    let folder = Folder::new("twice");
    let (first, good) = new_file(&folder);
    let second = folder.file("again.yaml", &good);
    let checked = run(&["check", first.to_str().unwrap(), second.to_str().unwrap()]);
    assert!(!checked.status.success());
    let expected = format!(
        "{}: Region tr: metadata.name: is in {} as well, and the one that is applied last",
        second.display(),
        first.display()
    );
    assert!(out(&checked).contains(&expected), "{}", out(&checked));
    // Also of two rights, the second is the cluster's.
    let at = good.find("# Patroni's identity").unwrap();
    let wide = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: tr-pg, namespace: tr}\n\
                rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]\n";
    for (name, file, expected) in [
        (
            "region",
            format!("{good}---\n{}", &good[good.find(API_VERSION).unwrap()..]),
            "Region tr: ",
        ),
        (
            "role",
            format!("{good}---\n{wide}"),
            "Role tr-pg of namespace tr: ",
        ),
        (
            "before",
            format!("{}{wide}---\n{}", &good[..at], &good[at..]),
            "Role tr-pg of namespace tr: ",
        ),
    ] {
        let checked = check(&folder.file(&format!("{name}.yaml"), &file));
        assert!(!checked.status.success(), "{name}");
        let expected = format!("{expected}metadata.name: is in this file twice");
        assert!(
            out(&checked).contains(&expected),
            "{name}: {}",
            out(&checked)
        );
    }
    // Documents without a name are not one another.
    let unnamed = "kind: Pod\napiVersion: v1\n---\nkind: Pod\napiVersion: v1\n---\n";
    let file = folder.file("unnamed.yaml", &format!("{unnamed}{good}"));
    assert!(check(&file).status.success(), "{}", out(&check(&file)));
}

#[test]
fn what_is_no_value_is_refused_with_the_field_the_cause_and_what_was_expected() {
    let folder = Folder::new("values");
    let (_, good) = new_file(&folder);
    let parameters = |text: &str| {
        good.replace(
            "  postgres:\n",
            &format!("  postgres:\n    parameters: {{{text}}}\n"),
        )
    };
    let large = "18446744073709551616";
    for (name, file, expected) in [
        ("null", parameters("jit: null"), "spec.postgres.parameters.jit: is null, expected a whole number or text"),
        ("empty", parameters("jit: "), "spec.postgres.parameters.jit: is null, expected a whole number or text"),
        ("null-field", good.replace("instances: 3", "instances: ~"), "spec.postgres.instances: is null, expected a number"),
        ("null-list", good.replace("databases:\n    - name: clinical", "databases:"), "spec.postgres.databases: is null, expected a list"),
        ("null-spec", good.replace("    location: tr-ist-1\n", "    location:\n"), "spec.residency.location: is null, expected text"),
        ("large", good.replace("instances: 3", &format!("instances: {large}")),
            "spec.postgres.instances: is of type number, expected integer: 18446744073709551616 is a whole number of more than 64 bits"),
        ("larger-than-i64", good.replace("instances: 3", "instances: 9223372036854775808"),
            "spec.postgres.instances: is of type number, expected integer: 9223372036854775808 is a whole number of more than 64"),
        ("negative", good.replace("servers: 4", &format!("servers: -{large}")), "spec.objectStore.servers: is of type number"),
        ("setting", parameters(&format!("work_mem: {large}")),
            "spec.postgres.parameters.work_mem: is of type number, expected a whole number or text; write it in quotes: 18446744073709551616 is"),
        ("label", good.replace("team: patient", &format!("team: {large}")), "matchLabels.team: is of type number, expected string"),
        ("metadata", good.replacen("  name: tr-pg\n", &format!("  generation: {large}\n  name: tr-pg\n"), 1),
            "metadata.generation: is of type number, expected integer"),
        ("thirty-two", good.replace("instances: 3", "instances: 3000000000"),
            "spec.postgres.instances: is 3000000000, expected a whole number of at most 32 bits"),
        ("infinite", good.replace("instances: 3", "instances: .inf"), "spec.postgres.instances is inf"),
        ("range", good.replace("  postgres:\n", "    external: [{name: a, host: a.example.org, cidrs: [203.0.113.07/32], ports: [443], \
            location: tr-ist-1}]\n  postgres:\n"), "spec.network.external[0].cidrs: expected addresses in CIDR notation"),
    ] {
        assert_ne!(file, good, "{name}");
        let file = folder.file(&format!("{name}.yaml"), &file);
        let checked = check(&file);
        assert!(!checked.status.success(), "{name}");
        let found = format!("{}{}", out(&checked), hints(&checked));
        assert!(found.contains(expected), "{name}: {found}");
        let rendered = run(&["render", file.to_str().unwrap()]);
        // What comes with the Region is not rendered.
        assert_eq!(rendered.status.success(), name == "metadata", "{name}");
        let field = expected.split([':', ' ']).next().unwrap();
        // What comes with the Region is not rendered.
        assert!(name == "metadata" || hints(&rendered).contains(field), "{name}: {}", hints(&rendered));
    }
}

#[test]
fn new_names_which_of_several_it_is_and_how_it_is_given() {
    let place = ["new", "tr", "--jurisdiction=TR", "--location=tr-ist-1"];
    for (options, expected) in [
        (
            &["--database=clinical", "--database=Bad"][..],
            "\n--database \"Bad\": expected a lower-case letter",
        ),
        (
            &["--database=clinical", "--database=Bad"],
            "; give it as `--database clinical`\n",
        ),
        (
            &["--database=clinical,audit"],
            "; give it once for each, as `--database clinical --database audit`\n",
        ),
        (
            &["--database=a", "--database=a"],
            "\n--database \"a\": is in the list twice",
        ),
        (
            &["--bucket=documents", "--bucket=A"],
            "\n--bucket \"A\": expected 3 to 63 lower-case letters",
        ),
        (
            &["--bucket=aaa", "--bucket=aaa"],
            "\n--bucket \"aaa\": is in the list twice",
        ),
        (
            &["--client=a:b=c", "--client=B:b=d"],
            "\n--client \"B:b=d\": expected lower-case letters",
        ),
        (
            &["--client=a:b=c,d:e=f"],
            "; give it once for each, as `--client a:b=c --client d:e=f`\n",
        ),
        (
            &["--client=a:b=c", "--client=a:b=d"],
            "\n--client \"a:b=d\": is in the list twice",
        ),
        (
            &["--client=a:b=c", "--client=patient"],
            "\"patient\" is not NAME:LABEL=VALUE, as patient:team=patient",
        ),
        (
            &["--storage-class=es-mad-1-local"],
            "\n--storage-class: storage class es-mad-1-local is not called after tr-ist-1",
        ),
        (
            &["--storage-class=es-mad-1-local"],
            "`--storage-class tr-ist-1-local`, or leave it out\n",
        ),
    ] {
        let mut arguments = place.to_vec();
        arguments.extend(options);
        let new = run(&arguments);
        assert!(!new.status.success(), "{options:?}");
        assert!(
            hints(&new).contains(expected),
            "{options:?}: {}",
            hints(&new)
        );
    }
}

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
