//! From heads to keys: which head counts, which key unwraps each layer (SPEC §9, steps 1, 2, 4 to 6).

use std::fmt;

use crate::audit::Properties;
use crate::engine::{Engine, Error};
use crate::format::{
    Entry, EpochId, Fault, HEAD_LEN, Head, Header, HeaderHash, Keys, Layer, LayerKeys, LayerSecret, Part, Section,
    SnapshotId,
};
use crate::io::{ReadAt, read_exact_at};
use crate::oaep::WrapAlgorithm;
use crate::provider::{ProviderErrorKind, WrappedKey};
use crate::secret::SecretBytes;

/// Something that did not stop an operation but should be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The record of an epoch key is missing or damaged beside the snapshot; a copy from elsewhere served.
    EpochRecordAway(EpochId),
    /// One head is damaged; the other one served.
    HeadDamaged {
        /// 0 for head A, 1 for head B.
        head: u8,
    },
    /// A rewrap was interrupted between the heads.
    RewrapUnfinished,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EpochRecordAway(id) => write!(
                f,
                "{} beside it is missing or can't be used, a copy from elsewhere served; put it back with: \
                 sobre set rotate SET --resume",
                id.file_name()
            ),
            Self::HeadDamaged { head } => write!(
                f,
                "head {} is damaged, the other one served; mend it with: sobre rewrap --repair",
                if *head == 0 { 'A' } else { 'B' }
            ),
            Self::RewrapUnfinished => f.write_str("a rewrap was interrupted; finish it with: sobre rewrap --repair"),
        }
    }
}

/// Both heads as they were read; at least one is usable.
#[derive(Debug)]
pub(super) struct Heads {
    /// Usable heads with their number, the one with the higher generation first.
    usable: Vec<(u8, Head)>,
    pub(super) header: Header,
    pub(super) hash: HeaderHash,
    pub(super) warnings: Vec<Warning>,
}

impl Heads {
    /// Reads both heads from the beginning of a snapshot.
    pub(super) fn read<R: ReadAt + ?Sized>(source: &R) -> Result<Self, Error> {
        let size = source.size()?;
        let mut bytes = vec![0; 2 * HEAD_LEN];
        let have = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
        bytes.truncate(have);
        read_exact_at(source, &mut bytes, 0)?;
        Self::parse(&bytes)
    }

    /// Parses both heads from `bytes`, the beginning of a snapshot.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (a, b) = bytes.split_at_checked(HEAD_LEN).unwrap_or((bytes, &[]));
        let mut usable = Vec::new();
        let mut warnings = Vec::new();
        let mut faults = Vec::new();
        for (number, bytes) in [(0, a), (1, b)] {
            let first: Option<&Head> = usable.first().map(|(_, head)| head);
            let decoded = match first.filter(|_| number == 1 && a == b) {
                // Mirrors, as a rule: what is the same is not hashed twice.
                Some(same) => Ok(same.clone()),
                None => Head::decode(bytes, number),
            };
            match decoded {
                Ok(head) => usable.push((number, head)),
                Err(error) => {
                    warnings.push(Warning::HeadDamaged { head: number });
                    faults.push(error);
                }
            }
        }
        if let [(_, first), (_, second)] = usable.as_slice() {
            if first.header != second.header {
                return Err(Error::damaged(Part::Header, Fault::Differs));
            }
            if first.envelope.generation != second.envelope.generation {
                warnings.push(Warning::RewrapUnfinished);
            } else if first != second {
                warnings.push(Warning::HeadDamaged { head: 1 });
            }
        }
        usable.sort_by_key(|(number, head)| (std::cmp::Reverse(head.envelope.generation), *number));
        let Some((_, best)) = usable.first() else {
            // A head with a good check hash that this version can't read is not a damaged one.
            faults.sort_by_key(|fault| !fault.is_unsupported());
            let not_a_snapshot = Error::damaged(Part::Head(0), Fault::Magic);
            return Err(faults.into_iter().next().map_or(not_a_snapshot, Error::from));
        };
        let header = best.header.clone();
        Ok(Self { hash: header.hash(), header, usable, warnings })
    }

    /// Takes one head, a sidecar's or an object's, as both.
    pub(super) fn single(bytes: &[u8]) -> Result<Self, Error> {
        let head = Head::decode(bytes, 0)?;
        let header = head.header.clone();
        Ok(Self { hash: header.hash(), header, usable: vec![(0, head)], warnings: Vec::new() })
    }

    /// Returns the head that counts, and its number.
    pub(super) fn best(&self) -> (u8, &Head) {
        self.usable.first().map(|(number, head)| (*number, head)).expect("the constructors keep at least one")
    }

    /// Returns the number of the head that does not count.
    pub(super) fn older(&self) -> u8 {
        1 - self.best().0
    }

    /// Whether both heads are usable and the same.
    pub(super) fn agree(&self) -> bool {
        matches!(self.usable.as_slice(), [(_, first), (_, second)] if first == second)
    }
}

