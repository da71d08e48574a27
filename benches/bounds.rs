//! The bounds on ratios within one process, candidates in turn, medians; exits with 1 when one of them does not hold.
//!
//! `cargo bench --features __peers --bench bounds`. What is compared with files stands in `end_to_end.sh`.
//!
//! A group of figures that falls short is measured again, twice at most, and the best of each counts: on a shared machine a neighbour on
//! the same physical core takes issue slots for seconds, which slows a kernel and leaves the bare rounds beside it alone.
//!
//! Some bounds need VAES: without it, AES-NI alone is the ceiling, for every implementation. There the line says so, and a lower bound,
//! which this kind of CPU does reach, is held instead.

#[path = "peers/aws_lc.rs"]
mod aws_lc;
#[path = "peers/openssl.rs"]
mod openssl;
#[path = "peers/xts_mode.rs"]
mod xts_mode;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sobre::clock::SystemClock;
use sobre::measure::{self, Contest, Direction, Effort, Topic};
use sobre::oaep::{RsaPrivateKey, WrapAlgorithm};
use sobre::provider::{KeyProvider, OpContext, PemFiles, unwrap_each};
use sobre::secret::SecretBytes;
use sobre::xts::{Backend, SectorSize, Xts256};

fn main() -> ExitCode {
    // `cargo bench` passes `--bench`; `cargo test --benches` only asks whether this runs.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (rounds, slice, large) = if quick { (1, 1, 1 << 20) } else { (25, 10, 1 << 30) };
    let effort = Effort { rounds, slice: Duration::from_millis(slice), large_buffer: large };
    let vaes = Backend::available().len() > 2;

    println!("CPU: {}", cpu());
    let mut broken = 0;
    for group in [kernels, peers, memory, unwraps] {
        let mut best = group(effort, vaes);
        for _ in 1..TRIES {
            if quick || best.iter().all(Figure::holds) {
                break;
            }
            for (best, again) in best.iter_mut().zip(group(effort, vaes)) {
                best.value = best.value.max(again.value);
            }
        }
        for figure in best {
            figure.print();
            broken += u32::from(!figure.holds());
        }
    }
    if quick {
        println!("a quick run: no bound was asserted");
        return ExitCode::SUCCESS;
    }
    println!("{broken} bounds do not hold");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A ratio and what it must reach.
struct Figure {
    what: String,
    value: f64,
    bound: f64,
    /// The bound on a CPU with VAES, where this one has none and the bound is another.
    with_vaes: Option<f64>,
}

impl Figure {
    fn new(what: impl Into<String>, value: f64, bound: f64) -> Self {
        Self { what: what.into(), value, bound, with_vaes: None }
    }

    /// A figure for which AES-NI alone is the ceiling on CPUs without VAES.
    fn with(vaes: bool, what: impl Into<String>, value: f64, bound: f64, without: f64) -> Self {
        let (bound, with_vaes) = if vaes { (bound, None) } else { (without, Some(bound)) };
        Self { what: what.into(), value, bound, with_vaes }
    }

    fn holds(&self) -> bool {
        self.value >= self.bound
    }

    fn print(&self) {
        let verdict = if self.holds() { "PASS" } else { "FAIL" };
        let note = self.with_vaes.map_or(String::new(), |bound| format!("  (with VAES: {bound:.2})"));
        println!("{verdict}  {:60} {:6.2}  >= {:.2}{note}", self.what, self.value, self.bound);
    }
}

/// Kernels of this process against the rounds alone.
fn kernels(effort: Effort, vaes: bool) -> Vec<Figure> {
    let mut figures = Vec::new();
    let report = measure::run(Some(Topic::Xts), effort).expect("the kernels can be measured");
    let (xts, gmac) = (report.xts.expect("asked for"), report.gmac.expect("asked for"));
    let best = Backend::available()[0];
    for row in &xts.rows {
        let bound = match (row.backend, row.sector) {
            (Backend::Portable, _) => continue,
            (backend, SectorSize::Bytes512) if backend == best => 0.94,
            (backend, SectorSize::Bytes4096) if backend == best => 0.95,
            (Backend::AesNi, _) => 0.90,
            _ => continue,
        };
        let (size, direction) = (row.sector.bytes(), row.direction.name());
        let what = format!("{}, {size}, {direction}, of its roofline", row.backend);
        figures.push(Figure::new(what, row.fraction_of_roofline, bound));
    }
    let per_core = xts.scaling / report.machine.cores as f64;
    figures.push(Figure::new("all cores of this machine against one, per core", per_core, 0.925));
    let two = gmac.two_passes.fraction_of_roofline;
    figures.push(Figure::new("XTS, then GMAC, in cache, of the roofline", two, 0.65));
    // The fused kernel is AES-NI's: on a CPU with VAES the engine takes two passes, and its figure would say nothing.
    if let (Some(fused), Some(ratio), false) = (gmac.fused, gmac.fused_from_memory, vaes) {
        let one = fused.fraction_of_roofline;
        figures.push(Figure::new("XTS and GMAC in one pass, in cache, of the roofline", one, 0.80));
        figures.push(Figure::new("one pass against two, from memory", ratio, 1.10));
    }
    figures
}

/// Our best kernel, and the portable one, against other people's.
fn peers(effort: Effort, vaes: bool) -> Vec<Figure> {
    let mut figures = Vec::new();
    let key: [u8; 64] = std::array::from_fn(|number| number as u8);
    let ours = Xts256::new(&SecretBytes::taken_from(key.to_vec())).expect("a good key");
    let portable =
        Xts256::with_backend(&SecretBytes::taken_from(key.to_vec()), Backend::Portable).expect("runs everywhere");
    let their_mode = xts_mode::XtsMode::new(&key);
    let data = RefCell::new(vec![0x5a; CHUNK]);
    for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        let size = sector.bytes();
        for direction in [Direction::Encrypt, Direction::Decrypt] {
            let encrypt = direction == Direction::Encrypt;
            agree(&ours, &key, sector, encrypt);
            let (mut aws_lc, mut openssl) =
                (aws_lc::AwsLcXts::new(&key, encrypt), openssl::OpenSslXts::new(&key, encrypt));
            let mut contest = Contest::new(effort.rounds, effort.slice);
            let run = |xts: &Xts256| crypt(xts, sector, encrypt, &mut data.borrow_mut());
            let mine = contest.add(CHUNK as u64, || run(&ours));
            let safe = contest.add(CHUNK as u64, || run(&portable));
            let aws_lc = contest.add(CHUNK as u64, || aws_lc.sectors(size, 0, &mut data.borrow_mut()));
            let openssl = contest.add(CHUNK as u64, || openssl.sectors(size, 0, &mut data.borrow_mut()));
            let mode = contest.add(CHUNK as u64, || {
                if encrypt {
                    their_mode.encrypt(size, 0, &mut data.borrow_mut());
                } else {
                    their_mode.decrypt(size, 0, &mut data.borrow_mut());
                }
            });
            let rates = contest.run();
            let name = format!("{size}, {}", direction.name());
            let (bound, without) = if sector == SectorSize::Bytes512 { (1.8, 1.15) } else { (1.05, 0.98) };
            let theirs = if size == 512 { 1.15 } else { 0.98 };
            figures.extend([
                Figure::with(vaes, format!("{name}, against AWS-LC"), rates.ratio(mine, aws_lc), bound, without),
                Figure::new(format!("{name}, against OpenSSL"), rates.ratio(mine, openssl), theirs),
                Figure::with(vaes, format!("{name}, portable against xts-mode"), rates.ratio(safe, mode), 10.0, 2.5),
            ]);
        }
    }
    figures
}

