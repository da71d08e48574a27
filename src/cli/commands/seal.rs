//! `sobre seal`

use std::io::IsTerminal;
use std::os::unix::fs::FileTypeExt;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use sobre::catalog::EncryptionSet;
use sobre::engine::{Control, PolicyError, SealOptions, SealPolicy, SealSummary, Source, Target};
use sobre::format::{ChunkSize, Labels, Suite};
use sobre::io::{CommitError, escaped_path, partial_path};
use sobre::manage::{FirstUse, Home, KeyWarning, Resolved, SetKeys};
use sobre::xts::SectorSize;
use sobre::{Error, ErrorKind};

use crate::cli::args::{Global, Integrity, SealArgs};
use crate::cli::commands::set::set_name;
use crate::cli::commands::{detail, nag, open_home, say_created, shown, stream_error};
use crate::cli::exit::Failure;
use crate::cli::progress::Progress;
use crate::cli::report::{Output, is_dash};
use crate::cli::stdin::Stdin;
use crate::cli::units::{bytes, hex};
use crate::cli::{secrets, signals};

pub(crate) fn run(args: &SealArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let sector = SectorSize::try_from(args.sector_size.0)
        .map_err(|_| Failure::usage("a sector has 512 or 4096 bytes", "use --sector-size 512 or 4096"))?;
    let chunk = ChunkSize::from_bytes(args.chunk_size.0)
        .ok_or_else(|| Failure::usage("a chunk has a power of two of bytes from 64K to 1M", "256K suits most disks"))?;
    if is_dash(&args.target) && std::io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is a terminal", "name a file, or send the snapshot into a pipe"));
    }
    if args.resume && (is_dash(&args.source) || is_dash(&args.target)) {
        return Err(Failure::usage("a pipe can't be resumed", "seal it anew without --resume"));
    }
    if args.manifest.as_ref() == Some(&args.target) {
        let advice = "name another file with --manifest";
        return Err(Failure::usage("the snapshot and its manifest would be one file", advice));
    }
    let home = open_home(global)?;
    if home.is_fresh() {
        refuse_early(args)?;
    }
    let named_files =
        !args.key.is_empty() && args.key.iter().chain(&args.platform_key).all(|key| key.starts_with("file:"));
    if home.is_fresh() && args.set.is_none() && !named_files {
        if !args.key.is_empty() {
            // The key that was asked for can't be in a home that does not exist.
            home.keys_for(&args.key, "key", None)?;
        }
        let purpose = if args.double { FirstUse::Double } else { FirstUse::Single };
        say_created(output, &home.set_up(purpose)?);
    }
    let Resolution { inner, outer, set, policy } = resolve(&home, args)?;
    let recoverable = inner.recoverable && outer.as_ref().is_none_or(|outer| outer.recoverable);
    let policy = finish_policy(policy, args)?.sector_size(sector).chunk_size(chunk);
    put_epochs(&home, &policy, args)?;

    let layers: Vec<&Resolved> = std::iter::once(&inner).chain(&outer).collect();
    let warnings = home.key_warnings(&layers);
    for warning in &warnings {
        output.warn(format_args!("warning: {warning}"));
    }
    let engine = home.engine_for(&layers).beside(&args.target);
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let mut options = SealOptions {
        sparse: !args.no_sparse,
        live: args.live,
        resume: args.resume,
        verify_source: args.verify_source,
        force: args.force,
        manifest: args.manifest.clone(),
        ..SealOptions::default()
    };
    if let Some(workers) = args.workers {
        options.workers = workers.into();
    }
    detail(&home, options.workers, output);
    let progress = Progress::watch(global, "sealing", &ctl);
    let (mut stdin, mut stdout) = (Stdin::new(&ctl), std::io::stdout());
    let source = if is_dash(&args.source) { Source::Stream(&mut stdin) } else { Source::Path(&args.source) };
    let target = if is_dash(&args.target) { Target::Stream(&mut stdout) } else { Target::Path(&args.target) };
    let sealed = engine.seal(source, target, &policy, &options, &ctl);
    drop(progress);
    secrets::warn_of_unlocked_memory(output);
    let summary = match sealed {
        Ok(summary) => summary,
        Err(error) => {
            return Err(failure(stream_error(error, &args.source, &args.target), args, stopped.signal(), ctl.done()));
        }
    };
    let suite = policy_name(args, outer.is_some());
    tell(args, output, &summary, &suite);
    let catalogued = register(&home, args, &summary, &policy, output);
    if let (Some(set), true) = (&set, catalogued) {
        follow(&home, set, args, output);
    }
    if !recoverable {
        nag(output);
    }
    output.finish(json!({
        "source": shown(&args.source),
        "snapshot": if is_dash(&args.target) { None } else { Some(escaped_path(&args.target)) },
        "id": summary.id.to_string(),
        "suite": suite,
        "set": set.as_ref().map(|set| set.name.as_str()),
        "root": hex(&summary.root),
        "disk_bytes": summary.disk_len,
        "stored_bytes": summary.stored,
        "file_bytes": summary.file_len,
        "resumed_bytes": summary.resumed,
        "discarded_bytes": summary.discarded,
        "keys": inner.keys.iter().chain(outer.iter().flat_map(|outer| &outer.keys)).map(|key| json!({
            "id": key.version.id, "thumbprint": key.version.thumbprint.to_string(),
        })).collect::<Vec<_>>(),
        "recoverable": recoverable,
        "catalogued": catalogued,
        "warnings": warnings.iter().map(describe_warning).collect::<Vec<_>>(),
    }))
}

