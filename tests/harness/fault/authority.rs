//! A time-stamp authority: OpenSSL's own (`openssl ts`) behind a small HTTP server. It answers rightly, or wrongly in
//! one way at a time; every wrong answer is a real one, made for something else, by somebody else, or at another time.

use crate::process::free_port;
use crate::receiver::path;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the authority answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Right(Key),
    /// A time stamp over another document.
    OtherDocument,
    /// Over this document, for another request.
    OtherNonce,
    /// It does not know the hash.
    Rejection,
    /// Its certificate has expired.
    Expired,
    /// Its certificate comes from another authority of the same name.
    Foreign,
    /// A right one with a bit of its signature changed.
    Changed,
    /// Not even ASN.1.
    Garbage,
    /// A page for browsers, as of a wrong address.
    Page,
    /// HTTP status 503.
    Overloaded,
}

/// What its certificate's key is, and the hash that it signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Rsa(&'static str),
    P256(&'static str),
    P384(&'static str),
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Authority {
    pub url: String,
    /// PEM of the authority that issued its certificates, and of another one with the same name.
    pub ca: PathBuf,
    pub foreign_ca: PathBuf,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    address: String,
}

const CONFIGURATION: &str = "\
[tsa]
default_tsa = here
[here]
serial = SERIAL
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
clock_precision_digits = 3
[ext]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
";

impl Authority {
    /// Makes keys and certificates below `folder`, and serves on a free port of the loopback.
    pub fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let office = Office {
            folder: folder.to_owned(),
        };
        office.open()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let listener = TcpListener::bind(&address)?;
        let answer = Arc::new(Mutex::new(Answer::Right(Key::Rsa("sha256"))));
        let (asked, end) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let authority = Self {
            url: format!("http://{address}/tsa"),
            ca: office.file("ca.pem"),
            foreign_ca: office.file("foreign-ca.pem"),
            answer: answer.clone(),
            asked: asked.clone(),
            end: end.clone(),
            address,
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let answer = *answer.lock().expect("nobody panics with it");
                asked.fetch_add(1, Ordering::Relaxed);
                // A test that waits in vain shows what went wrong here.
                if let Err(error) = stream
                    .map_err(anyhow::Error::from)
                    .and_then(|stream| office.serve(stream, answer))
                {
                    eprintln!("the time-stamp authority: {error:#}");
                }
            }
        });
        Ok(authority)
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panics with it") = answer;
    }

    /// How many requests came so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether OpenSSL finds that `stamp` is a time stamp over `document` by this authority.
    pub fn openssl_accepts(&self, stamp: &Path, document: &Path) -> Result<()> {
        let (data, answer, ca) = (path(document), path(stamp), path(&self.ca));
        let args = ["ts", "-verify", "-data", data, "-in", answer, "-CAfile", ca];
        openssl(&args).map(|_| ())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // Wakes the thread, which then ends.
        let _ = TcpStream::connect(&self.address);
    }
}

/// Where the authority's keys lie and its answers are made.
#[derive(Clone, Debug)]
struct Office {
    folder: PathBuf,
}

impl Office {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn open(&self) -> Result<()> {
        let serial = self.file("serial");
        std::fs::write(&serial, "01\n")?;
        let configuration = CONFIGURATION.replace("SERIAL", path(&serial));
        std::fs::write(self.file("tsa.cnf"), configuration)?;
        for ca in ["ca", "foreign-ca"] {
            let (key, certificate) = (format!("{ca}.key"), format!("{ca}.pem"));
            let (key, certificate) = (self.file(&key), self.file(&certificate));
            #[rustfmt::skip]
            openssl(&[
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10", "-subj", "/CN=Time of the town",
                "-keyout", path(&key), "-out", path(&certificate),
            ])?;
        }
        self.certify("rsa", "rsa:2048", "ca", "10")?;
        self.certify("p256", "ec:P-256", "ca", "10")?;
        self.certify("p384", "ec:P-384", "ca", "10")?;
        self.certify("foreign", "rsa:2048", "foreign-ca", "10")?;
        // It ended a day before it was made.
        self.certify("expired", "rsa:2048", "ca", "-1")
    }

