//! Keeping secrets of this process inside it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::cli::report::Output;

/// Switches core dumps off: by the limit, and by the flag that also stops handlers that get the dump through a pipe.
pub(crate) fn forbid_core_dumps() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Says so when secrets could not be locked in memory.
pub(crate) fn warn_of_unlocked_memory(output: &Output) {
    let report = sobre::secret::lock_report();
    if report.unlocked > 0 {
        output.warn(
            "warning: some keys could not be locked in memory and may reach swap; raise the limit with: ulimit -l 8192",
        );
    }
}
