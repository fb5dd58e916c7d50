//! A browser with somebody before it: signs in, keeps its live updates open, and does with the news what the page's
//! script does.

use crate::material::World;
use crate::process::Server;
use cloud_receiver::seal::random;
use futures::StreamExt;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const PASSWORD: &str = "a long enough password";
/// Somebody looks at a page for so long, give or take a half.
const LOOKS_FOR: Duration = Duration::from_secs(4);
/// Pictures of a page that are in view at once on a phone; the rest load when they are.
const PICTURES: usize = 6;

/// What viewers saw.
#[derive(Default)]
pub struct Seen {
    /// How long each opening of a page took.
    pub pages: BTreeMap<&'static str, Vec<Duration>>,
    pub news: usize,
    pub reloads: usize,
    pub cards: usize,
    pub lists: usize,
}

#[derive(Clone)]
pub struct Viewer {
    client: reqwest::Client,
    base: String,
    cookie: String,
    /// Addresses of events that were heard of.
    heard: Arc<Mutex<VecDeque<String>>>,
}

impl Viewer {
    pub async fn signed_in(server: &Server, world: &World, login: &str) -> Self {
        let own = reqwest::Certificate::from_der(&world.ca).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([own])
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let base = format!("https://localhost:{}", server.portal);
        let form = format!("login_id={login}&password={}", PASSWORD.replace(' ', "+"));
        let request = client
            .post(format!("{base}/sign-in"))
            .header("origin", &base)
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.unwrap();
        assert_eq!(answer.status(), 303, "{login} cannot sign in");
        let cookies = answer.headers().get_all("set-cookie").iter();
        let pairs = cookies.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
        let cookie = pairs.collect::<Vec<_>>().join("; ");
        Self {
            client,
            base,
            cookie,
            heard: Arc::default(),
        }
    }

    /// Every page so many times, one after the other.
    pub async fn opens_each_page(&self, times: usize) -> Seen {
        let mut seen = Seen::default();
        let list = self.text("/events").await;
        let first = part(&list, "data-event=\"").expect("an event in the list");
        self.heard
            .lock()
            .unwrap()
            .push_back(format!("/events/{first}"));
        for _ in 0..times {
            for page in 0..PAGES.len() {
                self.open(page, &mut seen).await;
            }
        }
        seen
    }

    async fn open(&self, page: usize, seen: &mut Seen) {
        let (name, address) = PAGES[page];
        let event = self.heard.lock().unwrap().back().cloned();
        let address = match name {
            "an event" => event.unwrap_or_else(|| "/events".into()),
            _ => address.to_owned(),
        };
        let began = Instant::now();
        let text = self.text(&address).await;
        seen.pages.entry(name).or_default().push(began.elapsed());
        let pictures = text.match_indices("src=\"/media/").take(PICTURES);
        let pictures = pictures.map(|(at, _)| text[at + 5..].split('"').next().unwrap());
        let pictures = pictures.map(|address| self.get(address));
        futures::future::join_all(pictures).await;
    }

    async fn text(&self, address: &str) -> String {
        String::from_utf8(self.get(address).await).unwrap()
    }

    /// A picture may not be here yet; whatever else is asked for must be.
    async fn get(&self, address: &str) -> Vec<u8> {
        let answer = self.request(address).send().await.unwrap();
        let status = answer.status();
        let is_late = address.starts_with("/media/") && status == 404;
        assert!(status.is_success() || is_late, "{address}: {status}");
        answer.bytes().await.unwrap().to_vec()
    }

    fn request(&self, address: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{address}", self.base);
        let request = self.client.get(url).header("cookie", &self.cookie);
        request.header("accept-language", "ja")
    }

    /// The page's script: cards of events at its pace, and the list where there is more.
    async fn listens(self, seen: Arc<Mutex<Seen>>) {
        let answer = self.request("/live").send().await.unwrap();
        let (mut lines, mut rest) = (answer.bytes_stream(), String::new());
        let mut pace = Pace::new();
        while let Some(chunk) = lines.next().await {
            rest.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
            while let Some((message, after)) = rest.split_once("\n\n") {
                let mut seen = seen.lock().unwrap();
                for event in parts(message, "\"id\":\"") {
                    seen.news += 1;
                    let address = format!("/events/{event}");
                    self.hear(&address);
                    if pace.allows() {
                        seen.cards += 1;
                        self.fetches(format!("{address}/card"), Duration::ZERO);
                    }
                }
                let is_more = message.contains("event: reload") || message.contains("\"more\"");
                if is_more {
                    seen.reloads += 1;
                }
                if let Some(wait) = pace.reloads_after(is_more) {
                    seen.lists += 1;
                    self.fetches("/events".to_owned(), wait);
                }
                drop(seen);
                rest = after.to_owned();
            }
        }
    }

