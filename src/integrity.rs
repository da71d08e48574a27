//! Checksums and hashes of chunks: CRC-64/NVME against damage, BLAKE3 against tampering.

/// Returns the CRC-64/NVME of `data`.
pub(crate) fn crc64(data: &[u8]) -> u64 {
    let mut digest = crc64fast_nvme::Digest::new();
    digest.write(data);
    digest.sum64()
}

/// Returns the BLAKE3-256 hash of `data`.
pub(crate) fn blake3(data: &[u8]) -> [u8; 32] {
    *blake3::hash(data).as_bytes()
}

#[cfg(test)]
mod tests;
