//! Remarks on pictures and tables that lie beside the data that are read but are not part of them.

use std::path::Path;

use super::DataError;
use super::classes::{below, folders};
use super::folder::{display_name, summary};
use crate::pictures::Found;
use crate::pictures::walk::is_named_like_a_picture;

/// A remark on pictures that lie directly in a folder of classes, and so in none of the classes.
pub(super) fn loose(folder: &Path) -> Option<String> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let count = entries.filter(|path| is_named_like_a_picture(path) && path.is_file()).count();
    let name = display_name(folder);
    (count > 0).then(|| format!("pictures directly in {name}, outside the classes' folders, are ignored: {count}"))
}

/// A remark on other data beside the files that are read from a folder, called `what`: the `tables`, and pictures in
/// subfolders.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn other_data(folder: &Path, what: &str, tables: &[&str]) -> Result<Option<String>, DataError> {
    let tables = tables.iter().filter(|table| folder.join(table).is_file()).map(ToString::to_string);
    let mut others: Vec<String> = tables.collect();
    for (name, path) in folders(folder)? {
        match below(&path).filter(|found| matches!(found, Found::File(_))).count() {
            0 => {}
            1 => others.push(format!("1 picture in {name}")),
            count => others.push(format!("{count} pictures in {name}")),
        }
    }
    let beside = summary(&others);
    Ok((!others.is_empty()).then(|| format!("only the {what} are read; other data beside them is ignored: {beside}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::data::testing::idx;
    use crate::data::{Reading, load};

    fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn remarks(folder: &Path) -> Vec<String> {
        load(folder, &Reading::default()).unwrap().remarks
    }

    #[test]
    fn what_lies_beside_the_files_that_are_read_is_named_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let rows: String = (0..20).map(|i| format!("{},0,255,{i},9\n", i % 2)).collect();
        write(at, "train.csv", format!("label,a,b,c,d\n{rows}"));
        write(at, "notes/a.txt", "no picture");
        let says = |words: &str| remarks(at).iter().any(|remark| remark == words);
        assert!(!remarks(at).iter().any(|remark| remark.contains("beside them")), "{:?}", remarks(at));

        // Their contents are not read.
        for name in ["one/1.png", "two/1.png", "two/deep/2.jpg"] {
            write(at, name, "");
        }
        let pictures = "1 picture in one, 2 pictures in two";
        let words = format!("only the tables are read; other data beside them is ignored: {pictures}");
        assert!(says(&words), "{:?}", remarks(at));
        let labels: Vec<u8> = (0..20).map(|i| i % 2).collect();
        write(at, "train-images-idx3-ubyte", idx(&[20, 2, 2], &[0; 80]));
        write(at, "train-labels-idx1-ubyte", idx(&[20], &labels));
        let words = format!("only the IDX files are read; other data beside them is ignored: train.csv, {pictures}");
        assert!(says(&words), "{:?}", remarks(at));
        // A table that is given by its own path has nothing beside it.
        assert!(!remarks(&at.join("train.csv")).iter().any(|remark| remark.contains("beside them")));
    }
}
