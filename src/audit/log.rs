//! The log: JSON lines in a folder, each with a MAC over itself and the line before.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::audit::line::MAX_LINE;
use crate::audit::verify::{View, restarted_from, walk};
use crate::audit::{
    AuditError, AuditSink, Break, ChainFault, CorrelationId, Entry, Event, Head, HeadError, HeadStore, Operation,
    Outcome, Properties, Record, Verification,
};
use crate::audit::{files, line, line::Line};
use crate::clock::Clock;
use crate::random::Random;
use crate::secret::SecretBytes;

/// What opening a log takes.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The folder: `audit.jsonl`, its older parts `audit-N.jsonl`, the key file `audit.key` and a lock file. Made at the first append.
    pub folder: PathBuf,
    /// Where the head is.
    pub heads: Arc<dyn HeadStore>,
    /// Measures the wait, and dates what the log says of itself.
    pub clock: Arc<dyn Clock>,
    /// Draws the key.
    pub random: Arc<dyn Random>,
    /// Bytes of a part, from which on the next one is begun. At least one record goes into each.
    pub part_bytes: u64,
    /// How long to wait for other processes.
    pub wait: Duration,
}

impl AuditSettings {
    /// Bytes of a part where nothing else is wanted: 64 MiB.
    pub const PART_BYTES: u64 = 64 << 20;
    /// How long to wait where nothing else is wanted: 30 seconds.
    pub const WAIT: Duration = Duration::from_secs(30);
}

/// A log that many threads and processes append to at once.
///
/// An append costs one `fsync` of the log, whatever the number of events, and what the [`HeadStore`] costs.
#[derive(Debug)]
pub struct AuditLog {
    settings: AuditSettings,
    /// Threads wait here and not at the lock file, where waiting means asking again and again.
    appending: Mutex<()>,
}

impl AuditLog {
    /// Takes the settings; reads and makes nothing.
    pub fn new(settings: AuditSettings) -> Self {
        Self { settings, appending: Mutex::default() }
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.settings.folder
    }

    /// Reads the log from its beginning, shows every line, and says where the chain does not hold. What others append meanwhile is left out.
    /// Memory does not grow with the log.
    ///
    /// # Errors
    ///
    /// [`AuditError::KeyMissing`], [`AuditError::Exposed`], [`AuditError::KeyDamaged`], [`AuditError::Busy`], [`AuditError::Head`],
    /// [`AuditError::Io`]. A broken chain is no error here.
    pub fn read(&self, show: impl FnMut(Entry<'_>)) -> Result<Verification, AuditError> {
        let view = self.view()?;
        walk(self.folder(), view, show)
    }

    /// Says whether the chain holds, and where it does not.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn verify(&self) -> Result<Verification, AuditError> {
        self.read(|_| {})
    }

    /// Begins the log anew after a loss, with a record that says so: its files, and the key file where that is damaged or another one,
    /// get names that end in `.lostN` and stay. Does nothing to a log that is as it was written: `false` then.
    ///
    /// # Errors
    ///
    /// As [`append`](AuditSink::append), without [`AuditError::Broken`].
    pub fn restart(&self) -> Result<bool, AuditError> {
        let _appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let AuditSettings { folder, heads, random, .. } = &self.settings;
        files::make_folder(folder)?;
        let _lock = self.lock(true)?;
        let with_key = match self.end() {
            Ok(_) => match walk(folder, self.view_locked()?, |_| {})? {
                found if found.is_intact() => return Ok(false),
                found => found.breaks.iter().any(|found| found.fault == ChainFault::WrongKey),
            },
            Err(AuditError::Broken(found)) => found.fault == ChainFault::WrongKey,
            Err(AuditError::KeyDamaged(_) | AuditError::KeyMissing(_)) => true,
            Err(error) => return Err(error),
        };
        files::set_aside(folder, with_key)?;
        let key = match files::read_key(folder)? {
            Some(key) => key,
            None => files::make_key(folder, &**random)?,
        };
        let head = heads.read()?;
        let last = head.unwrap_or(Head::START);
        let properties = Properties { items: Some(last.count), ..Properties::default() };
        let mut record = Record::of(&self.own(Operation::LogRestart, properties)?, 0);
        record.properties.previous_mac = Some(line::hex(&last.mac));
        let current = files::current(folder);
        let file = files::open(&current, true).map_err(|error| AuditError::io(&current, error))?;
        let end = End { key, head, last, file, len: 0, torn: 0, adopted: 0, is_new: true };
        self.write(end, vec![record])?;
        Ok(true)
    }