/// Takes the snapshot into the catalogue. If that fails, the snapshot stands all the same.
fn register(home: &Home, args: &SealArgs, summary: &SealSummary, policy: &SealPolicy, output: &Output) -> bool {
    if is_dash(&args.target) || !args.target.is_file() {
        return false;
    }
    match home.register(&args.target, summary, &policy.thumbprints()) {
        Ok(catalogued) => catalogued,
        Err(error) => {
            let failure = Failure::from(error);
            output.warn(format_args!("warning: the snapshot is sealed, but not in the catalogue: {}", failure.message));
            if let Some(advice) = &failure.advice {
                output.warn(format_args!("         {advice}"));
            }
            let path = escaped_path(&args.target);
            output.warn(format_args!("         Add it later with: sobre catalog add {path}"));
            false
        }
    }
}

/// Looks at what will fail anyway, so that a mistyped name does not set a home up.
fn refuse_early(args: &SealArgs) -> Result<(), Error> {
    let mut labels = Labels::default();
    for label in &args.label {
        labels.insert(&label.key, &label.value).map_err(PolicyError::Label)?;
    }
    if !is_dash(&args.source) {
        let kind = std::fs::metadata(&args.source).map_err(|error| Error::Io(error).at(&args.source))?.file_type();
        if kind.is_dir() {
            let advice = "name a disk image or a block device";
            return Err(Error::UnsuitableFile { kind: "folder", advice }.at(&args.source));
        }
        if kind.is_fifo() {
            let advice = "read it through standard input, as '-'";
            return Err(Error::UnsuitableFile { kind: "named pipe", advice }.at(&args.source));
        }
        if kind.is_char_device() || kind.is_socket() {
            let advice = "name a disk image or a block device";
            return Err(Error::UnsuitableFile { kind: "special file", advice }.at(&args.source));
        }
    }
    if is_dash(&args.target) {
        return Ok(());
    }
    if !args.force && args.target.symlink_metadata().is_ok() {
        return Err(CommitError::Exists(args.target.clone()).into());
    }
    match args.target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => Err(Error::Io(std::io::ErrorKind::NotFound.into()).at(folder)),
        _ => Ok(()),
    }
}

/// The keys that seal, and the set that chose them.
struct Resolution {
    inner: Resolved,
    outer: Option<Resolved>,
    set: Option<EncryptionSet>,
    policy: SealPolicy,
}

fn resolve(home: &Home, args: &SealArgs) -> Result<Resolution, Failure> {
    let config = home.config();
    if let Some(set) = &args.set {
        let keys = home.keys_of_set(&set_name(set)?)?;
        let policy = keys.policy()?;
        let SetKeys { set, inner, outer, .. } = keys;
        if outer.is_some() && args.integrity.is_some() {
            return Err(Failure::usage(
                format!("set '{}' encrypts twice, and has integrity of its own", set.name),
                "leave --integrity out",
            ));
        }
        return Ok(Resolution { inner, outer, set: Some(set), policy });
    }
    if !args.double {
        let inner = home.keys_for(&args.key, "key", config.key.as_ref())?;
        let policy = SealPolicy::new(home.layer(&inner)?);
        return Ok(Resolution { inner, outer: None, set: None, policy });
    }
    let inner = home.keys_for(&args.key, "customer_key", config.customer_key.as_ref())?;
    let outer = home.keys_for(&args.platform_key, "platform_key", config.platform_key.as_ref())?;
    let policy = SealPolicy::double(home.layer(&inner)?, home.layer(&outer)?);
    Ok(Resolution { inner, outer: Some(outer), set: None, policy })
}

