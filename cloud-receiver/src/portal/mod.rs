//! The portal: what a customer sees. *What happened, and can I trust it?* And, behind a door of its own
//! (`door.rs`), what the operator sees: how the devices are.
//!
//! Every page is a function from what the store says to HTML; handlers only fetch and call it. All pages stand in
//! one table, [`routes`]: each says who may come, the router is built from it, and the tests that walk all pages
//! read it too, so that no page can be added without being guarded and tested.
//!
//! Pages work without JavaScript; `assets/portal.js` adds live updates and nothing else. No inline script or style
//! exists, so the content security policy can forbid both.

mod account;
mod assets;
mod charts;
mod condition;
mod cookies;
mod door;
mod download;
mod event;
mod export;
mod gaps;
mod guard;
mod layout;
mod live;
mod media;
mod notices;
mod notifications;
mod operator;
mod overview;
mod password;
mod picture;
mod problem;
mod qr;
mod reasons;
mod second_factor;
mod security;
mod sign_in;
mod thumbnail;
mod timeline;
mod views;
mod visit;
pub mod when;
pub mod words;

use crate::auth::login::Login;
use crate::auth::password::Hashing;
use crate::auth::session::OperatorSession;
use crate::live::Live;
use crate::office::Office;
use crate::store::retention::RetentionReads;
use crate::store::{
    AccountBooks, AccountKind, Accounts, Acting, AlertReads, AuditBook, ContractBook,
    CustomerReads, DeviceFileBook, EvidenceReads, NoticeReads, OperatorDesk, SecurityReads,
    SubscriptionBook,
};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Path, State};
use axum::routing::{MethodRouter, get, post};
pub use export::Exports;
use jiff::tz::TimeZone;
pub use media::{PictureError, Pictures};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
pub use views::Views;
use visit::Visit;
use wire::UtcMicros;
use wire::claim::Fingerprint;

/// Most bytes of a form: login ID and two passwords fit many times.
const FORM_LIMIT_BYTES: usize = 16 * 1024;

/// What the portal asks of the store.
pub trait PortalStore:
    CustomerReads
    + AccountBooks
    + OperatorDesk
    + DeviceFileBook
    + EvidenceReads
    + NoticeReads
    + AlertReads
    + AuditBook
    + ContractBook
    + Acting
    + SubscriptionBook
    + SecurityReads
    + RetentionReads
{
}
impl<T> PortalStore for T where
    T: CustomerReads
        + AccountBooks
        + OperatorDesk
        + DeviceFileBook
        + EvidenceReads
        + NoticeReads
        + AlertReads
        + AuditBook
        + ContractBook
        + Acting
        + SubscriptionBook
        + SecurityReads
        + RetentionReads
{
}

/// Where customers turn to; shown in every page's footer.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    /// The operator's name, as customers know it.
    pub name: String,
    /// An e-mail address.
    pub mail: Option<String>,
    pub phone: Option<String>,
}

/// What a claim code is made of, beside its secret.
#[derive(Clone, Debug)]
pub struct Claims {
    pub fingerprint: Fingerprint,
    /// Where devices enroll.
    pub url: String,
}

/// Everything the portal needs, made once in `app.rs`.
#[derive(Clone)]
pub struct PortalState {
    pub store: Arc<dyn PortalStore>,
    pub pictures: Arc<dyn Pictures>,
    pub exports: Arc<dyn Exports>,
    /// One for each export that may be made at the same time.
    pub export_turns: Arc<Semaphore>,
    /// So that a broken download goes on.
    pub exports_made: Arc<export::Made>,
    pub live: Live,
    pub login: Arc<Login>,
    pub views: Arc<Views>,
    /// In which region the store says that it is.
    pub region: Option<Arc<str>>,
    /// Without it no claim codes are given here.
    pub claims: Option<Arc<Claims>>,
    /// Without it the operators' area shows devices, users and the audit log only.
    pub office: Option<Arc<Office>>,
    pub contact: Arc<Contact>,
    /// The contracts' time zone.
    pub zone: TimeZone,
    pub clock: Arc<dyn Fn() -> UtcMicros + Send + Sync>,
    /// Where customers reach this portal, for links in mails.
    pub address: Arc<str>,
    /// Ends the open event streams, so that shutting down need not wait for browsers.
    pub stop: CancellationToken,
}

