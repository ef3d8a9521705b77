//! Keys: two of everything, one for each half of the hybrid.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ml_kem::kem::Decapsulate as _;
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, KeyExport as _, Seed};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey as DhPublic, StaticSecret};

use super::{NoiseError, SUITE};

pub(super) const DH_BYTES: usize = 32;
pub(super) const KEM_PUBLIC_BYTES: usize = 1184;
pub(super) const KEM_CIPHERTEXT_BYTES: usize = 1088;
const KEM_SEED_BYTES: usize = 64;
/// Bytes of randomness in a key pair.
pub(super) const PAIR_SEED_BYTES: usize = DH_BYTES + KEM_SEED_BYTES;

/// Fresh randomness, as an argument, so that a test repeats. Never use one twice.
pub struct Random<const BYTES: usize>([u8; BYTES]);

/// What an [`Identity`] is made from.
pub type IdentitySeed = Random<PAIR_SEED_BYTES>;

/// Both static public keys of one side, as the registry passes them around.
///
/// Parsed where it enters: a key that exists has the right suite and lengths.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct PublicKey {
    pub(super) dh: [u8; DH_BYTES],
    pub(super) kem: Box<[u8; KEM_PUBLIC_BYTES]>,
}

/// A key as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    suite: String,
    x25519_public_key: String,
    mlkem768_public_key: String,
}

/// One side's static keys. Made once and kept in memory only.
pub struct Identity {
    pub(super) pair: Pair,
}

/// A key pair of each half.
pub(super) struct Pair {
    dh: StaticSecret,
    kem: Box<DecapsulationKey>,
    pub(super) public: PublicKey,
}

impl<const BYTES: usize> Random<BYTES> {
    /// From the operating system.
    ///
    /// # Errors
    /// `NoRandomness`, which is a broken system.
    pub fn fresh() -> Result<Self, NoiseError> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|_| NoiseError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Randomness that someone else made, or bytes of a test.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// The piece of `N` bytes that begins at `from`.
    ///
    /// # Panics
    /// Outside of what there is; both are constants of a handshake.
    pub(crate) fn piece<const N: usize>(&self, from: usize) -> [u8; N] {
        let mut piece = [0; N];
        piece.copy_from_slice(&self.0[from..from + N]);
        piece
    }
}

impl<const BYTES: usize> fmt::Debug for Random<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}

impl Identity {
    /// The same seed gives the same identity.
    pub fn new(seed: &IdentitySeed) -> Self {
        Self { pair: Pair::new(&seed.piece(0)) }
    }

    /// What may be told to others.
    pub fn public(&self) -> &PublicKey {
        &self.pair.public
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(self.public()).finish()
    }
}

impl Pair {
    pub(super) fn new(seed: &[u8; PAIR_SEED_BYTES]) -> Self {
        let (dh, kem) = seed.split_at(DH_BYTES);
        let mut secret = [0; DH_BYTES];
        secret.copy_from_slice(dh);
        let dh = StaticSecret::from(secret);
        let mut bytes = [0; KEM_SEED_BYTES];
        bytes.copy_from_slice(kem);
        let kem = Box::new(DecapsulationKey::from_seed(Seed::from(bytes)));
        let mut public = Box::new([0; KEM_PUBLIC_BYTES]);
        public.copy_from_slice(&kem.encapsulation_key().to_bytes());
        let public = PublicKey { dh: DhPublic::from(&dh).to_bytes(), kem: public };
        Self { dh, kem, public }
    }

    /// # Errors
    /// `NotAuthentic` for a point that gives the same secret to everyone.
    pub(super) fn agree(&self, theirs: &[u8; DH_BYTES]) -> Result<[u8; DH_BYTES], NoiseError> {
        let shared = self.dh.diffie_hellman(&DhPublic::from(*theirs));
        if shared.was_contributory() { Ok(shared.to_bytes()) } else { Err(NoiseError::NotAuthentic) }
    }