    fn certify(&self, name: &str, key_kind: &str, ca: &str, days: &str) -> Result<()> {
        let of = |ending: &str| self.file(&format!("{name}.{ending}"));
        let (key, request, certificate) = (of("key"), of("csr"), of("pem"));
        let subject = format!("/CN=Clock tower {name}");
        let (kind, curve) = key_kind.split_once(':').context("kind:parameter")?;
        let curve = format!("ec_paramgen_curve:{curve}");
        let kind: &[&str] = match kind {
            "ec" => &["-newkey", "ec", "-pkeyopt", &curve],
            _ => &["-newkey", key_kind],
        };
        #[rustfmt::skip]
        let args = ["-nodes", "-subj", &subject, "-keyout", path(&key), "-out", path(&request)];
        openssl(&[&["req", "-new"], kind, &args].concat())?;
        let (ca_key, ca) = (
            self.file(&format!("{ca}.key")),
            self.file(&format!("{ca}.pem")),
        );
        let extensions = self.file("tsa.cnf");
        #[rustfmt::skip]
        openssl(&[
            "x509", "-req", "-in", path(&request), "-CA", path(&ca), "-CAkey", path(&ca_key), "-days", days,
            "-extfile", path(&extensions), "-extensions", "ext", "-out", path(&certificate),
        ])?;
        Ok(())
    }

    fn serve(&self, mut stream: TcpStream, answer: Answer) -> Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let request = body(&stream)?;
        let reply = "application/timestamp-reply";
        let (status, kind, bytes) = match answer {
            Answer::Garbage => ("200 OK", reply, b"no ASN.1 at all".to_vec()),
            Answer::Page => ("200 OK", "text/html", b"<p>Welcome!</p>".to_vec()),
            Answer::Overloaded => ("503 Service Unavailable", "text/plain", Vec::new()),
            answer => ("200 OK", reply, self.reply(&request, answer)?),
        };
        let length = bytes.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(&bytes)?;
        Ok(())
    }

    fn reply(&self, request: &[u8], answer: Answer) -> Result<Vec<u8>> {
        let (query, reply) = (self.file("query"), self.file("reply"));
        let query_path = path(&query);
        std::fs::write(&query, request)?;
        let other = |digest: &str| {
            let args = ["ts", "-query", "-sha256", "-cert", "-digest", digest];
            openssl(&[&args[..], &["-out", query_path]].concat())
        };
        match answer {
            Answer::OtherDocument => other(&"5a".repeat(32))?,
            Answer::OtherNonce => other(&digest_in(request)?)?,
            _ => String::new(),
        };
        let (name, hash) = match answer {
            Answer::Right(Key::Rsa(hash)) => ("rsa", hash),
            Answer::Right(Key::P256(hash)) => ("p256", hash),
            Answer::Right(Key::P384(hash)) => ("p384", hash),
            Answer::Expired => ("expired", "sha256"),
            Answer::Foreign => ("foreign", "sha256"),
            _ => ("rsa", "sha256"),
        };
        let text = std::fs::read_to_string(self.file("tsa.cnf"))?;
        let text = match answer {
            Answer::Rejection => text.replace("sha256, sha512", "sha512"),
            _ => text,
        };
        let configuration = self.file("now.cnf");
        std::fs::write(&configuration, text)?;
        let of = |ending: &str| self.file(&format!("{name}.{ending}"));
        let (certificate, key, digest) = (of("pem"), of("key"), format!("-{hash}"));
        #[rustfmt::skip]
        openssl(&[
            "ts", "-reply", "-queryfile", path(&query), "-config", path(&configuration), &digest,
            "-signer", path(&certificate), "-inkey", path(&key), "-out", path(&reply),
        ])?;
        let mut bytes = std::fs::read(&reply)?;
        if answer == Answer::Changed {
            *bytes.last_mut().context("an answer")? ^= 1;
        }
        Ok(bytes)
    }
}

/// The hash that a request asks for: its one OCTET STRING, of 32 bytes.
fn digest_in(request: &[u8]) -> Result<String> {
    let at = request.windows(2).position(|pair| pair == [4, 32]);
    let at = at.context("a hash in the request")? + 2;
    let digest = request.get(at..at + 32).context("all of the hash")?;
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn body(stream: &TcpStream) -> Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut is_query) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse()?;
        }
        is_query |= line == "content-type: application/timestamp-query";
    }
    ensure!(is_query, "the request is not marked as a time-stamp query");
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn openssl(args: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(args).output();
    let output = output.context("openssl is needed (scripts/setup.sh test)")?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {args:?}: {said}");
    Ok(said.into_owned())
}
