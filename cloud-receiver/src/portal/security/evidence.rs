//! What there is to show for each clause: one function each, in the order of the white paper.

use super::Shown;
use crate::portal::words::SecurityWords;
use crate::store::{DeviceFacts, Retention};
use wire::{ClockState, UtcMicros};

/// Something to show for a clause.
pub(super) struct Item {
    pub(super) mark: Mark,
    pub(super) text: String,
    /// Where there is more of it.
    pub(super) link: Option<(String, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    Bad,
    /// Never done so far, or not kept by this receiver.
    NotYet,
}

impl Mark {
    pub(super) fn class(self) -> &'static str {
        match self {
            Mark::Good => "good",
            Mark::Bad => "bad",
            Mark::NotYet => "not-yet",
        }
    }

    fn good_if(good: bool) -> Self {
        if good { Mark::Good } else { Mark::Bad }
    }
}

impl Item {
    fn new(mark: Mark, text: impl Into<String>) -> Self {
        Self {
            mark,
            text: text.into(),
            link: None,
        }
    }

    fn good(text: impl Into<String>) -> Self {
        Self::new(Mark::Good, text)
    }

    fn not_yet(shown: &Shown<'_>) -> Self {
        Self::new(Mark::NotYet, words(shown).not_yet)
    }

    fn leading_to(mut self, address: &str, word: &'static str) -> Self {
        self.link = Some((address.to_owned(), word));
        self
    }
}

