//! The structure of the code: imports go downwards, and no file of product code is longer than a reader bears. Sources of the
//! repository in, findings out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The most lines that a file of product code has.
const LONGEST_FILE: usize = 600;

/// The crates of product code.
const CRATES: [&str; 6] = ["api", "cli", "controller", "fence", "minio-admin", "model"];

/// The files of a crate, by the path of their module; without what is compiled for tests only.
type Sources = BTreeMap<String, String>;

fn sources(crate_: &str) -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(crate_)
        .join("src");
    let mut files = Vec::new();
    find(&root, &mut files);
    files
        .into_iter()
        .filter(|file| !file.ends_with("tests.rs") && !file.to_string_lossy().contains("/tests/"))
        .map(|file| {
            let module = file.strip_prefix(&root).unwrap().with_extension("");
            let module = module.to_string_lossy().replace('/', "::");
            (module, fs::read_to_string(&file).unwrap())
        })
        .collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

/// What a file says to others than its tests and its readers.
fn code(text: &str) -> String {
    let product = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    Regex::new("//[^\n]*")
        .unwrap()
        .replace_all(product, "")
        .into_owned()
}

/// The paths of a use tree, each whole.
fn paths(tree: &str, before: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        found.push(format!("{before}{tree}"));
        return;
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let before = format!("{before}{}", head.trim());
    let (mut depth, mut start) = (0_usize, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                paths(&inner[start..at], &before, found);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        paths(&inner[start..], &before, found);
    }
}

/// The module that a path leads to, from another.
fn target<'a>(all: &'a Sources, from: &str, path: &str) -> Option<&'a str> {
    let mut base: Vec<&str> = from.split("::").collect();
    let mut rest = path.split("::").map(str::trim).peekable();
    match *rest.peek()? {
        "crate" => {
            base.clear();
            rest.next();
        }
        "super" | "self" => {
            while let Some(step) = rest.next_if(|it| matches!(*it, "super" | "self")) {
                if step == "super" {
                    base.pop();
                }
            }
        }
        _ => return None,
    }
    base.extend(rest);
    (1..=base.len())
        .rev()
        .find_map(|length| all.get_key_value(&base[..length].join("::")))
        .map(|(module, _)| module.as_str())
}

/// Which modules each module names.
fn imports(all: &Sources) -> BTreeMap<&str, BTreeSet<&str>> {
    let uses = Regex::new(r"\buse\s+([^;]+);").unwrap();
    let named = Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
    all.iter()
        .map(|(module, text)| {
            let code = code(text);
            let mut found = Vec::new();
            for tree in uses.captures_iter(&code) {
                paths(&tree[1], "", &mut found);
            }
            let rest = uses.replace_all(&code, "");
            found.extend(named.find_iter(&rest).map(|it| it.as_str().to_owned()));
            let targets = found
                .iter()
                .filter_map(|path| target(all, module, path))
                .filter(|it| *it != module)
                .collect();
            (module.as_str(), targets)
        })
        .collect()
}

/// The modules that lead back to themselves, each with those that it does so by.
fn circles<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<BTreeSet<&'a str>> {
    let reached = |from: &'a str| {
        let (mut seen, mut due) = (BTreeSet::new(), vec![from]);
        while let Some(module) = due.pop() {
            for next in &imports[module] {
                if seen.insert(*next) {
                    due.push(next);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|it| (*it, reached(it))).collect();
    all.iter()
        .filter(|(module, reached)| reached.contains(*module))
        .map(|(module, reached)| {
            let back = reached.iter().filter(|it| all[**it].contains(module));
            back.copied().collect()
        })
        .collect()
}

/// Whether all of a circle is one module with modules inside it.
fn is_a_parent_with_its_children(circle: &BTreeSet<&str>) -> bool {
    circle.iter().any(|parent| {
        let inside = format!("{parent}::");
        circle
            .iter()
            .all(|it| it == parent || it.starts_with(&inside))
    })
}

#[test]
fn imports_go_downwards() {
    let (mut modules, mut arrows) = (0, 0);
    for crate_ in CRATES {
        let all = sources(crate_);
        let imports = imports(&all);
        modules += all.len();
        arrows += imports.values().map(BTreeSet::len).sum::<usize>();
        for circle in circles(&imports) {
            assert!(
                is_a_parent_with_its_children(&circle),
                "operator/{crate_}: {circle:?} import each other; expected a module with those inside it at most: move \
                 what ties them to a file beneath both"
            );
        }
    }
    // An empty list would have no circle.
    assert!(modules >= 180 && arrows >= 600, "{modules}, {arrows}");
}

#[test]
fn a_circle_is_found_by_whatever_ties_it() {
    let planted = |pairs: &[(&str, &str)]| -> Sources {
        pairs
            .iter()
            .map(|(module, text)| ((*module).to_owned(), (*text).to_owned()))
            .collect()
    };
    let found = |all: &Sources| circles(&imports(all)).len();
    let leaf = ("c", "pub struct C;");
    for tie in [
        "use crate::a::A;",
        "use crate::{a, c::C};",
        "use super::{c, a::{A, B}};",
        "fn b() { crate::a::a() }",
    ] {
        let all = planted(&[("a", "use crate::b::B;"), ("b", tie), leaf]);
        assert_eq!(found(&all), 1, "{tie}");
    }
    for none in [
        "use crate::c::C;",
        "// use crate::a::A;",
        "#[cfg(test)]\nmod tests { use crate::a::A; }",
    ] {
        let all = planted(&[("a", "use crate::b::B;"), ("b", none), leaf]);
        assert_eq!(found(&all), 0, "{none}");
    }
    let family = BTreeSet::from(["a", "a::b", "a::c"]);
    assert!(is_a_parent_with_its_children(&family));
    assert!(!is_a_parent_with_its_children(&BTreeSet::from([
        "a::b", "a::c"
    ])));
}

#[test]
fn no_file_of_product_code_is_longer_than_a_reader_bears() {
    let mut files = 0;
    for crate_ in CRATES {
        for (module, text) in sources(crate_) {
            files += 1;
            let lines = text.lines().count();
            assert!(
                lines <= LONGEST_FILE,
                "operator/{crate_}: {module} has {lines} lines, expected {LONGEST_FILE} at most: split it by concern"
            );
        }
    }
    assert!(files >= 180, "{files}");
}
