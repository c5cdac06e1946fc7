//! The file for CNI plugins and Docker, on disk.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::Builder;

/// Replaces the file as a whole: whoever reads it sees the old content or the new (control-plane.md, 7.3).
///
/// The content is on disk before the name points at it. Parents are made with mode 0755; the file has mode
/// 0644, whatever the umask.
pub(super) fn replace(path: &Path, content: &str) -> io::Result<()> {
    let directory = parent(path);
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;

    let mut file = Builder::new().prefix(".subnet.env.").tempfile_in(directory)?;
    file.write_all(content.as_bytes())?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// Deletes the file; one that is not there is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_its_parents_are_made_for_all_to_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/flannel/subnet.env");

        replace(&path, "FLANNEL_MTU=1472\n").unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "FLANNEL_MTU=1472\n");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
    }

    #[test]
    fn a_reader_sees_the_old_content_or_the_new() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("subnet.env");
        replace(&path, "old").unwrap();
        let mut reader = File::open(&path).unwrap();

        replace(&path, "new").unwrap();

        let mut seen = String::new();
        io::Read::read_to_string(&mut reader, &mut seen).unwrap();
        assert_eq!(seen, "old");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("subnet.env");
        fs::create_dir(&path).unwrap();

        let replaced = replace(&path, "new");

        assert!(replaced.is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let directory = tempfile::tempdir().unwrap();

        assert!(remove(&directory.path().join("subnet.env")).is_ok());
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }
}
