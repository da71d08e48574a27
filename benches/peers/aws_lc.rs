//! AES-256-XTS by AWS-LC, through its EVP interface: the tweak is set anew for every sector.

#![allow(unsafe_code, reason = "a C interface, in benches only")]

use std::ptr::{self, NonNull};

use aws_lc_sys as c;

/// One key and direction.
pub(crate) struct AwsLcXts {
    context: NonNull<c::EVP_CIPHER_CTX>,
}

impl AwsLcXts {
    /// Expands `key`.
    ///
    /// # Panics
    ///
    /// When AWS-LC refuses the key or has no memory.
    pub(crate) fn new(key: &[u8; 64], encrypt: bool) -> Self {
        // SAFETY: takes nothing; a null pointer is refused below.
        let context = NonNull::new(unsafe { c::EVP_CIPHER_CTX_new() }).expect("memory for a context");
        // SAFETY: takes nothing and returns a pointer to static data.
        let cipher = unsafe { c::EVP_aes_256_xts() };
        let encrypt = i32::from(encrypt);
        // SAFETY: the context is alive, the cipher static, the key has the 64 bytes that this cipher reads; engine and tweak may be null.
        let done = unsafe {
            c::EVP_CipherInit_ex(context.as_ptr(), cipher, ptr::null_mut(), key.as_ptr(), ptr::null(), encrypt)
        };
        assert_eq!(done, 1, "AWS-LC takes the key");
        Self { context }
    }

    /// Runs whole sectors of `size` bytes in place; tweaks count units of 512 bytes from `first`.
    ///
    /// # Panics
    ///
    /// When AWS-LC fails.
    pub(crate) fn sectors(&mut self, size: usize, first: u64, data: &mut [u8]) {
        let mut number = first;
        for sector in data.chunks_exact_mut(size) {
            let mut tweak = [0; 16];
            tweak[..8].copy_from_slice(&number.to_le_bytes());
            number += (size / 512) as u64;
            let (len, mut written) = (i32::try_from(size).expect("a sector is short"), 0);
            // SAFETY: the context has a key; the tweak has the 16 bytes that are read; the other pointers may be null.
            let set = unsafe {
                c::EVP_CipherInit_ex(
                    self.context.as_ptr(),
                    ptr::null(),
                    ptr::null_mut(),
                    ptr::null(),
                    tweak.as_ptr(),
                    -1,
                )
            };
            // SAFETY: input and output are the same `len` bytes, which this cipher allows; XTS writes no more than it reads.
            let done = unsafe {
                c::EVP_CipherUpdate(self.context.as_ptr(), sector.as_mut_ptr(), &raw mut written, sector.as_ptr(), len)
            };
            assert!(set == 1 && done == 1 && written == len, "AWS-LC runs a sector");
        }
    }
}

impl Drop for AwsLcXts {
    fn drop(&mut self) {
        // SAFETY: the context came from `EVP_CIPHER_CTX_new` and is freed once.
        unsafe { c::EVP_CIPHER_CTX_free(self.context.as_ptr()) }
    }
}
