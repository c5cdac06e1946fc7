//! The table that people read, and the file that programs read.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::results::{Row, Spread};
use crate::trouble::Trouble;

/// Prints a line for each figure and level.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n{:<18} {:<27} {:<6}  {:<20} {:>23} {:>23} {:>23} {:>7}",
        "case",
        "figure",
        "unit",
        "level",
        "ours (min..max)",
        "vxlan (min..max)",
        "plain (min..max)",
        ": vxlan"
    );
    for row in rows {
        let ratio = row.ratio_to_vxlan();
        println!(
            "{:<18} {:<27} {:<6}  {:<20} {:>23} {:>23} {:>23} {:>7}",
            row.case,
            row.figure.name(),
            row.figure.unit(),
            row.level.label,
            shown(row.ours),
            shown(row.vxlan),
            shown(row.plain),
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
        );
    }
}

/// Writes the rows as JSON.
pub(crate) fn write(rows: &[Row], file: &Path) -> Result<(), Trouble> {
    let rows: Value = rows.iter().map(|row| row.to_json()).collect();
    fs::write(file, format!("{rows:#}\n"))
        .map_err(|error| Trouble::with(&file.display().to_string(), error))?;
    println!("\nwritten to {}", file.display());
    Ok(())
}

fn shown(spread: Option<Spread>) -> String {
    let Some(Spread { median, least, most }) = spread else {
        return "-".to_owned();
    };
    format!("{} ({}..{})", digits(median), digits(least), digits(most))
}

/// About three digits that count.
fn digits(value: f64) -> String {
    let places = match value {
        _ if value < 1.0 => 3,
        _ if value < 10.0 => 2,
        _ if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}
