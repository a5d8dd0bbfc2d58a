//! Lines and tables for standard output, made to fit if it is a terminal.

use std::io::{self, Write};

use terminal_size::{Width, terminal_size_of};

use crate::pictures::visible_lines;

/// Characters that a text or a column keeps at least, however narrow the terminal is.
const LEAST: usize = 8;

/// Columns of the terminal; `None` for a file or a pipe, where lines stay as long as they are.
fn width() -> Option<usize> {
    terminal_size_of(std::io::stdout()).map(|(Width(width), _)| width.into())
}

/// A line, broken between words if it is too long; the lines after the first are indented.
pub fn wrapped(line: &str, indent: usize) -> String {
    broken(line, indent, width())
}

fn broken(line: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| *width >= indent + LEAST) else { return line.into() };
    let (mut text, mut used, mut words) = (String::new(), 0, false);
    for word in line.split_inclusive(' ') {
        let length = word.chars().count();
        // The space after a word may be beyond the edge.
        if words && used + word.trim_end().chars().count() > width {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            used = indent;
        }
        text.push_str(word);
        used += length;
        // A line is not broken before its first word.
        words |= word != " ";
    }
    text
}

/// Rows in columns, the first two left-aligned and the others right-aligned, at least as wide as `widths` say if there
/// is room. If there is too little room, the second column is cut.
pub fn table<const N: usize>(rows: &[[String; N]], widths: [usize; N]) -> String {
    laid_out(rows, widths, width())
}

fn laid_out<const N: usize>(rows: &[[String; N]], widths: [usize; N], width: Option<usize>) -> String {
    let needed: [usize; N] = std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let wished: [usize; N] = std::array::from_fn(|i| needed[i].max(widths[i]));
    let length = |widths: &[usize; N]| widths.iter().sum::<usize>() + N.saturating_sub(1);
    let width = width.unwrap_or(usize::MAX);
    let mut widths = if length(&wished) > width { needed } else { wished };
    let over = length(&widths).saturating_sub(width);
    if let Some(second) = widths.get_mut(1) {
        *second = second.saturating_sub(over).max((*second).min(LEAST));
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).enumerate().map(|(i, (cell, width))| match i {
            0 | 1 => format!("{:<width$}", cut(cell, width)),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A text cut to at most so many characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Passes lines on to a terminal; what it would act on is shown instead, as names of files may hold anything.
pub struct Shown<W> {
    to: W,
    /// What came after the last line break.
    rest: Vec<u8>,
}

impl<W: Write> Shown<W> {
    pub fn new(to: W) -> Shown<W> {
        Shown { to, rest: Vec::new() }
    }

    fn pass(&mut self, count: usize) -> io::Result<()> {
        let lines: Vec<u8> = self.rest.drain(..count).collect();
        self.to.write_all(visible_lines(&String::from_utf8_lossy(&lines)).as_bytes())
    }
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        let lines = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.pass(lines)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass(self.rest.len())?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_characters_that_it_would_act_on_wherever_a_line_is_cut() {
        let text = "a\u{1b}[31m é\u{9b}.png,3\nb\n\u{7}";
        for cut in 0..=text.len() {
            let mut shown = Shown::new(Vec::new());
            shown.write_all(&text.as_bytes()[..cut]).unwrap();
            shown.write_all(&text.as_bytes()[cut..]).unwrap();
            assert_eq!(String::from_utf8_lossy(&shown.to), "a\\u{1b}[31m é\\u{9b}.png,3\nb\n", "cut at {cut}");
            shown.flush().unwrap();
            assert!(shown.to.ends_with(b"b\n\\u{7}"));
        }
    }

    const LINE: &str = "  pool  averages large images down";

    #[test]
    fn a_line_is_broken_between_words_and_goes_on_where_its_text_began() {
        assert_eq!(broken(LINE, 8, None), LINE);
        assert_eq!(broken(LINE, 8, Some(34)), LINE);
        assert_eq!(broken(LINE, 8, Some(33)), "  pool  averages large images\n        down");
        assert_eq!(broken(LINE, 8, Some(20)), "  pool  averages\n        large images\n        down");
        // A word that does not fit gets a line of its own, and is not broken.
        assert_eq!(broken("  a_word_without_end on", 2, Some(10)), "  a_word_without_end\n  on");
        // Narrower than that, nothing would be gained.
        assert_eq!(broken(LINE, 8, Some(15)), LINE);
    }

    #[test]
    fn a_table_is_as_wide_as_is_wished_as_it_needs_or_as_there_is_room() {
        let rows = [["a", "convolution 3x3", "1"], ["total", "", "1,234"]].map(|row| row.map(String::from));
        let lines = |width| laid_out(&rows, [8, 20, 7], width);
        let wished = "a        convolution 3x3            1\ntotal                           1,234";
        assert_eq!(lines(None), wished);
        assert_eq!(lines(Some(37)), wished);
        assert_eq!(lines(Some(36)), "a     convolution 3x3     1\ntotal                 1,234");
        assert_eq!(lines(Some(22)), "a     convoluti…     1\ntotal            1,234");
        assert_eq!(lines(Some(5)), "a     convolu…     1\ntotal          1,234");
    }
}
