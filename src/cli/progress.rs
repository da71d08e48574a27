//! Progress: a bar with rate and time left, JSON lines, or nothing.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use sobre::engine::Control;

use crate::cli::args::{Global, ProgressKind};

/// Shows how far an operation is until it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Watches bytes from a thread of its own, as the options want it.
    pub(crate) fn watch(global: &Global, verb: &'static str, ctl: &Arc<Control>) -> Self {
        Self::watch_units(global, verb, ctl, Unit::Bytes)
    }

    /// Watches how many snapshots are done.
    pub(crate) fn watch_snapshots(global: &Global, verb: &'static str, ctl: &Arc<Control>) -> Self {
        Self::watch_units(global, verb, ctl, Unit::Snapshots)
    }

    fn watch_units(global: &Global, verb: &'static str, ctl: &Arc<Control>, unit: Unit) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let quiet = global.quiet || global.json;
        let bar = global.progress == ProgressKind::Auto && !quiet && std::io::stderr().is_terminal();
        let lines = global.progress == ProgressKind::Json;
        let thread = (bar || lines).then(|| {
            let (stop, ctl) = (Arc::clone(&stop), Arc::clone(ctl));
            std::thread::spawn(
                move || if bar { draw(verb, &ctl, &stop, unit) } else { report(verb, &ctl, &stop, unit) },
            )
        });
        Self { stop, thread }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Bytes,
    Snapshots,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn draw(verb: &'static str, ctl: &Control, stop: &AtomicBool, unit: Unit) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_message(verb);
    let style = |text| ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar());
    let (begins, goes_on) = match unit {
        Unit::Bytes => (
            "{msg} {binary_bytes} ({binary_bytes_per_sec})",
            "{msg} {bar:30} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
        ),
        Unit::Snapshots => {
            ("{msg} {pos} snapshots", "{msg} {bar:30} {percent:>3} %  {pos} of {len} snapshots  {per_sec}  {eta} left")
        }
    };
    bar.set_style(style(begins));
    while !stop.load(Ordering::Relaxed) {
        if ctl.total() > 0 && bar.length() != Some(ctl.total()) {
            bar.set_length(ctl.total());
            bar.set_style(style(goes_on));
        }
        bar.set_position(ctl.done());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

fn report(verb: &'static str, ctl: &Control, stop: &AtomicBool, unit: Unit) {
    let start = Instant::now();
    loop {
        let last = stop.load(Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 { ctl.done() as f64 / seconds } else { 0.0 };
        let line = match unit {
            Unit::Bytes => json!({ "schema": 1, "progress": verb, "done": ctl.done(), "total": ctl.total(),
                "stored": ctl.stored(), "seconds": seconds, "bytes_per_second": rate }),
            Unit::Snapshots => json!({ "schema": 1, "progress": verb, "done": ctl.done(), "total": ctl.total(),
                "unit": "snapshots", "seconds": seconds }),
        };
        let _ = writeln!(std::io::stderr(), "{line}");
        if last {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(500));
    }
}
