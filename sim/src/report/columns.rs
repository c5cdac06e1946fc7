//! Text in columns, for terminals.

/// Something that happened, in one of the columns.
pub(super) struct Row {
    pub(super) time: String,
    /// The place of its column.
    pub(super) column: usize,
    pub(super) text: String,
}

/// Returns the rows below the columns' names; what is too long for its column goes on below.
pub(super) fn table(names: &[String], rows: impl Iterator<Item = Row>) -> String {
    let width = (WIDTH - TIME) / names.len().max(1);
    let mut table = line("time", names.iter().map(String::as_str), width);
    for Row { time, column, text } in rows {
        let mut time = time.as_str();
        for part in wrapped(&text, width - GAP) {
            let cells = (0..=column).map(|place| if place == column { part.as_str() } else { "" });
            table.push_str(&line(time, cells, width));
            time = "";
        }
    }
    table
}

fn line<'a>(time: &str, cells: impl Iterator<Item = &'a str>, width: usize) -> String {
    let cells: Vec<String> = cells.map(|cell| format!("{cell:width$}")).collect();
    let line = format!("{time:>time_width$}  {}", cells.concat(), time_width = TIME - GAP);
    format!("{}\n", line.trim_end())
}

/// Breaks a text between words, and within words that are longer than a line; of a long text the end is cut off.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        let mut used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + rest.len() <= width {
            add(&mut lines, " ");
        } else if used > 0 {
            lines.push(String::new());
        }
        while !rest.is_empty() {
            used = lines.last().map_or(0, |line| line.chars().count());
            let after = rest.split_off(rest.len().min(width - used));
            add(&mut lines, &rest.iter().collect::<String>());
            rest = after;
            if !rest.is_empty() {
                lines.push(String::new());
            }
        }
    }
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        add(&mut lines, "…");
    }
    lines
}

fn add(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

/// How wide a table is.
const WIDTH: usize = 150;
/// How wide the times are, the gap after them included.
const TIME: usize = 11;
/// What is between two columns.
const GAP: usize = 2;
/// How many lines a text takes at most.
const MOST_LINES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_stands_in_its_column_and_goes_on_below() {
        let names = ["n1", "n2", "elsewhere"].map(str::to_owned);
        let long = "asks #12: txn if /coreos.com/network/subnets/10.5.34.0-24 is new, puts it on lease 7";
        let rows = [
            row("1.000s", 0, "starts"),
            row("12.345s", 1, long),
            row("12.346s", 2, "! store down"),
        ];

        let table = table(&names, rows.into_iter());

        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_text_is_broken_between_words_and_its_end_cut_off() {
        assert_eq!(wrapped("a few words", 5), ["a few", "words"]);
        assert_eq!(wrapped("/a/long/key x", 5), ["/a/lo", "ng/ke", "y x"]);
        assert_eq!(
            wrapped("one two three four five", 5),
            ["one", "two", "three", "four…"]
        );
        assert_eq!(wrapped("", 5), [""]);
    }

    fn row(time: &str, column: usize, text: &str) -> Row {
        Row {
            time: time.to_owned(),
            column,
            text: text.to_owned(),
        }
    }
}