/// A buffer that fits no cache against a copy of it.
fn memory(effort: Effort, vaes: bool) -> Vec<Figure> {
    let xts = Xts256::new(&SecretBytes::taken_from((0..64).collect())).expect("a good key");
    let from = RefCell::new(vec![0x5a; effort.large_buffer]);
    let mut to = vec![0xa5; effort.large_buffer];
    let mut contest = Contest::new(effort.rounds.min(7), effort.slice);
    let copy = contest.add(1, || {
        to.copy_from_slice(&from.borrow());
        std::hint::black_box(&to);
    });
    let cipher = contest.add(1, || crypt(&xts, SectorSize::Bytes512, true, &mut from.borrow_mut()));
    vec![Figure::with(vaes, "XTS of 1 GiB in place against memcpy", contest.run().ratio(cipher, copy), 0.80, 0.50)]
}

/// Bulk unwrapping through a provider against AWS-LC's bare operation on as many threads.
fn unwraps(effort: Effort, _: bool) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let private = RsaPrivateKey::generate(3072).expect("a key");
    let path = folder.path().join("key.pem");
    let der = private.to_pkcs8_der().expect("PKCS#8");
    let text = pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::LF, der.expose()).expect("PEM");
    std::fs::write(&path, text).expect("a file");
    let mut files = PemFiles::new();
    let kek = files.add(&path).expect("a private key");
    let cx = OpContext::new(Arc::new(SystemClock), Duration::from_secs(600));
    let wrapped = files.wrap_key(&kek, &SecretBytes::taken_from(vec![7; 100]), &cx).expect("wraps");
    let many = vec![wrapped; MANY];
    let raw = aws_lc_rs::rsa::PrivateDecryptingKey::from_pkcs8(der.expose()).expect("the same key");
    let raw = aws_lc_rs::rsa::OaepPrivateDecryptingKey::new(raw).expect("long enough");
    assert_eq!(many[0].algorithm, WrapAlgorithm::RsaOaep256);

    let mut contest = Contest::new(effort.rounds.min(9), effort.slice);
    let ours = contest.add(MANY as u64, || {
        unwrap_each(&files, &many, &cx, |_, unwrapped| {
            unwrapped.expect("its own key");
            ControlFlow::Continue(())
        });
    });
    let bare = contest.add(MANY as u64, || {
        rayon::scope(|scope| {
            let threads = rayon::current_num_threads();
            for thread in 0..threads {
                let (raw, many) = (&raw, &many);
                scope.spawn(move |_| {
                    let mut plain = [0; 512];
                    for wrapped in many.iter().skip(thread).step_by(threads) {
                        let unwrapped =
                            raw.decrypt(&aws_lc_rs::rsa::OAEP_SHA256_MGF1SHA256, &wrapped.ciphertext, &mut plain, None);
                        unwrapped.expect("its own key");
                    }
                });
            }
        });
    });
    vec![Figure::new("bulk unwrapping, RSA-3072, all cores, of AWS-LC's rate", contest.run().ratio(ours, bare), 0.90)]
}

