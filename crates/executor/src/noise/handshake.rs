//! The handshake as four states. Each is a type, and each step consumes the one before it.
//!
//! ```text
//!   server      Initiator ── finish(message 2) ──────────────▶ (Sealer, Opener)
//!                  │ message 1                  ▲
//!                  ▼                            │ message 2
//!   executor    receive(message 1) ──▶ Asked ── answer() ────▶ (Sealer, Opener)
//!                                        │
//!                                        └ whose key, with what authorization: ask the registry first
//! ```

use super::keys::{DH_BYTES, KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES, PAIR_SEED_BYTES, Pair, encapsulate};
use super::symmetric::{Symmetric, take};
use super::transport::TAG_BYTES;
use super::{AUTHORIZATION_BYTES_MAX, Identity, NOISE_BYTES_MAX, NoiseError, Opener, Prologue, PublicKey};
use super::{Random, Sealer};

/// What [`Initiator::start`] uses up: one encapsulation and a key pair.
pub type InitiatorRandom = Random<{ 32 + PAIR_SEED_BYTES }>;
/// What [`Asked::answer`] uses up: two encapsulations and a key pair.
pub type ResponderRandom = Random<{ 64 + PAIR_SEED_BYTES }>;

/// The server after its message.
pub struct Initiator<'a> {
    state: Symmetric,
    identity: &'a Identity,
    ephemeral: Pair,
}

/// The executor after the server's message: it knows who asks, and has not answered.
pub struct Asked {
    state: Symmetric,
    initiator: PublicKey,
    ephemeral: PublicKey,
    authorization: String,
}

impl<'a> Initiator<'a> {
    /// Writes message 1 to whoever holds `executor`'s secret keys.
    ///
    /// # Errors
    /// `PublicKey` when `executor` is no key, `Payload` when the authorization is too long.
    pub fn start(
        identity: &'a Identity,
        executor: &PublicKey,
        prologue: &Prologue,
        authorization: &str,
        random: &InitiatorRandom,
    ) -> Result<(Self, Vec<u8>), NoiseError> {
        if authorization.len() > AUTHORIZATION_BYTES_MAX {
            return Err(NoiseError::Payload("the authorization is too long"));
        }
        let ephemeral = Pair::new(&random.piece(32));
        let mut state = begin(prologue, executor);
        let mut message = Vec::new();
        // skem
        let (ciphertext, secret) = encapsulate(&executor.kem, random.piece(0))?;
        state.encrypt_and_hash(&ciphertext, &mut message)?;
        state.mix_key_and_hash(&secret);
        // e
        write_open(&mut state, &ephemeral.public, &mut message);
        // es
        state.mix_key(&ephemeral.agree(&executor.dh)?);
        // s
        state.encrypt_and_hash(&identity.public().dh, &mut message)?;
        state.encrypt_and_hash(identity.public().kem.as_slice(), &mut message)?;
        // ss
        state.mix_key(&identity.pair.agree(&executor.dh)?);
        state.encrypt_and_hash(authorization.as_bytes(), &mut message)?;
        Ok((Self { state, identity, ephemeral }, message))
    }

    /// Reads message 2. Only the executor that was asked can have written it.
    ///
    /// # Errors
    /// `Length`, `NotAuthentic`, `Payload` when it carries one.
    pub fn finish(mut self, message: &[u8]) -> Result<(Sealer, Opener), NoiseError> {
        let mut rest = bounded(message)?;
        let state = &mut self.state;
        // ekem
        let ciphertext: [u8; KEM_CIPHERTEXT_BYTES] = array(take(&mut rest, KEM_CIPHERTEXT_BYTES)?);
        state.mix_hash(&ciphertext);
        state.mix_key(&self.ephemeral.open(&ciphertext));
        // skem
        let ciphertext = array(&state.decrypt_and_hash(&mut rest, KEM_CIPHERTEXT_BYTES)?);
        state.mix_key_and_hash(&self.identity.pair.open(&ciphertext));
        // e
        let theirs = read_open(state, &mut rest)?;
        // ee, se
        state.mix_key(&self.ephemeral.agree(&theirs.dh)?);
        state.mix_key(&self.identity.pair.agree(&theirs.dh)?);
        if rest.len() > TAG_BYTES {
            return Err(NoiseError::Payload("the executor's message carries one"));
        }
        state.decrypt_and_hash(&mut rest, 0)?;
        let (from_initiator, from_responder) = self.state.split();
        Ok((Sealer(from_initiator), Opener(from_responder)))
    }
}

