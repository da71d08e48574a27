//! Standard input that does not outlive a signal.

use std::io::{self, Read};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sobre::engine::Control;

/// Reads standard input until `ctl` is cancelled. A read of a pipe that nobody writes into would never end by itself.
#[derive(Debug)]
pub(crate) struct Stdin {
    ctl: Arc<Control>,
}

impl Stdin {
    pub(crate) fn new(ctl: &Arc<Control>) -> Self {
        Self { ctl: Arc::clone(ctl) }
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        loop {
            if self.ctl.is_cancelled() {
                return Err(io::Error::other("stopped on request"));
            }
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&PAUSE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => match rustix::io::read(stdin, &mut *buffer) {
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    read => return Ok(read?),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}

const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
