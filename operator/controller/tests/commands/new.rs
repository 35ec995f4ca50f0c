//! `new`: every mix of its options, and its hints.

use super::{Folder, hints, out, run};

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
