//! Signed heads on the page of the receiver: which there are, whether they went out, and one now, as `heads now` makes it.

use super::form::{office, words};
use crate::auth::session::OperatorSession;
use crate::evidence::local;
use crate::office::heads::make_now;
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::DeskWords;
use crate::store::HeadsRow;
use axum::extract::State;
use axum::response::Redirect;
use maud::{Markup, html};
use std::time::Duration;

const MOST_HEADS: usize = 10;
/// A mail server or an authority for time stamps may be slow; nobody looks at an empty page for that long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes them, and waits a while for their sending, which goes on without the one who asked.
pub async fn make(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Redirect, Problem> {
    let office = office(&state, &session)?;
    let at = visit.now;
    let making = tokio::spawn(async move {
        let made = make_now(&office.store, &office.key, &office.config, at).await;
        made.inspect_err(|error| {
            tracing::error!("heads were asked for, and were not made: {error:#}")
        })
    });
    let number = match tokio::time::timeout(PATIENCE, making).await {
        Ok(made) => {
            let made = made.map_err(Problem::internal)?;
            made.map_err(|error| Problem::internal(format!("{error:#}")))?
                .row
                .number
        }
        Err(_) => 0,
    };
    Ok(Redirect::to(&format!(
        "/operator/receiver?heads={number}#heads"
    )))
}

/// What came of those that were asked for.
fn told(visit: &Visit, row: Option<&HeadsRow>, go_out: bool) -> Markup {
    let w = DeskWords::of(visit.lang);
    let Some(row) = row else {
        return layout::notice(Notice::Wait, w.heads_on_the_way);
    };
    let is_out = row.written_us.is_some() || row.mailed_us.is_some();
    let failed = row.problem.is_some() || row.stamp_problem.is_some();
    match (go_out, failed, is_out) {
        (false, ..) => layout::notice(Notice::Wait, w.heads_stay),
        (_, true, _) => layout::notice(Notice::Bad, w.heads_failed),
        (_, _, true) => layout::notice(Notice::Good, w.heads_made),
        _ => layout::notice(Notice::Wait, w.heads_on_the_way),
    }
}

/// `asked`: the number of those that were just asked for. `go_out`: the configuration says where to.
pub(super) fn section(
    visit: &Visit,
    heads: &[HeadsRow],
    asked: Option<u64>,
    go_out: bool,
) -> Markup {
    let w = words(visit);
    html! {
        section.sheet #heads {
            h2 { (w.heads) }
            @if let Some(number) = asked { (told(visit, heads.iter().find(|row| row.number == number), go_out)) }
            p.hint { (w.heads_hint) }
            form method="post" action="/operator/receiver/heads" { button { (DeskWords::of(visit.lang).heads_now) } }
            @if heads.is_empty() { p { (w.heads_none) } }
            @else {
                div.wide-table tabindex="0" {
                    table.audit {
                        thead { tr { th scope="col" { (w.number) } th scope="col" { (w.made) } th scope="col" { (w.went_out) } } }
                        tbody { @for row in heads.iter().rev().take(MOST_HEADS) { (head(visit, row)) } }
                    }
                }
            }
        }
    }
}

fn head(visit: &Visit, row: &HeadsRow) -> Markup {
    let w = words(visit);
    let is_out = row.written_us.is_some() || row.mailed_us.is_some();
    html! {
        tr {
            td.tabular { (row.number) }
            td.tabular { (visit.full(row.at_us)) }
            td {
                @if !is_out { span.mark-wait { (layout::icon_pending()) (w.not_out) } }
                @if row.written_us.is_some() { span.mark-good { (layout::icon_good()) (w.written) } " " }
                @if row.mailed_us.is_some() { span.mark-good { (layout::icon_good()) (w.mailed) } " " }
                @if let Some(stamp) = &row.stamp { span.mark-good { (layout::icon_good()) (w.stamped) } " " span.hint.tabular { (local::time(stamp.at_us)) } }
                @for problem in [&row.problem, &row.stamp_problem].into_iter().flatten() { div.hint.code { (problem) } }
            }
        }
    }
}
