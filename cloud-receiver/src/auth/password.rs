//! Passwords: how they are kept, checked, issued and judged.
//!
//! Kept as Argon2id strings (RFC 9106, PHC format) with OWASP's second recommendation: 19 MiB, two passes, one
//! lane. That costs an attacker memory for every guess, and costs us the same: so [`Hashing`] lets at most two
//! run at once, and a flood of sign-ins waits instead of taking the machine down. They run on two threads of their own, because
//! the C library's allocator keeps memory by thread: fifty sign-ins spread over the runtime's threads left 480 MiB behind.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::RngExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::oneshot;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes running at the same time: 38 MiB and two cores at most, however many people sign in.
const HASHES_AT_ONCE: usize = 2;

/// No letter or digit that can be taken for another one when read aloud or copied from paper.
const ISSUED_ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Four groups of four of 31 signs: 79 bits.
const ISSUED_GROUPS: usize = 4;
const ISSUED_GROUP_LEN: usize = 4;

/// Fewest characters of a password that a user chooses.
pub const MIN_CHARS: usize = 12;
/// Most bytes anybody may send as a password: more is no safer, only slower.
pub const MAX_BYTES: usize = 512;

#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashError(String);

/// Hashes a password with a fresh random salt. Takes about 20 ms and 19 MiB: in async code use [`Hashing`].
pub fn hash(password: &str) -> Result<String, HashError> {
    argon2()
        .hash_password(password.as_bytes())
        .map(|hash: PasswordHash| hash.to_string())
        .map_err(|error| HashError(error.to_string()))
}

/// Whether the password belongs to the hash. A hash that cannot be read belongs to no password.
pub fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|parsed| {
        argon2()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok()
    })
}

/// A password to issue, such as `k7mq-x2hd-9wtp-c4rn`.
pub fn generate() -> String {
    let mut random = rand::rng();
    let mut group = || -> String {
        (0..ISSUED_GROUP_LEN)
            .map(|_| char::from(ISSUED_ALPHABET[random.random_range(0..ISSUED_ALPHABET.len())]))
            .collect()
    };
    (0..ISSUED_GROUPS)
        .map(|_| group())
        .collect::<Vec<_>>()
        .join("-")
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .expect("the parameters are constants within Argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Why a password that a user chose is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    TooShort,
    TooLong,
    /// The one it is to replace.
    Unchanged,
    /// Holds the login ID, or is it.
    LikeLoginId,
    /// Among the first that anybody tries, or a few signs repeated.
    Common,
}

/// Judges a password that a user chose. Length counts; rules about kinds of signs do not (NIST SP 800-63B).
pub fn judge(new: &str, current: &str, login_id: &str) -> Result<(), Weakness> {
    if new.chars().count() < MIN_CHARS {
        return Err(Weakness::TooShort);
    }
    if new.len() > MAX_BYTES {
        return Err(Weakness::TooLong);
    }
    if new == current {
        return Err(Weakness::Unchanged);
    }
    let folded = new.to_lowercase();
    if login_id.chars().count() >= 4 && folded.contains(&login_id.to_lowercase()) {
        return Err(Weakness::LikeLoginId);
    }
    if is_common(&folded) || is_guessed_soon(new, login_id) {
        return Err(Weakness::Common);
    }
    Ok(())
}

/// Signs that the estimate looks at: what is strong so far is no weaker for going on, and with 64 it takes up to 0.3 s
/// where it now takes some milliseconds.
const ESTIMATED_CHARS: usize = 24;

/// Whether fewer than 10^8 guesses find it by zxcvbn's estimate (D. Wheeler, USENIX Security 2016): it knows 30,000
/// breached passwords, names, English words, dates and walks over a keyboard, and what is done to them.
fn is_guessed_soon(new: &str, login_id: &str) -> bool {
    let signs: String = new.chars().take(ESTIMATED_CHARS).collect();
    zxcvbn::zxcvbn(&signs, &[login_id]).score() < zxcvbn::Score::Three
}

/// Lower-case roots of the published lists of breached passwords, Japanese ones among them, which the estimate does not
/// know. A password of twelve signs that is one of these with digits or signs around it falls in the first minute of guessing.
const COMMON_ROOTS: &str = include_str!("common_passwords.txt");

fn is_common(folded: &str) -> bool {
    let distinct: std::collections::BTreeSet<char> = folded.chars().collect();
    if distinct.len() < 5 || is_run(folded) {
        return true;
    }
    let plain: String = folded.chars().filter(|sign| sign.is_alphabetic()).collect();
    let tried = [
        spelt_out(folded),
        // The year and the exclamation marks at the end are not part of the word.
        spelt_out(folded.trim_matches(|sign: char| !sign.is_alphabetic())),
    ];
    roots().any(|root| {
        folded == root
            || plain == root
            || made_of(&plain, root)
            || tried.iter().any(|word| word == root || made_of(word, root))
    }) || is_two_roots(&plain)
        || tried.iter().any(|word| is_two_roots(word))
}

fn roots() -> impl Iterator<Item = &'static str> {
    let lines = COMMON_ROOTS.lines();
    lines.filter(|root| !root.is_empty() && !root.starts_with('#'))
}