impl PortalState {
    /// With Japan Standard Time and the machine's clock.
    pub fn new(
        store: Arc<dyn PortalStore>,
        pictures: Arc<dyn Pictures>,
        exports: Arc<dyn Exports>,
        live: Live,
        hashing: Hashing,
        contact: Contact,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            pictures,
            exports,
            export_turns: Arc::new(Semaphore::new(export::EXPORTS_AT_ONCE)),
            exports_made: Arc::default(),
            live,
            login: Arc::new(Login::new(hashing)),
            views: Arc::default(),
            region: None,
            claims: None,
            office: None,
            contact: Arc::new(contact),
            zone: TimeZone::get(when::DEFAULT_ZONE).expect("the time zones are built in"),
            clock: Arc::new(crate::clock::now),
            address: "https://localhost".into(),
            stop,
        }
    }

    /// Under this address.
    #[must_use]
    pub fn at(self, address: String) -> Self {
        Self {
            address: address.into(),
            ..self
        }
    }

    fn now(&self) -> UtcMicros {
        (self.clock)()
    }

    fn accounts(&self, kind: AccountKind) -> Arc<dyn Accounts> {
        self.store.accounts(kind)
    }
}

impl std::fmt::Debug for PortalState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PortalState")
    }
}

/// Who may come to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// A signed-in user opens a page: without a session, to sign-in and back.
    Page,
    /// A signed-in user's page asks for a part of itself: without a session, 401.
    Part,
    /// A signed-in operator opens a page: without an operator's session, to the operators' sign-in and back.
    Operator,
}

/// One row of the table of all routes.
#[derive(Debug)]
pub struct Route {
    pub path: &'static str,
    pub methods: &'static [&'static str],
    pub access: Access,
    handler: MethodRouter<PortalState>,
}

