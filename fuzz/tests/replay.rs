//! Replays the committed corpus through the fuzz targets.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use selvedge_fuzz::{TARGETS, Target};

#[test]
fn every_input_of_the_corpus_keeps_its_promises() {
    let broken: Vec<PathBuf> = TARGETS.into_iter().flat_map(broken_inputs).collect();

    assert!(
        broken.is_empty(),
        "these inputs break a promise, see above: {broken:#?}"
    );
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut folders: Vec<_> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort_unstable();

    assert_eq!(folders, TARGETS.map(|(name, _)| name));
    for (name, _) in TARGETS {
        assert!(!inputs(name).is_empty(), "the corpus of {name} is empty");
    }
}

fn broken_inputs((name, target): Target) -> Vec<PathBuf> {
    let breaks = |path: &PathBuf| {
        let data = fs::read(path).expect("an input of the corpus can be read");
        catch_unwind(|| target(&data)).is_err()
    };
    inputs(name).into_iter().filter(breaks).collect()
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(target)).expect("the target has a corpus");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("the corpus can be listed").path())
        .collect();
    paths.sort_unstable();
    paths
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
