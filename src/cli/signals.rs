//! SIGINT and SIGTERM: the first one stops at a point from which one can resume, the second one at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use sobre::engine::Control;

/// Remembers which signal came.
#[derive(Debug, Default)]
pub(crate) struct Stopped(AtomicI32);

impl Stopped {
    /// Returns the signal, if one came.
    pub(crate) fn signal(&self) -> Option<i32> {
        let signal = self.0.load(Ordering::Relaxed);
        (signal != 0).then_some(signal)
    }
}

/// Cancels `ctl` at the first signal; ends the process at the second.
pub(crate) fn stop_on_signal(ctl: &Arc<Control>) -> std::io::Result<Arc<Stopped>> {
    let stopped = Arc::new(Stopped::default());
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (ctl, seen) = (Arc::clone(ctl), Arc::clone(&stopped));
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if seen.0.swap(signal, Ordering::Relaxed) != 0 {
                std::process::exit(128 + signal);
            }
            ctl.cancel();
        }
    })?;
    Ok(stopped)
}