    fn lock(&self, write: bool) -> Result<Option<files::Lock>, AuditError> {
        files::lock(self.folder(), self.settings.wait, &*self.settings.clock, write)
    }

    /// Returns the log as it is between two appends.
    fn view(&self) -> Result<View, AuditError> {
        let _lock = self.lock(false)?;
        self.view_locked()
    }

    fn view_locked(&self) -> Result<View, AuditError> {
        let folder = self.folder();
        let key = files::read_key(folder)?;
        let parts = files::parts(folder)?;
        if key.is_none() && !parts.is_empty() {
            return Err(AuditError::KeyMissing(files::key_path(folder)));
        }
        let current = match parts.last() {
            Some(part) if part.first.is_none() => {
                let fail = |error| AuditError::io(&part.path, error);
                let file = files::open(&part.path, false).map_err(fail)?;
                let len = file.metadata().map_err(fail)?.len();
                Some((file, len))
            }
            _ => None,
        };
        Ok(View { key, head: self.settings.heads.read()?, parts, current })
    }

    /// Finds the end of the log, which must be the one that the head describes, or go on from there.
    fn end(&self) -> Result<End, AuditError> {
        let AuditSettings { folder, heads, random, .. } = &self.settings;
        let head = heads.read()?;
        let parts = files::parts(folder)?;
        let key = match files::read_key(folder)? {
            Some(key) => key,
            None if head.is_none() && parts.is_empty() => files::make_key(folder, &**random)?,
            None => return Err(AuditError::KeyMissing(files::key_path(folder))),
        };
        let current = files::current(folder);
        let fail = |error| AuditError::io(&current, error);
        let is_new = parts.last().is_none_or(|part| part.first.is_some());
        let file = files::open(&current, true).map_err(fail)?;
        let found_len = file.metadata().map_err(fail)?.len();
        let mut tail = Tail::read(&file, found_len).map_err(fail)?;
        if let (Some(tail), Some(part)) = (&mut tail, parts.iter().rev().find(|part| part.first.is_some()))
            && tail.before.is_none()
        {
            // The first line of a part follows the last one of the part before.
            let fail = |error| AuditError::io(&part.path, error);
            let part = files::open(&part.path, false).map_err(fail)?;
            let len = part.metadata().map_err(fail)?.len();
            tail.before = Tail::read(&part, len).map_err(fail)?.map(|before| before.last);
        }
        let expected = head.unwrap_or(Head::START);
        if let (Some(_), Some(tail)) = (head, tail.filter(|tail| tail.ends_with(&expected, &key))) {
            let (len, torn) = (tail.len, found_len - tail.len);
            return Ok(End { key, head, last: expected, file, len, torn, adopted: 0, is_new });
        }
        // Seldom: at the very beginning, after a crash, or when something is wrong. Then all of it is looked at.
        let view_key = SecretBytes::copied_from(key.expose());
        let source = file.try_clone().map_err(fail)?;
        let parts = if is_new { parts } else { files::parts(folder)? };
        let view = View { key: Some(view_key), head, parts, current: Some((source, found_len)) };
        let found = walk(folder, view, |_| {})?;
        if let Some(first) = found.breaks.into_iter().next() {
            return Err(AuditError::Broken(first));
        }
        let last = found.last.unwrap_or(Head::START);
        let len = found_len.saturating_sub(found.torn);
        let adopted = last.count.saturating_sub(expected.count);
        // What a killed process left in the file may not be on the disk yet, nor its name.
        file.sync_data().map_err(fail)?;
        Ok(End { key, head, last, file, len, torn: found.torn, adopted, is_new: true })
    }

    /// Makes an event of the log itself.
    fn own(&self, operation: Operation, properties: Properties) -> Result<Event, AuditError> {
        let correlation = CorrelationId::fresh(&*self.settings.random)?;
        Ok(Event::new(operation, Outcome::Success, self.settings.clock.now(), correlation).with(properties))
    }

