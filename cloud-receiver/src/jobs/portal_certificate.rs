//! Keeps the certificate that browsers are shown: takes up what changed in its files, or has an authority give the next when a
//! third of its life is left. What fails changes nothing of what is shown; it is told, and tried again less and less often.

use crate::acme::{Asker, Given};
use crate::clock::now;
use crate::config::{Config, Source};
use crate::keys::{private, replace};
use crate::notice::as_html;
use crate::portal::when::{DEFAULT_ZONE, When};
use crate::portal::words::Lang;
use crate::store::{AlertBook, Letter, MailKind, NewMail};
use crate::tls::public::{Pair, PublicCertificate};
use crate::tls::standing::Standing;
use anyhow::Context;
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wire::UtcMicros;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// An authority's certificate is looked at when it is due, and at least so often.
const MOST: Duration = Duration::from_secs(3600);
const LEAST: Duration = Duration::from_secs(1);
/// Key and certificates as the authority gave them, in one file: one is never there without the other.
const GIVEN: &str = "portal.acme.pem";

/// The certificate for browsers in the hands of the one job that changes it.
#[derive(Debug)]
pub struct Keeper {
    source: Source,
    hosts: Vec<String>,
    /// The folder of the listeners' certificates.
    dir: PathBuf,
    public: Arc<PublicCertificate>,
    standing: Standing,
}

impl Keeper {
    /// Shows what is there already. That there is nothing yet hinders nobody: browsers are shown the receiver's own.
    pub fn open(
        config: &Config,
        source: Source,
        dir: &Path,
        public: Arc<PublicCertificate>,
        at: UtcMicros,
    ) -> Self {
        let name = match &source {
            Source::File { certificate, .. } => certificate.display().to_string(),
            Source::Acme(acme) => acme.directory.clone(),
        };
        let kept = Standing::load(dir).filter(|kept| kept.source == name);
        let mut standing = kept.unwrap_or_default();
        standing.source = name;
        (standing.not_before_us, standing.not_after_us) = (None, None);
        let mut keeper = Self {
            source,
            hosts: config.hosts.clone(),
            dir: dir.to_owned(),
            public,
            standing,
        };
        match keeper.source.clone() {
            Source::File { certificate, key } => keeper.look_at_files(&certificate, &key, at),
            Source::Acme(acme) => keeper.take_up_given(&acme.hosts, at),
        }
        keeper.save();
        keeper
    }

    /// Looks at everything, and does what is due.
    async fn turn(&mut self, at: UtcMicros) {
        match self.source.clone() {
            Source::File { certificate, key } => self.look_at_files(&certificate, &key, at),
            Source::Acme(acme) => {
                let is_due = self.public.shown().is_none_or(|shown| {
                    shown.is_renewal_due(at) || !acme.hosts.iter().all(|host| shown.is_for(host))
                });
                if is_due && self.standing.next_us.is_none_or(|next| at >= next) {
                    let asker = Asker {
                        config: &acme,
                        dir: &self.dir,
                        public: &self.public,
                    };
                    let given = asker.ask().await;
                    // Much time may have passed.
                    self.took(given, &acme.hosts, now());
                }
            }
        }
    }

    fn look_at_files(&mut self, certificate: &Path, key: &Path, at: UtcMicros) {
        match read(certificate, key, &self.hosts, at) {
            Ok(pair) => self.shows(pair),
            Err(error) => {
                // One that is shown and has expired is still better known to browsers than another.
                if let Some(shown) = self.public.shown() {
                    self.standing.shows(&shown);
                }
                self.failed(&error, at);
            }
        }
    }

    fn take_up_given(&mut self, hosts: &[String], at: UtcMicros) {
        let Ok(pem) = std::fs::read(self.dir.join(GIVEN)) else {
            return;
        };
        match Pair::parse(&pem, &pem, hosts, at) {
            Ok(pair) => {
                self.standing.shows(&pair);
                self.public.show(pair);
            }
            Err(error) => {
                tracing::warn!("the certificate that an authority gave is not used: {error}")
            }
        }
    }

    fn took(&mut self, given: anyhow::Result<Given>, hosts: &[String], at: UtcMicros) {
        let pair = given.and_then(|given| {
            let pem = format!("{}{}", given.key_pem, given.certificates_pem);
            let pair = Pair::parse(pem.as_bytes(), pem.as_bytes(), hosts, at)
                .context("what the authority gave")?;
            replace(&self.dir.join(GIVEN), pem.as_bytes())?;
            Ok(pair)
        });
        match pair {
            Ok(pair) => self.shows(pair),
            Err(error) => self.failed(&error, at),
        }
    }

    fn shows(&mut self, pair: Pair) {
        self.standing.is_well();
        self.standing.shows(&pair);
        if self
            .public
            .shown()
            .is_some_and(|shown| shown.is_same(&pair))
        {
            return;
        }
        tracing::info!(
            "browsers are shown a certificate from {} that is good until {}",
            self.standing.source,
            crate::evidence::local::utc(pair.not_after_us)
        );
        self.public.show(pair);
    }

    fn failed(&mut self, error: &anyhow::Error, at: UtcMicros) {
        let problem = format!("{error:#}");
        let goes_on = match self.public.shown() {
            Some(_) => "the one of before goes on",
            None => "browsers are shown the receiver's own",
        };
        if self.standing.fails(problem.clone(), at) {
            tracing::error!("there is no new certificate for browsers, {goes_on}: {problem}");
        }
    }

