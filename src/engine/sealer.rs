//! The chunk API for sealing: in place, no I/O, no threads of its own.

use std::sync::{Mutex, PoisonError};

use crate::aead::NONCE_LEN;
use crate::engine::chunk::chunk_of;
use crate::engine::cipher::ChunkCipher;
use crate::engine::recorded::Purpose;
use crate::engine::unlock::Heads;
use crate::engine::{
    Chunk, ChunkRecord, Chunks, Engine, Error, Geometry, LayerPolicy, PolicyError, SealPolicy, WrappingKey,
};
use crate::format::{
    Entry, Envelope, FOOTER_LEN, Footer, Head, Header, HeaderHash, Index, KeyOrigin, Keys, Layer, LayerKeys,
    LayerSecret, MAX_CHUNKS, Page, RECORDS_PER_PAGE, Record, Section, Shape, SnapshotId, Suite,
};
use crate::kdf;
use crate::random::random_secret;
use crate::secret::SecretBytes;
use crate::xts::SectorSize;

/// Seals the chunks of one disk, in any order and from many threads.
///
/// Nonces are drawn from a seed of this process and count repetitions, so a chunk sealed again never repeats one: not in another
/// process, and not in this one, where it may have other contents by then.
#[derive(Debug)]
pub struct Sealer {
    pub(super) head: Vec<u8>,
    pub(super) header: Header,
    pub(super) hash: HeaderHash,
    pub(super) keys: Keys,
    pub(super) cipher: ChunkCipher,
    pub(super) session: u16,
    session_seed: SecretBytes,
    shape: Option<Shape>,
    encrypted: Mutex<Encrypted>,
}

/// Which chunks have used up their first nonce: one bit each.
#[derive(Debug, Default)]
struct Encrypted {
    chunks: Vec<u64>,
    repetitions: u64,
}

impl Sealer {
    /// Returns the head of the snapshot: 32768 bytes without a secret. Another host with the same keys can resume from it.
    pub fn header(&self) -> &[u8] {
        &self.head
    }

    /// Returns all chunks of the disk; none for a stream.
    pub fn chunks(&self) -> Chunks {
        let shape = self.shape.or_else(|| Shape::of(&self.header, 0).ok()).expect("an empty disk has a shape");
        Chunks::new(shape, self.header.chunk.bytes())
    }

    /// Returns chunk `index`; `None` past the end of the disk, or for a stream.
    pub fn chunk(&self, index: u64) -> Option<Chunk> {
        let shape = self.shape?;
        (index < shape.chunk_count).then(|| chunk_of(&mut (shape, self.header.chunk.bytes()), index))
    }

    /// Returns chunk `index` of a stream, of which `len` bytes were read; only the last may be shorter than the chunk size.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] when `len` is 0 or longer than a chunk, or when there are too many chunks.
    pub fn stream_chunk(&self, index: u64, len: usize) -> Result<Chunk, Error> {
        let bytes = self.header.chunk.bytes();
        let offset = index.saturating_mul(bytes);
        let why = "it is too long for this chunk size";
        let misfit = PolicyError::DiskLength { len: offset.saturating_add(len as u64), why };
        if len == 0 || len as u64 > bytes || index >= MAX_CHUNKS {
            return Err(misfit.into());
        }
        let shape = Shape::of(&self.header, offset + len as u64).map_err(|_| match self.header.sector {
            SectorSize::Bytes4096 => {
                PolicyError::DiskLength { len: offset + len as u64, why: "it is no multiple of 4096-byte sectors" }
            }
            SectorSize::Bytes512 => misfit,
        })?;
        Ok(chunk_of(&mut (shape, bytes), index))
    }

    /// Encrypts a chunk in place. `buf` holds the chunk's bytes and, behind them, room up to
    /// [`padded_len`](Chunk::padded_len), which is zeroed first.
    ///
    /// # Errors
    ///
    /// [`Error::BufferLength`].
    pub fn seal_chunk(&self, chunk: Chunk, buf: &mut [u8]) -> Result<ChunkRecord, Error> {
        if buf.len() != chunk.padded_len {
            return Err(Error::BufferLength { found: buf.len(), expected: chunk.padded_len });
        }
        if let Some(padding) = buf.get_mut(chunk.len..) {
            padding.fill(0);
        }
        let record = self.cipher.seal(chunk, &self.nonce(chunk.index), buf)?;
        Ok(ChunkRecord { index: chunk.index, len: chunk.len, record, snapshot: self.hash })
    }