    /// The secret in a ciphertext. A wrong ciphertext gives a secret that nobody shares.
    pub(super) fn open(&self, ciphertext: &[u8; KEM_CIPHERTEXT_BYTES]) -> [u8; 32] {
        self.kem.decapsulate(&(*ciphertext).into()).into()
    }
}

/// A fresh secret for the holder of `public`, and the ciphertext that tells it.
///
/// # Errors
/// `PublicKey` when the bytes are not a key.
pub(super) fn encapsulate(
    public: &[u8; KEM_PUBLIC_BYTES],
    randomness: [u8; 32],
) -> Result<([u8; KEM_CIPHERTEXT_BYTES], [u8; 32]), NoiseError> {
    let key = EncapsulationKey::new(&(*public).into())
        .map_err(|_| NoiseError::PublicKey("`mlkem768_public_key` is not a key"))?;
    let (ciphertext, secret) = key.encapsulate_deterministic(&B32::from(randomness));
    Ok((ciphertext.into(), secret.into()))
}

impl PublicKey {
    /// Both keys one after the other, X25519 first.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.dh.as_slice(), self.kem.as_slice()].concat()
    }

    /// # Errors
    /// `PublicKey` for any other number of bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoiseError> {
        let length = || NoiseError::PublicKey("wrong length");
        let (dh, kem) = bytes.split_at_checked(DH_BYTES).ok_or_else(length)?;
        let kem: &[u8; KEM_PUBLIC_BYTES] = kem.try_into().map_err(|_| length())?;
        Ok(Self { dh: dh.try_into().map_err(|_| length())?, kem: Box::new(*kem) })
    }
}

impl TryFrom<Written> for PublicKey {
    type Error = NoiseError;

    fn try_from(written: Written) -> Result<Self, NoiseError> {
        if written.suite != SUITE {
            return Err(NoiseError::PublicKey("`suite` is not the one of this protocol"));
        }
        let decode = |text: &str| STANDARD.decode(text).ok();
        let dh = decode(&written.x25519_public_key)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(NoiseError::PublicKey("`x25519_public_key` is not 32 bytes in base64"))?;
        let kem = decode(&written.mlkem768_public_key)
            .and_then(|bytes| bytes.into_boxed_slice().try_into().ok())
            .ok_or(NoiseError::PublicKey("`mlkem768_public_key` is not 1184 bytes in base64"))?;
        Ok(Self { dh, kem })
    }
}

impl From<PublicKey> for Written {
    fn from(key: PublicKey) -> Self {
        Self {
            suite: SUITE.to_owned(),
            x25519_public_key: STANDARD.encode(key.dh),
            mlkem768_public_key: STANDARD.encode(key.kem.as_slice()),
        }
    }
}

/// Not a secret, but 1,600 characters that say nothing in a log.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.dh[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "PublicKey({hex}..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written_and_nothing_else_is() {
        let identity = Identity::new(&Random::from_bytes([7; PAIR_SEED_BYTES]));
        let json = serde_json::to_value(identity.public()).expect("writes");
        assert_eq!(json["suite"], SUITE);
        let read: PublicKey = serde_json::from_value(json.clone()).expect("reads back");
        assert_eq!(&read, identity.public());
        assert_eq!(PublicKey::from_bytes(&read.to_bytes()), Ok(read));
        for (field, value, expected) in [
            ("suite", "Noise_IK", "`suite` is not the one of this protocol"),
            ("x25519_public_key", "AAAA", "`x25519_public_key` is not 32 bytes in base64"),
            ("mlkem768_public_key", "%", "`mlkem768_public_key` is not 1184 bytes in base64"),
            ("more", "", "unknown field `more`"),
        ] {
            let mut changed = json.clone();
            changed[field] = value.into();
            let error = serde_json::from_value::<PublicKey>(changed).expect_err(field);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let identity = Identity::new(&Random::from_bytes([7; PAIR_SEED_BYTES]));
        let shown = format!("{identity:?} {:?}", IdentitySeed::from_bytes([7; PAIR_SEED_BYTES]));
        assert!(!shown.contains("07070707") && !shown.contains("7, 7"), "{shown}");
    }
}
