//! How fast pods' packets travel by Selvedge, by the kernel's VXLAN, and without a tunnel, side by side: `make bench`.
//!
//! Each way is a lab of its own: two nodes joined by a bridge, a pod behind each. All labs are there at the same time
//! and are measured in turn, round by round, so that whatever disturbs one disturbs the others as well.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to people")]

mod case;
mod goal;
mod iperf;
mod kernel_ways;
mod level;
mod options;
mod pair;
mod peers;
mod ping;
mod process;
mod report;
mod results;
mod rounds;
mod trouble;
mod underlay;
mod usage;
mod way;

use std::process::ExitCode;

use clap::Parser;
use selvedge_host::lab::Interrupt;

use options::Options;
use trouble::Trouble;

/// What the lab commands end with when they are interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(exit_code) => exit_code,
        Err(Trouble::Interrupted) => {
            eprintln!("interrupted; everything is removed");
            ExitCode::from(INTERRUPTED)
        }
        Err(Trouble::Failed(reason)) => {
            eprintln!("NOT MEASURED: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, Trouble> {
    let interrupt = Interrupt::catch_signals()?;
    let levels = level::usable(&options.program, &options.levels)?;
    println!("{}\n", usage::machine(&interrupt)?);
    let results = rounds::measure(options, &levels, &interrupt)?;

    let rows = results.rows(&levels);
    report::print(&rows);
    goal::print(&goal::all(&rows, &levels));
    if let Some(file) = &options.json {
        report::write(&rows, file)?;
    }
    println!();
    for missing in &results.missing {
        println!("NOT MEASURED: {missing}");
    }
    Ok(if results.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
