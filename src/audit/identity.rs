//! Who did something, and in which request.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::OnceLock;

use crate::audit::Text;
use crate::random::{Random, RandomError};

/// A process and the person behind it, as the operating system knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The real user id.
    pub uid: u32,
    /// That user's name, where `/etc/passwd` has it.
    pub user: Option<Text>,
    /// The user id that somebody logged in with: it outlives `sudo`. `None` for services.
    pub login_uid: Option<u32>,
    /// The process id.
    pub pid: u32,
    /// The machine's name.
    pub host: Option<Text>,
}

impl Identity {
    /// Returns the identity of this process.
    pub fn of_process() -> Self {
        static KNOWN: OnceLock<Identity> = OnceLock::new();
        let known = KNOWN.get_or_init(|| {
            let uid = rustix::process::getuid().as_raw();
            Self { uid, user: user_name(uid), login_uid: login_uid(), pid: 0, host: host() }
        });
        Self { pid: std::process::id(), ..known.clone() }
    }
}

/// Marks what one request caused. `Display` is 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId([u8; 16]);

impl CorrelationId {
    /// Draws a fresh one.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the generator fails.
    pub fn fresh(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Takes the bytes of one that was drawn elsewhere.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({self})")
    }
}

fn user_name(uid: u32) -> Option<Text> {
    let file = File::open("/etc/passwd").ok()?;
    let lines = BufReader::new(file.take(MAX_PASSWD)).lines();
    lines.map_while(Result::ok).find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| Text::new(name))
    })
}

fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

fn host() -> Option<Text> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(Text::new(text.trim()))
}

const MAX_PASSWD: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let identity = Identity::of_process();
        assert_eq!(identity.pid, std::process::id());
        assert_eq!(identity.uid, rustix::process::getuid().as_raw());
        assert!(identity.host.is_some());
        assert_eq!(user_name(0), Some(Text::new("root")));
        assert_eq!(user_name(4_000_000_000), None);
    }
}
