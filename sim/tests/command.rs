//! The binary, as people call it.

use std::path::Path;
use std::process::{Command, Output};

#[test]
fn a_run_prints_its_timeline_and_a_summary() {
    let output = sim("run --seed 1 --nodes 3 --minutes 2");

    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("n3 holding subnet 10.5."), "{text}");
    assert!(
        text.contains("at rest: 6 pairs of nodes reach each other"),
        "{text}"
    );
    assert!(text.contains("trace hash "), "{text}");
}

#[test]
fn a_trace_has_a_line_for_every_event_and_the_hash_of_the_run() {
    let run = stdout(&sim("run --seed 2 --nodes 3 --minutes 2"));
    let trace = stdout(&sim("run --seed 2 --nodes 3 --minutes 2 --trace"));

    let (events, _) = run.split_once(" events,").unwrap();
    let (_, events) = events.rsplit_once(", ").unwrap();
    let events: usize = events.parse().unwrap();

    assert_eq!(trace.lines().count(), events + 1);
    assert_eq!(trace.lines().last(), run.lines().last());
    assert!(trace.starts_with("[0.000s e0] network config"), "{trace}");
}

#[test]
fn a_scenario_in_a_file_runs_as_it_is_there() {
    let file = scenario_file("partition", PARTITION);

    let run = sim(&format!("run --scenario {file}"));
    let replay = sim(&format!("replay {file}"));
    let trace = sim(&format!("replay --trace {file}"));

    let text = stdout(&run);
    assert!(run.status.success(), "{run:?}");
    assert!(text.contains("20.500s  ! partition: n1 | the rest"), "{text}");
    assert_eq!(stdout(&replay), text);
    assert_eq!(stdout(&trace).lines().last(), text.lines().last());
}

#[test]
fn many_flannel_nodes_end_with_a_table_of_the_defects_that_showed() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flannel");
    let output = sim(&format!(
        "many --model flannel --profile leases --seeds 12 --nodes 5 --minutes 5 --save {}",
        directory.display()
    ));

    let text = stdout(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("W6: a lost create race ends the daemon"), "{text}");
    let (_, again) = text.split_once("-- replay ").expect("a command to run it again");
    let file = again.lines().next().unwrap_or_default();
    let saved = std::fs::read_to_string(file).unwrap();
    assert!(saved.contains("model = \"flannel\""), "{saved}");
}

#[test]
fn a_file_that_cannot_be_run_is_refused_with_its_name_and_line() {
    let bad_kind = scenario_file("bad-kind", &PARTITION.replace("underlay_partition", "rain"));
    let strange = scenario_file("strange", "hello\n");

    let refused = [
        sim(&format!("replay {bad_kind}")),
        sim(&format!("replay {strange}")),
        sim("run --scenario /nowhere.toml"),
    ]
    .map(|output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    });

    assert!(
        refused[0].starts_with(&format!("{bad_kind}: line 9: unknown kind `rain`")),
        "{refused:?}"
    );
    assert!(
        refused[1].starts_with(&format!("{strange}: line 1: ")),
        "{refused:?}"
    );
    assert!(
        refused[2].starts_with("/nowhere.toml: No such file"),
        "{refused:?}"
    );
}

#[test]
fn many_runs_end_in_one_line() {
    let output = sim("many --seeds 4 --first-seed 7 --nodes 3 --minutes 2 --jobs 2");

    let text = stdout(&output);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text.lines().count(), 1);
    assert!(text.starts_with("4 seeds of 3 nodes: "), "{text}");
    assert!(text.contains("; 0 failed; hash "), "{text}");
}

