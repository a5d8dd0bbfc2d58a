use std::fs;

use super::*;

fn tree(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "0,1,2,3\n").unwrap();
    }
    folder
}

fn source(given: &[PathBuf]) -> Source {
    let class_names = ["3", "8", "../.."].map(String::from).into();
    Source { given: given.into(), class_names, ..Source::default() }
}

/// Names without the folder, and the truth.
fn found(source: Source, folder: &tempfile::TempDir) -> Vec<(String, Option<usize>)> {
    let root = format!("{}/", path_text(folder.path()));
    let files = source.tasks().filter_map(|task| match task {
        Task::File { name, truth, .. } | Task::Row { name, truth, .. } => Some((name.replace(&root, ""), truth)),
        _ => None,
    });
    files.collect()
}

fn names(source: Source, folder: &tempfile::TempDir) -> Vec<String> {
    found(source, folder).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_truth_is_the_folder_where_folders_are_named_after_classes() {
    let folder = tree(&["3/a.png", "8/x/b.png", "other/c.png", "d.png"]);
    let truths = found(source(&[folder.path().into()]), &folder);
    let expected = [("3/a.png", Some(0)), ("8/x/b.png", Some(1)), ("d.png", None), ("other/c.png", None)];
    assert_eq!(truths, expected.map(|(name, truth)| (name.to_string(), truth)));
    // One folder named 3 may be there for any reason.
    let folder = tree(&["3/a.png", "other/c.png"]);
    assert!(found(source(&[folder.path().into()]), &folder).iter().all(|(_, truth)| truth.is_none()));
}

#[test]
fn patterns_match_files_and_walk_folders_unless_they_go_deep_themselves() {
    let folder = tree(&["a/1.png", "a/2.jpg", "b/3.png", "b/c/4.png", "note.txt"]);
    let at = |pattern: &str| names(source(&[folder.path().join(pattern)]), &folder);
    assert_eq!(at("*/*.png"), ["a/1.png", "b/3.png"]);
    assert_eq!(at("**/*.png"), ["a/1.png", "b/3.png", "b/c/4.png"]);
    assert_eq!(at("b*"), ["b/3.png", "b/c/4.png"]);
    assert_eq!(at("[a]/?.jpg"), ["a/2.jpg"]);
    assert!(at("*.gif").is_empty());
}

#[test]
fn a_file_with_a_pattern_in_its_name_is_that_file() {
    let folder = tree(&["[1].png", "1.png"]);
    assert_eq!(names(source(&[folder.path().join("[1].png")]), &folder), ["[1].png"]);
}

#[test]
fn a_csv_file_is_its_rows() {
    let folder = tree(&["a.csv"]);
    let mut tasks = source(&[folder.path().join("a.csv")]).tasks();
    match tasks.next() {
        Some(Task::Row { name, row: 1, pixels, truth: None, input: None }) => {
            assert!(name.ends_with("/a.csv#1"));
            assert_eq!(pixels, [0, 1, 2, 3]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tasks.next(), None);
}

#[test]
fn folders_and_csv_files_have_names_of_their_own_where_there_are_several() {
    let folder = tree(&["a/1.png", "x/a/1.png", "a-2/1.png", "A.csv", "1.png"]);
    let inputs = |given: &[&str]| -> Vec<Option<String>> {
        let given: Vec<PathBuf> = given.iter().map(|name| folder.path().join(name)).collect();
        let tasks = source(&given).tasks().filter_map(|task| match task {
            Task::File { input, .. } | Task::Row { input, .. } => Some(input),
            _ => None,
        });
        tasks.map(|input| Some(input?.to_str()?.to_owned())).collect()
    };
    let named = |names: &[&str]| -> Vec<Option<String>> { names.iter().map(|name| Some(name.to_string())).collect() };
    assert_eq!(inputs(&["a", "x/a", "a-2", "A.csv"]), named(&["a", "a-2", "a-2-2", "A-3"]));
    assert_eq!(inputs(&["a-2", "a", "x/a/.", "x/a/../a"]), named(&["a-2", "a", "a-3", "a-4"]));
    assert_eq!(inputs(&["x/*"]), named(&["a"]));
    assert_eq!(inputs(&["a", "1.png"]), [Some("a".to_owned()), None]);
    for alone in ["a", "A.csv", "1.png"] {
        assert_eq!(inputs(&[alone]), [None], "{alone}");
    }
}

#[test]
fn all_shards_together_are_everything_once_wherever_the_folder_stands() {
    let files: Vec<String> = (0..60).map(|i| format!("{}/{i}.png", i % 7)).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let (folder, moved) = (tree(&files), tree(&files));
    let whole = names(source(&[folder.path().into()]), &folder);
    let mut all = Vec::new();
    for index in 1..=4 {
        let of = |folder: &tempfile::TempDir| Source {
            shard: Some(Shard { index, of: 4 }),
            ..source(&[folder.path().into()])
        };
        let part = names(of(&folder), &folder);
        assert_eq!(part, names(of(&moved), &moved));
        assert!((5..=25).contains(&part.len()), "{} of 60", part.len());
        all.extend(part);
    }
    all.sort();
    let mut sorted = whole;
    sorted.sort();
    assert_eq!(all, sorted);
}

#[test]
fn what_is_done_is_left_out_as_often_as_it_was_done() {
    let folder = tree(&["a.png", "b.png"]);
    let twice = [folder.path().to_owned(), folder.path().join("a.png")];
    let done = HashMap::from([(hash(path_text(&folder.path().join("a.png")).as_bytes()), 1)]);
    let left = names(Source { done, ..source(&twice) }, &folder);
    assert_eq!(left, ["b.png", "a.png"]);
}

#[test]
fn a_class_is_a_folder_only_where_its_name_is_a_name() {
    assert!(is_name("3") && is_name("a b"));
    assert!(!is_name("..") && !is_name("a/b") && !is_name("/") && !is_name("") && !is_name("."));
}