/// Whether the letters are two common words and nothing else: guessing combines what leads the lists.
fn is_two_roots(plain: &str) -> bool {
    let rests = roots().filter_map(|root| plain.strip_prefix(root));
    rests
        .filter(|rest| !rest.is_empty())
        .any(|rest| roots().any(|root| root == rest))
}

/// Letters only, with the usual signs that stand for letters read as those.
fn spelt_out(text: &str) -> String {
    text.chars()
        .map(|sign| match sign {
            '@' => 'a',
            '0' => 'o',
            '1' => 'i',
            '3' => 'e',
            '$' | '5' => 's',
            other => other,
        })
        .filter(|sign| sign.is_alphabetic())
        .collect()
}

/// Whether the text is one root said again and again.
fn made_of(text: &str, root: &str) -> bool {
    text.len() > root.len()
        && text.len().is_multiple_of(root.len())
        && text == root.repeat(text.len() / root.len())
}

/// Whether every sign follows the one before on the keyboard's number row or in the alphabet.
fn is_run(text: &str) -> bool {
    let signs: Vec<u32> = text.chars().map(u32::from).collect();
    let steps = |by: i64| {
        signs
            .windows(2)
            .filter(|pair| i64::from(pair[1]) - i64::from(pair[0]) == by)
            .count()
    };
    let most = signs.len().saturating_sub(3);
    steps(1) >= most || steps(-1) >= most
}

/// Hashes and verifies for async callers, two at once at most; more of them wait their turn.
#[derive(Clone, Debug)]
pub struct Hashing {
    work: mpsc::Sender<Work>,
    computed: Arc<AtomicU64>,
    /// Verified against when there is no such user, so that both answers cost the same.
    nobody: Arc<str>,
}

impl Hashing {
    pub fn new() -> Result<Self, HashError> {
        Ok(Self {
            work: workers()?,
            computed: Arc::default(),
            nobody: hash(&generate())?.into(),
        })
    }

    /// Hashes computed so far: the cost of sign-ins. It must not tell which login IDs exist.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        let password = password.to_owned();
        self.in_turn(move || hash(&password)).await?
    }

    /// Does the same work whether or not there is a stored hash.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool, HashError> {
        let password = password.to_owned();
        let against = stored.unwrap_or(&self.nobody).to_owned();
        let matches = self.in_turn(move || verify(&password, &against)).await?;
        Ok(matches && stored.is_some())
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move || {
            // Whoever asked may have gone.
            let _ = answer.send(work());
        });
        self.computed.fetch_add(1, Ordering::Relaxed);
        let gone = || HashError("the thread for it has ended".into());
        self.work.send(work).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// Threads that end with the last [`Hashing`] that knows them.
