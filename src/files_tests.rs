//! Files that are written whole or not at all, replaced, kept, locked, and cleared away.

use super::*;

#[test]
fn a_file_has_its_name_only_once_it_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut file = Unfinished::create(&path).unwrap();
    file.write_all(b"whole").unwrap();
    assert!(!path.exists());
    file.finish(Existing::Keep).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"whole");
}

#[test]
fn an_error_names_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Unfinished::create(&folder.path().join("nowhere").join("a")).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    assert!(refused.raw_os_error().is_some() && !refused.to_string().contains("path"), "{refused}");
}

#[test]
fn a_file_never_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = Unfinished::create(&folder.path().join("a")).unwrap();
    file.write_all(b"half").unwrap();
    drop(file);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_file_that_was_there_is_kept_under_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let [path, before] = ["a", "b"].map(|name| folder.path().join(name));
    for (text, kept) in [("1", None), ("2", Some("1")), ("3", Some("2"))] {
        write_keeping(&path, &before, text.as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(std::fs::read_to_string(&before).ok().as_deref(), kept);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_what_it_leads_to_is_written() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let [far, near, nearer] = ["below/far", "near", "nearer"].map(|name| folder.path().join(name));
    std::fs::create_dir(folder.path().join("below")).unwrap();
    symlink("below/far", &near).unwrap();
    symlink(&near, &nearer).unwrap();
    // The target is first not there yet, and then is.
    for text in ["1", "2"] {
        write_whole(&nearer, text.as_bytes()).unwrap();
        assert!(near.is_symlink() && nearer.is_symlink() && !far.is_symlink());
        assert_eq!(std::fs::read_to_string(&far).unwrap(), text);
    }
    let kept = write(&near, b"3", Existing::Keep).unwrap_err();
    assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
    let before = folder.path().join("before");
    write_keeping(&near, &before, b"4").unwrap();
    assert_eq!([&far, &before].map(|path| std::fs::read_to_string(path).unwrap()), ["4", "2"]);
    assert!(!before.is_symlink());
    assert_eq!(std::fs::read_dir(folder.path().join("below")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);

    let round = folder.path().join("round");
    symlink("round", &round).unwrap();
    assert!(write_whole(&round, b"5").unwrap_err().to_string().contains("links"));
    symlink("below", folder.path().join("folder")).unwrap();
    assert!(write_whole(&folder.path().join("folder"), b"6").is_err(), "a link to a folder");
    assert!(folder.path().join("folder").is_symlink());
}

#[cfg(unix)]
#[test]
fn a_pipe_stays_one_and_is_handed_the_whole() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let file = folder.path().join("file");
    assert!(stream(&pipe).is_some() && !in_the_way(&pipe));
    assert!(stream(&file).is_none() && !in_the_way(&file), "nothing is there");
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    write(&pipe, b"whole", Existing::Keep).unwrap();
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(reader.join().unwrap(), b"whole");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    std::fs::write(&file, "mine").unwrap();
    assert!(stream(&file).is_none() && in_the_way(&file));
}

#[test]
fn a_dash_is_standard_output_for_a_stream_and_no_name_of_a_file() {
    let dash = Path::new("-");
    assert_eq!(stream(dash).as_deref(), Some(Path::new(STDOUT)));
    let refused = write(dash, b"", Existing::Keep).unwrap_err();
    assert!(refused.to_string().contains("write ./- for one that is called -"), "{refused}");
    assert_eq!(advice(&refused), "");
    assert_eq!(stream(Path::new("./-")), None);
}

#[test]
fn a_file_is_had_by_one_at_a_time() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let [one, two] = [(), ()].map(|()| std::fs::File::open(file.path()).unwrap());
    assert!(lock(&one) && !lock(&two));
    drop(one);
    assert!(lock(&two));
}

#[test]
fn what_a_killed_process_has_left_unfinished_is_removed_and_what_is_being_written_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".inkgrad-1.tmp", "mine.tmp", ".inkgrad-mine"] {
        std::fs::write(folder.path().join(name), "half").unwrap();
    }
    let mut file = Unfinished::create(&folder.path().join("a")).unwrap();
    file.write_all(b"whole").unwrap();
    clean(folder.path());
    file.finish(Existing::Keep).unwrap();
    let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".inkgrad-mine", "a", "mine.tmp"]);
}

// Wine, unlike Windows 10, keeps the name of a file that is removed until all have closed it.
#[cfg(unix)]
#[test]
fn a_file_that_is_cleaned_away_as_it_is_begun_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut others = Vec::new();
    let mut makes = 0;
    let made = locked(|| {
        makes += 1;
        let (file, path) = tempfile::NamedTempFile::new_in(folder.path())?.into_parts();
        match makes {
            1 => std::fs::remove_file(&path)?,
            2 => {
                let other = std::fs::File::open(&path)?;
                assert!(lock(&other));
                others.push(other);
            }
            _ => {}
        }
        Ok((file, path))
    });
    let (_file, path) = made.unwrap();
    drop(others);
    assert!(path.exists());
    assert_eq!((makes, std::fs::read_dir(folder.path()).unwrap().count()), (3, 1));
}

#[cfg(windows)]
#[test]
fn a_file_that_another_program_keeps_open_for_itself_is_waited_for() {
    use std::os::windows::fs::OpenOptionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write_whole(&path, b"1").unwrap();
    let selfish = || std::fs::File::options().read(true).share_mode(0).open(&path).unwrap();
    let owner = selfish();
    let refused = write_whole(&path, b"2").unwrap_err();
    assert!(refused.kind() == io::ErrorKind::ResourceBusy && refused.to_string().contains("close it"), "{refused}");
    let waits = std::thread::spawn(move || {
        std::thread::sleep(PATIENCE / 4);
        drop(owner);
    });
    write_whole(&path, b"3").unwrap();
    waits.join().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"3");
}

#[test]
fn a_file_already_there_is_replaced_or_kept_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, b"old").unwrap();
    let new = || {
        let mut file = Unfinished::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file
    };
    for refused in [new().finish(Existing::Keep), new().finish_soon(Existing::Keep)] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    new().finish_soon(Existing::Replace).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
