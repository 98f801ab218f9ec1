//! The seeds, on stable Rust. What a fuzzer has found stays among them.

use super::TARGETS;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The largest seed, in bytes: what is larger slows a fuzzer down.
const LARGEST: usize = 8 * 1024;

#[test]
fn every_target_holds_over_its_seeds() {
    let (mut empty, mut broken) = (Vec::new(), Vec::new());
    for target in TARGETS {
        let seeds: Vec<PathBuf> =
            fs::read_dir(folder("seeds").join(target.name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        if seeds.is_empty() {
            empty.push(target.name);
        }
        for seed in seeds {
            let data = fs::read(&seed).unwrap();
            assert!(data.len() <= LARGEST, "{} is larger than {LARGEST} bytes", seed.display());
            if std::panic::catch_unwind(|| (target.check)(&data)).is_err() {
                broken.push(format!("{}/{}", target.name, seed.file_name().unwrap().display()));
            }
        }
        (target.check)(b"");
    }
    assert!(broken.is_empty(), "what must hold does not for {broken:?}");
    assert!(empty.is_empty(), "without seeds: {empty:?}");
}

#[test]
fn every_target_has_its_program_and_its_seeds() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names_in(&folder("fuzz_targets")), targets);
    assert_eq!(names_in(&folder("seeds")), targets);
    for name in &targets {
        let program = fs::read_to_string(folder("fuzz_targets").join(name).with_extension("rs")).unwrap();
        assert!(program.contains(&format!("check(\"{name}\", data)")), "{name} runs another target");
    }
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in &targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in fuzz/Cargo.toml");
    }
}
