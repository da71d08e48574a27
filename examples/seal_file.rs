//! Seals a disk image into one file and opens it again, with progress on standard error.
//!
//! ```sh
//! cargo run --release --example seal_file [IMAGE [SNAPSHOT [OUTPUT]]]
//! ```
//!
//! Both files appear under their names complete or not at all. Sealing needs the public half of a key only.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sobre::Engine;
use sobre::engine::{Control, LayerPolicy, OpenOptions, SealOptions, SealPolicy, Source, Target, WrappingKey};
use sobre::provider::PemFiles;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let scratch = tempfile::tempdir()?;
    let image = arguments.next().unwrap_or_else(|| vectors.join("disks/ext4.img"));
    let snapshot = arguments.next().unwrap_or_else(|| scratch.path().join("disk.sobre"));
    let output = arguments.next().unwrap_or_else(|| scratch.path().join("disk.img"));

    // Who seals has the public key.
    let mut public = PemFiles::new();
    let version = public.add(&vectors.join("keys/test-rsa2048.spki.pem"))?;
    let keys = LayerPolicy::new(vec![WrappingKey { provider: Arc::new(public), version }])?;
    let policy = SealPolicy::new(keys).label("machine", "example")?;
    let sealed = watched("sealing", |ctl| {
        let engine = Engine::new(Vec::new());
        engine.seal(Source::Path(&image), Target::Path(&snapshot), &policy, &SealOptions::default(), ctl)
    })?;
    println!("sealed {} bytes of disk, {} stored, id {}", sealed.disk_len, sealed.stored, sealed.id);

    // Who opens has the private key.
    let mut private = PemFiles::new();
    private.add(&vectors.join("keys/test-rsa2048.pkcs8.pem"))?;
    let opened = watched("opening", |ctl| {
        let engine = Engine::new(vec![Arc::new(private)]);
        engine.open_whole(Source::Path(&snapshot), Target::Path(&output), &OpenOptions::default(), ctl)
    })?;
    for warning in &opened.warnings {
        eprintln!("warning: {warning}");
    }
    if std::fs::read(&image)? != std::fs::read(&output)? {
        return Err("the opened disk differs".into());
    }
    println!("opened {} bytes, every one verified, identical", opened.written);
    Ok(())
}

/// Runs `work` and reports its progress five times a second. A signal handler would call [`Control::cancel`].
fn watched<T>(what: &str, work: impl FnOnce(&Control) -> Result<T, sobre::Error>) -> Result<T, sobre::Error> {
    let ctl = Control::default();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                report(what, &ctl);
                std::thread::park_timeout(Duration::from_millis(200));
            }
            report(what, &ctl);
        });
        let result = work(&ctl);
        ended.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        result
    })
}

fn report(what: &str, ctl: &Control) {
    match ctl.total() {
        0 => eprintln!("{what}: {} bytes", ctl.done()),
        total => eprintln!("{what}: {:3} %, {} bytes stored", ctl.done() * 100 / total, ctl.stored()),
    }
}
