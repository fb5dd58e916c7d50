//! What a stranger can learn from failing to sign in: nothing.

#![allow(clippy::unwrap_used)]

use super::browser::{Answer, Browser};
use super::world::{World, now};
use super::{PASSWORD, customer};
use cloud_receiver::store::Administration;
use reqwest::StatusCode;
use std::time::{Duration, Instant};

/// One try, and what it cost.
struct Tried {
    answer: Answer,
    hashes: u64,
    took: Duration,
}

async fn attempt(world: &World, door: &str, login_id: &str, password: &str) -> Tried {
    let (started, before) = (Instant::now(), world.hashing.computed());
    let form = [("login_id", login_id), ("password", password)];
    let answer = Browser::new(world).post(door, &form).await;
    Tried {
        answer,
        hashes: world.hashing.computed() - before,
        took: started.elapsed(),
    }
}

/// The answer without what the stranger sent, and without the moment.
fn seen(tried: &Tried, login_id: &str) -> (StatusCode, Vec<(String, String)>, String) {
    let headers = tried.answer.headers.iter();
    let headers = headers.filter(|(name, _)| *name != "date");
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let body = tried
        .answer
        .text()
        .replace(&format!("value=\"{login_id}\""), "");
    (tried.answer.status, headers, body)
}

#[tokio::test]
async fn fault_34_unknown_user_and_wrong_password_look_alike() {
    let world = World::start().await;
    let contract = customer(&world, "甲").await.contract;
    world.user(contract, "known-user", PASSWORD, false).await;
    world.user(contract, "issued-one", PASSWORD, true).await;
    world.user(contract, "third-user", PASSWORD, false).await;
    world.operator("known-boss", PASSWORD, false).await;
    world.operator("other-boss", PASSWORD, false).await;
    let long = "x".repeat(600);
    // Login IDs of one length: it comes back in the form.
    let doors = [
        (
            "/sign-in",
            vec!["known-user", "issued-one"],
            ["nobody-one", "nobody-too", "other-boss"],
        ),
        (
            "/operator/sign-in",
            vec!["known-boss"],
            ["nobody-two", "third-user", "no-boss-no"],
        ),
    ];
    for (door, known, unknown) in doors {
        for (password, hashes) in [("not-the-password", 1), ("", 1), (long.as_str(), 0)] {
            let expected = attempt(&world, door, known[0], password).await;
            assert_eq!(expected.answer.status, StatusCode::UNPROCESSABLE_ENTITY);
            for login_id in known[1..].iter().chain(&unknown) {
                let tried = attempt(&world, door, login_id, password).await;
                assert_eq!(
                    seen(&tried, login_id),
                    seen(&expected, known[0]),
                    "{login_id} at {door}"
                );
                for one in [&tried, &expected] {
                    assert_eq!(one.hashes, hashes, "{login_id} at {door}");
                    assert!(
                        one.took >= Duration::from_millis(300),
                        "{login_id} took {:?}",
                        one.took
                    );
                    assert!(!one.answer.headers.contains_key("set-cookie"), "{login_id}");
                }
            }
        }
    }
}

/// The pauses after many failures tell no more: they count tries, whether or not there is such an account.
#[tokio::test]
async fn fault_34_guessing_is_slowed_down_for_unknown_users_alike() {
    let world = World::start().await;
    let contract = world.store.add_contract("甲", now()).await.unwrap();
    world.user(contract, "known-user", PASSWORD, false).await;
    // Seconds to wait differ by when one asks.
    let plain = |(status, headers, body): (StatusCode, Vec<(String, String)>, String)| {
        let body: String = body.chars().filter(|sign| !sign.is_ascii_digit()).collect();
        let headers: Vec<_> = headers
            .into_iter()
            .filter(|(name, _)| name != "content-length")
            .collect();
        (status, headers, body)
    };
    let mut refused = 0;
    for guess in 0..7 {
        let password = format!("guess number {guess}");
        let known = attempt(&world, "/sign-in", "known-user", &password).await;
        let unknown = attempt(&world, "/sign-in", "nobody-one", &password).await;
        assert_eq!(
            plain(seen(&known, "known-user")),
            plain(seen(&unknown, "nobody-one"))
        );
        assert_eq!(known.hashes, unknown.hashes, "try {guess}");
        refused += u32::from(known.answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 2, "five tries are free");
}
