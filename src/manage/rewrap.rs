//! Rewraps by hand: many files at once, and the catalogue told as they are done.

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::engine::{Change, Control, Engine, Error, RewrapReport};
use crate::format::Layer;
use crate::manage::{Home, HomeError};

impl Home {
    /// Rewraps many snapshots as [`Engine::rewrap_each`] does, and tells the catalogue of those that it knows while the others are still
    /// being rewrapped: once a second, and at the end, however that comes. Returns whether everything was begun.
    ///
    /// # Errors
    ///
    /// As [`note_rewrapped`](Self::note_rewrapped): the first such error. No snapshot was left out because of it.
    pub fn rewrap_each<P, F>(
        &self,
        engine: &Engine,
        paths: &[P],
        layer: Layer,
        change: &Change,
        ctl: &Control,
        each: F,
    ) -> Result<bool, HomeError>
    where
        P: AsRef<Path> + Sync,
        F: Fn(usize, Result<RewrapReport, Error>) + Sync,
    {
        let done = Mutex::new(Done { waiting: Vec::new(), told: self.clock().monotonic(), result: Ok(()) });
        let begun = engine.rewrap_each(paths, layer, change, ctl, |place, result| {
            if let (Some(path), Ok(report)) = (paths.get(place), &result) {
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.waiting.push((path.as_ref().to_owned(), report.clone()));
                if self.clock().monotonic().saturating_sub(done.told) >= PAUSE {
                    self.tell_catalog(&mut done, layer);
                }
            }
            each(place, result);
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.tell_catalog(&mut done, layer);
        done.result.map(|()| begun)
    }

    fn tell_catalog(&self, done: &mut Done, layer: Layer) {
        let waiting = mem::take(&mut done.waiting);
        let rows: Vec<_> = waiting.iter().map(|(path, report)| (path, report)).collect();
        let told = self.note_rewrapped(&rows, layer);
        done.told = self.clock().monotonic();
        if done.result.is_ok() {
            done.result = told;
        }
    }
}

/// Snapshots that were rewrapped and that the catalogue has not heard of.
struct Done {
    waiting: Vec<(PathBuf, RewrapReport)>,
    told: Duration,
    result: Result<(), HomeError>,
}

const PAUSE: Duration = Duration::from_secs(1);