    /// Beside what else it does.
    fn fetches(&self, address: String, after: Duration) {
        let viewer = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            viewer.get(&address).await;
        });
    }

    fn hear(&self, address: &str) {
        let mut heard = self.heard.lock().unwrap();
        heard.push_back(address.to_owned());
        if heard.len() > 10 {
            heard.pop_front();
        }
    }

    async fn browses(self, until: Instant) -> Seen {
        let mut seen = Seen::default();
        while Instant::now() < until {
            let [page, pause]: [u8; 2] = random();
            self.open(usize::from(page) % PAGES.len(), &mut seen).await;
            let share = 0.5 + f64::from(pause) / 255.0;
            tokio::time::sleep(LOOKS_FOR.mul_f64(share)).await;
        }
        seen
    }
}

const PAGES: [(&str, &str); 6] = [
    ("overview", "/"),
    ("events, newest", "/events"),
    ("events of one class", "/events?class=person"),
    ("an event", ""),
    ("charts of a week", "/charts"),
    ("what is kept safe", "/security"),
];

/// All of them at once; answers what they saw together.
pub async fn watch(viewers: Vec<Viewer>, length: Duration) -> Seen {
    let until = Instant::now() + length;
    let (mut listening, mut browsing) = (Vec::new(), Vec::new());
    for viewer in viewers {
        let ear = viewer.clone();
        listening.push(tokio::spawn(async move {
            let news = Arc::new(Mutex::new(Seen::default()));
            let _ = tokio::time::timeout_at(until.into(), ear.listens(Arc::clone(&news))).await;
            std::mem::take(&mut *news.lock().unwrap())
        }));
        browsing.push(tokio::spawn(viewer.browses(until)));
    }
    let mut all = Seen::default();
    for done in futures::future::join_all(listening.into_iter().chain(browsing)).await {
        all.add(done.unwrap());
    }
    all
}

impl Seen {
    fn add(&mut self, other: Seen) {
        for (name, times) in other.pages {
            self.pages.entry(name).or_default().extend(times);
        }
        self.news += other.news;
        self.reloads += other.reloads;
        self.cards += other.cards;
        self.lists += other.lists;
    }
}

/// How the page's script fetches what it hears of: `ask` and `reloadSoon` in `portal.js`.
struct Pace {
    left: f64,
    since: Instant,
    reloads_at: Option<Instant>,
    is_spent: bool,
}

impl Pace {
    const BURST: f64 = 30.0;
    const PER_SECOND: f64 = 3.0;

    fn new() -> Self {
        Self {
            left: Self::BURST,
            since: Instant::now(),
            reloads_at: None,
            is_spent: false,
        }
    }

    fn is_reloading(&self) -> bool {
        self.reloads_at.is_some_and(|at| Instant::now() < at)
    }

    fn allows(&mut self) -> bool {
        if self.is_reloading() {
            return false;
        }
        let more = self.since.elapsed().as_secs_f64() * Self::PER_SECOND;
        self.left = Self::BURST.min(self.left + more);
        self.since = Instant::now();
        self.is_spent = self.left < 1.0;
        if !self.is_spent {
            self.left -= 1.0;
        }
        !self.is_spent
    }

    /// When to fetch the whole page, where that is not under way.
    fn reloads_after(&mut self, is_more: bool) -> Option<Duration> {
        if self.is_reloading() || !(is_more || std::mem::take(&mut self.is_spent)) {
            return None;
        }
        let [share]: [u8; 1] = random();
        let wait = Duration::from_secs(3).mul_f64(1.0 + f64::from(share) / 255.0);
        self.reloads_at = Some(Instant::now() + wait);
        Some(wait)
    }
}

/// What stands between each `before` and the next quotation mark.
fn parts(text: &str, before: &'static str) -> Vec<String> {
    let found = text.split(before).skip(1);
    found
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect()
}

/// What stands between `before` and the next quotation mark.
fn part(text: &str, before: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    rest.split('"').next().map(str::to_owned)
}