#[test]
fn a_run_that_breaks_an_invariant_says_which_and_how_to_see_it_again() {
    // One subnet fewer than nodes: somebody goes without.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failures");
    let output = sim(&format!(
        "run --seed 3 --nodes 6 --minutes 3 --config {{\"Network\":\"10.5.0.0/28\"}} --save {}",
        directory.display()
    ));

    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("at rest broken at 180.000s"), "{text}");
    assert!(text.contains("holds 0 leases"), "{text}");
    assert!(text.contains("  seed = 3\n  nodes = 6\n"), "{text}");
    assert!(text.contains("\nlast 40 events:\n     time  n3 "), "{text}");
    let file = directory.join("seed-3-at-rest.toml");
    let again = format!(
        "again: cargo run --release --bin sim -- replay {}",
        file.display()
    );
    assert!(text.contains(&again), "{text}");
    let small = directory.join("seed-3-at-rest-shrunk.toml");
    let story = std::fs::read_to_string(directory.join("seed-3-at-rest.txt")).unwrap();
    let packets = std::fs::metadata(directory.join("seed-3-at-rest.pcap")).unwrap();
    assert!(story.starts_with("at rest broken at 180.000s"), "{story}");
    assert!(
        story.contains(&format!("shrunk    {}\n", small.display())),
        "{story}"
    );
    assert!(story.contains(&again.replacen(": ", "     ", 1)), "{story}");
    assert!(packets.len() > 1000);
    for file in [&file, &small] {
        let replay = sim(&format!("replay {}", file.display()));
        let told = String::from_utf8(replay.stderr.clone()).unwrap();
        assert!(told.contains("at rest broken"), "{replay:?}");
    }
    let small = std::fs::read_to_string(small).unwrap();
    assert!(
        small.contains("\nnodes = 4\n") && !small.contains("fault"),
        "{small}"
    );
}

#[test]
fn a_failing_scenario_is_shrunk_into_a_file_and_a_good_one_is_not() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("small.toml");
    let crowded = PARTITION.replace("nodes = 3", "nodes = 4\nconfig = '{\"Network\":\"10.5.0.0/28\"}'");
    let crowded = scenario_file("crowded", &crowded);

    let output = sim(&format!("shrink {crowded} -o {}", target.display()));
    let good = sim(&format!("shrink {}", scenario_file("good", PARTITION)));

    assert!(output.status.success(), "{output:?}");
    let small = std::fs::read_to_string(target).unwrap();
    assert!(small.starts_with("# at rest broken at "), "{small}");
    assert!(!small.contains("fault"), "{small}");
    assert_eq!(good.status.code(), Some(1));
}

#[test]
fn a_run_is_the_same_in_two_processes() {
    let output = sim("meta --seed 5 --nodes 3 --minutes 3");
    let file = sim(&format!("meta {}", scenario_file("twice", PARTITION)));

    assert!(output.status.success() && file.status.success(), "{output:?}");
    assert!(
        stdout(&output).starts_with("the same in two processes: "),
        "{output:?}"
    );
}

#[test]
fn a_report_is_a_page_with_the_whole_run_in_it() {
    let scenario = scenario_file("report", PARTITION);
    let page = format!("{scenario}.html");

    let output = sim(&format!("replay {scenario} --report {page}"));

    let page = std::fs::read_to_string(page).unwrap();
    let hash = stdout(&output).lines().last().map(str::to_owned).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(page.starts_with("<!doctype html>"), "{page}");
    assert!(page.contains(hash.trim_start_matches("trace hash ")), "{hash}");
    assert!(page.contains("partition: n1 | the rest"));
    assert!(page.contains(&format!("sim -- replay {scenario}")));
}

#[test]
fn the_packets_of_a_run_are_written_to_a_file() {
    let scenario = scenario_file("packets", PARTITION);
    let [run, again] = ["run", "again"].map(|name| format!("{scenario}.{name}.pcap"));
    let recording = scenario_file("no-packets", "{\"recording\":\n");

    let output = sim(&format!("run --scenario {scenario} --pcap {run}"));
    sim(&format!("replay {scenario} --pcap {again}"));
    let refused = sim(&format!("replay {recording} --pcap {run}.none"));

    let [run, again] = [run, again].map(|file| std::fs::read(file).unwrap());
    assert!(output.status.success(), "{output:?}");
    assert!(run.len() > 1000 && run == again);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.contains("a recording has no packets"), "{text}");
}

#[test]
fn a_senseless_option_is_refused() {
    for arguments in [
        "run",
        "run --seed x",
        "run --seed 1 --scenario x.toml",
        "run --scenario x.toml --nodes 3",
        "many --seeds 1 --nodes 0",
        "shrink",
        "meta x.toml --seed 1",
        "many --seeds 1 --jobs 0",
    ] {
        assert_eq!(sim(arguments).status.code(), Some(2), "{arguments}");
    }
}

fn sim(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(arguments.split(' '))
        .output()
        .expect("the binary starts")
}

const PARTITION: &str = "# One node without the others.

scenario = 1
seed = 7
nodes = 3
duration = '1m'

[[fault]]
kind = 'underlay_partition'
at = '20.5s'
until = '30s'
nodes = ['n1']
";

fn scenario_file(name: &str, text: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&file, text).expect("the file can be written");
    file.into_os_string().into_string().expect("the path is text")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}