/// Reads message 1 as the executor with `identity`.
///
/// # Errors
/// `Length`, `NotAuthentic`: for another executor, another registration, another stream, or changed.
/// `Payload`: the authorization is too long or no text.
pub fn receive(identity: &Identity, prologue: &Prologue, message: &[u8]) -> Result<Asked, NoiseError> {
    let mut rest = bounded(message)?;
    let mut state = begin(prologue, identity.public());
    // skem
    let ciphertext = array(&state.decrypt_and_hash(&mut rest, KEM_CIPHERTEXT_BYTES)?);
    state.mix_key_and_hash(&identity.pair.open(&ciphertext));
    // e
    let ephemeral = read_open(&mut state, &mut rest)?;
    // es
    state.mix_key(&identity.pair.agree(&ephemeral.dh)?);
    // s
    let dh = array(&state.decrypt_and_hash(&mut rest, DH_BYTES)?);
    let kem = Box::new(array(&state.decrypt_and_hash(&mut rest, KEM_PUBLIC_BYTES)?));
    let initiator = PublicKey { dh, kem };
    // ss
    state.mix_key(&identity.pair.agree(&initiator.dh)?);
    let length = rest.len().checked_sub(TAG_BYTES).ok_or(NoiseError::Length)?;
    if length > AUTHORIZATION_BYTES_MAX {
        return Err(NoiseError::Payload("the authorization is too long"));
    }
    let authorization = String::from_utf8(state.decrypt_and_hash(&mut rest, length)?)
        .map_err(|_| NoiseError::Payload("the authorization is not UTF-8"))?;
    Ok(Asked { state, initiator, ephemeral, authorization })
}

impl Asked {
    /// Whose message it was: the key has been proven, not that it may do anything.
    pub fn initiator(&self) -> &PublicKey {
        &self.initiator
    }