/// All there is. What is not in here does not exist.
pub fn routes() -> Vec<Route> {
    use Access::{Operator, Page, Part, Public};
    use operator::users::Deed;
    let route = |path, methods, access, handler| Route {
        path,
        methods,
        access,
        handler,
    };
    vec![
        route(
            "/sign-in",
            &["GET", "POST"],
            Public,
            get(sign_in::form).post(sign_in::submit),
        ),
        route("/offline", &["GET"], Public, get(problem::offline)),
        route(
            "/offline-worker.js",
            &["GET"],
            Public,
            get(assets::offline_worker),
        ),
        route("/assets/{name}", &["GET"], Public, get(assets::asset)),
        route("/", &["GET"], Page, get(overview::show)),
        route("/events", &["GET"], Page, get(timeline::show)),
        route("/events/strip", &["GET"], Part, get(timeline::strip)),
        route("/events/{id}", &["GET"], Page, get(event::show)),
        route("/events/{id}/export", &["GET"], Page, get(export::of_event)),
        route("/export", &["GET"], Page, get(export::of_time)),
        route("/download", &["GET"], Page, get(download::show)),
        route("/charts", &["GET"], Page, get(charts::show)),
        route("/charts.csv", &["GET"], Page, get(charts::file)),
        route("/notices", &["GET"], Page, get(notices::show)),
        route("/security", &["GET"], Page, get(security::show)),
        route("/account", &["GET"], Page, get(account::show)),
        route(
            "/account/notifications",
            &["GET", "POST"],
            Page,
            get(notifications::form).post(notifications::submit),
        ),
        route(
            "/mail/confirm/{token}",
            &["GET", "POST"],
            Public,
            get(notifications::confirm_page).post(notifications::confirm),
        ),
        route(
            guard::STOP_ROUTE,
            &["GET", "POST"],
            Public,
            get(notifications::stop_page).post(notifications::stop),
        ),
        route(
            "/account/end-other-sessions",
            &["POST"],
            Page,
            post(account::end_other_sessions),
        ),
        route(
            "/password",
            &["GET", "POST"],
            Page,
            get(password::form).post(password::submit),
        ),
        route(
            "/account/end-session",
            &["POST"],
            Page,
            post(account::end_session),
        ),
        route(
            "/second-factor",
            &["GET", "POST"],
            Page,
            get(second_factor::show).post(second_factor::enter),
        ),
        route(
            "/second-factor/begin",
            &["POST"],
            Page,
            post(second_factor::begin),
        ),
        route(
            "/second-factor/confirm",
            &["POST"],
            Page,
            post(second_factor::confirm),
        ),
        route(
            "/second-factor/remove",
            &["POST"],
            Page,
            post(second_factor::remove),
        ),
        route("/sign-out", &["POST"], Page, post(sign_in::sign_out)),
        route("/events/{id}/card", &["GET"], Part, get(timeline::card)),
        route("/cameras/{id}/card", &["GET"], Part, get(overview::card)),
        route("/media/{sha256}", &["GET"], Part, get(media::show)),
        route("/live", &["GET"], Part, get(live::stream)),
        route(
            "/operator/sign-in",
            &["GET", "POST"],
            Public,
            get(sign_in::form).post(sign_in::submit),
        ),
        route("/operator", &["GET"], Operator, get(operator::start::show)),
        route("/operator/devices", &["GET"], Operator, get(operator::show)),
        route(
            "/operator/alerts",
            &["GET"],
            Operator,
            get(operator::alerts::show),
        ),
        route(
            "/operator/devices/{device}/cameras/{camera}/picture",
            &["POST"],
            Operator,
            post(operator::picture_now),
        ),
        route(
            "/operator/devices/{device}/deliveries",
            &["GET"],
            Operator,
            get(operator::deliveries::show),
        ),
        route(
            "/operator/devices/{device}/files",
            &["GET"],
            Operator,
            get(operator::files::show),
        ),
        route(
            "/operator/devices/{device}/files/log",
            &["POST"],
            Operator,
            post(operator::files::ask_for_log),
        ),
        route(
            "/operator/devices/{device}/files/support-bundle",
            &["POST"],
            Operator,
            post(operator::files::ask_for_bundle),
        ),
        route(
            "/operator/devices/{device}/file/{command}",
            &["GET"],
            Operator,
            get(operator::files::get),
        ),
        route(
            "/operator/devices/{device}/revoke",
            &["GET", "POST"],
            Operator,
            get(operator::revoke::ask).post(operator::revoke::act),
        ),
        route(
            "/operator/contracts",
            &["GET", "POST"],
            Operator,
            get(operator::contracts::list).post(operator::contracts::add),
        ),
        route(
            "/operator/contracts/{contract}/terms",
            &["GET", "POST"],
            Operator,
            get(operator::terms::show).post(operator::terms::act),
        ),
        route(
            "/operator/contracts/{contract}/ending",
            &["GET"],
            Operator,
            get(operator::ending::show),
        ),
        route(
            "/operator/contracts/{contract}/ending/period",
            &["POST"],
            Operator,
            post(operator::ending::period),
        ),
        route(
            "/operator/contracts/{contract}/ending/done",
            &["POST"],
            Operator,
            post(operator::ending::done),
        ),
        route(
            "/operator/contracts/{contract}/ending/erase",
            &["POST"],
            Operator,
            post(operator::ending::erase),
        ),
        route(
            "/operator/contracts/{contract}/holds",
            &["POST"],
            Operator,
            post(operator::holds::add),
        ),
        route(
            "/operator/holds/{hold}/remove",
            &["GET", "POST"],
            Operator,
            get(operator::holds::ask).post(operator::holds::remove),
        ),
        route(
            "/operator/erasures",
            &["GET"],
            Operator,
            get(operator::erasures::list),
        ),
        route(
            "/operator/erasures/{erasure}",
            &["GET"],
            Operator,
            get(operator::erasures::show),
        ),
        route(
            "/operator/erasures/{erasure}/certificate",
            &["GET"],
            Operator,
            get(operator::erasures::certificate),
        ),
        route(
            "/operator/contracts/{contract}/places",
            &["GET"],
            Operator,
            get(operator::places::show),
        ),
        route(
            "/operator/contracts/{contract}/sites",
            &["POST"],
            Operator,
            post(operator::places::add_site),
        ),
        route(
            "/operator/contracts/{contract}/event-tags",
            &["POST"],
            Operator,
            post(operator::places::tag_event),
        ),
        route(
            "/operator/sites/{site}/tags",
            &["POST"],
            Operator,
            post(operator::places::tag_site),
        ),
        route(
            "/operator/cameras/{camera}/tags",
            &["POST"],
            Operator,
            post(operator::places::tag_camera),
        ),
        route(
            "/operator/cameras/{camera}/name",
            &["POST"],
            Operator,
            post(operator::places::name_camera),
        ),
        route(
            "/operator/notices",
            &["GET"],
            Operator,
            get(operator::notices::list),
        ),
        route(
            "/operator/notices/maintenance",
            &["GET", "POST"],
            Operator,
            get(operator::notice_form::maintenance).post(operator::notice_form::tell_maintenance),
        ),
        route(
            "/operator/notices/incident",
            &["GET", "POST"],
            Operator,
            get(operator::notice_form::incident).post(operator::notice_form::tell_incident),
        ),
        route(
            "/operator/notices/{notice}",
            &["GET"],
            Operator,
            get(operator::notices::show),
        ),
        route(
            "/operator/notices/{notice}/end",
            &["GET", "POST"],
            Operator,
            get(operator::notices::ask_end).post(operator::notices::end),
        ),
        route(
            "/operator/mail",
            &["GET"],
            Operator,
            get(operator::mail::list),
        ),
        route(
            "/operator/mail/retry",
            &["POST"],
            Operator,
            post(operator::mail::retry),
        ),
        route(
            "/operator/mail/{number}",
            &["GET"],
            Operator,
            get(operator::mail::show),
        ),
        route(
            "/operator/receiver",
            &["GET"],
            Operator,
            get(operator::receiver::show),
        ),
        route(
            "/operator/receiver/backup",
            &["POST"],
            Operator,
            post(operator::receiver::backup),
        ),
        route(
            "/operator/receiver/measure",
            &["POST"],
            Operator,
            post(operator::receiver::measure),
        ),
        route(
            "/operator/keys",
            &["GET"],
            Operator,
            get(operator::keys::show),
        ),
        route(
            "/operator/receiver/heads",
            &["POST"],
            Operator,
            post(operator::heads::make),
        ),
        route(
            "/operator/contracts/{contract}",
            &["GET"],
            Operator,
            get(operator::contracts::show),
        ),
        route(
            "/operator/contracts/{contract}/users",
            &["POST"],
            Operator,
            post(operator::users::add),
        ),
        route(
            "/operator/sites/{site}/claim",
            &["POST"],
            Operator,
            post(operator::contracts::claim),
        ),
        route(
            "/operator/users/{login}/reset-password",
            &["GET", "POST"],
            Operator,
            deed(Deed::ResetPassword),
        ),
        route(
            "/operator/users/{login}/reset-second-factor",
            &["GET", "POST"],
            Operator,
            deed(Deed::ResetSecondFactor),
        ),
        route(
            "/operator/users/{login}/remove",
            &["GET", "POST"],
            Operator,
            deed(Deed::Remove),
        ),
        route(
            "/operator/letters",
            &["GET"],
            Operator,
            get(operator::letters::list),
        ),
        route(
            "/operator/letters/{letter}",
            &["GET", "POST"],
            Operator,
            get(operator::letters::show)
                .post(operator::letters::act)
                .layer(DefaultBodyLimit::max(operator::letters::FORM_LIMIT_BYTES)),
        ),
        route(
            "/operator/operators",
            &["GET", "POST"],
            Operator,
            get(operator::operators::list).post(operator::operators::add),
        ),
        route(
            "/operator/operators/{login}/reset-password",
            &["GET", "POST"],
            Operator,
            operator_deed(Deed::ResetPassword),
        ),
        route(
            "/operator/operators/{login}/reset-second-factor",
            &["GET", "POST"],
            Operator,
            operator_deed(Deed::ResetSecondFactor),
        ),
        route(
            "/operator/operators/{login}/remove",
            &["GET", "POST"],
            Operator,
            operator_deed(Deed::Remove),
        ),
        route(
            "/operator/audit",
            &["GET"],
            Operator,
            get(operator::audit::show),
        ),
        route(
            "/operator/password",
            &["GET", "POST"],
            Operator,
            get(password::form).post(password::submit),
        ),
        route(
            "/operator/second-factor",
            &["GET", "POST"],
            Operator,
            get(second_factor::show).post(second_factor::enter),
        ),
        route(
            "/operator/second-factor/begin",
            &["POST"],
            Operator,
            post(second_factor::begin),
        ),
        route(
            "/operator/second-factor/confirm",
            &["POST"],
            Operator,
            post(second_factor::confirm),
        ),
        route(
            "/operator/sign-out",
            &["POST"],
            Operator,
            post(sign_in::sign_out),
        ),
    ]
}

