//! `sobre bench`

use std::process::ExitCode;

use serde_json::{Value, json};
use sobre::measure::{
    self, Direction, Effort, GmacRate, GmacReport, LimitingResource, MeasureError, Report, Topic, XtsReport,
};
use sobre::xts::{Backend, SectorSize};

use crate::cli::args::{BenchArgs, TopicName};
use crate::cli::exit::Failure;
use crate::cli::report::Output;

pub(crate) fn run(args: &BenchArgs, output: &Output) -> Result<ExitCode, Failure> {
    let topic = args.only.map(|topic| match topic {
        TopicName::Integrity => Topic::Integrity,
        TopicName::Rsa => Topic::Rsa,
        TopicName::Xts => Topic::Xts,
    });
    let report = measure::run(topic, Effort::default()).map_err(Failure::from)?;
    show(&report, output);
    output.finish(object(&report))
}

fn show(report: &Report, output: &Output) {
    let machine = &report.machine;
    let names: Vec<_> = machine.backends.iter().map(ToString::to_string).collect();
    output.say(format_args!("CPU       {}, {} cores", machine.cpu, machine.cores));
    output.say(format_args!("backends  {} (best first)", names.join(", ")));
    if let Some(xts) = &report.xts {
        show_xts(xts, output);
    }
    if let Some(gmac) = &report.gmac {
        show_gmac(gmac, output);
    }
    if let Some(rows) = &report.integrity {
        output.say("\nIntegrity, 256 KiB in cache, one core               GB/s");
        for row in rows {
            output.say(format_args!("  {:12} {:38} {:>6}", row.name, row.role, gb(row.rate)));
        }
    }
    if let Some(rows) = &report.suites {
        output.say("\nSuites, 256 KiB in cache, GB/s                 one core  all cores");
        for row in rows {
            let what = match row.direction {
                Direction::Decrypt => "open, with a copy before",
                Direction::Encrypt => "seal",
            };
            let all = gb(row.rate_on_all_cores);
            output.say(format_args!("  {:12} {what:28} {:>10} {all:>10}", row.suite.name(), gb(row.rate)));
        }
    }
    if let Some(memory) = &report.memory {
        let mib = memory.large_buffer >> 20;
        output.say("\nMemory, one core                                    GB/s");
        let rows = [
            (format!("memcpy of {mib} MiB"), memory.memcpy),
            (format!("XTS 512 of {mib} MiB in place: {:.2} of memcpy", memory.xts_of_memcpy), memory.xts),
            ("read of a file in memory".to_owned(), memory.file_read),
            ("write of a new file in memory".to_owned(), memory.file_write),
        ];
        for (name, rate) in rows {
            output.say(format_args!("  {name:51} {:>6}", gb(rate)));
        }
    }
    if let Some(rows) = &report.rsa {
        output.say("\nRSA-OAEP-256 a second            wraps    unwraps   all cores: wraps    unwraps");
        for row in rows {
            output.say(format_args!(
                "  {} bits                 {:>9.0}  {:>9.0}          {:>9.0}  {:>9.0}",
                row.bits, row.wraps, row.unwraps, row.wraps_on_all_cores, row.unwraps_on_all_cores
            ));
        }
    }
    if let Some(limit) = &report.limit {
        let what = match limit.resource {
            LimitingResource::Cipher => "encrypting and hashing",
            _ => "the kernel's copies and new pages",
        };
        output.say(format_args!(
            "\nA snapshot here, xts-blake3: {:.2} CPU seconds a GiB for the cipher and {:.2} for copies, so {what} limit it,",
            limit.cipher_seconds, limit.copy_seconds
        ));
        output.say(format_args!(
            "unless it is read from or written to a device of less than {} GB/s.",
            gb(limit.device).trim()
        ));
    }
}

fn show_xts(xts: &XtsReport, output: &Output) {
    output.say("\nAES-256-XTS, 256 KiB in place, one core     512 encrypt   512 decrypt  4096 encrypt  4096 decrypt");
    let mut backends: Vec<Backend> = Vec::new();
    for row in &xts.rows {
        if !backends.contains(&row.backend) {
            backends.push(row.backend);
        }
    }
    for backend in backends {
        let ceiling = |direction| {
            let row = xts.rooflines.iter().find(|row| row.backend == backend && row.direction == direction);
            row.map_or(String::new(), |row| gb(row.rate))
        };
        let (encrypt, decrypt) = (ceiling(Direction::Encrypt), ceiling(Direction::Decrypt));
        let name = format!("{backend}: rounds alone");
        output.say(format_args!("  {name:37} {encrypt:>9} GB/s{decrypt:>9} GB/s{encrypt:>9} GB/s{decrypt:>9} GB/s"));
        let mut line = format!("  {:37}", backend.name());
        let mut of = backend;
        for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            for direction in [Direction::Encrypt, Direction::Decrypt] {
                let row = xts
                    .rows
                    .iter()
                    .find(|row| row.backend == backend && row.sector == sector && row.direction == direction);
                if let Some(row) = row {
                    of = row.roofline;
                    line += &format!("{:>7} {:>4.0} %", gb(row.rate), 100.0 * row.fraction_of_roofline);
                }
            }
        }
        if of != backend {
            line += &format!("  (of {of})");
        }
        output.say(line);
    }
    output.say(format_args!("  all cores: {:.2} times one core", xts.scaling));
}

