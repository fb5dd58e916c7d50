//! Accounts of those who run the receiver: added, given a new password, freed of a lost phone, removed.

use super::{Refusal, Result};
use crate::auth::issue::{Issued, is_login_id};
use crate::store::sqlite::SqliteStore;
use crate::store::{AccountBooks, AccountKind, Accounts, Administration};
use anyhow::Context;
use std::sync::Arc;
use wire::{Sha256, UtcMicros};

fn book(store: &SqliteStore) -> Arc<dyn Accounts> {
    store.accounts(AccountKind::Operator)
}

/// Adds one, with a password that must be changed at the first sign-in.
pub async fn add(store: &SqliteStore, login_id: &str, at: UtcMicros) -> Result<Issued> {
    if !is_login_id(login_id) {
        return Err(Refusal::LoginId.into());
    }
    let issued = draw().await?;
    store.add_operator(login_id, &issued.hash, at).await?;
    Ok(issued)
}

/// Every session of the account ends.
pub async fn reset_password(store: &SqliteStore, login_id: &str, at: UtcMicros) -> Result<Issued> {
    let issued = draw().await?;
    let book = book(store);
    book.reset_password(login_id, &issued.hash, true, at)
        .await?;
    Ok(issued)
}

/// Every session of the account ends; the next sign-in sets up another one. `false`: it had none.
pub async fn reset_second_factor(
    store: &SqliteStore,
    login_id: &str,
    at: UtcMicros,
) -> Result<bool> {
    let book = book(store);
    Ok(book
        .remove_second_factor(login_id, Sha256::ZERO, at)
        .await?)
}

/// Never the last one.
pub async fn remove(store: &SqliteStore, login_id: &str, at: UtcMicros) -> Result<()> {
    Ok(book(store).remove(login_id, at).await?)
}

/// Off the threads that serve others: hashing takes its time.
async fn draw() -> Result<Issued> {
    let drawn = tokio::task::spawn_blocking(Issued::draw).await;
    let drawn = drawn.context("a password was not drawn")?;
    Ok(drawn.map_err(anyhow::Error::from)?)
}
