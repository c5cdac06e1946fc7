//! Measures all cases of all ways in turn.

use selvedge_host::lab::Interrupt;

use crate::case::{Case, When};
use crate::level::Level;
use crate::options::Options;
use crate::pair::Pair;
use crate::results::Results;
use crate::trouble::Trouble;
use crate::way::Way;

/// Brings up a pair of nodes for each way, measures, and removes them.
pub(crate) fn measure(
    options: &Options,
    levels: &[Level],
    interrupt: &Interrupt,
) -> Result<Results, Trouble> {
    let ways = levels
        .iter()
        .copied()
        .map(Way::Ours)
        .chain([Way::Vxlan, Way::Plain]);
    let mut pairs = Vec::new();
    for (number, way) in (1..).zip(ways) {
        let pair = Pair::up(number, way, &options.program, interrupt);
        pairs.push(pair.map_err(|trouble| trouble.in_place(way))?);
    }
    let (in_rounds, at_end): (Vec<Case>, Vec<Case>) = options
        .cases()
        .into_iter()
        .partition(|case| case.when() == When::EachRound);
    let mut results = Results::default();
    for round in 1..=options.rounds.get() {
        let heading = format!("round {round} of {}", options.rounds);
        measure_once(&heading, &in_rounds, &pairs, options, &mut results)?;
    }
    pairs.retain(|pair| pair.way.has_daemons());
    measure_once("at the end", &at_end, &pairs, options, &mut results)?;
    Ok(results)
}

fn measure_once(
    heading: &str,
    cases: &[Case],
    pairs: &[Pair],
    options: &Options,
    results: &mut Results,
) -> Result<(), Trouble> {
    for case in cases {
        for pair in pairs {
            let heading = format!("{heading}, {case}, {}", pair.way);
            pair.interrupt.check()?;
            match case.measure(pair, options.seconds.get()) {
                Ok(measured) => {
                    if let Some((figure, value)) = measured.first() {
                        eprintln!("{heading}: {value:.2} {}", figure.unit());
                    }
                    results.add(*case, pair.way, measured);
                }
                Err(Trouble::Interrupted) => return Err(Trouble::Interrupted),
                Err(Trouble::Failed(reason)) => {
                    eprintln!("{heading}: {reason}");
                    results.missing.push(format!("{heading}: {reason}"));
                }
            }
        }
    }
    Ok(())
}
