//! A vault and a generator that give the same bytes every time, so that sealing a given input gives a given file.
//!
//! RSA-OAEP comes from the `rsa` crate, which the engine does not use: what it wraps, AWS-LC unwraps, and the other way round.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rsa::pkcs8::DecodePrivateKey;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{Oaep, RsaPrivateKey, RsaPublicKey};
use sha2::digest::consts::U20;
use sha2::digest::{FixedOutput, FixedOutputReset, HashMarker, Output, OutputSizeUser, Reset, Update};
use sha2::{Digest, Sha256};
use sobre::key::{KeyRef, KeyVersion, Thumbprint, VaultName};
use sobre::oaep::WrapAlgorithm;
use sobre::provider::{KeyProvider, OpContext, PemKey, ProviderError, ProviderErrorKind, WrappedKey};
use sobre::random::{Random, RandomError};
use sobre::secret::SecretBytes;

/// Holds private keys of `vectors/keys`; wraps with an OAEP seed that follows from the key and the message.
#[derive(Debug)]
pub struct Oracle {
    name: VaultName,
    algorithm: WrapAlgorithm,
    keys: BTreeMap<Thumbprint, (KeyVersion, RsaPrivateKey)>,
    unwrapped: Mutex<u64>,
}

impl Oracle {
    /// Loads `test-NAME.pkcs8.pem`, each as the customer's unless its name begins with `platform:`.
    pub fn new(names: &[&str], algorithm: WrapAlgorithm) -> Self {
        let mut keys = BTreeMap::new();
        for name in names {
            let plain = name.trim_start_matches("platform:");
            let path = super::test_key(plain);
            let mut version = PemKey::read(&path).expect("a test key").version;
            // A path would depend on where the repository is.
            version.id = format!("oracle/{}@1", plain.trim_end_matches(".pkcs8.pem"));
            version.customer = plain == *name;
            let pem = std::fs::read_to_string(&path).expect("a test key");
            let private = RsaPrivateKey::from_pkcs8_pem(&pem).expect("a test key");
            keys.insert(version.thumbprint, (version, private));
        }
        Self { name: "oracle".parse().expect("a name"), algorithm, keys, unwrapped: Mutex::new(0) }
    }

    /// Returns the only key.
    pub fn only_version(&self) -> KeyVersion {
        assert_eq!(self.keys.len(), 1);
        self.keys.values().next().expect("one key").0.clone()
    }

    /// Returns how often it was asked to unwrap.
    pub fn unwrapped(&self) -> u64 {
        *self.unwrapped.lock().expect("no panic before")
    }

    fn error(&self, kind: ProviderErrorKind, key: &str) -> ProviderError {
        ProviderError::new(kind, &self.name, key)
    }

    fn known(&self, of: &Thumbprint) -> Result<&(KeyVersion, RsaPrivateKey), ProviderError> {
        self.keys.get(of).ok_or_else(|| self.error(ProviderErrorKind::NotFound, &of.to_string()))
    }
}

impl KeyProvider for Oracle {
    fn name(&self) -> &VaultName {
        &self.name
    }

    fn version(&self, key: &KeyRef, _cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        Err(self.error(ProviderErrorKind::NotFound, &key.to_string()))
    }

    fn find(&self, of: &Thumbprint, _cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.known(of).map(|(version, _)| version.clone())
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, _cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        let (_, private) = self.known(&kek.thumbprint)?;
        let ciphertext = wrap(&private.to_public_key(), &kek.thumbprint, self.algorithm, secret.expose());
        Ok(WrappedKey { thumbprint: kek.thumbprint, id: kek.id.clone(), algorithm: self.algorithm, ciphertext })
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, _cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        *self.unwrapped.lock().expect("no panic before") += 1;
        let (_, private) = self.known(&wrapped.thumbprint)?;
        let opened = match wrapped.algorithm {
            WrapAlgorithm::RsaOaep => private.decrypt(Oaep::<Sha1>::new(), &wrapped.ciphertext),
            WrapAlgorithm::RsaOaep256 => private.decrypt(Oaep::<Sha256>::new(), &wrapped.ciphertext),
            _ => return Err(self.error(ProviderErrorKind::Unsupported, &wrapped.id)),
        };
        opened.map(SecretBytes::taken_from).map_err(|_| self.error(ProviderErrorKind::UnwrapFailed, &wrapped.id))
    }
}

