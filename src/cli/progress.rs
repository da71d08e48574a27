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
    /// Watches `ctl` from a thread of its own, as the options want it.
    pub(crate) fn watch(global: &Global, verb: &'static str, ctl: &Arc<Control>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let quiet = global.quiet || global.json;
        let bar = global.progress == ProgressKind::Auto && !quiet && std::io::stderr().is_terminal();
        let lines = global.progress == ProgressKind::Json;
        let thread = (bar || lines).then(|| {
            let (stop, ctl) = (Arc::clone(&stop), Arc::clone(ctl));
            std::thread::spawn(move || if bar { draw(verb, &ctl, &stop) } else { report(verb, &ctl, &stop) })
        });
        Self { stop, thread }
    }
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

fn draw(verb: &'static str, ctl: &Control, stop: &AtomicBool) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_message(verb);
    let style = |text| ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style("{msg} {binary_bytes} ({binary_bytes_per_sec})"));
    while !stop.load(Ordering::Relaxed) {
        if ctl.total() > 0 && bar.length().is_none() {
            bar.set_length(ctl.total());
            bar.set_style(style(
                "{msg} {bar:30} {percent:>3} %  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
            ));
        }
        bar.set_position(ctl.done());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

fn report(verb: &'static str, ctl: &Control, stop: &AtomicBool) {
    let start = Instant::now();
    loop {
        let last = stop.load(Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 { ctl.done() as f64 / seconds } else { 0.0 };
        let line = json!({ "schema": 1, "progress": verb, "done": ctl.done(), "total": ctl.total(),
            "stored": ctl.stored(), "seconds": seconds, "bytes_per_second": rate });
        let _ = writeln!(std::io::stderr(), "{line}");
        if last {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(500));
    }
}
