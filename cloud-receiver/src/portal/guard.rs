//! What stands around every page: the visit, the session, protection against forged requests, headers, and a
//! page for whatever goes wrong.
//!
//! Pages are closed unless the route table opens them. A request that changes something must prove that a page
//! of this very host sent it: by `Origin`, and by `Sec-Fetch-Site` where the browser says it. The session cookie
//! is `SameSite=Lax` besides.

use super::door::Door;
use super::problem::Problem;
use super::visit::{self, Visit, Who};
use super::words::Lang;
use super::{Access, PortalState, cookies};
use crate::auth::session::{self, OperatorSession, Session, Token, Use};
use crate::store::{AccountKind, NoticeRow, StoreError};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// From a request's head to the head of its answer. A form is small and a page is quick: whoever sends a form byte
/// by byte, to hold a connection open, is let go. Event streams are answered at once and then last.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Mail programs stop mails by one POST from nowhere (RFC 8058). It needs no cookie: the token in the address is all that
/// counts, and nobody else's page can know it.
pub const STOP_ROUTE: &str = "/mail/stop/{token}";
const STOP_PREFIX: &str = "/mail/stop/";

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// On every answer, whatever it is. `same-origin` and not `no-referrer`: with the latter, browsers send
/// `Origin: null` with our own forms.
const SECURITY_HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
];

/// The outermost layer of our own.
pub async fn around(State(state): State<PortalState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut visit = Visit::new(&state, &parts);
    let route = route_of(&parts);
    let mut response = match before(&parts) {
        Some(answer) => answer,
        None => {
            parts.extensions.insert(visit.clone());
            let run = AssertUnwindSafe(next.run(Request::from_parts(parts, body))).catch_unwind();
            match tokio::time::timeout(ANSWER_WITHIN, run).await {
                Ok(Ok(response)) => response,
                Ok(Err(_)) => Problem::internal("a handler panicked").into_response(),
                Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
            }
        }
    };
    visit.who = response.extensions_mut().remove::<Who>();
    let mut response = drawn(response, &visit, &route);
    set_headers(response.headers_mut());
    response
}

/// What the log calls a request. Not its address: those in mails carry a token that opens what it is for, and what is typed into
/// others is a customer's.
fn route_of(parts: &Parts) -> String {
    let matched = parts.extensions.get::<MatchedPath>();
    let route = matched.map_or("an unknown address", MatchedPath::as_str);
    format!("{} {route}", parts.method)
}

/// Answers that need no handler.
fn before(parts: &Parts) -> Option<Response> {
    let changes = !matches!(parts.method, Method::GET | Method::HEAD);
    let is_mail_program = parts.uri.path().starts_with(STOP_PREFIX);
    if changes && !is_mail_program && !is_of_this_host(&parts.headers, &parts.uri) {
        return Some(Problem::Forbidden.into_response());
    }
    if parts.method == Method::GET
        && let Some((lang, address)) = chosen_language(&parts.uri)
    {
        let cookie = [(header::SET_COOKIE, visit::lang_cookie(lang))];
        return Some((cookie, Redirect::to(&address)).into_response());
    }
    None
}

/// Replaces an error without a page by its page.
fn drawn(mut response: Response, visit: &Visit, route: &str) -> Response {
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // A handler's own page, such as a form that was refused, says more than we could.
        None if status.is_success() || status.is_redirection() || is_page(&response) => {
            return response;
        }
        None => Problem::of_status(status),
    };
    if let Problem::Internal(cause) = &problem {
        tracing::error!(route, "the portal could not answer {route}: {cause}");
    }
    let status = match status {
        StatusCode::METHOD_NOT_ALLOWED => status,
        _ => problem.status(),
    };
    let mut page = (status, problem.page(visit)).into_response();
    for kept in [header::ALLOW, header::SET_COOKIE] {
        if let Some(value) = response.headers().get(&kept) {
            page.headers_mut().insert(kept, value.clone());
        }
    }
    page
}

