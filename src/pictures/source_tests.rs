use std::fs;

use super::*;

fn tree(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "9,1,2,3\n").unwrap();
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
    let files = source.tasks(None).filter_map(|task| match task {
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
    // Each given folder has folders of its own.
    let folder = tree(&["x/other/a.png", "y/3/b.png", "y/8/c.png"]);
    let given = ["x", "y"].map(|name| folder.path().join(name));
    let truths: Vec<Option<usize>> = found(source(&given), &folder).into_iter().map(|(_, truth)| truth).collect();
    assert_eq!(truths, [None, Some(0), Some(1)]);
}

#[test]
fn folders_of_equal_numbers_are_the_same_class_with_or_without_zeros_before_them() {
    let truths = |class_names: &[&str], names: &[&str]| -> Vec<Option<usize>> {
        let folder = tree(names);
        let class_names = class_names.iter().map(|name| name.to_string()).collect();
        let source = Source { given: vec![folder.path().into()], class_names, ..Source::default() };
        found(source, &folder).into_iter().map(|(_, truth)| truth).collect()
    };
    let zeros = ["08/a.png", "09/b.png", "10/c.png", "x/d.png"];
    assert_eq!(truths(&["8", "9", "10"], &zeros), [Some(0), Some(1), Some(2), None]);
    assert_eq!(truths(&["07", "08", "09"], &["8/a.png", "9/b.png"]), [Some(1), Some(2)]);
    assert_eq!(truths(&["8", "9", "ten"], &zeros), [None; 4], "where some are words, names count");
    // Two folders of one class are not folders of two.
    assert_eq!(truths(&["8", "9"], &["08/a.png", "8/b.png", "x/d.png"]), [None; 3]);
    // Where some are no classes, only a class's own name counts.
    assert_eq!(truths(&["1", "2", "3"], &["001/a.png", "002/b.png", "123/c.png"]), [None; 3]);
    assert_eq!(
        truths(&["1", "2", "3"], &["03/a.png", "1/b.png", "12/c.png", "2/d.png"]),
        [None, Some(0), None, Some(1)]
    );
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
fn hidden_names_match_only_where_a_pattern_has_their_dot() {
    let folder = tree(&["hg/gray.png", "hg/._gray.png", "hg/.x/b.png", ".x/a.png", "x/.c.png"]);
    let at = |pattern: &str| names(source(&[folder.path().join(pattern)]), &folder);
    assert_eq!(at("hg/*.png"), ["hg/gray.png"]);
    assert_eq!(at("hg/?_*.png"), [""; 0]);
    assert_eq!(at("hg/.*.png"), ["hg/._gray.png"]);
    assert_eq!(at("**/*.png"), ["hg/gray.png"]);
    assert_eq!(at("*/*/*.png"), [""; 0]);
    assert_eq!(at("*/.x/*.png"), ["hg/.x/b.png"]);
    assert_eq!(at("**/.x/*.png"), [".x/a.png", "hg/.x/b.png"]);
    assert_eq!(at("h*"), ["hg/gray.png"]);
}

#[test]
fn a_pattern_looks_only_into_folders_that_may_lead_to_a_match() {
    let folder = tree(&["a1/x/1.png", "a2/2.png", "b/3.png", "a3.png"]);
    let at = |pattern: &str| names(source(&[folder.path().join(pattern)]), &folder);
    assert_eq!(at("a?/**/*.png"), ["a1/x/1.png", "a2/2.png"]);
    assert_eq!(at("**/x/**/**/*.png"), ["a1/x/1.png"]);
    assert_eq!(at("nowhere/**/*.png"), [""; 0]);
    let mut wrong = source(&[folder.path().join("a**/1.png")]).tasks(None);
    assert!(matches!(wrong.next(), Some(Task::Failed { reason, .. }) if reason.contains("is no pattern")));
}

#[cfg(unix)]
#[test]
fn any_folders_of_a_pattern_are_no_links_to_folders() {
    use std::os::unix::fs::symlink;
    let folder = tree(&["sl/0/a.png", "sl/1/b.png"]);
    let at = |name: &str| folder.path().join(name);
    symlink("..", at("sl/0/up")).unwrap();
    symlink(at("sl/1"), at("sl/0/other")).unwrap();
    symlink("a.png", at("sl/0/link.png")).unwrap();
    let given = [at("sl/**/*.png")];
    assert_eq!(names(source(&given), &folder), ["sl/0/a.png", "sl/0/link.png", "sl/1/b.png"]);
    assert_eq!(source(&given).tasks(None).filter(|task| *task == Task::FolderLink).count(), 2);
    // A link that is named directly stands for the folder that it leads to.
    assert_eq!(names(source(&[at("sl/0/other/**/*.png")]), &folder), ["sl/0/other/b.png"]);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_unicode_stop_no_pattern() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tree(&["a/1.png"]);
    fs::write(folder.path().join("a").join(OsStr::from_bytes(b"\xff.png")), "").unwrap();
    let at = |pattern: &str| names(source(&[folder.path().join(pattern)]), &folder);
    assert_eq!(at("a/*.png"), ["a/1.png"]);
    assert_eq!(at("**/*.png"), ["a/1.png", "a/\\xff.png"]);
}

#[test]
fn a_file_with_a_pattern_in_its_name_is_that_file() {
    let folder = tree(&["[1].png", "1.png"]);
    assert_eq!(names(source(&[folder.path().join("[1].png")]), &folder), ["[1].png"]);
}

#[test]
fn a_csv_file_is_its_rows() {
    let folder = tree(&["a.csv"]);
    let mut tasks = source(&[folder.path().join("a.csv")]).tasks(None);
    match tasks.next() {
        Some(Task::Row { name, row: 1, pixels, truth: None, input: None }) => {
            assert!(name.ends_with("/a.csv#1"));
            assert_eq!(pixels, [9, 1, 2, 3]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(tasks.next(), None);
}

#[test]
fn a_label_is_the_class_of_that_name_and_a_place_only_where_no_name_is_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "label,a,b\n1,0,0\n9,0,0\n0,0,0\n").unwrap();
    let truths = |class_names: &[&str]| -> Vec<Option<usize>> {
        let class_names = class_names.iter().map(|name| name.to_string()).collect();
        let source = Source { given: vec![path.clone()], class_names, ..Source::default() };
        found(source, &folder).into_iter().map(|(_, truth)| truth).collect()
    };
    // A label that is no class becomes an index that no class has.
    assert_eq!(truths(&["1", "2", "9"]), [Some(0), Some(2), Some(3)]);
    assert_eq!(truths(&["cat", "0"]), [Some(2), Some(9), Some(1)]);
    assert_eq!(truths(&["cat", "dog"]), [Some(1), Some(9), Some(0)]);
    assert_eq!(truths(&["-1", "-2"]), [Some(2), Some(9), Some(2)]);
    // As `generate --digits` takes them.
    assert_eq!(truths(&["1", "01", "9"]), [Some(0), Some(2), Some(3)]);
}

#[test]
fn a_packed_csv_file_is_its_rows_too() {
    use std::io::Write;
    let folder = tree(&["b.csv"]);
    let path = folder.path().join("a.CSV.gz");
    let mut packed = flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
    packed.write_all(b"9,1,2,3\n8,1,2,3\n").unwrap();
    packed.finish().unwrap();
    assert!(is_csv(&path) && !is_csv(Path::new("a.gz")) && !is_csv(Path::new("csv.gz")) && !is_csv(Path::new(".csv")));
    let given = [path.clone(), folder.path().join("b.csv")];
    assert_eq!(names(source(&given), &folder), ["a.CSV.gz#1", "a.CSV.gz#2", "b.csv#1"]);
    match source(&given).tasks(None).next() {
        Some(Task::Row { input, .. }) => assert_eq!(input.as_deref(), Some(Path::new("a"))),
        other => panic!("{other:?}"),
    }
    assert_eq!(numbered_pixels(&path, None).last(), Some((2, vec![8, 1, 2, 3])));
    assert_eq!(table_of(&format!("{}#2", path_text(&path)), 2), Some(path));
}

#[test]
fn a_csv_file_without_rows_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.csv");
    fs::write(&path, "label,a,b\n").unwrap();
    let tasks: Vec<Task> = source(&[path]).tasks(None).collect();
    match &tasks[..] {
        [Task::Failed { name, row: None, reason }] => {
            assert!(name.ends_with("/e.csv") && reason.contains("table without rows"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_without_names_are_images_of_the_networks_size_wherever_the_file_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    // Nine columns would make a square.
    fs::write(&path, "1,20,30,40,50,60,70,80,90\n").unwrap();
    let class_names = ["0", "1"].map(String::from).to_vec();
    let source = || Source { class_names: class_names.clone(), ..source(std::slice::from_ref(&path)) };
    for (image, truth, wanted) in [
        ([2, 4, 1], Some(1), &[20, 30, 40, 50, 60, 70, 80, 90][..]),
        ([28, 28, 1], None, &[1, 20, 30, 40, 50, 60, 70, 80, 90]),
    ] {
        let found = source().tasks(Some(image)).find_map(|task| match task {
            Task::Row { pixels, truth, .. } => Some((pixels, truth)),
            _ => None,
        });
        assert_eq!(found, Some((wanted.to_vec(), truth)), "{image:?}");
        assert_eq!(numbered_pixels(&path, Some(image)).next(), Some((1, wanted.to_vec())), "{image:?}");
    }
}

#[test]
fn a_csv_file_of_rows_that_make_no_image_is_refused_once_with_the_column_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "id,p0,p1,p2,p3\n1,5,6,7,8\n2,5,6,7,8\n").unwrap();
    let tasks: Vec<Task> = source(std::slice::from_ref(&path)).tasks(Some([2, 2, 1])).collect();
    match &tasks[..] {
        [Task::Failed { row: None, reason, .. }] => {
            assert!(reason.contains("5 pixels, which are neither a square nor the network's 2x2x1"), "{reason}");
            assert!(reason.contains("the first column is named \"id\": if it holds the labels"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(source(&[path]).tasks(Some([5, 1, 1])).count(), 2);
}

#[test]
fn a_csv_file_of_anything_but_pixels_is_told_as_such_and_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let reasons = |text: &str| -> Vec<String> {
        fs::write(&path, text).unwrap();
        let tasks = source(std::slice::from_ref(&path)).tasks(Some([2, 2, 1]));
        let reasons = tasks.filter_map(|task| match task {
            Task::Failed { reason, .. } => Some(reason),
            _ => None,
        });
        reasons.collect()
    };
    let answers = reasons("path,label,confidence,truth\nin/1.png,1,0.99,\nin/2.png,2,0.98,\n");
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].starts_with("is no table of pixels: line 2: column 1: expected a pixel"), "{answers:?}");
    let rows = reasons("5,6,7,8\n1,2\n5,6,7,8\n");
    assert_eq!(rows, ["line 2: expected 4 columns as in the first line, found 2"]);
    let readable: Vec<u64> = numbered_pixels(&path, None).map(|(row, _)| row).collect();
    assert_eq!(readable, [1, 3], "the number of a row does not depend on the others");
    assert_eq!(reasons("").len(), 1);
}

#[test]
fn a_picture_in_place_of_a_list_is_known_and_no_name_is_taken_for_one() {
    assert!(begins_a_picture(b"\x89PNG\r\n\x1a\n\0") && begins_a_picture(b"\xff\xd8\xff\xe0"));
    assert!(begins_a_picture(b"RIFF\x24\0\0\0WEBPVP8 ") && begins_a_picture(b"II*\0\x08\0\0\0"));
    for names in ["", "P5\nP6\n", "BM1.png\n", "P1.png\0b.png\0", "qoif\n", "RIFF/1.webp\n"] {
        assert!(!begins_a_picture(names.as_bytes()), "{names}");
    }
}

#[test]
fn folders_and_csv_files_have_names_of_their_own_where_there_are_several() {
    let folder = tree(&["a/1.png", "x/a/1.png", "a-2/1.png", "A.csv", "1.png"]);
    let inputs = |given: &[&str]| -> Vec<Option<String>> {
        let given: Vec<PathBuf> = given.iter().map(|name| folder.path().join(name)).collect();
        let tasks = source(&given).tasks(None).filter_map(|task| match task {
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
    let [found, gone] = ["a.png", "gone.png"].map(|name| hash(path_text(&folder.path().join(name)).as_bytes()));
    let done = Arc::new(Mutex::new(HashMap::from([(found, 1), (gone, 1)])));
    let left = names(Source { done: Arc::clone(&done), ..source(&twice) }, &folder);
    assert_eq!(left, ["b.png", "a.png"]);
    assert_eq!(*done.lock().unwrap(), HashMap::from([(found, 0), (gone, 1)]), "what was not found");
}

#[test]
fn a_class_is_a_folder_only_where_its_name_is_a_name() {
    assert!(is_name("3") && is_name("a b"));
    assert!(!is_name("..") && !is_name("a/b") && !is_name("/") && !is_name("") && !is_name("."));
}