/// Wraps `secret` with a seed that follows from everything else.
pub fn wrap(public: &RsaPublicKey, of: &Thumbprint, algorithm: WrapAlgorithm, secret: &[u8]) -> Vec<u8> {
    let seed = Sha256::digest([b"oracle oaep\0", of.as_bytes().as_slice(), secret].concat());
    let mut rng = Stream::new(&seed);
    match algorithm {
        WrapAlgorithm::RsaOaep => public.encrypt(&mut rng, Oaep::<Sha1>::new(), secret),
        _ => public.encrypt(&mut rng, Oaep::<Sha256>::new(), secret),
    }
    .expect("a secret that fits")
}

/// Gives the SHA-256 counter stream of a seed.
#[derive(Debug)]
pub struct SeededRandom(Mutex<Stream>);

impl SeededRandom {
    pub fn new(seed: &str) -> Self {
        Self(Mutex::new(Stream::new(seed.as_bytes())))
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        self.0.lock().map_err(|_| RandomError)?.fill(out);
        Ok(())
    }
}

/// SHA-256(seed | u64 counter), block after block.
#[derive(Debug)]
pub struct Stream {
    seed: Vec<u8>,
    next: u64,
    rest: Vec<u8>,
}

impl Stream {
    pub fn new(seed: &[u8]) -> Self {
        Self { seed: seed.to_vec(), next: 0, rest: Vec::new() }
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            if self.rest.is_empty() {
                self.rest = Sha256::digest([self.seed.as_slice(), &self.next.to_le_bytes()].concat()).to_vec();
                self.next += 1;
            }
            let count = self.rest.len().min(out.len() - done);
            out[done..done + count].copy_from_slice(&self.rest[..count]);
            self.rest.drain(..count);
            done += count;
        }
    }
}

impl TryRng for Stream {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        self.fill(dst);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

/// SHA-1 of AWS-LC in the shape that `rsa` takes: there is no other SHA-1 among the dependencies.
#[derive(Clone, Debug, Default)]
pub struct Sha1(Vec<u8>);

impl HashMarker for Sha1 {}

impl OutputSizeUser for Sha1 {
    type OutputSize = U20;
}

impl Update for Sha1 {
    fn update(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }
}

impl FixedOutput for Sha1 {
    fn finalize_into(self, out: &mut Output<Self>) {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        out.copy_from_slice(digest.as_ref());
    }
}

impl Reset for Sha1 {
    fn reset(&mut self) {
        self.0.clear();
    }
}

impl FixedOutputReset for Sha1 {
    fn finalize_into_reset(&mut self, out: &mut Output<Self>) {
        FixedOutput::finalize_into(std::mem::take(self), out);
    }
}

/// Wraps under another key than the thumbprint says, for tests that need more keys than there are.
#[derive(Debug)]
pub struct Unchecked(pub sobre::engine::WrappingKey);

impl KeyProvider for Unchecked {
    fn name(&self) -> &VaultName {
        self.0.provider.name()
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.0.provider.version(key, cx)
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.0.provider.find(of, cx)
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        let wrapped = self.0.provider.wrap_key(&self.0.version, secret, cx)?;
        Ok(WrappedKey { thumbprint: kek.thumbprint, ..wrapped })
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        self.0.provider.unwrap_key(wrapped, cx)
    }
}

/// Asks another vault once for every wrapped key: for tests that open thousands of containers.
#[derive(Debug)]
pub struct Remembering<P> {
    inner: P,
    known: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl<P: KeyProvider> Remembering<P> {
    pub fn new(inner: P) -> Self {
        Self { inner, known: Mutex::default() }
    }
}

impl<P: KeyProvider> KeyProvider for Remembering<P> {
    fn name(&self) -> &VaultName {
        self.inner.name()
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.inner.version(key, cx)
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.inner.find(of, cx)
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        self.inner.wrap_key(kek, secret, cx)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        let name = [wrapped.thumbprint.as_bytes().as_slice(), &wrapped.ciphertext].concat();
        if let Some(secret) = self.known.lock().expect("no panic before").get(&name) {
            return Ok(SecretBytes::copied_from(secret));
        }
        let secret = self.inner.unwrap_key(wrapped, cx)?;
        self.known.lock().expect("no panic before").insert(name, secret.expose().to_vec());
        Ok(secret)
    }
}