fn is_page(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

fn set_headers(headers: &mut HeaderMap) {
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.append(
        header::VARY,
        HeaderValue::from_static("Cookie, Accept-Language"),
    );
}

/// For answers that are not pages of the portal.
pub async fn with_headers(mut response: Response) -> Response {
    set_headers(response.headers_mut());
    response
}

/// Lets in who may come, and gives the handler the session.
pub async fn admit(
    State((state, access)): State<(PortalState, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (kind, use_of_it) = match access {
        Access::Public => return next.run(request).await,
        Access::Page => (AccountKind::Customer, Use::Page),
        Access::Part => (AccountKind::Customer, Use::Background),
        Access::Operator => (AccountKind::Operator, Use::Page),
    };
    let door = Door::of_kind(kind);
    let token =
        cookies::find(request.headers(), session::cookie_name(kind)).map(Token::from_cookie);
    let guest = match &token {
        Some(token) => recognise(&state, kind, token, use_of_it).await,
        None => Ok(None),
    };
    let guest = match guest {
        Ok(Some(guest)) => guest,
        Ok(None) => return turned_away(access, door, &request, token.is_some()),
        Err(error) => return Problem::from(error).into_response(),
    };
    let who = match &guest {
        Guest::Customer(session) => Who::from(session),
        Guest::Operator(session) => Who::from(session),
    };
    let notices = match notices(&state, access, &guest).await {
        Ok(notices) => notices,
        Err(error) => return Problem::from(error).into_response(),
    };
    let mut response = match door.next_step(&who, request.uri().path()) {
        Some((_, false)) if access == Access::Part => Problem::Unauthorized.into_response(),
        Some((page, false)) => Redirect::to(page).into_response(),
        None | Some((_, true)) => {
            let extensions = request.extensions_mut();
            if let Some(visit) = extensions.get_mut::<Visit>() {
                visit.who = Some(who.clone());
                visit.notices = notices;
            }
            extensions.insert(who.clone());
            match guest {
                Guest::Customer(session) => drop(extensions.insert(session)),
                Guest::Operator(session) => drop(extensions.insert(session)),
            }
            next.run(request).await
        }
    };
    response.extensions_mut().insert(who);
    response
}

/// What stands above every page of a customer; parts of pages have nothing above them.
async fn notices(
    state: &PortalState,
    access: Access,
    guest: &Guest,
) -> Result<Arc<[NoticeRow]>, StoreError> {
    match guest {
        Guest::Customer(session) if access == Access::Page => {
            let current = state.store.current_notices(session.scope, state.now());
            Ok(current.await?.into())
        }
        _ => Ok(Arc::default()),
    }
}

/// Whoever has come in.
enum Guest {
    Customer(Session),
    Operator(OperatorSession),
}

async fn recognise(
    state: &PortalState,
    kind: AccountKind,
    token: &Token,
    use_of_it: Use,
) -> Result<Option<Guest>, StoreError> {
    let (accounts, hash, now) = (state.accounts(kind), token.hash(), state.now());
    Ok(match kind {
        AccountKind::Customer => session::resume(&*accounts, hash, use_of_it, now)
            .await?
            .map(Guest::Customer),
        AccountKind::Operator => session::resume_operator(&*accounts, hash, use_of_it, now)
            .await?
            .map(Guest::Operator),
    })
}

fn turned_away(
    access: Access,
    door: &'static Door,
    request: &Request,
    had_a_session: bool,
) -> Response {
    if access == Access::Part {
        return Problem::Unauthorized.into_response();
    }
    let wanted = match request.method() {
        &Method::GET => request
            .uri()
            .path_and_query()
            .map_or(door.home, |p| p.as_str()),
        _ => door.home,
    };
    let mut query = form_query(&[("next", wanted)]);
    if had_a_session {
        query.push_str("&ended=1");
    }
    let mut response = Redirect::to(&format!("{}?{query}", door.sign_in)).into_response();
    if had_a_session && let Ok(value) = HeaderValue::from_str(&session::ended_cookie(door.kind)) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Pairs as a query string.
pub fn form_query(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
        out
    })
}

/// Whether a page of this host sent the request.
fn is_of_this_host(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let fetch_site = text(&HeaderName::from_static("sec-fetch-site"));
    if fetch_site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    let host = uri
        .authority()
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| text(&header::HOST));
    match (text(&header::ORIGIN), host) {
        (Some(origin), Some(host)) => origin.strip_prefix("https://") == Some(host),
        (Some(_), None) => false,
        // Every browser of the last years sends at least one of the two with a form.
        (None, _) => fetch_site.is_some(),
    }
}

