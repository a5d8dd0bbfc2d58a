//! Paths as text: one form for tables, from which the path can be recovered, and one that has no effect on a terminal.

use std::path::{Path, PathBuf};

/// A path for a table: with slashes on every system, and unchanged if it is Unicode.
///
/// Bytes that are not Unicode are written `\xff`; in a path with such bytes, or with an `\x` of its own, each backslash
/// is doubled. So any text with `\x` in it has to be unescaped, and any other is the path itself. What a spreadsheet
/// would take for a formula gets `./` in front, which names the same file.
pub fn path_text(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let plain = std::str::from_utf8(bytes).ok();
    let mut text = match plain {
        Some(plain) if cfg!(windows) => plain.replace('\\', "/"),
        Some(plain) if !plain.contains("\\x") => plain.to_owned(),
        _ => escaped(bytes),
    };
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        text.insert_str(0, "./");
    }
    text
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// The path that [`path_text`] wrote.
pub fn text_path(text: &str) -> PathBuf {
    if cfg!(windows) || !text.contains("\\x") {
        return PathBuf::from(text);
    }
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'\\', [b'\\', ..]) => Some((b'\\', 2)),
            (b'\\', [b'x', high, low, ..]) => hex(*high, *low).map(|byte| (byte, 4)),
            _ => None,
        };
        let (byte, used) = escaped.unwrap_or((*first, 1));
        bytes.push(byte);
        rest = &rest[used..];
    }
    of_bytes(bytes)
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    Some(digit(high)? * 16 + digit(low)?)
}

/// A path from the bytes that the system gives.
#[cfg(unix)]
pub(crate) fn of_bytes(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}

/// A path from the bytes that the system gives, which are Unicode if they are one of its paths.
#[cfg(not(unix))]
pub(crate) fn of_bytes(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name of a file or folder with a number, for when the name is already taken: `a.png`, `a-2.png`, `a-3.png`.
pub fn numbered(path: &Path, number: u64) -> PathBuf {
    let name = path.file_name().unwrap_or(path.as_os_str());
    if number == 1 {
        return name.into();
    }
    let mut numbered = path.file_stem().unwrap_or(name).to_owned();
    numbered.push(format!("-{number}"));
    if let Some(ending) = path.extension() {
        numbered.push(".");
        numbered.push(ending);
    }
    numbered.into()
}

/// Text for one line of a terminal, with control characters (and those that change the writing direction) escaped.
pub fn visible(text: &str) -> String {
    escape(text, acts)
}

/// The same for text with line breaks and tabs of its own: everything the program says passes through here, because
/// names of files, classes and models may be part of it.
pub fn visible_lines(text: &str) -> String {
    escape(text, |c| acts(c) && c != '\n' && c != '\t')
}

/// The same for a line of JSON, as JSON escapes characters.
pub fn visible_json(json: &str) -> String {
    json.chars().map(|c| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.into() }).collect()
}

/// Whether a terminal acts on a character rather than showing it.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, wanted: impl Fn(char) -> bool) -> String {
    text.chars().flat_map(|c| if wanted(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        path_text(Path::new(OsStr::from_bytes(bytes)))
    }

    #[test]
    fn unicode_stays_and_other_bytes_are_escaped() {
        assert_eq!(text("a b/é\n.png".as_bytes()), "a b/é\n.png");
        assert_eq!(text(b"a\\b.png"), "a\\b.png");
        assert_eq!(text(b"\xff\\.png"), "\\xff\\\\.png");
        for first in ["=", "+", "-", "@", "\t", "\r"] {
            let name = format!("{first}1+1.png");
            assert_eq!(text(name.as_bytes()), format!("./{name}"));
        }
    }

    #[test]
    fn a_terminal_is_told_nothing_by_a_name() {
        assert_eq!(visible("a\u{1b}[2Jb\n\u{202e}é"), "a\\u{1b}[2Jb\\n\\u{202e}é");
        assert_eq!(visible_lines("a\u{1b}]0;b\u{7}\n\tc"), "a\\u{1b}]0;b\\u{7}\n\tc");
    }

    #[test]
    fn json_tells_a_terminal_nothing_and_a_program_the_same() {
        let name = "a\u{1b}[2J\n\u{7f}\u{85}\u{202e}\u{2069}é";
        let json = visible_json(&serde_json::Value::from(name).to_string());
        assert!(!json.chars().any(acts), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }

    proptest! {
        #[test]
        fn every_path_can_be_had_again_from_its_text(
            parts in prop::collection::vec(prop_oneof![Just(b"\\x".to_vec()), Just(b"\\".to_vec()), any::<u8>().prop_map(|b| vec![b])], 1..20),
        ) {
            let bytes = parts.concat();
            prop_assume!(!b"=+-@\t\r".contains(&bytes[0]));
            let path = text_path(&text(&bytes));
            prop_assert_eq!(path.as_os_str().as_bytes(), bytes);
        }
    }
}
