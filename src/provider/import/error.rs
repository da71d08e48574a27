//! Why a key file is refused, and why one can't be written.

use std::error::Error;
use std::fmt;

use super::Format;
use crate::io::Escaped;
use crate::oaep::{OaepError, RsaKeyError};
use crate::provider::ProviderError;
use crate::random::RandomError;

/// Why a file gives no key.
#[derive(Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// The key is of this algorithm, not RSA.
    Algorithm(String),
    /// A certificate is beside the key (R10).
    Certificate,
    /// The file asks for more work than 4,000,000 iterations, or for more memory than 256 MiB, before its passphrase can be tried.
    Cost,
    /// A member of the JSON object stands there twice.
    Duplicate(String),
    /// There is not a byte.
    Empty,
    /// The encryption, its key derivation or its MAC is one that is not supported.
    Encryption(String),
    /// The public exponent is even, smaller than 65537 or longer than 33 bits.
    Exponent,
    /// The private numbers do not belong together.
    Inconsistent,
    /// The file uses BER's indefinite lengths.
    IndefiniteLength,
    /// A backup that only Key Vault can restore (R70).
    KeyVaultBackup,
    /// Not well-formed.
    Malformed(Format),
    /// The JWK lacks this member, or it is of the wrong type.
    Member(&'static str),
    /// No private key is in the file.
    NoKey,
    /// An RSA key of three primes or more.
    OtherPrimes,
    /// The file is of another format than the one that was asked for.
    OtherFormat {
        /// What was asked for.
        expected: Format,
        /// What the file is.
        found: Format,
    },
    /// The passphrase was not to be had.
    Passphrase(Box<dyn Error + Send + Sync>),
    /// The file is encrypted, and no passphrase was given.
    PassphraseNeeded,
    /// PKCS#12 knows only passphrases that are UTF-8.
    PassphraseText,
    /// Only the public half is in the file.
    PublicOnly,
    /// The JWK's `use`, `key_ops` or `alg` does not allow wrapping.
    Purpose {
        /// The member.
        member: &'static str,
        /// Its value.
        value: String,
    },
    /// So many private keys are in the file.
    SeveralKeys(usize),
    /// A size in bits that is not 2048, 3072 or 4096.
    Size(usize),
    /// A backup of one of our own vaults.
    SobreBackup,
    /// The vault did not open the `.byok` file.
    Target(ProviderError),
    /// A `.byok` file is opened with the key that it was written for.
    TargetNeeded {
        /// What the file calls that key.
        kid: String,
    },
    /// More bytes than a key file has.
    TooLong(usize),
    /// Something follows the key.
    TrailingData(Format),
    /// The passphrase, or for `.byok` the key, is the wrong one, or the file is damaged: it can't be told which.
    Undecryptable(Format),
    /// None of the known formats.
    Unrecognized,
    /// Something in the file is neither a key nor a certificate: a PEM label, a kind of PKCS#12 bag, a version.
    Unsupported(String),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(name) => write!(f, "the key is for {}; only RSA keys can wrap", Escaped(name)),
            Self::Certificate => f.write_str(
                "the key belongs to a certificate, and would be lost at its renewal; import a key of its own, \
                 or say that the certificate is to be discarded",
            ),
            Self::Cost => f.write_str(
                "the file's key derivation costs too much (over 4,000,000 iterations or 256 MiB); \
                 encrypt it again with fewer",
            ),
            Self::Duplicate(member) => write!(f, "the JSON member '{}' stands there twice", Escaped(member)),
            Self::Empty => f.write_str("the file is empty"),
            Self::Encryption(name) => write!(
                f,
                "the file's encryption ({}) is not supported; encrypt it again with PBES2 and AES-256, \
                 for example by openssl pkcs8 -topk8",
                Escaped(name)
            ),
            Self::Exponent => f.write_str("the public exponent must be odd, at least 65537 and at most 33 bits long"),
            Self::Inconsistent => f.write_str("the numbers of the private key do not belong together"),
            Self::IndefiniteLength => f.write_str(
                "the file uses BER's indefinite lengths, not DER; convert it, for example by openssl pkcs12 and back",
            ),
            Self::KeyVaultBackup => f.write_str(
                "this is a Key Vault backup, which only Key Vault can restore; export the key there as .byok or PEM",
            ),
            Self::Malformed(format) => write!(f, "the {} is malformed", noun(*format)),
            Self::Member(name) => {
                write!(f, "the JWK has no usable member '{name}'; all of n, e, d, p, q, dp, dq, qi are needed")
            }
            Self::NoKey => f.write_str("there is no private key in the file"),
            Self::OtherPrimes => f.write_str("RSA keys of three primes or more can't be used"),
            Self::OtherFormat { expected, found } => write!(f, "not a {}, but a {}", noun(*expected), noun(*found)),
            Self::Passphrase(_) => f.write_str("the file's passphrase can't be read"),
            Self::PassphraseNeeded => f.write_str("the file is encrypted; its passphrase is needed"),
            Self::PassphraseText => f.write_str("the passphrase of a PKCS#12 encryption must be UTF-8"),
            Self::PublicOnly => f.write_str("this is only the public half; the private key is needed"),
            Self::Purpose { member, value } => {
                write!(f, "the JWK's '{member}' is {}, which does not allow unwrapping with RSA-OAEP", Escaped(value))
            }
            Self::SeveralKeys(count) => write!(f, "there are {count} private keys in the file; import them one by one"),
            Self::Size(bits) => write!(f, "RSA keys must have 2048, 3072 or 4096 bits, not {bits}"),
            Self::SobreBackup => {
                f.write_str("this is a backup made by sobre: restore it instead (vault restore, key restore)")
            }
            Self::Target(_) => f.write_str("the vault did not open the .byok file"),
            Self::TargetNeeded { kid } => {
                write!(f, "the .byok file opens only with the private key that it was written for ({})", Escaped(kid))
            }
            Self::TooLong(len) => write!(f, "{len} bytes are too many for a key file (at most 65536)"),
            Self::TrailingData(format) => write!(f, "something follows the {}", noun(*format)),
            Self::Undecryptable(Format::Byok) => {
                f.write_str("the .byok file was written for another key, or it is damaged")
            }
            Self::Undecryptable(format) => {
                write!(f, "the passphrase is wrong, or the {} is damaged", noun(*format))
            }
            Self::Unrecognized => f.write_str("not a PEM, DER, PFX, JWK or .byok file"),
            Self::Unsupported(what) => write!(f, "the file holds '{}', which can't be imported", Escaped(what)),
        }
    }
}