/// `?lang=` and the same address without it.
fn chosen_language(uri: &Uri) -> Option<(Lang, String)> {
    let query = uri.query()?;
    let lang = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("lang="))
        .and_then(Lang::from_code)?;
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.starts_with("lang="))
        .collect();
    let path = local_path(uri.path());
    let address = if rest.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", rest.join("&"))
    };
    Some((lang, address))
}

/// A path that stays on this host: `//elsewhere` and `/\elsewhere` are addresses of other hosts.
pub fn local_path(path: &str) -> &str {
    let stays = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && !path.chars().any(char::is_control);
    if stays { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn only_our_own_pages_may_change_anything() {
        let uri = Uri::from_static("/sign-in");
        let check = |pairs: &[_], expected| {
            assert_eq!(
                is_of_this_host(&headers(pairs), &uri),
                expected,
                "{pairs:?}"
            );
        };
        let host = ("host", "portal.example:8443");
        check(&[host, ("origin", "https://portal.example:8443")], true);
        check(
            &[
                host,
                ("origin", "https://portal.example:8443"),
                ("sec-fetch-site", "same-origin"),
            ],
            true,
        );
        check(&[host, ("sec-fetch-site", "same-origin")], true);
        check(&[host], false);
        check(&[host, ("origin", "null")], false);
        check(&[host, ("origin", "http://portal.example:8443")], false);
        check(&[host, ("origin", "https://portal.example")], false);
        check(
            &[host, ("origin", "https://portal.example:8443.evil.example")],
            false,
        );
        check(
            &[
                host,
                ("origin", "https://portal.example:8443"),
                ("sec-fetch-site", "same-site"),
            ],
            false,
        );
        check(&[host, ("sec-fetch-site", "cross-site")], false);
        check(&[host, ("sec-fetch-site", "none")], false);
    }

    #[tokio::test]
    async fn the_log_names_the_route_and_not_the_token_in_the_address() {
        use axum::body::{Body, to_bytes};
        use tower::ServiceExt;
        async fn tell(request: Request, _: Next) -> String {
            route_of(&request.into_parts().0)
        }
        let router: axum::Router = axum::Router::new()
            .route(STOP_ROUTE, axum::routing::any(|| async {}))
            .fallback(|| async {})
            .layer(axum::middleware::from_fn(tell));
        let told = async |address: &str| {
            let request = Request::post(address).body(Body::empty());
            let answer = router.clone().oneshot(request.expect("a request")).await;
            let body = answer.expect("an answer").into_body();
            let body = to_bytes(body, 1024).await.expect("a body");
            String::from_utf8(body.to_vec()).expect("words")
        };
        assert_eq!(told("/mail/stop/secret").await, "POST /mail/stop/{token}");
        assert_eq!(told("/mail/stop/secret/x").await, "POST an unknown address");
    }

    #[test]
    fn the_way_back_never_leaves_the_host() {
        for path in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "evil",
            "",
            "/a\r\nb",
        ] {
            assert_eq!(local_path(path), "/", "{path}");
        }
        assert_eq!(local_path("/events?class=person"), "/events?class=person");
    }

    #[test]
    fn choosing_a_language_keeps_the_rest_of_the_address() {
        let check = |uri, expected: Option<(Lang, &str)>| {
            let chosen = chosen_language(&Uri::from_static(uri));
            assert_eq!(
                chosen,
                expected.map(|(lang, to)| (lang, to.to_owned())),
                "{uri}"
            );
        };
        check(
            "/events?class=person&lang=en",
            Some((Lang::En, "/events?class=person")),
        );
        check("/?lang=ja", Some((Lang::Ja, "/")));
        check("/?lang=xx", None);
        check("/", None);
        check("//evil.example?lang=ja", Some((Lang::Ja, "/")));
    }
}