    /// Records that a chunk is all zeros; nothing needs to be stored for it.
    pub fn zero(&self, chunk: Chunk) -> ChunkRecord {
        ChunkRecord { index: chunk.index, len: chunk.len, record: Record::Hole, snapshot: self.hash }
    }

    /// Puts the records of all chunks, in any order, together to the snapshot's manifest.
    ///
    /// # Errors
    ///
    /// [`Error::IncompleteChunks`] for a forgotten chunk, [`Error::DuplicateChunk`], [`Error::Foreign`] for another sealer's record.
    pub fn finish(self, records: impl IntoIterator<Item = ChunkRecord>) -> Result<Trailer, Error> {
        let mut records: Vec<_> = records.into_iter().collect();
        records.sort_unstable_by_key(|record| record.index);
        let mut disk_len = 0;
        for (index, record) in (0..).zip(&records) {
            if record.snapshot != self.hash {
                return Err(Error::Foreign);
            }
            if record.index < index {
                return Err(Error::DuplicateChunk(record.index));
            }
            if record.index > index {
                return Err(Error::IncompleteChunks(index));
            }
            disk_len = self.offset_of(index).saturating_add(record.len as u64);
        }
        let count = records.len() as u64;
        let shape = match self.shape {
            Some(shape) => shape,
            None => Shape::of(&self.header, disk_len)?,
        };
        if count != shape.chunk_count || disk_len != shape.disk_len {
            return Err(Error::IncompleteChunks(count.min(shape.chunk_count.saturating_sub(1))));
        }
        let mut body = Body::new(&self);
        let mut manifest = self.header.encode().to_vec();
        for record in &records {
            // A stream's caller says how long each chunk is: only the last may be short.
            if record.len as u64 != shape.chunk_len(record.index) {
                return Err(Error::IncompleteChunks(record.index));
            }
            if let Some((_, page)) = body.push(record.record) {
                manifest.extend_from_slice(&page);
            }
        }
        if let Some((_, page)) = body.close() {
            manifest.extend_from_slice(&page);
        }
        let ending = body.ending(shape)?;
        manifest.extend_from_slice(&ending.index);
        manifest.extend_from_slice(&ending.footer);
        Ok(Trailer { manifest, root: ending.root })
    }

    pub(super) fn shape_of(&self, disk_len: u64) -> Result<Shape, Error> {
        Ok(Shape::of(&self.header, disk_len)?)
    }

    pub(super) fn in_session(mut self, session: u16) -> Self {
        self.session = session;
        self
    }

    /// Whether the disk's length is not known yet.
    pub(super) fn is_stream(&self) -> bool {
        self.shape.is_none()
    }

    pub(super) fn page_key(&self) -> &SecretBytes {
        &self.keys.page
    }

    fn offset_of(&self, index: u64) -> u64 {
        index.saturating_mul(self.header.chunk.bytes())
    }

    fn nonce(&self, chunk: u64) -> [u8; NONCE_LEN] {
        if self.header.suite == Suite::XtsBlake3 {
            return [0; NONCE_LEN];
        }
        let repetition = match self.repetition(chunk) {
            0 => Vec::new(),
            count => count.to_le_bytes().to_vec(),
        };
        let prf = kdf::hmac(&self.session_seed, &[&chunk.to_le_bytes(), &repetition]);
        *prf.first_chunk().expect("32 bytes have 12")
    }

    /// Returns 0 for a chunk that is encrypted for the first time, and another number every time after that.
    fn repetition(&self, chunk: u64) -> u64 {
        // Chunks are fewer than 2^28: 32 MiB at most.
        let word = usize::try_from(chunk / 64).unwrap_or(0);
        let mut encrypted = self.encrypted.lock().unwrap_or_else(PoisonError::into_inner);
        if encrypted.chunks.len() <= word {
            encrypted.chunks.resize(word + 1, 0);
        }
        let bit = 1 << (chunk % 64);
        match encrypted.chunks.get_mut(word) {
            Some(bits) if *bits & bit == 0 => {
                *bits |= bit;
                0
            }
            _ => {
                encrypted.repetitions += 1;
                encrypted.repetitions
            }
        }
    }
}

/// The end of a snapshot in parts: a detached manifest (SPEC §8). Storing it is what makes the snapshot exist.
#[derive(Clone, Debug)]
pub struct Trailer {
    manifest: Vec<u8>,
    root: [u8; 32],
}