    /// What the registry is to be asked about that key. A secret.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// Writes message 2. Call it after the registry has agreed.
    ///
    /// # Errors
    /// `PublicKey` or `NotAuthentic` when the initiator's keys cannot be used.
    pub fn answer(self, random: &ResponderRandom) -> Result<(Sealer, Opener, Vec<u8>), NoiseError> {
        let Self { mut state, initiator, ephemeral: theirs, authorization: _ } = self;
        let ephemeral = Pair::new(&random.piece(64));
        let mut message = Vec::new();
        // ekem
        let (ciphertext, secret) = encapsulate(&theirs.kem, random.piece(0))?;
        state.mix_hash(&ciphertext);
        state.mix_key(&secret);
        message.extend_from_slice(&ciphertext);
        // skem
        let (ciphertext, secret) = encapsulate(&initiator.kem, random.piece(32))?;
        state.encrypt_and_hash(&ciphertext, &mut message)?;
        state.mix_key_and_hash(&secret);
        // e
        write_open(&mut state, &ephemeral.public, &mut message);
        // ee, se
        state.mix_key(&ephemeral.agree(&theirs.dh)?);
        state.mix_key(&ephemeral.agree(&initiator.dh)?);
        state.encrypt_and_hash(&[], &mut message)?;
        let (from_initiator, from_responder) = state.split();
        Ok((Sealer(from_responder), Opener(from_initiator), message))
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("initiator", &self.initiator).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Initiator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Initiator").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The state both sides have before the first message: the prologue and the executor's key are known.
fn begin(prologue: &Prologue, executor: &PublicKey) -> Symmetric {
    let mut state = Symmetric::new();
    state.mix_hash(prologue.as_bytes());
    state.mix_hash(&executor.dh);
    state.mix_hash(executor.kem.as_slice());
    state
}

fn write_open(state: &mut Symmetric, key: &PublicKey, message: &mut Vec<u8>) {
    for half in [key.dh.as_slice(), key.kem.as_slice()] {
        state.mix_hash(half);
        message.extend_from_slice(half);
    }
}

fn read_open(state: &mut Symmetric, message: &mut &[u8]) -> Result<PublicKey, NoiseError> {
    let dh = take(message, DH_BYTES)?;
    state.mix_hash(dh);
    let kem = take(message, KEM_PUBLIC_BYTES)?;
    state.mix_hash(kem);
    Ok(PublicKey { dh: array(dh), kem: Box::new(array(kem)) })
}

fn bounded(message: &[u8]) -> Result<&[u8], NoiseError> {
    if message.len() > NOISE_BYTES_MAX { Err(NoiseError::Length) } else { Ok(message) }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("exactly as many bytes were taken")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(seed: u8) -> Identity {
        Identity::new(&Random::from_bytes([seed; PAIR_SEED_BYTES]))
    }

    fn prologue() -> Prologue {
        Prologue::new("env", "registration", "stream")
    }

    fn ask<'a>(server: &'a Identity, executor: &PublicKey) -> (Initiator<'a>, Vec<u8>) {
        let random = Random::from_bytes([3; 128]);
        Initiator::start(server, executor, &prologue(), "authorized", &random).expect("starts")
    }

    #[test]
    fn both_sides_end_with_the_same_keys() {
        let (server, executor) = (identity(1), identity(2));
        let (initiator, first) = ask(&server, executor.public());
        let asked = receive(&executor, &prologue(), &first).expect("authentic");
        assert_eq!((asked.initiator(), asked.authorization()), (server.public(), "authorized"));
        let (mut to_server, mut from_server, second) =
            asked.answer(&Random::from_bytes([4; 160])).expect("answers");
        let (mut to_executor, mut from_executor) = initiator.finish(&second).expect("authentic");
        for round in 0..3_u8 {
            let sealed = to_executor.seal(&[round; 5]).expect("seals");
            assert_eq!(from_server.open(&sealed), Ok(vec![round; 5]));
            let sealed = to_server.seal(&[round; 7]).expect("seals");
            assert_eq!(from_executor.open(&sealed), Ok(vec![round; 7]));
        }
        assert_eq!((first.len(), second.len()), (1088 + 1216 + 48 + 1200 + 16 + 10, 1088 + 1104 + 1216 + 16));
    }

    /// Every byte of both messages counts, and so does every part of the prologue.
    #[test]
    fn what_was_changed_is_not_authentic() {
        let (server, executor) = (identity(1), identity(2));
        let (_, first) = ask(&server, executor.public());
        for index in (0..first.len()).step_by(61).chain([first.len() - 1]) {
            let mut changed = first.clone();
            changed[index] ^= 1;
            assert!(receive(&executor, &prologue(), &changed).is_err(), "byte {index}");
        }
        for other in [
            ("other", "registration", "stream"),
            ("env", "other", "stream"),
            ("env", "registration", "other"),
        ] {
            let other = Prologue::new(other.0, other.1, other.2);
            assert_eq!(receive(&executor, &other, &first).expect_err("spliced"), NoiseError::NotAuthentic);
        }
        assert_eq!(
            receive(&identity(9), &prologue(), &first).expect_err("not for it"),
            NoiseError::NotAuthentic
        );
        let asked = receive(&executor, &prologue(), &first).expect("authentic");
        let (_, _, second) = asked.answer(&Random::from_bytes([4; 160])).expect("answers");
        for index in (0..second.len()).step_by(61).chain([second.len() - 1]) {
            let mut changed = second.clone();
            changed[index] ^= 1;
            let (initiator, _) = ask(&server, executor.public());
            assert!(initiator.finish(&changed).is_err(), "byte {index}");
        }
    }

    #[test]
    fn lengths_are_exact() {
        let (server, executor) = (identity(1), identity(2));
        let (_, first) = ask(&server, executor.public());
        for length in [0, 1, 1088, first.len() - 1] {
            assert!(receive(&executor, &prologue(), &first[..length]).is_err(), "{length} bytes");
        }
        let asked = receive(&executor, &prologue(), &first).expect("authentic");
        let (_, _, second) = asked.answer(&Random::from_bytes([4; 160])).expect("answers");
        let (initiator, _) = ask(&server, executor.public());
        let longer = [second.as_slice(), &[0]].concat();
        assert!(matches!(initiator.finish(&longer), Err(NoiseError::Payload(_))));
        let (initiator, _) = ask(&server, executor.public());
        assert!(matches!(initiator.finish(&second[..second.len() - 1]), Err(NoiseError::Length)));
    }

    #[test]
    fn an_authorization_is_short_text() {
        let (server, executor) = (identity(1), identity(2));
        let start = |length: usize| {
            let random = Random::from_bytes([3; 128]);
            Initiator::start(&server, executor.public(), &prologue(), &"a".repeat(length), &random).map(
                |(_, message)| {
                    receive(&executor, &prologue(), &message).map(|asked| asked.authorization().len())
                },
            )
        };
        assert_eq!(start(4096).expect("starts"), Ok(4096));
        assert!(matches!(start(4097), Err(NoiseError::Payload(_))));
    }

    #[test]
    fn records_are_read_once_and_in_order() {
        let (server, executor) = (identity(1), identity(2));
        let (initiator, first) = ask(&server, executor.public());
        let asked = receive(&executor, &prologue(), &first).expect("authentic");
        let (_, mut opener, second) = asked.answer(&Random::from_bytes([4; 160])).expect("answers");
        let (mut sealer, _) = initiator.finish(&second).expect("authentic");
        let (one, two) = (sealer.seal(b"one").expect("seals"), sealer.seal(b"two").expect("seals"));
        assert_eq!(opener.open(&one), Ok(b"one".to_vec()));
        assert_eq!(opener.open(&one), Err(NoiseError::NotAuthentic), "again");
        assert_eq!(opener.open(&two), Err(NoiseError::NotAuthentic), "after an error nothing is read");
        assert_eq!(opener.open(&two[..15]), Err(NoiseError::Length));
        assert_eq!(sealer.seal(&vec![0; 65_520]), Err(NoiseError::Length));
    }
}
