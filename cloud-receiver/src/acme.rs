//! A certificate from a public authority, by ACME (RFC 8555). That the names are ours is shown by the answer to a challenge on
//! the portal's own listener (TLS-ALPN-01, RFC 8737): no second port is opened for it.
//!
//! The account's key lies beside the certificate in the data folder: it opens nothing of customers', and the service must be
//! able to write it. Whoever has it can get and revoke certificates of this account, for names that lead to him.

mod http;
mod keys;

use crate::config;
use crate::keys::replace;
use crate::tls::public::PublicCertificate;
use anyhow::{Context, bail, ensure};
use http::Http;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an authority may take to look at the answers, and then to sign.
const PATIENCE: Duration = Duration::from_secs(90);
/// One attempt in all.
const ATTEMPT: Duration = Duration::from_secs(300);
const ACCOUNT: &str = "acme-account.json";
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What the authority gave, PEM.
#[derive(Debug)]
pub struct Given {
    pub certificates_pem: String,
    pub key_pem: String,
}

/// The account, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    contact: Vec<String>,
    credentials: AccountCredentials,
}

/// Asks an authority for a certificate.
#[derive(Debug)]
pub struct Asker<'a> {
    /// Its hosts are those to be asked for.
    pub config: &'a config::Acme,
    /// Where the account is kept.
    pub dir: &'a Path,
    /// Shows the answers to challenges.
    pub public: &'a PublicCertificate,
}

impl Asker<'_> {
    pub async fn ask(&self) -> anyhow::Result<Given> {
        let directory = &self.config.directory;
        let asked = tokio::time::timeout(ATTEMPT, self.order()).await;
        self.public.set_challenges(HashMap::new());
        let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("it took too long")));
        asked.with_context(|| format!("no certificate from {directory}"))
    }

    async fn order(&self) -> anyhow::Result<Given> {
        let account = self.account().await?;
        let names = self.config.hosts.iter().cloned().map(Identifier::Dns);
        let names: Vec<_> = names.collect();
        let mut order = match account.new_order(&NewOrder::new(&names)).await {
            Err(instant_acme::Error::Api(problem))
                if problem.r#type.as_deref() == Some(NO_ACCOUNT) =>
            {
                self.forget_account()?;
                bail!("it does not know our account any more; the next attempt makes another");
            }
            order => order.context("ordering")?,
        };
        self.answer(&mut order).await?;
        let patience = RetryPolicy::new().timeout(PATIENCE);
        let ready = order.poll_ready(&patience).await;
        if !matches!(ready, Ok(OrderStatus::Ready)) {
            let why = refusals(&mut order).await;
            ensure!(why.is_empty(), "{}", why.join("; "));
            bail!("the order did not become ready: {ready:?}");
        }
        let (key_pem, request) = keys::request(&self.config.hosts)?;
        order
            .finalize_csr(&request)
            .await
            .context("asking it to sign")?;
        let certificates_pem = order
            .poll_certificate(&patience)
            .await
            .context("fetching the certificate")?;
        Ok(Given {
            certificates_pem,
            key_pem,
        })
    }

    /// Shows an answer for each name, then says so.
    async fn answer(&self, order: &mut Order) -> anyhow::Result<()> {
        let mut answers = HashMap::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.context("what it wants to be shown")?;
            if authorization.status != AuthorizationStatus::Pending {
                // Of a name that it looked at lately it knows.
                continue;
            }
            let name = authorization.identifier().to_string();
            let mut challenge = authorization
                .challenge(ChallengeType::TlsAlpn01)
                .with_context(|| format!("it does not offer tls-alpn-01 for {name}"))?;
            let digest = challenge.key_authorization().digest();
            let answer = keys::answer(&name, digest.as_ref())?;
            answers.insert(name.to_ascii_lowercase(), answer);
            self.public.set_challenges(answers.clone());
            challenge
                .set_ready()
                .await
                .with_context(|| format!("showing that {name} is ours"))?;
        }
        Ok(())
    }

    async fn account(&self) -> anyhow::Result<Account> {
        let http = Http::new(&self.config.ca_file)?;
        let contact = self.config.contact.iter().map(|to| format!("mailto:{to}"));
        let contact: Vec<_> = contact.collect();
        let mailto: Vec<_> = contact.iter().map(String::as_str).collect();
        let directory = self.config.directory.clone();
        let builder = Account::builder_with_http(Box::new(http));
        match self.kept().filter(|kept| kept.directory == directory) {
            Some(kept) => {
                let account = builder.from_credentials(kept.credentials).await;
                let account = account.context("reading its directory")?;
                if kept.contact != self.config.contact {
                    account
                        .update_contacts(&mailto)
                        .await
                        .context("telling it whom it may write to")?;
                }
                Ok(account)
            }
            None => {
                let wanted = NewAccount {
                    contact: &mailto,
                    terms_of_service_agreed: self.config.accept_terms,
                    only_return_existing: false,
                };
                let made = builder.create(&wanted, directory.clone(), None).await;
                let (account, credentials) = made.context("opening an account")?;
                self.keep(&Kept {
                    directory,
                    contact: self.config.contact.clone(),
                    credentials,
                })?;
                Ok(account)
            }
        }
    }

    fn account_file(&self) -> PathBuf {
        self.dir.join(ACCOUNT)
    }

    /// One that cannot be read is replaced: an account costs nothing.
    fn kept(&self) -> Option<Kept> {
        let text = std::fs::read(self.account_file()).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn keep(&self, kept: &Kept) -> anyhow::Result<()> {
        Ok(replace(&self.account_file(), &serde_json::to_vec(kept)?)?)
    }

    fn forget_account(&self) -> anyhow::Result<()> {
        let path = self.account_file();
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }
}

/// What the authority saw when it looked, of each name that it did not like.
async fn refusals(order: &mut Order) -> Vec<String> {
    let mut why = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let problems = state
            .challenges
            .iter()
            .filter_map(|challenge| challenge.error.as_ref());
        why.extend(problems.map(|problem| {
            format!("it cannot see that {name} is ours: {problem}; port 443 of {name} must lead to the portal's listener")
        }));
    }
    why
}