impl Trailer {
    /// Returns the manifest's bytes: no secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.manifest
    }

    /// Returns the hash that stands for the whole snapshot below its head.
    pub fn root(&self) -> &[u8; 32] {
        &self.root
    }
}

impl Engine {
    /// Draws new keys for a snapshot of `disk` and wraps them as `policy` says. One local operation per key; no vault is asked.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] when a key may not wrap or the disk does not fit the geometry; [`Error::Provider`]; [`Error::Random`].
    pub fn sealer(&self, disk: Geometry, policy: &SealPolicy) -> Result<Sealer, Error> {
        self.sealer_of(disk, policy, None)
    }

    pub(super) fn sealer_of(
        &self,
        disk: Geometry,
        policy: &SealPolicy,
        source: Option<[u8; 32]>,
    ) -> Result<Sealer, Error> {
        let now = self.clock.now();
        let mut id = [0; 16];
        self.random.fill(&mut id)?;
        let header = Header {
            suite: policy.suite,
            sector: policy.sector,
            chunk: policy.chunk,
            key_origin: KeyOrigin::Fresh,
            optional: 0,
            created: now,
            id: SnapshotId::from_bytes(id),
            disk_id: [0; 16],
            sequence: 0,
            previous: [0; 32],
            labels: policy.labels.clone(),
        };
        let (hash, id) = (header.hash(), header.id);
        let shape = disk.disk_len.map(|len| shape_for_policy(&header, len)).transpose()?;
        let mut layers = Vec::new();
        let mut sections = Vec::new();
        for (layer, keys) in &policy.layers {
            let secret = LayerSecret::fresh(*layer, &hash, self.random.as_ref())?;
            let layer_keys = LayerKeys::derive(&secret, &hash);
            let section = Section {
                layer: *layer,
                customer: keys.customer(),
                generation: 1,
                updated: now,
                set: keys.set.clone(),
                source: source.filter(|_| *layer == Layer::Inner).map_or(Vec::new(), |hash| hash.to_vec()),
                entries: self.wrap(keys, secret.blob(), (Some(id), *layer))?,
            };
            let bytes = section.seal(&layer_keys.envelope);
            sections.push((section, bytes));
            layers.push((secret, layer_keys));
        }
        let keys = Keys::derive(policy.suite, &layers).ok_or(PolicyError::SuiteLayers(policy.suite))?;
        let head = Head { header, envelope: Envelope::new(1, sections)? };
        self.sealer_with(head, hash, keys, 0, shape)
    }

    /// Goes on sealing the snapshot whose head is `header`, from any host that can open it. The head does not say how long the
    /// disk is: `disk` does, as it did for [`sealer`](Self::sealer).
    ///
    /// # Errors
    ///
    /// As opening a snapshot: [`Error::Format`], [`Error::KeyMissing`], [`Error::Provider`].
    pub fn resume(&self, header: &[u8], disk: Geometry) -> Result<Sealer, Error> {
        let heads = Heads::single(header)?;
        let unlocked = self.unlock(&heads, Layer::of(heads.header.suite))?;
        let keys = unlocked.keys()?;
        let shape = disk.disk_len.map(|len| shape_for_policy(&heads.header, len)).transpose()?;
        self.sealer_with(unlocked.head.1, heads.hash, keys, 1, shape)
    }

    pub(super) fn sealer_with(
        &self,
        head: Head,
        hash: HeaderHash,
        keys: Keys,
        session: u16,
        shape: Option<Shape>,
    ) -> Result<Sealer, Error> {
        Ok(Sealer {
            head: head.encode(),
            cipher: ChunkCipher::new(head.header.suite, head.header.sector, &keys)?,
            header: head.header,
            hash,
            keys,
            session,
            session_seed: random_secret(self.random.as_ref(), SEED_LEN)?,
            shape,
            encrypted: Mutex::default(),
        })
    }