fn show_gmac(gmac: &GmacReport, output: &Output) {
    let row = |name, rate: GmacRate| {
        output.say(format_args!("  {name:37} {:>9} {:>4.0} %", gb(rate.rate), 100.0 * rate.fraction_of_roofline));
    };
    row("XTS, then GMAC", gmac.two_passes);
    if let Some(fused) = gmac.fused {
        row("XTS and GMAC in one pass", fused);
    }
    if let Some(ratio) = gmac.fused_from_memory {
        output.say(format_args!("  from memory, one pass is {ratio:.2} times as fast as two"));
    }
}

fn object(report: &Report) -> Value {
    let xts = report.xts.as_ref().map(|xts| {
        json!({
            "rooflines": xts.rooflines.iter().map(|row| json!({
                "backend": row.backend.name(), "direction": row.direction.name(), "gb_per_second": rounded(row.rate),
            })).collect::<Vec<_>>(),
            "kernels": xts.rows.iter().map(|row| json!({
                "backend": row.backend.name(), "sector_size": row.sector.bytes(), "direction": row.direction.name(),
                "gb_per_second": rounded(row.rate), "fraction_of_roofline": thousandths(row.fraction_of_roofline),
                "roofline": row.roofline.name(),
            })).collect::<Vec<_>>(),
            "all_cores_of_one": thousandths(xts.scaling),
        })
    });
    let rate = |rate: GmacRate| json!({ "gb_per_second": rounded(rate.rate), "fraction_of_roofline": thousandths(rate.fraction_of_roofline) });
    let gmac = report.gmac.map(|gmac| {
        json!({
            "two_passes": rate(gmac.two_passes), "fused": gmac.fused.map(rate),
            "fused_of_two_passes_from_memory": gmac.fused_from_memory.map(thousandths),
        })
    });
    let integrity = report.integrity.as_ref().map(|rows| {
        rows.iter()
            .map(|row| json!({ "name": row.name, "for": row.role, "gb_per_second": rounded(row.rate) }))
            .collect::<Vec<_>>()
    });
    let suites = report.suites.as_ref().map(|rows| {
        rows.iter()
            .map(|row| {
                json!({
                    "suite": row.suite.name(), "direction": row.direction.name(), "gb_per_second": rounded(row.rate),
                    "all_cores_gb_per_second": rounded(row.rate_on_all_cores),
                })
            })
            .collect::<Vec<_>>()
    });
    let memory = report.memory.as_ref().map(|memory| {
        json!({
            "buffer_bytes": memory.large_buffer, "memcpy_gb_per_second": rounded(memory.memcpy),
            "xts_gb_per_second": rounded(memory.xts), "xts_of_memcpy": thousandths(memory.xts_of_memcpy),
            "file_read_gb_per_second": rounded(memory.file_read), "file_write_gb_per_second": rounded(memory.file_write),
        })
    });
    let rsa = report.rsa.as_ref().map(|rows| {
        rows.iter()
            .map(|row| {
                json!({
                    "bits": row.bits, "wraps_per_second": row.wraps.round(), "unwraps_per_second": row.unwraps.round(),
                    "all_cores_wraps_per_second": row.wraps_on_all_cores.round(),
                    "all_cores_unwraps_per_second": row.unwraps_on_all_cores.round(),
                })
            })
            .collect::<Vec<_>>()
    });
    let limit = report.limit.map(|limit| {
        json!({
            "resource": limit.resource.name(), "cipher_seconds_per_gib": thousandths(limit.cipher_seconds),
            "copy_seconds_per_gib": thousandths(limit.copy_seconds), "device_gb_per_second": rounded(limit.device),
        })
    });
    let names: Vec<_> = report.machine.backends.iter().map(|backend| backend.name()).collect();
    json!({
        "cpu": report.machine.cpu, "cores": report.machine.cores, "backends": names, "xts": xts,
        "xts_gmac": gmac, "integrity": integrity,
        "suites": suites, "memory": memory, "rsa": rsa, "limit": limit,
    })
}

impl From<MeasureError> for Failure {
    fn from(error: MeasureError) -> Self {
        match error {
            MeasureError::Engine(error) => error.into(),
            other => Failure::plain(&other),
        }
    }
}

/// 10^9 bytes a second, to two places.
fn gb(rate: f64) -> String {
    format!("{:.2}", rate / 1e9)
}

fn rounded(rate: f64) -> f64 {
    thousandths(rate / 1e9)
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