/// Asks, and does it.
fn deed(deed: operator::users::Deed) -> MethodRouter<PortalState> {
    let ask = move |State(state): State<PortalState>,
                    visit: Visit,
                    session: OperatorSession,
                    Path(login): Path<String>| {
        operator::users::ask(deed, state, visit, session, login)
    };
    let act = move |State(state): State<PortalState>,
                    visit: Visit,
                    session: OperatorSession,
                    Path(login): Path<String>| {
        operator::users::act(deed, state, visit, session, login)
    };
    get(ask).post(act)
}

/// The same of an operator's account.
fn operator_deed(deed: operator::users::Deed) -> MethodRouter<PortalState> {
    let ask = move |State(state): State<PortalState>,
                    visit: Visit,
                    session: OperatorSession,
                    Path(login): Path<String>| {
        operator::operators::ask(deed, state, visit, session, login)
    };
    let act = move |State(state): State<PortalState>,
                    visit: Visit,
                    session: OperatorSession,
                    Path(login): Path<String>,
                    Form(asked): Form<operator::operators::Typed>| {
        operator::operators::act(deed, state, visit, session, login, asked)
    };
    get(ask).post(act)
}

/// Gives the answers of others that share the portal's listener the headers of its own.
pub fn with_headers(router: Router) -> Router {
    router.layer(axum::middleware::map_response(guard::with_headers))
}

/// The portal as a service. The listener puts `axum::extract::ConnectInfo<SocketAddr>` into each request.
pub fn router(state: PortalState) -> Router {
    // An export holds pictures, and goes as it is made.
    let worth_compressing =
        DefaultPredicate::new().and(NotForContentType::const_new("application/zip"));
    let guarded = |router: Router<PortalState>, route: Route| {
        let admit =
            axum::middleware::from_fn_with_state((state.clone(), route.access), guard::admit);
        router.route(route.path, route.handler.route_layer(admit))
    };
    routes()
        .into_iter()
        .fold(Router::new(), guarded)
        .fallback(problem::not_found)
        .layer(DefaultBodyLimit::max(FORM_LIMIT_BYTES))
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            guard::around,
        ))
        .layer(CompressionLayer::new().compress_when(worth_compressing))
        .with_state(state)
}