fn workers() -> Result<mpsc::Sender<Work>, HashError> {
    let (sender, receiver) = mpsc::channel::<Work>();
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..HASHES_AT_ONCE {
        let receiver = Arc::clone(&receiver);
        let next = move || {
            let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            receiver.recv().ok()
        };
        let run = move || {
            while let Some(work) = next() {
                // Whoever waits for a work that panics is told; the next one is done.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        };
        let thread = std::thread::Builder::new().name(format!("hash-{number}"));
        let started = thread.spawn(run);
        started.map_err(|error| HashError(format!("no thread for it: {error}")))?;
    }
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_told_and_the_next_is_done() {
        let hashing = Hashing::new().expect("threads");
        for _ in 0..=HASHES_AT_ONCE {
            let told = hashing.in_turn(|| panic!("on purpose")).await;
            assert!(told.is_err());
        }
        let stored = hashing.hash("correct horse battery").await.expect("hashes");
        let fits = hashing.verify("correct horse battery", Some(&stored));
        assert!(fits.await.expect("verifies"));
    }

    #[test]
    fn a_hash_states_its_parameters_and_fits_its_password_only() {
        let stored = hash("correct horse battery").expect("hashes");
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(verify("correct horse battery", &stored));
        assert!(!verify("correct horse batterz", &stored));
        assert!(!verify("anything", "not a hash"));
        assert_ne!(
            stored,
            hash("correct horse battery").expect("hashes"),
            "salted"
        );
    }

    #[test]
    fn issued_passwords_are_readable_different_and_long_enough_to_keep() {
        let bits =
            (ISSUED_ALPHABET.len() as f64).log2() * (ISSUED_GROUPS * ISSUED_GROUP_LEN) as f64;
        assert!(bits >= 70.0, "{bits}");
        let (one, other) = (generate(), generate());
        assert_ne!(one, other);
        assert_eq!(one.split('-').count(), ISSUED_GROUPS);
        assert_eq!(judge(&one, &other, "tanaka"), Ok(()));
    }

    #[test]
    fn weak_choices_are_named() {
        let check =
            |new, expected| assert_eq!(judge(new, "k7mq-x2hd", "tanaka"), expected, "{new}");
        check("short-one", Err(Weakness::TooShort));
        check("あいうえおかきくけこさ", Err(Weakness::TooShort));
        check("k7mq-x2hd", Err(Weakness::TooShort));
        check("password12345", Err(Weakness::Common));
        check("P@ssw0rd2026!!", Err(Weakness::Common));
        check("passwordpassword", Err(Weakness::Common));
        check("qwertyuiop123", Err(Weakness::Common));
        check("aaaaaaaaaaaaaaaa", Err(Weakness::Common));
        check("1234567890123", Err(Weakness::Common));
        check("abcdefghijklmnop", Err(Weakness::Common));
        check("my-Tanaka-password", Err(Weakness::LikeLoginId));
        let endless = "x".repeat(600);
        check(&endless, Err(Weakness::TooLong));
        check("みかん色の夕焼けを見た日", Ok(()));
        check("orchard-lantern-42", Ok(()));
        assert_eq!(
            judge("k7mq-x2hd-9wtp-c4rn", "k7mq-x2hd-9wtp-c4rn", "tanaka"),
            Err(Weakness::Unchanged)
        );
    }

    #[test]
    fn common_words_with_anything_around_them_fall() {
        for common in [
            "tanaka2026!!!",
            "Sakura-19900401",
            "arigatou12345",
            "p@ssw0rdp@ssw0rd",
            "monkeydragon99",
            "sakura.tanaka.1",
            "!!konnichiwa!!",
            "September2026",
        ] {
            let judged = judge(common, "k7mq-x2hd", "somebody");
            assert_eq!(judged, Err(Weakness::Common), "{common}");
        }
        // Of breached lists, dates and keyboards.
        for guessed in [
            "chelseafc1905",
            "zaq1xsw2cde3vfr4",
            "1qaz2wsx3edc4rfv",
            "iloveyouforever",
            "trustno1trustno1",
            "manchesterunited",
        ] {
            let judged = judge(guessed, "k7mq-x2hd", "somebody");
            assert_eq!(judged, Err(Weakness::Common), "{guessed}");
        }
        // Three words are a sentence.
        for fine in ["monkey dragon sunshine", "sakura no hana ga saku"] {
            assert_eq!(judge(fine, "k7mq-x2hd", "somebody"), Ok(()), "{fine}");
        }
    }

    #[tokio::test]
    async fn nobody_matches_no_password() {
        let hashing = Hashing::new().expect("hashes");
        let stored = hashing.hash("orchard-lantern-42").await.expect("hashes");
        assert!(
            hashing
                .verify("orchard-lantern-42", Some(&stored))
                .await
                .expect("works")
        );
        assert!(
            !hashing
                .verify("orchard-lantern-42", None)
                .await
                .expect("works")
        );
    }
}