impl Error for ImportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Passphrase(cause) => Some(cause.as_ref()),
            Self::Target(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Why a `.byok` file can't be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// AWS-LC can't wrap the key.
    Encryption,
    /// AWS-LC can't encode the key.
    Key(RsaKeyError),
    /// The system gave no random bytes.
    Random(RandomError),
    /// The target can't encrypt.
    Target(OaepError),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encryption => f.write_str("the key could not be wrapped"),
            Self::Key(_) => f.write_str("the key could not be encoded"),
            Self::Random(_) => f.write_str("the key could not be wrapped under a fresh one"),
            Self::Target(_) => f.write_str("the target's public key could not encrypt"),
        }
    }
}

impl Error for ExportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encryption => None,
            Self::Key(cause) => Some(cause),
            Self::Random(cause) => Some(cause),
            Self::Target(cause) => Some(cause),
        }
    }
}

/// There is no key file format of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFormat(pub String);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Format::ALL.map(Format::name).join(", ");
        write!(f, "no key file format is called '{}'; there are {names}", Escaped(&self.0))
    }
}

impl Error for UnknownFormat {}

fn noun(format: Format) -> &'static str {
    match format {
        Format::Byok => ".byok file",
        Format::Der => "DER key",
        Format::Jwk => "JWK",
        Format::Pem => "PEM file",
        Format::Pfx => "PFX file",
    }
}