    /// Writes records behind `end`: all, durably, and the head after them; or none.
    fn write(&self, mut end: End, records: Vec<Record>) -> Result<(), AuditError> {
        let folder = self.folder();
        let current = files::current(folder);
        let mut last = end.last;
        let mut batch = Vec::new();
        for mut record in records {
            // 2^64 records take longer than any log lives.
            record.seq = last.count.saturating_add(1);
            let mac = line::write(&record, &end.key, &last.mac, &mut batch);
            last = Head { count: record.seq, mac };
        }
        let fail = |error| AuditError::io(&current, error);
        if end.torn > 0 {
            end.file.set_len(end.len).map_err(fail)?;
        }
        if end.len > 0 && end.len.saturating_add(batch.len() as u64) > self.settings.part_bytes {
            let first = first_of(&end.file).map_err(fail)?.ok_or_else(|| {
                let fault = ChainFault::Unreadable;
                AuditError::Broken(Break { file: current.clone(), line: Some(1), fault })
            })?;
            files::rotate(folder, first)?;
            end.file = files::open(&current, true).map_err(fail)?;
            (end.len, end.is_new) = (0, true);
        }
        let written = end.file.write_all_at(&batch, end.len).and_then(|()| end.file.sync_data());
        if let Err(error) = written {
            // Half a batch must not stay; where even this fails, the next append cuts a torn line off.
            let _ = end.file.set_len(end.len);
            return Err(fail(error));
        }
        if end.is_new {
            files::sync(folder)?;
        }
        match self.settings.heads.advance(end.head, last) {
            // What is written has its MACs, and the next append finds it behind the head: reading goes on while a vault is held.
            Err(HeadError::Busy(_)) => Ok(()),
            advanced => Ok(advanced?),
        }
    }
}

impl AuditSink for AuditLog {
    fn append(&self, events: &[Event]) -> Result<(), AuditError> {
        if events.is_empty() {
            return Ok(());
        }
        let _appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        files::make_folder(self.folder())?;
        let _lock = self.lock(true)?;
        let end = self.end()?;
        let mut records = Vec::with_capacity(events.len() + 1);
        if end.torn > 0 || end.adopted > 0 {
            let properties = Properties { bytes: Some(end.torn), items: Some(end.adopted), ..Properties::default() };
            records.push(Record::of(&self.own(Operation::LogRepair, properties)?, 0));
        }
        records.extend(events.iter().map(|event| Record::of(event, 0)));
        self.write(end, records)
    }
}

/// The end of a log that may be appended to.
struct End {
    key: SecretBytes,
    /// The head as it is stored.
    head: Option<Head>,
    /// The last record's.
    last: Head,
    file: File,
    /// Bytes of complete lines.
    len: u64,
    /// Bytes of a torn line behind them.
    torn: u64,
    /// Complete records that the stored head does not know.
    adopted: u64,
    /// Whether the file's name may not be durable yet.
    is_new: bool,
}

/// The last one or two complete lines of a part.
struct Tail {
    last: Vec<u8>,
    before: Option<Vec<u8>>,
    len: u64,
}

impl Tail {
    /// Reads them; `None` when they are not there, or are no lines that a log has.
    fn read(file: &File, len: u64) -> std::io::Result<Option<Self>> {
        let start = len.saturating_sub(3 * MAX_LINE as u64);
        let mut bytes = vec![0; usize::try_from(len - start).unwrap_or(0)];
        file.read_exact_at(&mut bytes, start)?;
        let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else { return Ok(None) };
        let complete = bytes.get(..end).unwrap_or_default();
        let mut lines = complete.rsplit(|&byte| byte == b'\n');
        let (last, before) = (lines.next().unwrap_or_default().to_vec(), lines.next().map(<[u8]>::to_vec));
        // A line that may begin before what was read is not known to be whole.
        if start > 0 && lines.next().is_none() {
            return Ok(None);
        }
        Ok(Some(Self { last, before, len: start + end as u64 + 1 }))
    }

    /// Whether the last line is the head's, and was written with this key.
    fn ends_with(&self, head: &Head, key: &SecretBytes) -> bool {
        let Some(last) = Line::split(&self.last) else { return false };
        let previous = match &self.before {
            Some(before) => Line::split(before).map(|line| line.mac),
            None if last.seq == 1 => Some(Head::START.mac),
            None => line::parse(&self.last).as_ref().and_then(restarted_from),
        };
        let stands = last.seq == head.count && last.mac == head.mac;
        stands && previous.is_some_and(|previous| last.follows(key, &previous))
    }
}

/// Returns the number of the first record.
fn first_of(file: &File) -> std::io::Result<Option<u64>> {
    let mut bytes = vec![0; MAX_LINE];
    let count = file.read_at(&mut bytes, 0)?;
    let line = bytes.get(..count).unwrap_or_default().split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(Line::split(line).map(|line| line.seq))
}