/// The layers that were opened.
#[derive(Debug)]
pub(super) struct Unlocked {
    /// The head whose sections verified: number and contents.
    pub(super) head: (u8, Head),
    pub(super) layers: Vec<(LayerSecret, LayerKeys)>,
    pub(super) warnings: Vec<Warning>,
}

impl Unlocked {
    /// Derives the keys of the payload; all layers must be there.
    pub(super) fn keys(&self) -> Result<Keys, Error> {
        Keys::derive(self.head.1.header.suite, &self.layers)
            .ok_or_else(|| Error::damaged(Part::Envelope, Fault::Truncated))
    }
}

impl Engine {
    /// Opens `layers` of a snapshot: one unwrap request each, from the best head; the other head serves when this one's
    /// contents turn out damaged.
    pub(super) fn unlock(&self, heads: &Heads, layers: &[Layer]) -> Result<Unlocked, Error> {
        let unlocked = self.unlock_any(heads, layers);
        unlocked.inspect_err(|error| self.tell_unlock(heads.header.id, error))
    }

    fn unlock_any(&self, heads: &Heads, layers: &[Layer]) -> Result<Unlocked, Error> {
        let mut first_error = None;
        for (number, head) in &heads.usable {
            let mut away = Vec::new();
            match self.unlock_head(head, &heads.hash, layers, &mut away) {
                Ok(layers) => {
                    let mut warnings = heads.warnings.clone();
                    warnings.append(&mut away);
                    // Who has only the old key of an unfinished rewrap needs the older head: nothing is damaged.
                    let older = matches!(first_error, Some(Error::KeyMissing { .. } | Error::KeyNotWanted { .. }))
                        && warnings.contains(&Warning::RewrapUnfinished);
                    if first_error.is_some() && !older {
                        warnings.retain(|warning| *warning != Warning::RewrapUnfinished);
                        warnings.push(Warning::HeadDamaged { head: 1 - *number });
                    }
                    return Ok(Unlocked { head: (*number, head.clone()), layers, warnings });
                }
                // A refusal and an outage end it: asking again with older bytes could get round a decision.
                Err(error) if !could_be_damage(&error) => return Err(first_error.unwrap_or(error)),
                Err(error) => {
                    // The same wrapped key again would be the same answer.
                    if heads.agree() {
                        return Err(error);
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or_else(|| Error::damaged(Part::Envelope, Fault::Truncated)))
    }

    fn unlock_head(
        &self,
        head: &Head,
        hash: &HeaderHash,
        layers: &[Layer],
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<(LayerSecret, LayerKeys)>, Error> {
        if !self.only.is_empty() && !head.envelope.sections().any(|section| self.names(section)) {
            // What a record that can't be had would name is not known.
            let entries = head.envelope.sections().flat_map(|section| &section.entries);
            let unread = entries.filter_map(|entry| self.unread_epoch(&entry.epoch()?)).next();
            let wanted = || head.envelope.sections().flat_map(wanted_keys).collect();
            return Err(unread.unwrap_or_else(|| Error::KeyNotWanted { wanted: wanted() }));
        }
        let mut opened = Vec::new();
        for &layer in layers {
            let missing = || Error::damaged(Part::Section(layer.number()), Fault::Truncated);
            let (section, bytes) = head.envelope.section(layer).ok_or_else(missing)?;
            let blob = self.unwrap(section, head.header.id, warnings)?;
            let secret = LayerSecret::from_blob(layer, hash, blob)?;
            let keys = LayerKeys::derive(&secret, hash);
            section.clone().authenticate(bytes, &keys.envelope)?;
            opened.push((secret, keys));
        }
        Ok(opened)
    }

    /// Unwraps a section's secret with the first of its keys that a vault holds, or with the one that the operator named; through an epoch
    /// key where there is one.
    fn unwrap(
        &self,
        section: &Section,
        snapshot: SnapshotId,
        warnings: &mut Vec<Warning>,
    ) -> Result<SecretBytes, Error> {
        let preferred = section.entries.iter().find(|entry| entry.usable().is_some() || entry.epoch().is_some());
        let overridden = self.names(section);
        let mut nearest = None;
        for entry in &section.entries {
            let about = Properties {
                snapshot: Some(snapshot),
                layer: Some(section.layer),
                overridden: overridden && preferred.is_some_and(|preferred| preferred.thumbprint != entry.thumbprint),
                ..Properties::default()
            };
            if let Some(algorithm) = entry.usable() {
                if overridden && !self.only.contains(&entry.thumbprint) {
                    continue;
                }
                if let Some(secret) = self.unwrap_entry(entry, algorithm, about)? {
                    return Ok(secret);
                }
            } else if let Some(id) = entry.epoch() {
                match self.unwrap_with_copies(&id, &entry.ciphertext, overridden, &about) {
                    Ok((secret, nearest)) => {
                        if !nearest {
                            warnings.push(Warning::EpochRecordAway(id));
                        }
                        return Ok(secret);
                    }
                    Err(error) if could_be_damage(&error) => drop(nearest.get_or_insert(error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(nearest.unwrap_or_else(|| self.key_missing(section)))
    }

    /// Unwraps through an epoch key. The nearest copy of its record counts; others serve where that is missing or damaged, or for keys that
    /// are not at hand. Says whether it was the nearest place that had it.
    fn unwrap_with_copies(
        &self,
        id: &EpochId,
        wrapped: &[u8],
        overridden: bool,
        about: &Properties,
    ) -> Result<(SecretBytes, bool), Error> {
        let mut nearest = None;
        for (place, copy) in self.epoch_copies(id) {
            let unwrapped = copy.and_then(|record| {
                if overridden && !record.keys().any(|key| self.only.contains(&key)) {
                    let wanted = record.section().into_iter().flat_map(|(section, _)| wanted_keys(section)).collect();
                    return Err(Error::KeyNotWanted { wanted });
                }
                let unwrapped = self.unwrap_under_epoch(record, wrapped, about);
                unwrapped.map_err(|error| match (&error, self.epochs.get(place)) {
                    (Error::Format(_), Some(records)) => error.at(&records.place(id)),
                    _ => error,
                })
            });
            match unwrapped {
                Ok(secret) => return Ok((secret, place == 0)),
                Err(error) if could_be_damage(&error) => drop(nearest.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        Err(nearest.unwrap_or_else(|| self.epoch_missing(*id)))
    }

    /// Unwraps what a section holds under KEKs only.
    pub(super) fn unwrap_direct(&self, section: &Section, about: &Properties) -> Result<SecretBytes, Error> {
        let usable = || section.entries.iter().filter_map(|entry| Some((entry, entry.usable()?)));
        let overridden = usable().any(|(entry, _)| self.only.contains(&entry.thumbprint));
        for (entry, algorithm) in usable() {
            if overridden && !self.only.contains(&entry.thumbprint) {
                continue;
            }
            if let Some(secret) = self.unwrap_entry(entry, algorithm, about.clone())? {
                return Ok(secret);
            }
        }
        Err(self.key_missing(section))
    }

    /// Unwraps with the first vault that holds the key; `None` when none does.
    fn unwrap_entry(
        &self,
        entry: &Entry,
        algorithm: WrapAlgorithm,
        about: Properties,
    ) -> Result<Option<SecretBytes>, Error> {
        let cx = self.context().with_about(about);
        for provider in &self.providers {
            let version = match provider.find(&entry.thumbprint, &cx) {
                Ok(version) => version,
                Err(error) if error.kind == ProviderErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let wrapped = WrappedKey {
                thumbprint: entry.thumbprint,
                id: version.id,
                algorithm,
                ciphertext: entry.ciphertext.clone(),
            };
            return Ok(Some(provider.unwrap_key(&wrapped, &cx)?));
        }
        Ok(None)
    }

    /// Whether the operator named a key of this section, itself or behind an epoch key.
    fn names(&self, section: &Section) -> bool {
        if self.only.is_empty() {
            return false;
        }
        let behind = |id: EpochId| {
            self.epoch_copies(&id)
                .filter_map(|(_, copy)| copy.ok())
                .any(|record| record.keys().any(|key| self.only.contains(&key)))
        };
        section.entries.iter().any(|entry| match entry.epoch() {
            Some(id) => behind(id),
            None => self.only.contains(&entry.thumbprint),
        })
    }

    /// Says why no copy of an epoch key's record can be read; `None` when one can.
    fn unread_epoch(&self, id: &EpochId) -> Option<Error> {
        let mut first = None;
        for (_, copy) in self.epoch_copies(id) {
            match copy {
                Ok(_) => return None,
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Some(first.unwrap_or_else(|| self.epoch_missing(*id)))
    }

    fn key_missing(&self, section: &Section) -> Error {
        Error::KeyMissing {
            layer: section.layer,
            wanted: wanted_keys(section).collect(),
            searched: self.providers.iter().map(|provider| provider.name().to_string()).collect(),
        }
    }
}

fn wanted_keys(section: &Section) -> impl Iterator<Item = String> {
    section.entries.iter().map(|entry| {
        if let Some(id) = entry.epoch() {
            return format!("epoch key {id}");
        }
        let short = entry.thumbprint.short();
        entry.locators.first().map_or(format!("jkt:{short}"), |locator| format!("{locator} (jkt:{short})"))
    })
}

fn could_be_damage(error: &Error) -> bool {
    match error {
        // An interrupted rewrap to another key leaves the older wrapper in one head.
        Error::EpochMissing { .. }
        | Error::Foreign
        | Error::Format(_)
        | Error::KeyMissing { .. }
        | Error::KeyNotWanted { .. }
        | Error::UnsuitableFile { .. } => true,
        Error::InFile { source, .. } => could_be_damage(source),
        Error::Provider(error) => error.kind == ProviderErrorKind::UnwrapFailed,
        _ => false,
    }
}
