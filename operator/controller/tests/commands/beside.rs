//! `check` of what stands beside the spec, and of what stands without quotes.

use super::{API_VERSION, Folder, check, hints, new_file, out, run};

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
