//! A directory as a place for backups.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::backup::error::BackupError;

/// What a file is called while it is written; nothing of such a name is ever listed.
const UNFINISHED: &str = ".part";

/// Bytes of one read.
const PART_BYTES: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let private = DirBuilder::new().recursive(true).mode(0o700).create(path);
        private.map_err(|source| BackupError::file("make", path, source))?;
        Ok(Self { path: path.to_path_buf() })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn size(&self, name: &str) -> Result<Option<u64>, BackupError> {
        match fs::metadata(self.at(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BackupError::file("look at", &self.at(name), error)),
        }
    }

    pub(super) fn put_file(&self, name: &str, from: &Path) -> Result<(), BackupError> {
        let mut source =
            File::open(from).map_err(|source| BackupError::file("read", from, source))?;
        self.write(name, |target| io::copy(&mut source, target).map(drop))
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.write(name, |target| target.write_all(bytes))
    }

    fn write(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        let target = self.at(name);
        let folder = target.parent().unwrap_or(&self.path).to_path_buf();
        let unfinished = target.with_extension(format!("{}{UNFINISHED}", std::process::id()));
        let written = (|| {
            if !folder.is_dir() {
                fs::create_dir_all(&folder)?;
                File::open(&self.path)?.sync_all()?;
            }
            let mut file = File::create(&unfinished)?;
            fill(&mut file)?;
            file.sync_all()?;
            fs::rename(&unfinished, &target)?;
            File::open(&folder)?.sync_all()
        })();
        written.map_err(|source| {
            let _ = fs::remove_file(&unfinished);
            BackupError::file("write", &target, source)
        })
    }

    pub(super) async fn read(
        &self,
        name: &str,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), BackupError> + Send),
    ) -> Result<bool, BackupError> {
        let path = self.at(name);
        let failed = |source| BackupError::file("read", &path, source);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let mut part = vec![0; PART_BYTES];
        loop {
            let read = file.read(&mut part).map_err(failed)?;
            if read == 0 {
                return Ok(true);
            }
            sink(&part[..read])?;
            // Others may go on between two parts.
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>, BackupError> {
        let path = self.at(folder);
        let failed = |source| BackupError::file("list", &path, source);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if !name.ends_with(UNFINISHED) {
                names.push(name);
            }
        }
        Ok(names)
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), BackupError> {
        match fs::remove_file(self.at(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(BackupError::file("remove", &self.at(name), error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