fn finish_policy(mut policy: SealPolicy, args: &SealArgs) -> Result<SealPolicy, Failure> {
    if args.integrity == Some(Integrity::Gmac) {
        policy = policy.suite(Suite::XtsGmac).map_err(Error::from)?;
    }
    for label in &args.label {
        policy = policy.label(&label.key, &label.value).map_err(Error::from)?;
    }
    Ok(policy)
}

/// Puts the records of epoch keys where the snapshot will be, before it is there.
fn put_epochs(home: &Home, policy: &SealPolicy, args: &SealArgs) -> Result<(), Failure> {
    if policy.epochs().next().is_none() {
        return Ok(());
    }
    // A device has no folder of its own either.
    let special = args.target.metadata().is_ok_and(|metadata| !metadata.is_file());
    if is_dash(&args.target) || special {
        return Err(Failure::usage(
            "a set with an epoch key seals to files only: the record of that key has to lie beside the snapshot",
            "name a file, or seal with a set that wraps directly",
        ));
    }
    Ok(home.put_epochs(policy.epochs(), &args.target)?)
}

/// Catches up with a rotation that ended while this snapshot was sealed with the key from before.
fn follow(home: &Home, set: &EncryptionSet, args: &SealArgs, output: &Output) {
    match home.follow_set(set, &args.target) {
        Ok(moved) => {
            for key in moved {
                output.say(format_args!("set '{}' was rotated meanwhile: the snapshot opens with {key} now", set.name));
            }
        }
        Err(error) => {
            let failure = Failure::from(error);
            output.warn(format_args!(
                "warning: the snapshot is sealed with the key that set '{}' had before: {}",
                set.name, failure.message
            ));
            output.warn(format_args!("         Move it with: sobre set rotate {} --resume", set.name));
        }
    }
}

fn describe_warning(warning: &KeyWarning) -> Value {
    match warning {
        KeyWarning::NearExpiry { key, expires } => {
            json!({ "kind": "near_expiry", "key": key, "expires": expires.to_string() })
        }
        other => json!({ "kind": "other", "message": other.to_string() }),
    }
}

fn policy_name(args: &SealArgs, double: bool) -> String {
    let suite = match (double, args.integrity) {
        (true, _) => Suite::XtsGcm,
        (false, Some(Integrity::Gmac)) => Suite::XtsGmac,
        (false, _) => Suite::XtsBlake3,
    };
    suite.to_string()
}

fn tell(args: &SealArgs, output: &Output, summary: &SealSummary, suite: &str) {
    if summary.discarded > 0 {
        let partial = escaped_path(&partial_path(&args.target));
        output.warn(format_args!("note: discarded {partial}, {} of an abandoned run", bytes(summary.discarded)));
    }
    if args.resume && summary.resumed == 0 {
        output.say("resumed: no part of it was complete yet, so it was sealed from the start");
    }
    if summary.resumed > 0 {
        output.say(format_args!("resumed: {} of the disk were sealed already", bytes(summary.resumed)));
    }
    let target = if is_dash(&args.target) { "standard output".to_owned() } else { escaped_path(&args.target) };
    output.say(format_args!(
        "sealed {} to {target}: {} of disk, {} stored, {suite}",
        shown(&args.source),
        bytes(summary.disk_len),
        bytes(summary.stored)
    ));
    output.say(format_args!("root {}", hex(&summary.root)));
}

/// A run that was stopped or failed on the way leaves something to resume: says so.
fn failure(error: Error, args: &SealArgs, signal: Option<i32>, done: u64) -> Failure {
    let partial = partial_path(&args.target);
    let resumable = !is_dash(&args.source) && !is_dash(&args.target) && partial.exists();
    let resume = "go on with the same command and --resume";
    match (signal, error.kind()) {
        // Standard input ends with an error of its own when it is stopped.
        (Some(signal), kind) if kind == ErrorKind::Cancelled || is_dash(&args.source) => {
            let message = format!("stopped after {}", bytes(done));
            Failure::signalled(signal, message, resumable.then(|| resume.to_owned()))
        }
        _ => {
            let out_of_space = matches!(error.inner(), Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull);
            let mut failure = Failure::from(error);
            if out_of_space && resumable {
                failure.advice = Some(format!("make room, then {resume}; or remove {}", escaped_path(&partial)));
            }
            failure
        }
    }
}