    fn save(&self) {
        if Standing::load(&self.dir).as_ref() == Some(&self.standing) {
            return;
        }
        if let Err(error) = self.standing.save(&self.dir) {
            tracing::error!(%error, "how it is with the certificate for browsers cannot be noted: {error}");
        }
    }

    fn wait(&self, at: UtcMicros) -> Duration {
        let Source::Acme(_) = self.source else {
            return LOOK_EVERY;
        };
        let due = match (self.standing.not_before_us, self.standing.not_after_us) {
            (Some(from), Some(to)) => to.plus_us(-(to.since_us(from) / 3)),
            _ => at,
        };
        let next = self.standing.next_us.unwrap_or(due).max(due);
        let us = u64::try_from(next.since_us(at)).unwrap_or(0);
        Duration::from_micros(us).clamp(LEAST, MOST)
    }

    /// What the operator is to be told of now.
    fn news(&mut self, at: UtcMicros) -> Option<News> {
        if self.standing.is_to_be_told(at) {
            self.standing.told = true;
            let until = self.standing.not_after_us;
            let why = self.standing.problem.clone().unwrap_or_default();
            return Some(News::Bad { until, why });
        }
        let is_over = self.standing.told && !self.standing.needs_hand(at);
        if is_over {
            self.standing.told = false;
        }
        is_over.then_some(News::Good)
    }
}

enum News {
    Bad {
        until: Option<UtcMicros>,
        why: String,
    },
    Good,
}

/// `look`: somebody wants it looked at now, whatever failed before.
pub async fn run(
    mut keeper: Keeper,
    config: Config,
    store: impl AlertBook,
    look: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        if stop.run_until_cancelled(keeper.turn(now())).await.is_none() {
            return;
        }
        let at = now();
        if let Some(news) = keeper.news(at) {
            let mail = letters(&config, &news, at);
            if let Err(error) = store.alerts_told(Vec::new(), Vec::new(), mail, at).await {
                tracing::error!(%error, "the operator cannot be written to: {error}");
                keeper.standing.told = !keeper.standing.told;
            }
        }
        keeper.save();
        tokio::select! {
            () = stop.cancelled() => return,
            () = look.notified() => keeper.standing.next_us = None,
            () = tokio::time::sleep(keeper.wait(now())) => {}
        }
    }
}

fn read(certificate: &Path, key: &Path, hosts: &[String], at: UtcMicros) -> anyhow::Result<Pair> {
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    let certificates_pem = read(certificate)?;
    let key_pem = read(key)?;
    private(key.to_owned())?;
    Pair::parse(&certificates_pem, &key_pem, hosts, at)
        .with_context(|| format!("{} with {}", certificate.display(), key.display()))
}

fn letters(config: &Config, news: &News, at: UtcMicros) -> Vec<NewMail> {
    let portal = config.portal_url();
    let in_language = |lang: Lang| {
        let when = When {
            lang,
            zone: TimeZone::get(DEFAULT_ZONE).unwrap_or(TimeZone::UTC),
            now: at,
        };
        match news {
            News::Bad { until, why } => {
                lang.certificate_bad(&portal, until.map(|until| when.full(until)).as_deref(), why)
            }
            News::Good => lang.certificate_well_again(&portal),
        }
    };
    // Nobody knows which of the two the operator on duty reads.
    let ((subject, text), (subject_en, text_en)) = (in_language(Lang::Ja), in_language(Lang::En));
    let text = format!("{text}\n\n{text_en}\n");
    let letter = |to: &String| Letter {
        to: to.clone(),
        subject: format!("{subject} / {subject_en}"),
        html: Some(as_html(Lang::Ja, &text)),
        text: text.clone(),
        ..Letter::default()
    };
    let mail = |to: &String| NewMail {
        contract: None,
        kind: MailKind::Alert,
        about: None,
        letter: letter(to),
    };
    config.alerts.mail_to.iter().map(mail).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ca::Ca;

    const MINUTE_US: i64 = 60_000_000;

    #[test]
    fn the_operator_is_told_once_of_what_lasts_and_once_that_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("a.pem"), dir.path().join("a.key"));
        let mut config = Config::new(dir.path().into(), "/keys".into());
        config.alerts.mail_to = vec!["ops@example.jp".into()];
        let source = Source::File {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let public = Arc::<PublicCertificate>::default();
        let start = now();
        let open = |at| {
            let public = Arc::clone(&public);
            Keeper::open(&config, source.clone(), dir.path(), public, at)
        };
        let mut keeper = open(start);
        assert!(keeper.news(start).is_none(), "it may pass");
        let later = start.plus_us(11 * MINUTE_US);
        keeper.look_at_files(&certificate, &key, later);
        let news = keeper.news(later).unwrap();
        let letter = letters(&config, &news, later).remove(0).letter;
        assert_eq!(letter.to, "ops@example.jp");
        assert!(letter.subject.contains("ポータルの証明書がありません"));
        assert!(letter.text.contains("a.pem"), "{}", letter.text);
        keeper.save();
        let mut keeper = open(later);
        assert!(keeper.news(later).is_none(), "also across a restart");

        let (ca, _) = Ca::create().unwrap();
        let leaf = ca.issue_server(&config.hosts, now()).unwrap();
        std::fs::write(&certificate, &leaf.certificate_pem).unwrap();
        crate::keys::write_new(&key, leaf.key_pem.as_bytes()).unwrap();
        keeper.look_at_files(&certificate, &key, later);
        assert!(matches!(keeper.news(later), Some(News::Good)));
        assert!(keeper.news(later).is_none());
        assert!(public.shown().unwrap().is_for("localhost"));
    }
}
