//! A small language for damage: an input is a list of commands, so that libFuzzer's own mutations stay meaningful on long files.

/// Applies the commands of `input` to `file`; `anchors` are offsets where something interesting begins.
///
/// A command is `what u8 | anchor u8 | distance u16 | value u8...`.
pub fn apply(file: &mut Vec<u8>, anchors: &[usize], mut input: &[u8]) {
    for _ in 0..MOST_COMMANDS {
        let Some((&[what, anchor, low, high], rest)) = input.split_first_chunk::<4>() else { return };
        let distance = usize::from(u16::from_le_bytes([low, high]));
        let at = anchors.get(usize::from(anchor) % anchors.len().max(1)).copied().unwrap_or(0) + distance;
        input = match what % 8 {
            0 => change(file, at, rest, |old, new| old ^ new),
            1 => write(file, at, rest, 1),
            2 => write(file, at, rest, 4),
            3 => write(file, at, rest, 8),
            4 => copy(file, anchors, at, rest),
            5 => {
                file.truncate(at);
                rest
            }
            6 => append(file, rest),
            _ => remove(file, at, rest),
        };
    }
}

fn change<'a>(file: &mut [u8], at: usize, input: &'a [u8], with: impl Fn(u8, u8) -> u8) -> &'a [u8] {
    let Some((value, rest)) = input.split_first() else { return input };
    if let Some(byte) = file.get_mut(at) {
        *byte = with(*byte, *value);
    }
    rest
}

fn write<'a>(file: &mut [u8], at: usize, input: &'a [u8], len: usize) -> &'a [u8] {
    let Some((value, rest)) = input.split_at_checked(len) else { return &[] };
    if let Some(there) = file.get_mut(at..at + len) {
        there.copy_from_slice(value);
    }
    rest
}

/// Copies 2^n bytes from another place: swapped, repeated and spliced records, chunks and pages.
fn copy<'a>(file: &mut [u8], anchors: &[usize], at: usize, input: &'a [u8]) -> &'a [u8] {
    let Some((&[log2, anchor, low, high], rest)) = input.split_first_chunk::<4>() else { return &[] };
    let len = 1_usize << (log2 % 17);
    let from = anchors.get(usize::from(anchor) % anchors.len().max(1)).copied().unwrap_or(0)
        + usize::from(u16::from_le_bytes([low, high]));
    if from + len <= file.len() && at + len <= file.len() {
        file.copy_within(from..from + len, at);
    }
    rest
}

fn append<'a>(file: &mut Vec<u8>, input: &'a [u8]) -> &'a [u8] {
    let Some((&count, rest)) = input.split_first() else { return input };
    let (bytes, rest) = rest.split_at(rest.len().min(count.into()));
    file.extend_from_slice(bytes);
    rest
}

fn remove<'a>(file: &mut Vec<u8>, at: usize, input: &'a [u8]) -> &'a [u8] {
    let Some((&log2, rest)) = input.split_first() else { return input };
    let len = 1_usize << (log2 % 17);
    if at + len <= file.len() {
        file.drain(at..at + len);
    }
    rest
}

const MOST_COMMANDS: usize = 16;