    /// Wraps a layer's secret under each of its keys.
    pub(super) fn wrap(&self, keys: &LayerPolicy, blob: &SecretBytes, of: Purpose) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        if let Some((epoch, kek)) = &keys.epoch {
            // An expired key seals nothing, not through an epoch key either.
            self.may_wrap(kek, of)?;
            if epoch.layer() != of.1 {
                return Err(PolicyError::ForeignEpoch.into());
            }
            entries.push(epoch.wrap(blob)?);
        }
        entries.extend(self.wrap_under_keys(&keys.keys, blob, of)?);
        Ok(entries)
    }

    /// Wraps a secret under KEKs.
    pub(super) fn wrap_under_keys(
        &self,
        keys: &[WrappingKey],
        blob: &SecretBytes,
        of: Purpose,
    ) -> Result<Vec<Entry>, Error> {
        let cx = self.context_of(of);
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            self.may_wrap(key, of)?;
            let wrapped = key.provider.wrap_key(&key.version, blob, &cx)?;
            entries.push(Entry::new(wrapped.algorithm, wrapped.thumbprint, wrapped.id, wrapped.ciphertext));
        }
        Ok(entries)
    }

    fn may_wrap(&self, key: &WrappingKey, of: Purpose) -> Result<(), PolicyError> {
        key.version.may_wrap(self.clock.now()).map_err(|refusal| {
            self.tell_wrap(key, &refusal, of);
            PolicyError::KeyRefused { key: key.version.id.clone(), refusal }
        })
    }
}

/// Collects records in order into pages.
#[derive(Debug)]
pub(super) struct Body<'a> {
    sealer: &'a Sealer,
    number: u32,
    data_offset: u64,
    data_len: u64,
    page_data: u64,
    records: Vec<Record>,
    index: Index,
}

/// Index and footer of a finished body.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) index: Vec<u8>,
    pub(super) footer: [u8; FOOTER_LEN],
    pub(super) root: [u8; 32],
    pub(super) index_offset: u64,
    pub(super) data_len: u64,
    pub(super) file_len: u64,
}

impl<'a> Body<'a> {
    pub(super) fn new(sealer: &'a Sealer) -> Self {
        Self {
            sealer,
            number: 0,
            data_offset: crate::format::BODY_OFFSET,
            data_len: 0,
            page_data: 0,
            records: Vec::with_capacity(RECORDS_PER_PAGE),
            index: Index::default(),
        }
    }

    /// Adds the next record; returns a page and its offset in the file when one is full.
    pub(super) fn push(&mut self, record: Record) -> Option<(u64, Vec<u8>)> {
        self.page_data += u64::from(record.stored_len());
        self.records.push(record);
        if self.records.len() == RECORDS_PER_PAGE { self.close() } else { None }
    }

    /// Closes the page in hand, if it has records.
    pub(super) fn close(&mut self) -> Option<(u64, Vec<u8>)> {
        if self.records.is_empty() {
            return None;
        }
        let records = std::mem::replace(&mut self.records, Vec::with_capacity(RECORDS_PER_PAGE));
        let page = Page { number: self.number, session: self.sealer.session, data_offset: self.data_offset, records };
        let bytes = page.seal(&self.sealer.hash, &self.sealer.keys.page);
        let offset = self.data_offset + self.page_data;
        self.keep(offset, &bytes, self.page_data);
        Some((offset, bytes))
    }

    /// Takes over a page that an earlier session wrote.
    pub(super) fn keep(&mut self, offset: u64, bytes: &[u8], page_data: u64) {
        self.index.push(offset, bytes);
        self.number += 1;
        self.data_len += page_data;
        self.data_offset = offset + bytes.len() as u64;
        self.page_data = 0;
    }

    /// Returns where the next chunk's stored bytes go in the file.
    pub(super) fn next_offset(&self) -> u64 {
        self.data_offset + self.page_data
    }

    /// Returns the number of the next chunk.
    pub(super) fn next_chunk(&self) -> u64 {
        u64::from(self.number) * RECORDS_PER_PAGE as u64 + self.records.len() as u64
    }

    /// Returns the number of the next page.
    pub(super) fn next_page(&self) -> u32 {
        self.number
    }

    pub(super) fn ending(&self, shape: Shape) -> Result<Ending, Error> {
        let index = self.index.encode();
        let footer = Footer::new(self.sealer.hash, shape, self.data_len, &index)?;
        Ok(Ending {
            footer: footer.seal(&self.sealer.keys.footer),
            root: footer.root,
            index_offset: footer.index_offset,
            data_len: footer.data_len,
            file_len: footer.file_len,
            index,
        })
    }
}

fn shape_for_policy(header: &Header, len: u64) -> Result<Shape, Error> {
    Shape::of(header, len).map_err(|_| {
        let why = match header.sector {
            SectorSize::Bytes4096 if !len.is_multiple_of(4096) => "it is no multiple of 4096-byte sectors",
            _ => "it is too long for this chunk size",
        };
        PolicyError::DiskLength { len, why }.into()
    })
}

const SEED_LEN: usize = 32;
