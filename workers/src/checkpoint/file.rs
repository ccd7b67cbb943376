//! The checkpoint file: one line a checkpoint, outside the database, so that a database that was lost,
//! restored or rewritten can be held against it.
//!
//! Lines are only appended, and are on disk before the writer goes on. A last line without its end is
//! what a crash leaves; it is cut off, and written whole with what follows. Writers take the file's
//! lock and look at its end under it, so that one that was stopped and continues appends nothing twice.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use obsqra_events::SignedCheckpoint;
use obsqra_types::Seq;

/// Longest line; one holds about 500 bytes.
const MAX_LINE: u64 = 4_096;

/// What can be wrong with the checkpoint file.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointFileError {
    /// It cannot be read or written.
    #[error("checkpoint file {file}: {source}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its last line is not a checkpoint.
    #[error(
        "checkpoint file {file}: its last line is {problem}: move the file away, and it is written anew from the database; keep it"
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It was signed further than the database knows.
    #[error(
        "checkpoint file {file} ends with a checkpoint at {seq} that the database does not hold: the database is older than the file, or holds another log; restore the newer one, or move the file away to sign this log from here on"
    )]
    Ahead {
        /// The file.
        file: PathBuf,
        /// Where it ends.
        seq: Seq,
    },
}

/// The file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
}

impl CheckpointFile {
    /// Names the file; it is made when the first checkpoint is written.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last whole line; `None` where there is none, or no file.
    ///
    /// # Errors
    /// When the file cannot be read or that line is not a checkpoint.
    pub async fn end(&self) -> Result<Option<SignedCheckpoint>, CheckpointFileError> {
        self.in_background(|file| match File::open(&file.path) {
            Ok(mut open) => Ok(file.end_of(&mut open)?.last),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file.io(error)),
        })
        .await
    }

    /// Appends checkpoints after `end` and waits until they are on disk. Where the file does not end
    /// there any more, another writer was here, and nothing is written.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn append(
        &self,
        end: Option<SignedCheckpoint>,
        lines: Vec<SignedCheckpoint>,
    ) -> Result<(), CheckpointFileError> {
        self.in_background(move |file| {
            let mut options = OpenOptions::new();
            let is_new = !file.path.exists();
            let mut open = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&file.path)
                .map_err(|error| file.io(error))?;
            open.lock().map_err(|error| file.io(error))?;
            let found = file.end_of(&mut open)?;
            if found.last != end {
                return Ok(());
            }
            let text: String = lines.iter().map(|line| line.line() + "\n").collect();
            file.write(&mut open, found.whole_bytes, &text).map_err(|error| file.io(error))?;
            if is_new { file.sync_folder().map_err(|error| file.io(error)) } else { Ok(()) }
        })
        .await
    }

    /// The error that the file holds what the database lacks.
    pub(super) fn is_ahead(&self, seq: Seq) -> CheckpointFileError {
        CheckpointFileError::Ahead { file: self.path.clone(), seq }
    }

    /// Every whole line, in order; an error names the line.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn read(
        &self,
    ) -> Result<
        impl Iterator<Item = Result<SignedCheckpoint, String>> + Send + use<>,
        CheckpointFileError,
    > {
        let file = File::open(&self.path).map_err(|error| self.io(error))?;
        let mut lines = BufReader::new(file);
        let path = self.path.display().to_string();
        let mut number = 0u64;
        Ok(std::iter::from_fn(move || {
            number += 1;
            let read = read_line(&mut lines).transpose()?;
            Some(
                read.map_err(|problem| format!("checkpoint file {path}, line {number}: {problem}")),
            )
        }))
    }

    /// File operations wait for the disk.
    async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, CheckpointFileError> + Send + 'static,
    ) -> Result<T, CheckpointFileError> {
        let file = self.clone();
        match tokio::task::spawn_blocking(move || work(&file)).await {
            Ok(done) => done,
            Err(error) => Err(self.io(io::Error::other(error))),
        }
    }

    fn end_of(&self, open: &mut File) -> Result<End, CheckpointFileError> {
        let length = open.metadata().map_err(|error| self.io(error))?.len();
        // Two lines' worth: the last whole one, and what a crash left behind it.
        let from = length.saturating_sub(2 * MAX_LINE);
        let mut tail = Vec::new();
        open.seek(SeekFrom::Start(from)).map_err(|error| self.io(error))?;
        open.read_to_end(&mut tail).map_err(|error| self.io(error))?;
        let unreadable =
            |problem: String| CheckpointFileError::Unreadable { file: self.path.clone(), problem };
        let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
            if from > 0 {
                return Err(unreadable("longer than a checkpoint's".into()));
            }
            return Ok(End { last: None, whole_bytes: 0 });
        };
        let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line =
            std::str::from_utf8(&tail[begin..end]).map_err(|_| unreadable("not UTF-8".into()))?;
        let last = SignedCheckpoint::parse(line).map_err(|error| unreadable(error.to_string()))?;
        Ok(End { last: Some(last), whole_bytes: from + end as u64 + 1 })
    }

    fn write(&self, open: &mut File, at: u64, text: &str) -> io::Result<()> {
        open.set_len(at)?;
        open.seek(SeekFrom::Start(at))?;
        open.write_all(text.as_bytes())?;
        open.sync_all()
    }

    /// A new file is there after a crash only once its folder says so.
    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, source: io::Error) -> CheckpointFileError {
        CheckpointFileError::Io { file: self.path.clone(), source }
    }
}

/// How far the file is whole.
struct End {
    last: Option<SignedCheckpoint>,
    whole_bytes: u64,
}

/// The next whole line; `None` at the end, or before a line that a crash cut off.
fn read_line(lines: &mut impl BufRead) -> Result<Option<SignedCheckpoint>, String> {
    let mut line = Vec::new();
    lines.take(MAX_LINE).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    match line.pop() {
        Some(b'\n') => {}
        Some(_) if line.len() as u64 + 1 == MAX_LINE => {
            return Err("longer than a checkpoint's".into());
        }
        _ => return Ok(None),
    }
    let text = String::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    SignedCheckpoint::parse(&text).map(Some).map_err(|error| error.to_string())
}
