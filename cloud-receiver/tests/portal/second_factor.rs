//! The second step of signing in: what it opens, what it does not, and that no code is good twice.

#![allow(clippy::unwrap_used)]

use super::browser::Browser;
use super::world::{World, code_of, now};
use super::{PASSWORD, customer};
use cloud_receiver::auth::totp::{Secret, step_at};
use cloud_receiver::portal::{Access, routes};
use cloud_receiver::store::{
    AccountBooks, AccountKind, Administration, AuditBook, AuditFilter, ContractBook, Terms,
};
use reqwest::StatusCode;

/// The secret that a page shows to be typed.
fn secret_on(page: &str) -> Secret {
    let after = page.split("id=\"secret\">").nth(1).expect("a secret");
    Secret::from_base32(after.split('<').next().unwrap()).unwrap()
}

fn recovery_codes_on(page: &str) -> Vec<String> {
    let list = page.split("recovery").nth(1).expect("a list");
    let list = list.split("</ul>").next().unwrap();
    let codes = list.split("<code>").skip(1);
    codes
        .map(|code| code.split('<').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn with_the_password_alone_nothing_opens_and_no_code_is_good_twice() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    world
        .second_factor(AccountKind::Customer, &customer.login_id)
        .await;
    let mut browser = Browser::new(&world);
    let form = [
        ("login_id", &*customer.login_id),
        ("password", PASSWORD),
        ("next", "/events"),
    ];
    let answer = browser.post("/sign-in", &form).await;
    assert_eq!(answer.location(), "/second-factor?next=%2Fevents");
    for route in routes()
        .iter()
        .filter(|route| matches!(route.access, Access::Page | Access::Part))
    {
        let is_open = ["/second-factor", "/sign-out"].contains(&route.path);
        for method in route.methods.iter().filter(|_| !is_open) {
            let address = customer.address(route);
            let form: Option<&[(&str, &str)]> = (*method == "POST").then_some(&[]);
            let answer = browser
                .send(method.parse().unwrap(), &address, form, true)
                .await;
            match route.access {
                Access::Page => assert_eq!(answer.location(), "/second-factor", "{address}"),
                _ => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{address}"),
            }
        }
    }
    let half_open = browser.cookies["__Host-session"].clone();
    let wrong = browser.post("/second-factor", &[("code", "000000")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let code = code_of(&customer.login_id, 0);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let form = [("code", &*spaced), ("next", "/events")];
    let answer = browser.post("/second-factor", &form).await;
    assert_eq!(answer.location(), "/events");
    assert_ne!(browser.cookies["__Host-session"], half_open, "a new token");
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let account = browser.get("/account").await.text();
    assert!(account.contains("設定済みです"), "{account}");

    // Whoever looked over the shoulder comes too late; so does an older code.
    let mut other = Browser::new(&world);
    other.sign_in(&customer.login_id, PASSWORD).await;
    for code in [code, code_of(&customer.login_id, -1)] {
        let again = other.post("/second-factor", &[("code", &*code)]).await;
        assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    // The token of the half-open session is dead.
    other.cookies.insert("__Host-session".into(), half_open);
    let answer = other.get("/second-factor").await;
    assert!(
        answer.location().starts_with("/sign-in?"),
        "{}",
        answer.location()
    );
}

#[tokio::test]
async fn wrong_codes_are_slowed_down_though_the_password_is_right_each_time() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    world
        .second_factor(AccountKind::Customer, &customer.login_id)
        .await;
    let mut refused = 0;
    for guess in 0..7 {
        let mut browser = Browser::new(&world);
        browser.sign_in(&customer.login_id, PASSWORD).await;
        let code = format!("guess{guess}");
        let answer = browser.post("/second-factor", &[("code", &*code)]).await;
        refused += u32::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(refused, 2, "five tries are free");
    let account = world.store.accounts(AccountKind::Customer);
    let account = account.account(&customer.login_id).await.unwrap().unwrap();
    assert_eq!(account.failed_sign_ins, 5, "its owner is told of them");
}

#[tokio::test]
async fn an_operator_sets_it_up_at_the_first_sign_in_and_recovery_codes_work_once() {
    let world = World::start().await;
    let hash = cloud_receiver::auth::password::hash(PASSWORD).unwrap();
    world
        .store
        .add_operator("sora", &hash, now())
        .await
        .unwrap();
    let mut browser = Browser::new(&world);
    let page = "/operator/second-factor";
    let answer = browser.sign_in_as_operator("sora", PASSWORD).await;
    // The browser of the tests has tried codes of a factor that is not there.
    assert_eq!(answer.location(), page);
    assert_eq!(browser.get("/operator").await.location(), page);
    assert_eq!(browser.get("/operator/password").await.location(), page);
    let begun = browser.post("/operator/second-factor/begin", &[]).await;
    assert_eq!(begun.location(), page);
    let shown = browser.get(page).await.text();
    assert!(shown.contains("class=\"qr\""), "{shown}");
    let secret = secret_on(&shown);
    let confirm = "/operator/second-factor/confirm";
    let code = secret.code(step_at(now()));
    // The password is asked for again: an open session alone sets up no factor.
    for form in [
        [("password", PASSWORD), ("code", "12")],
        [("password", "another one entirely"), ("code", &*code)],
    ] {
        let wrong = browser.post(confirm, &form).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{form:?}");
    }
    assert_eq!(browser.get("/operator").await.location(), page);
    let form = [("password", PASSWORD), ("code", &*code)];
    let answer = browser.post(confirm, &form).await;
    let codes = recovery_codes_on(&answer.text());
    assert_eq!(codes.len(), 8);
    // The issued password comes next.
    assert_eq!(
        browser.get("/operator").await.location(),
        "/operator/password"
    );
    let again = browser.get(page).await;
    assert_eq!(
        again.location(),
        "/operator/password",
        "codes are shown once"
    );

    for (code, good) in [(&codes[1], true), (&codes[1], false), (&codes[2], true)] {
        let mut other = Browser::new(&world);
        let form = [("login_id", "sora"), ("password", PASSWORD)];
        other.post("/operator/sign-in", &form).await;
        let answer = other.post(page, &[("code", code)]).await;
        assert_eq!(answer.status == StatusCode::SEE_OTHER, good, "{code}");
    }
    // A new one cannot be put in its place by whoever has the password alone.
    let mut other = Browser::new(&world);
    let form = [("login_id", "sora"), ("password", PASSWORD)];
    other.post("/operator/sign-in", &form).await;
    for path in [confirm, "/operator/second-factor/begin"] {
        assert_eq!(other.post(path, &[]).await.location(), page, "{path}");
    }
    let before = world.store.accounts(AccountKind::Operator);
    let before = before.second_factor("sora").await.unwrap().unwrap();
    assert_eq!(before.secret, secret);
}

#[tokio::test]
async fn a_contract_can_require_it_and_a_user_may_choose_it() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    // Chosen freely: the session goes on, and it can be given up with a code.
    browser.post("/second-factor/begin", &[]).await;
    let secret = secret_on(&browser.get("/second-factor").await.text());
    let code = secret.code(step_at(now()));
    let done = browser
        .post(
            "/second-factor/confirm",
            &[("password", PASSWORD), ("code", &*code)],
        )
        .await;
    assert_eq!(recovery_codes_on(&done.text()).len(), 8);
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let refused = browser
        .post("/second-factor/remove", &[("code", "1")])
        .await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let filter = AuditFilter {
        action: Some("sign_in.fail_code".into()),
        ..AuditFilter::default()
    };
    let noted = world.store.audit_newest(&filter, None, 10).await.unwrap();
    assert_eq!(
        noted.len(),
        1,
        "the wrong code stands in the log: {noted:?}"
    );
    let next = secret.code(step_at(now()) + 1);
    let removed = browser
        .post("/second-factor/remove", &[("code", &*next)])
        .await;
    assert_eq!(
        removed.location(),
        "/second-factor?removed=1",
        "{}",
        removed.text()
    );
    assert_eq!(browser.get("/").await.status, StatusCode::OK);

    // Required from now on: whoever is signed in sets it up before anything else.
    let terms = Terms {
        needs_second_factor: true,
        ..Terms::default()
    };
    world
        .store
        .set_terms(customer.contract, &terms, now())
        .await
        .unwrap();
    assert_eq!(browser.get("/events").await.location(), "/second-factor");
    browser.post("/second-factor/begin", &[]).await;
    let secret = secret_on(&browser.get("/second-factor").await.text());
    let code = secret.code(step_at(now()));
    browser
        .post(
            "/second-factor/confirm",
            &[("password", PASSWORD), ("code", &*code)],
        )
        .await;
    assert_eq!(browser.get("/events").await.status, StatusCode::OK);
    let next = secret.code(step_at(now()) + 1);
    let kept = browser
        .post("/second-factor/remove", &[("code", &*next)])
        .await;
    assert_eq!(kept.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn one_of_the_own_sessions_can_be_ended_and_nobody_elses() {
    let world = World::start().await;
    let (own, foreign) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let (mut one, mut other) = (own.browser(&world).await, own.browser(&world).await);
    let mut stranger = foreign.browser(&world).await;
    let page = one.get("/account").await.text();
    let hash = page.split("name=\"session\" value=\"").nth(1).unwrap();
    let hash = hash.split('"').next().unwrap();
    let form = [("session", hash)];
    let refused = stranger.post("/account/end-session", &form).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert_eq!(other.get("/").await.status, StatusCode::OK);
    let ended = one.post("/account/end-session", &form).await;
    assert_eq!(ended.location(), "/account?one=1");
    assert_eq!(other.get("/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(one.get("/").await.status, StatusCode::OK);
}
