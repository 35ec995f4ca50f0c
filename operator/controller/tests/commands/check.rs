//! `check`: what it accepts, names and refuses; `render`.

use super::{API_VERSION, Folder, NEW, check, hints, new_file, out, run};

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
