//! Words from a fixed list: enums with a word for each variant, and the word that was meant by a misspelled one; also
//! words quoted for a shell.

/// Words that stand for the variants of an enum, the same in TOML, on the command line and in files.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$about])* $variant),+ }

        impl $name {
            pub const ALL: &'static [(&'static str, $name)] = &[$(($word, $name::$variant)),+];
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<$name, String> {
                let words: Vec<&str> = $name::ALL.iter().map(|(word, _)| *word).collect();
                let near = $crate::words::nearest(word, &words);
                let hint = near.map_or(String::new(), |w| format!("; did you mean \"{w}\"?"));
                let found = $name::ALL.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
                let expected = $crate::words::quoted(&words);
                found.ok_or_else(|| format!("expected one of {expected}, not {word:?}{hint}"))
            }
        }
    };
}
pub(crate) use words;

pub fn quoted<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The nearest of the words that differ from `word` in at most a third of the letters.
pub fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let word: Vec<char> = word.chars().take(64).collect();
    let near = |other: &&&str| distance(&word, other) <= word.len().max(other.len()).div_ceil(3);
    words.iter().filter(near).min_by_key(|other| distance(&word, other)).copied()
}

/// How many letters must be added, dropped or changed (Levenshtein distance).
fn distance(a: &[char], b: &str) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, b) in b.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, a) in a.iter().enumerate() {
            let best = (row[j] + 1).min(row[j + 1] + 1).min(diagonal + usize::from(*a != b));
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[a.len()]
}

/// A path or a name for a shell, in quotes where it needs them. One that begins with a dash, and would be taken for a
/// flag, is written as a path from here, but for the dash alone that stands for standard input or output.
pub(crate) fn shell(word: &str) -> String {
    if word.len() > 1 && word.starts_with('-') { in_quotes(&format!("./{word}")) } else { in_quotes(word) }
}

/// A word for a shell as it is, in quotes where it needs them.
pub(crate) fn in_quotes(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@\\".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        // Windows' own shell and PowerShell both take these quotes, and no name contains one; after a backslash a quote
        // would not end the word.
        false if cfg!(windows) => format!("\"{}\"", word.trim_end_matches('\\')),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        assert_eq!(shell("runs/0001-fast"), "runs/0001-fast");
        if cfg!(windows) {
            assert_eq!(shell(r"my runs\it's\"), r#""my runs\it's""#);
        } else {
            assert_eq!(shell("my runs/it's"), r"'my runs/it'\''s'");
            assert_eq!(shell("a;b"), "'a;b'");
        }
    }

    #[test]
    fn a_path_that_begins_with_a_dash_is_no_flag_in_a_shell() {
        assert_eq!(["-run", "--run", "-", "a-b"].map(shell), ["./-run", "./--run", "-", "a-b"]);
        let quote = if cfg!(windows) { '"' } else { '\'' };
        assert_eq!(shell("-again ü"), format!("{quote}./-again ü{quote}"));
    }
}
