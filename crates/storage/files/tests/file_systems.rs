//! The simulated disk behaves as the machine's until something befalls it, and then as disks may.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use ripstop_files::{Access, End, Fault, FileSystem, SimulatedDisk};

/// Both file systems, each with a place to write to.
fn both(check: impl Fn(&FileSystem, &Path)) {
    let directory = tempfile::tempdir().unwrap();
    check(&FileSystem::host(), directory.path());
    check(&SimulatedDisk::new(1).file_system(), Path::new("/"));
}

fn content(files: &FileSystem, path: &Path) -> Vec<u8> {
    let file = files.open(path, Access::Read).unwrap();
    let mut content = vec![0; file.length().unwrap() as usize];
    file.read_exact_at(&mut content, 0).unwrap();
    content
}

#[test]
fn files_hold_what_was_written() {
    both(|files, root| {
        let path = root.join("a/b/file");
        assert_eq!(files.open(&path, Access::Create).err().unwrap().kind(), ErrorKind::NotFound);
        files.create_directory(&root.join("a/b")).unwrap();
        files.create_directory(&root.join("a/b")).unwrap();
        let file = files.open(&path, Access::CreateNew).unwrap();
        assert_eq!(files.open(&path, Access::CreateNew).err().unwrap().kind(), ErrorKind::AlreadyExists);
        file.write_all_at(b"three", 3).unwrap();
        file.sync().unwrap();
        assert_eq!(content(files, &path), b"\0\0\0three");
        file.set_length(5).unwrap();
        file.set_length(6).unwrap();
        assert_eq!(content(files, &path), b"\0\0\0th\0");
        assert_eq!(file.read_exact_at(&mut [0; 7], 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.lock().unwrap();
        let other = files.open(&path, Access::Write).unwrap();
        assert_eq!(other.lock().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(file);
        other.lock().unwrap();
    });
}

#[test]
fn a_directory_is_closed_to_others_and_stays_open_to_its_group() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let mode = || std::fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..2 {
        FileSystem::host().close_to_others(directory.path()).unwrap();
        assert_eq!(mode(), 0o750);
    }
    let missing = FileSystem::host().close_to_others(&directory.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn names_are_listed_changed_and_removed() {
    both(|files, root| {
        files.create_directory(&root.join("one")).unwrap();
        files.open(&root.join("one/file"), Access::Create).unwrap();
        files.rename(&root.join("one"), &root.join("two")).unwrap();
        assert_eq!(files.list(root).unwrap(), [root.join("two")]);
        assert!(files.exists(&root.join("two/file")).unwrap());
        files.remove_file(&root.join("two/file")).unwrap();
        files.remove_file(&root.join("two/file")).unwrap();
        files.remove_directory(&root.join("two")).unwrap();
        files.remove_directory(&root.join("two")).unwrap();
        assert!(files.list(root).unwrap().is_empty());
    });
}

#[test]
fn what_was_synchronised_survives_and_the_rest_in_any_part() {
    let path = Path::new("/file");
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let disk = SimulatedDisk::new(seed);
        let files = disk.file_system();
        let file = files.open(path, Access::Create).unwrap();
        files.sync_directory(Path::new("/")).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.sync().unwrap();
        file.write_all_at(&[2; 8192], 4096).unwrap();
        disk.restart(End::Process);
        assert_eq!(content(&files, path).len(), 12_288);
        disk.restart(End::Machine);
        let content = content(&files, path);
        assert_eq!(content[..4096], [1; 4096]);
        assert!(content[4096..].iter().all(|byte| matches!(byte, 0 | 2)));
        seen.insert(content[4096..].iter().filter(|byte| **byte == 2).count());
        assert!(file.length().is_err(), "the process that opened it is gone");
    }
    assert!(seen.contains(&0) && seen.contains(&8192) && seen.len() > 4, "{seen:?}");
}

#[test]
fn a_name_survives_when_its_directory_was_synchronised() {
    let lost = (0..32).filter(|seed| {
        let disk = SimulatedDisk::new(*seed);
        let files = disk.file_system();
        files.create_directory(Path::new("/kept/below")).unwrap();
        files.open(Path::new("/kept/below/file"), Access::Create).unwrap();
        disk.restart(End::Machine);
        assert!(files.exists(Path::new("/kept/below")).unwrap());
        !files.exists(Path::new("/kept/below/file")).unwrap()
    });
    assert!((1..32).contains(&lost.count()));
}

#[test]
fn each_fault_strikes_where_it_was_told() {
    let kind = |fault: Fault| {
        let disk = SimulatedDisk::new(7);
        let files = disk.file_system();
        let file = files.open(Path::new("/file"), Access::Create).unwrap();
        disk.arm(fault, 1);
        for round in 0..3 {
            let done = file
                .write_all_at(&[3; 100], round * 100)
                .and_then(|()| file.sync())
                .and_then(|()| file.read_exact_at(&mut [0; 100], round * 100));
            if let Err(error) = done {
                assert!(disk.has_struck());
                let again = file.write_all_at(&[3; 1000], 0).err().map(|error| error.kind());
                return (round, error.action, error.kind(), again);
            }
        }
        panic!("{fault:?} did not strike");
    };
    assert_eq!(kind(Fault::PowerLoss), (0, "sync", ErrorKind::Other, Some(ErrorKind::Other)));
    assert_eq!(kind(Fault::Kill), (0, "sync", ErrorKind::Other, Some(ErrorKind::Other)));
    assert_eq!(kind(Fault::Full), (1, "write", ErrorKind::StorageFull, Some(ErrorKind::StorageFull)));
    let io = std::io::Error::from_raw_os_error(5).kind();
    assert_eq!(kind(Fault::WriteError), (1, "write", io, None));
    assert_eq!(kind(Fault::SyncError), (1, "sync", io, None));
    assert_eq!(kind(Fault::ReadError), (1, "read", io, None));
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let unlucky = (0..32).any(|seed| {
        let disk = SimulatedDisk::new(seed);
        let files = disk.file_system();
        let file = files.open(Path::new("/file"), Access::Create).unwrap();
        files.sync_directory(Path::new("/")).unwrap();
        disk.arm(Fault::SyncError, 0);
        file.write_all_at(&[1; 100], 0).unwrap();
        file.sync().unwrap_err();
        file.sync().unwrap();
        disk.restart(End::Machine);
        content(&files, Path::new("/file")) != [1; 100]
    });
    assert!(unlucky);
}

#[test]
fn a_full_disk_says_how_to_go_on() {
    let disk = SimulatedDisk::new(1);
    let file = disk.file_system().open(Path::new("/ledger"), Access::Create).unwrap();
    disk.arm(Fault::Full, 0);
    let text = file.write_all_at(b"block", 0).unwrap_err().to_string();
    assert!(text.starts_with("cannot write /ledger: No space left on device"), "{text}");
    assert!(text.contains("free space there and start this node again"), "{text}");
    disk.make_room();
    file.write_all_at(b"block", 0).unwrap();
}
