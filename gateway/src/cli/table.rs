//! Columns of text.

/// Between two columns, as kubectl does.
const GAP: usize = 3;

/// A table with a line of headings.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let lines = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..headings.len()).map(|column| width(column).unwrap_or(0) + GAP).collect();
    let mut text = String::new();
    for line in lines() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

/// Each line of a text, moved to the right.
pub fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// A text from outside on one line, without what could steer a terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&["NAME", "URL", "AGE"], &[row(["digits", "", "5s"]), row(["é", "http://x", ""])]);
        assert_eq!(text, "NAME     URL        AGE\ndigits              5s\né        http://x\n");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(one_line("a\n\u{1b}[2Jb"), "a  [2Jb");
    }
}