fn crypt(xts: &Xts256, sector: SectorSize, encrypt: bool, data: &mut [u8]) {
    let done = if encrypt { xts.encrypt_sectors(sector, 0, data) } else { xts.decrypt_sectors(sector, 0, data) };
    done.expect("whole sectors");
}

/// A peer that computes something else would prove nothing.
fn agree(ours: &Xts256, key: &[u8; 64], sector: SectorSize, encrypt: bool) {
    let plain: Vec<u8> = (0..CHUNK).map(|number| (number * 7) as u8).collect();
    let mut expected = plain.clone();
    crypt(ours, sector, encrypt, &mut expected);
    let mut theirs = plain.clone();
    aws_lc::AwsLcXts::new(key, encrypt).sectors(sector.bytes(), 0, &mut theirs);
    assert!(theirs == expected, "AWS-LC agrees");
    theirs.copy_from_slice(&plain);
    openssl::OpenSslXts::new(key, encrypt).sectors(sector.bytes(), 0, &mut theirs);
    assert!(theirs == expected, "OpenSSL agrees");
    theirs.copy_from_slice(&plain);
    let mode = xts_mode::XtsMode::new(key);
    if encrypt {
        mode.encrypt(sector.bytes(), 0, &mut theirs)
    } else {
        mode.decrypt(sector.bytes(), 0, &mut theirs)
    }
    assert!(theirs == expected, "xts-mode agrees");
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    named.map_or("unknown", |(_, name)| name).to_owned()
}

/// How often a group that falls short is measured, at most.
const TRIES: usize = 3;
/// The default chunk, in the second-level cache.
const CHUNK: usize = 256 << 10;
/// Unwraps a turn.
const MANY: usize = 64;
