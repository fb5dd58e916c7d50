//! What every answer carries, whoever asks for whatever: from the router's own table.

#![allow(clippy::unwrap_used)]

use super::browser::{Answer, Browser, check_headers};
use super::operator::operator;
use super::world::World;
use super::{Customer, customer};
use cloud_receiver::portal::{Access, routes};
use reqwest::{Method, StatusCode};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Answers that hold a contract's data, or a way to it, are kept by nobody but the visitor's own browser.
fn check_keeping(access: Access, what: &str, answer: &Answer) {
    let keep = answer.header("cache-control");
    assert!(
        keep == "no-store" || keep.starts_with("private, ") || access == Access::Public,
        "{what}: {keep}"
    );
    assert!(answer.header("vary").contains("Cookie"), "{what}");
    let is_bare = answer.body.is_empty() || !answer.header("content-type").is_empty();
    assert!(is_bare, "{what}: a body without a type");
}

async fn walk_as(browser: &mut Browser, customer: &Customer) -> usize {
    let mut answers = 0;
    let mut all = routes();
    // Otherwise the rest of the walk would be without a session.
    all.sort_by_key(|route| route.path.ends_with("/sign-out"));
    for route in all {
        for address in [
            customer.address(&route),
            route.path.replace(['{', '}'], "x"),
        ] {
            for method in METHODS {
                let form: Option<&[(&str, &str)]> = (method == "POST").then_some(&[]);
                let what = format!("{method} {address}");
                // Checks the headers and the cookies that are set.
                let answer = browser
                    .send(method.parse().unwrap(), &address, form, true)
                    .await;
                check_keeping(route.access, &what, &answer);
                let knows = route.methods.contains(&method)
                    || method == "HEAD" && route.methods.contains(&"GET");
                assert_eq!(
                    answer.status == StatusCode::METHOD_NOT_ALLOWED,
                    !knows,
                    "{what}"
                );
                answers += 1;
            }
        }
    }
    answers
}

#[tokio::test]
async fn fault_35_headers_and_cookies_on_every_route() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut visitors = [
        Browser::new(&world),
        customer.browser(&world).await,
        operator(&world).await,
    ];
    for browser in &mut visitors {
        let answers = walk_as(browser, &customer).await;
        assert_eq!(answers, routes().len() * 2 * METHODS.len());
    }
}

#[tokio::test]
async fn fault_35_headers_on_what_goes_wrong_too() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    for (address, status) in [
        ("/nothing", StatusCode::NOT_FOUND),
        ("/operator/nothing", StatusCode::NOT_FOUND),
        ("/media/xyz", StatusCode::NOT_FOUND),
        ("/assets/..%2f..%2fetc%2fpasswd", StatusCode::NOT_FOUND),
        ("/events?site=a&site=b", StatusCode::BAD_REQUEST),
        ("/?lang=en", StatusCode::SEE_OTHER),
    ] {
        assert_eq!(browser.get(address).await.status, status, "{address}");
    }
    assert_eq!(
        browser.post_from_nowhere("/password").await.status,
        StatusCode::FORBIDDEN
    );
    let origin = world.url("");
    let send = async |path: &str, kind: &str, body: Vec<u8>| {
        let request = browser
            .request(Method::POST, path)
            .header("origin", &origin);
        let response = request
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .unwrap();
        check_headers(path, response.headers());
        response.status()
    };
    let form = "application/x-www-form-urlencoded";
    assert!(
        send("/password", form, vec![b'x'; 1 << 20])
            .await
            .is_client_error()
    );
    assert!(
        send("/password", "application/json", b"{}".to_vec())
            .await
            .is_client_error()
    );
    assert!(
        send("/sign-in", form, b"login_id=%ff".to_vec())
            .await
            .is_client_error()
    );
    for (path, encoding) in [
        ("/", "gzip"),
        ("/events", "br"),
        ("/assets/portal.css", "gzip"),
    ] {
        let request = browser
            .request(Method::GET, path)
            .header("accept-encoding", encoding);
        check_headers(path, request.send().await.unwrap().headers());
    }
}
