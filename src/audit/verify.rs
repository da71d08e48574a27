//! Reading a log from its beginning, and finding where its chain does not hold.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::audit::files::{self, Part};
use crate::audit::line::{self, Line};
use crate::audit::reader::{Content, Lines};
use crate::audit::{AuditError, Break, ChainFault, Head, Operation, Record};
use crate::secret::SecretBytes;

/// A line of the log, as [`AuditLog::read`](crate::audit::AuditLog::read) shows it.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The file.
    pub file: &'a Path,
    /// The line, from 1.
    pub line: u64,
    /// What it says; `None` when it can't be read.
    pub record: Option<Record>,
    /// Whether it is where it was written and as it was written.
    pub intact: bool,
}

/// What a log that was read through is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// How many records there are.
    pub records: u64,
    /// How many files.
    pub parts: usize,
    /// The last record's number and MAC.
    pub last: Option<Head>,
    /// The head that was kept elsewhere. Without one, records missing at the end can't be noticed.
    pub head: Option<Head>,
    /// Records behind the head: a crash left them, and the next append adopts them.
    pub beyond: u64,
    /// Bytes of a torn line at the end, which the next append cuts off.
    pub torn: u64,
    /// The number of the first record when the log was begun anew after a loss, which its first record states.
    pub restarted: Option<u64>,
    /// Where the chain does not hold, in order; the first hundred.
    pub breaks: Vec<Break>,
    /// How many more places there are.
    pub more_breaks: u64,
}

impl Verification {
    /// Whether every record up to the head is there, as it was written.
    pub fn is_intact(&self) -> bool {
        self.breaks.is_empty()
    }
}

/// A log at one moment: what is appended meanwhile does not count.
pub(super) struct View {
    pub(super) key: Option<SecretBytes>,
    pub(super) head: Option<Head>,
    pub(super) parts: Vec<Part>,
    /// The part that is written to, and its length at that moment.
    pub(super) current: Option<(File, u64)>,
}

/// Reads all of `view`, showing every line.
pub(super) fn walk(folder: &Path, view: View, mut show: impl FnMut(Entry<'_>)) -> Result<Verification, AuditError> {
    let mut walker = Walker::new(view.key, view.head);
    let mut current = view.current;
    for part in &view.parts {
        let fail = |error| AuditError::io(&part.path, error);
        let source: Box<dyn Read> = match part.first {
            Some(_) => Box::new(files::open(&part.path, false).map_err(fail)?),
            None => match current.take() {
                Some((file, len)) => Box::new(file.take(len)),
                None => continue,
            },
        };
        walker.part(part, source, &mut show)?;
    }
    Ok(walker.end(folder))
}

/// The state between two lines.
struct Walker {
    key: Option<SecretBytes>,
    report: Verification,
    /// The number that the next record must have.
    next: u64,
    /// The MAC before it; `None` behind a break.
    previous: Option<[u8; 32]>,
    /// Whether any record had the right MAC.
    any_right: bool,
    altered: u64,
}

impl Walker {
    fn new(key: Option<SecretBytes>, head: Option<Head>) -> Self {
        let report = Verification { head, ..Verification::default() };
        Self { key, report, next: 1, previous: Some(Head::START.mac), any_right: false, altered: 0 }
    }

    fn part(&mut self, part: &Part, source: Box<dyn Read>, show: &mut impl FnMut(Entry<'_>)) -> Result<(), AuditError> {
        let mut lines = Lines::new(source);
        let mut number = 0;
        self.report.parts += 1;
        while let Some(line) = lines.next().map_err(|error| AuditError::io(&part.path, error))? {
            number += 1;
            let (record, intact) = match line {
                Content::Complete(bytes) => self.line(part, number, &bytes),
                Content::TooLong => {
                    self.skip(part, number, ChainFault::TooLong);
                    (None, false)
                }
                // Only where the log is written can a run have been interrupted.
                Content::Torn(len) if part.first.is_none() => {
                    self.report.torn = len;
                    continue;
                }
                Content::Torn(_) => {
                    self.skip(part, number, ChainFault::Unreadable);
                    (None, false)
                }
            };
            show(Entry { file: &part.path, line: number, record, intact });
        }
        Ok(())
    }

    fn line(&mut self, part: &Part, number: u64, bytes: &[u8]) -> (Option<Record>, bool) {
        let record = line::parse(bytes);
        let Some(line) = Line::split(bytes) else {
            self.skip(part, number, ChainFault::Unreadable);
            return (record, false);
        };
        self.report.records += 1;
        let mut intact = true;
        let mut wrong = |walker: &mut Self, fault| {
            walker.found(&part.path, Some(number), fault);
            intact = false;
        };
        if number == 1 && part.first.is_some_and(|first| first != line.seq) {
            wrong(self, ChainFault::Renamed(line.seq));
        }
        if line.seq < self.next {
            wrong(self, ChainFault::OutOfOrder(line.seq));
            return (record, false);
        }
        if line.seq > self.next {
            let restarted_from = if self.report.records == 1 { record.as_ref().and_then(restarted_from) } else { None };
            self.previous = restarted_from;
            match restarted_from {
                Some(_) => self.report.restarted = Some(line.seq),
                None => wrong(self, ChainFault::Missing { from: self.next, to: line.seq - 1 }),
            }
        }
        if let (Some(previous), Some(key)) = (&self.previous, &self.key) {
            if line.follows(key, previous) {
                self.any_right = true;
            } else {
                self.altered += 1;
                wrong(self, ChainFault::Altered(line.seq));
            }
        }
        if self.report.head.is_some_and(|head| head.count == line.seq && head.mac != line.mac) {
            wrong(self, ChainFault::HeadDiffers(line.seq));
        }
        let readable = record.is_some();
        self.report.last = Some(Head { count: line.seq, mac: line.mac });
        self.next = line.seq.saturating_add(1);
        self.previous = Some(line.mac);
        (record, intact && readable)
    }

    fn skip(&mut self, part: &Part, number: u64, fault: ChainFault) {
        self.found(&part.path, Some(number), fault);
        self.previous = None;
        self.next = self.next.saturating_add(1);
    }

    fn found(&mut self, file: &Path, line: Option<u64>, fault: ChainFault) {
        if self.report.breaks.len() < MOST_BREAKS {
            self.report.breaks.push(Break { file: file.to_owned(), line, fault });
        } else {
            self.report.more_breaks += 1;
        }
    }

    fn end(mut self, folder: &Path) -> Verification {
        let last = self.next - 1;
        let wanted = self.report.head.map_or(0, |head| head.count);
        if last < wanted {
            self.found(&files::current(folder), None, ChainFault::Truncated { from: self.next, to: wanted });
        }
        self.report.beyond = match self.report.head {
            Some(head) => last.saturating_sub(head.count),
            None => 0,
        };
        if self.altered > 1 && !self.any_right {
            self.report.breaks.retain(|found| !matches!(found.fault, ChainFault::Altered(_)));
            let found = Break { file: key_path(folder), line: None, fault: ChainFault::WrongKey };
            self.report.breaks.insert(0, found);
            self.report.more_breaks = 0;
        }
        self.report
    }
}

/// Returns the MAC that a log which begins with this record goes on from.
pub(super) fn restarted_from(record: &Record) -> Option<[u8; 32]> {
    if record.operation_name != Operation::LogRestart.name() {
        return None;
    }
    line::unhex(record.properties.previous_mac.as_deref()?.as_bytes())
}

fn key_path(folder: &Path) -> PathBuf {
    files::key_path(folder)
}

const MOST_BREAKS: usize = 100;