/// By clause, from the first to the nineteenth.
pub(super) const ALL: [fn(&Shown<'_>) -> Vec<Item>; 19] = [
    roles,
    users_part,
    kept_where,
    tags,
    account_kinds,
    registering,
    removing,
    access_rights,
    passwords,
    encryption,
    deletion,
    change_notices,
    backup,
    capacity,
    event_logs,
    vulnerabilities,
    secure_development,
    incidents,
    clocks,
];

fn words(shown: &Shown<'_>) -> &'static SecurityWords {
    SecurityWords::of(shown.visit.lang)
}

fn roles(shown: &Shown<'_>) -> Vec<Item> {
    let (facts, lang) = (shown.facts, shown.visit.lang);
    let links = lang.signed_batches(facts.batches, facts.broken_links);
    let mut items = vec![Item::new(Mark::good_if(facts.broken_links == 0), links)];
    match &facts.heads {
        None => items.push(Item::new(Mark::NotYet, words(shown).no_heads)),
        Some(heads) => {
            let at = shown.visit.full(heads.at_us);
            items.push(Item::good(lang.heads_signed(heads.number, &at)));
            items.push(match heads.sent_us {
                Some(sent) => Item::good(lang.heads_sent(&shown.visit.full(sent))),
                None => Item::new(Mark::NotYet, words(shown).heads_not_sent),
            });
            if let Some(stamped) = heads.stamped_us {
                items.push(Item::good(lang.heads_stamped(&shown.visit.full(stamped))));
            }
        }
    }
    items
}

fn users_part(shown: &Shown<'_>) -> Vec<Item> {
    let (visit, lang) = (shown.visit, shown.visit.lang);
    let signed_in = visit.full(shown.session.created_us);
    let mut items = vec![Item::good(lang.you_signed_in(&signed_in))];
    if let Some(user) = shown.user {
        let mark = Mark::good_if(user.failed_sign_ins == 0);
        let failed = Item::new(mark, lang.failed_sign_ins(user.failed_sign_ins));
        items.push(failed.leading_to("/account", words(shown).to_account));
    }
    items
}

fn kept_where(shown: &Shown<'_>) -> Vec<Item> {
    vec![match shown.region {
        Some(region) => Item::good(format!("{}: {region}", words(shown).region)),
        None => Item::new(Mark::NotYet, words(shown).region_not_declared),
    }]
}

fn tags(shown: &Shown<'_>) -> Vec<Item> {
    match shown.facts.tags {
        0 => vec![Item::not_yet(shown)],
        number => vec![
            Item::good(shown.visit.lang.tags_given(number))
                .leading_to("/events", words(shown).to_events),
        ],
    }
}

fn account_kinds(shown: &Shown<'_>) -> Vec<Item> {
    vec![Item::good(
        shown.visit.lang.general_users(shown.facts.users),
    )]
}

fn registering(shown: &Shown<'_>) -> Vec<Item> {
    let lang = shown.visit.lang;
    let mut items = Vec::new();
    if let Some((count, last)) = shown.facts.audited(|action| action == "user.add") {
        items.push(Item::good(lang.users_added(count, &shown.visit.full(last))));
    }
    items.push(match shown.facts.issued_passwords {
        0 => Item::good(words(shown).all_changed),
        number => Item::new(Mark::NotYet, lang.not_changed_yet(number)),
    });
    items
}

fn removing(shown: &Shown<'_>) -> Vec<Item> {
    audited(shown, words(shown).removals, |action| {
        action == "user.remove"
    })
}

fn access_rights(shown: &Shown<'_>) -> Vec<Item> {
    let only = shown
        .visit
        .lang
        .only_this_contract(&shown.facts.contract.name);
    vec![Item::good(only), Item::good(words(shown).read_only)]
}

fn passwords(shown: &Shown<'_>) -> Vec<Item> {
    let mut items = vec![Item::good(words(shown).argon2)];
    if shown.facts.contract.terms.needs_second_factor {
        items.push(Item::good(words(shown).second_factor));
    }
    items
}

fn encryption(shown: &Shown<'_>) -> Vec<Item> {
    let (visit, lang) = (shown.visit, shown.visit.lang);
    let mut items = vec![match shown.facts.key_since_us {
        Some(since) => Item::good(lang.key_since(&visit.full(since))),
        None => Item::new(Mark::Bad, words(shown).key_gone),
    }];
    items.push(Item::good(words(shown).tls));
    let soonest = shown
        .facts
        .devices
        .iter()
        .min_by_key(|d| d.certificate_until_us);
    if let Some(device) = soonest {
        let until = visit.full(device.certificate_until_us);
        let mark = Mark::good_if(device.certificate_until_us > visit.now);
        items.push(Item::new(
            mark,
            lang.certificates(shown.facts.devices.len(), &until),
        ));
    }
    items
}

fn deletion(shown: &Shown<'_>) -> Vec<Item> {
    let (visit, lang, contract) = (shown.visit, shown.visit.lang, &shown.facts.contract);
    let period = match contract.until_us {
        Some(until) => lang.contract_until(&visit.full(until)),
        None => words(shown).contract_open.to_owned(),
    };
    let mut items = vec![Item::good(period)];
    items.push(Item::good(lang.kept_for(kept(contract.terms.retention))));
    if contract.terms.retention.records_days.is_some() {
        items.push(Item::good(lang.kept_with_pictures()));
    }
    items.push(counted(shown, words(shown).erasures, shown.facts.erased));
    items
}

/// Days of records, event pictures, periodic pictures, requested pictures, clips.
fn kept(retention: Retention) -> [Option<u32>; 5] {
    [
        retention.records_days,
        retention.snapshots_days,
        retention.periodic_days,
        retention.requested_days,
        retention.clips_days,
    ]
}

fn change_notices(shown: &Shown<'_>) -> Vec<Item> {
    vec![counted(
        shown,
        words(shown).maintenance,
        shown.facts.maintenance,
    )]
}

fn backup(shown: &Shown<'_>) -> Vec<Item> {
    let mut items = vec![
        Item::good(words(shown).download_all).leading_to("/download", words(shown).to_download),
    ];
    items.push(counted(shown, words(shown).backups, shown.facts.backups));
    items
}

fn capacity(shown: &Shown<'_>) -> Vec<Item> {
    vec![Item::good(words(shown).no_limit)]
}

fn event_logs(shown: &Shown<'_>) -> Vec<Item> {
    audited(shown, words(shown).all_done, |_| true)
}

fn vulnerabilities(shown: &Shown<'_>) -> Vec<Item> {
    let lang = shown.visit.lang;
    let mut items = vec![Item::good(lang.receiver_version(env!("CARGO_PKG_VERSION")))];
    items.extend(shown.facts.devices.iter().map(|device| {
        let version = device.heartbeat.as_ref().map(|beat| &beat.agent_version);
        let version = version.unwrap_or(&device.agent_version);
        Item::good(lang.device_version(&device.site_name, version))
    }));
    items
}

fn secure_development(shown: &Shown<'_>) -> Vec<Item> {
    vec![Item::good(words(shown).tested)]
}

fn incidents(shown: &Shown<'_>) -> Vec<Item> {
    let mut items = vec![counted(
        shown,
        words(shown).incidents,
        shown.facts.incidents,
    )];
    if let Some(mail) = &shown.visit.contact.mail {
        items.push(Item::good(shown.visit.lang.inquiries_to(mail)));
    }
    items
}

fn clocks(shown: &Shown<'_>) -> Vec<Item> {
    let devices: Vec<Item> = shown
        .facts
        .devices
        .iter()
        .map(|d| clock(shown, d))
        .collect();
    match devices.is_empty() {
        true => vec![Item::new(Mark::NotYet, words(shown).no_devices)],
        false => devices,
    }
}

fn clock(shown: &Shown<'_>, device: &DeviceFacts) -> Item {
    let lang = shown.visit.lang;
    let Some(beat) = &device.heartbeat else {
        return Item::new(Mark::NotYet, lang.clock_never_told(&device.site_name));
    };
    let off_ms = beat.clock.offset_us / 1000;
    let bound_ms = shown.facts.contract.terms.clock_off_ms;
    // What the device said then, and how long ago that is now.
    let since_told = shown.visit.now.since_us(beat.sent_at_us).max(0) / 1_000_000;
    let checked = beat
        .clock_checked_seconds_ago
        .map(|ago| ago + since_told.unsigned_abs());
    match beat.clock.state {
        ClockState::Synced | ClockState::Holdover => {
            let mark = Mark::good_if(off_ms.unsigned_abs() <= bound_ms);
            Item::new(mark, lang.clock_of(&device.site_name, off_ms, checked))
        }
        _ => Item::new(Mark::Bad, lang.clock_not_synced(&device.site_name)),
    }
}

/// What the audit log has of these actions.
fn audited(shown: &Shown<'_>, what: &str, is_meant: impl Fn(&str) -> bool) -> Vec<Item> {
    vec![counted(shown, what, shown.facts.audited(is_meant))]
}

fn counted(shown: &Shown<'_>, what: &str, found: Option<(u64, UtcMicros)>) -> Item {
    match found {
        None => Item::new(Mark::NotYet, format!("{what}: {}", words(shown).not_yet)),
        Some((count, last)) => {
            let last = shown.visit.full(last);
            let told = shown.visit.lang.audited(count, &last);
            Item::good(format!("{what}: {told}"))
        }
    }
}
