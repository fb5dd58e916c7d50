//! A real RTSP camera: gstreamer-rtsp-server playing a film in an endless loop, which misbehaves on request.
//!
//! Like a camera on a wall its picture moves on whether or not somebody watches; a viewer joins at a key frame.
//! All viewers of one path share one stream. Dropping a `Camera` disconnects everybody and frees the port.

use crate::film::{Codec, Film, FilmOptions};
use anyhow::{Context, Result, bail};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use gstreamer_rtsp_server::{gio, glib, gst_rtsp};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    Basic,
    Digest,
}

#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub auth: Auth,
}

#[derive(Clone, Debug)]
pub struct CameraOptions {
    pub film: FilmOptions,
    /// Address to listen on.
    pub address: String,
    /// 0 chooses a free one.
    pub port: u16,
    /// Path of the first camera; the second one's is this and `2`, and so on.
    pub path: String,
    /// How many cameras, each at its own place in the film.
    pub cameras: usize,
    /// The first camera starts at the last key frame not after this one.
    pub start_frame: usize,
    /// End of stream after one pass instead of a loop.
    pub once: bool,
    pub login: Option<Login>,
    /// Certificate and key, PEM: serves `rtsps://`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Serves this instead of the film (gst-launch syntax with a payloader `pay0`): streams no film can be.
    pub launch: Option<String>,
}

impl CameraOptions {
    pub fn new(film: FilmOptions) -> Self {
        Self {
            film,
            address: "127.0.0.1".into(),
            port: 0,
            path: "/stream".into(),
            cameras: 1,
            start_frame: 0,
            once: false,
            login: None,
            tls: None,
            launch: None,
        }
    }
}

/// A serving camera (or several on one port).
pub struct Camera {
    options: CameraOptions,
    port: u16,
    stage: Arc<Stage>,
    server: rtsp::RTSPServer,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    /// Serves when it returns.
    pub fn start(options: CameraOptions) -> Result<Self> {
        let film = Film::encode(&options.film)?;
        Self::with_film(options, film)
    }

    /// Serves a film that was encoded before: tests start many cameras and encode once.
    pub fn with_film(options: CameraOptions, film: Arc<Film>) -> Result<Self> {
        gst::init()?;
        let stage = Arc::new(Stage::new(film));
        let server = rtsp::RTSPServer::new();
        server.set_address(&options.address);
        server.set_service(&options.port.to_string());
        server.set_auth(authentication(&options)?.as_ref());
        let mounts = server.mount_points().context("a server has mount points")?;
        for index in 0..options.cameras {
            mounts.add_factory(&path_of(&options, index), factory(&options, index, &stage));
        }

        let context = glib::MainContext::new();
        server
            .attach(Some(&context))
            .with_context(|| format!("cannot listen on {}:{}", options.address, options.port))?;
        let port = u16::try_from(server.bound_port()).context("the server has no port")?;
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let thread = std::thread::Builder::new().name("camera".into()).spawn({
            let main_loop = main_loop.clone();
            move || {
                let _ = main_loop.context().with_thread_default(|| main_loop.run());
            }
        })?;
        Ok(Self {
            options,
            port,
            stage,
            server,
            main_loop,
            thread: Some(thread),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Address of the first camera, without user and password.
    pub fn url(&self) -> String {
        self.url_of(0)
    }

    pub fn url_of(&self, index: usize) -> String {
        let scheme = if self.options.tls.is_some() {
            "rtsps"
        } else {
            "rtsp"
        };
        let (address, port) = (&self.options.address, self.port);
        format!(
            "{scheme}://{address}:{port}{}",
            path_of(&self.options, index)
        )
    }

    /// Sends nothing more, and keeps every connection.
    pub fn stall(&self) {
        self.stage.change(|state| state.stalled = true);
    }

    pub fn resume(&self) {
        self.stage.change(|state| state.stalled = false);
    }

    /// Ends the stream for everybody who watches now; who comes later sees a new one.
    pub fn end_stream(&self) {
        self.stage.change(|state| state.ended_runs = state.runs);
    }

    /// Closes every connection without a word.
    pub fn drop_clients(&self) {
        self.server
            .client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
    }

    /// Goes on with another film: a new size in the middle of the stream. A new codec cannot be announced to those
    /// who watch already, so they are disconnected, as real cameras do when they are set up anew.
    pub fn switch(&self, film: Arc<Film>) {
        let codec_changes = self.stage.lock().film.codec != film.codec;
        self.stage.change(|state| {
            state.film = film;
            state.film_number += 1;
        });
        if codec_changes {
            let mounts = self
                .server
                .mount_points()
                .expect("a server has mount points");
            for index in 0..self.options.cameras {
                let path = path_of(&self.options, index);
                mounts.remove_factory(&path);
                mounts.add_factory(&path, factory(&self.options, index, &self.stage));
            }
            self.drop_clients();
        }
    }

    /// How a film for `switch` is encoded, to be changed where wanted.
    pub fn film_options(&self) -> FilmOptions {
        self.options.film.clone()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stage.change(|state| state.closing = true);
        self.drop_clients();
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Camera({} at {})", self.options.cameras, self.url())
    }
}

/// What is playing, shared by the streams of all paths.
struct Stage {
    began: Instant,
    state: Mutex<StageState>,
    changed: Condvar,
}

struct StageState {
    film: Arc<Film>,
    /// Counts the films played, so that a feeder sees a switch.
    film_number: u64,
    stalled: bool,
    closing: bool,
    /// Streams started so far; those up to `ended_runs` have been told to end.
    runs: u64,
    ended_runs: u64,
}

impl Stage {
    fn new(film: Arc<Film>) -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::new(StageState {
                film,
                film_number: 0,
                stalled: false,
                closing: false,
                runs: 0,
                ended_runs: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, StageState> {
        self.state.lock().expect("no one panics holding the stage")
    }

    fn change(&self, change: impl FnOnce(&mut StageState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

fn path_of(options: &CameraOptions, index: usize) -> String {
    match index {
        0 => options.path.clone(),
        _ => format!("{}{}", options.path, index + 1),
    }
}

const ROLE: &str = "viewer";

fn authentication(options: &CameraOptions) -> Result<Option<rtsp::RTSPAuth>> {
    if options.login.is_none() && options.tls.is_none() {
        return Ok(None);
    }
    let auth = rtsp::RTSPAuth::new();
    if let Some((certificate, key)) = &options.tls {
        let certificate = gio::TlsCertificate::from_files(certificate, key)
            .context("cannot read the camera's TLS certificate and key")?;
        auth.set_tls_certificate(Some(&certificate));
    }
    let mut token = rtsp::RTSPToken::builder()
        .field("media.factory.role", ROLE)
        .build();
    match &options.login {
        None => auth.set_default_token(Some(&mut token)),
        Some(login) => match login.auth {
            Auth::Basic => {
                auth.set_supported_methods(gst_rtsp::RTSPAuthMethod::Basic);
                let basic = rtsp::RTSPAuth::make_basic(&login.user, &login.password);
                auth.add_basic(&basic, &token);
            }
            Auth::Digest => {
                auth.set_supported_methods(gst_rtsp::RTSPAuthMethod::Digest);
                auth.add_digest(&login.user, &login.password, &token);
            }
        },
    }
    Ok(Some(auth))
}

fn factory(options: &CameraOptions, index: usize, stage: &Arc<Stage>) -> rtsp::RTSPMediaFactory {
    let factory = rtsp::RTSPMediaFactory::new();
    let packing = match stage.lock().film.codec {
        // Whole pictures to the payloader: it marks the last packet of each buffer as the end of a picture.
        Codec::H264 => "h264parse ! video/x-h264,alignment=au ! rtph264pay",
        Codec::H265 => "h265parse ! video/x-h265,alignment=au ! rtph265pay",
    };
    let film = format!(
        "appsrc name=source is-live=true format=time max-bytes=0 ! {packing} name=pay0 pt=96 config-interval=-1"
    );
    let line = options.launch.as_ref().unwrap_or(&film);
    factory.set_launch(&format!("( {line} )"));
    factory.set_shared(true);
    factory.set_latency(0);
    factory.add_role_from_structure(
        &gst::Structure::builder(ROLE)
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build(),
    );
    if options.launch.is_some() {
        return factory;
    }
    let stage = Arc::clone(stage);
    let place = Place {
        index,
        cameras: options.cameras,
        start_frame: options.start_frame,
        once: options.once,
    };
    factory.connect_media_configure(move |_, media| {
        if let Err(error) = feed(media, place, &stage) {
            eprintln!("a stream cannot start: {error:#}");
        }
    });
    factory
}

/// Where in the film a camera plays.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    cameras: usize,
    start_frame: usize,
    once: bool,
}

impl Place {
    /// The frame that is due `elapsed` after the camera began, or the last key frame before it.
    fn first(&self, film: &Film, elapsed: Duration) -> usize {
        let offset = match self.index {
            0 => self.start_frame,
            _ => self.start_frame + self.index * film.wait_complete() / self.cameras,
        };
        let played = match self.once {
            true => 0,
            false => (elapsed.as_secs_f64() / film.frame_duration().as_secs_f64()) as usize,
        };
        let index = match film.len_when_complete() {
            Some(len) => (offset + played) % len.max(1),
            None => offset + played,
        };
        film.key_at_or_before(index)
    }
}

/// Gives a new stream its own thread, which ends with the stream.
fn feed(media: &rtsp::RTSPMedia, place: Place, stage: &Arc<Stage>) -> Result<()> {
    let source = media
        .element()
        .downcast::<gst::Bin>()
        .ok()
        .and_then(|bin| bin.by_name("source"))
        .and_then(|source| source.downcast::<gst_app::AppSrc>().ok())
        .context("the launch line names an appsrc")?;
    let over = Arc::new(AtomicBool::new(false));
    media.connect_unprepared({
        let (over, stage) = (Arc::clone(&over), Arc::clone(stage));
        move |_| {
            over.store(true, Ordering::Release);
            // Under the lock, so that no feeder misses it between looking and waiting.
            stage.change(|_| ());
        }
    });
    let run = {
        let mut state = stage.lock();
        state.runs += 1;
        state.runs
    };
    let feeder = Feeder {
        source,
        place,
        stage: Arc::clone(stage),
        over,
        run,
    };
    std::thread::Builder::new()
        .name(format!("feed-{}", place.index))
        .spawn(move || {
            if let Err(error) = feeder.play() {
                eprintln!("a stream ended: {error:#}");
            }
        })?;
    Ok(())
}

struct Feeder {
    source: gst_app::AppSrc,
    place: Place,
    stage: Arc<Stage>,
    over: Arc<AtomicBool>,
    run: u64,
}

/// What a feeder does at its next frame.
enum Cue {
    Play(Arc<Film>, u64),
    End,
    Leave,
}

impl Feeder {
    fn play(&self) -> Result<()> {
        let (mut film, mut film_number) = {
            let state = self.stage.lock();
            (Arc::clone(&state.film), state.film_number)
        };
        self.announce(&film)?;
        let mut index = self.place.first(&film, self.stage.began.elapsed());
        let began = Instant::now();
        // A stream's clock starts with its pipeline, a moment after or before this one: only the steps matter.
        let mut due = Duration::ZERO;
        loop {
            match self.cue(began + due) {
                Cue::Leave => return Ok(()),
                Cue::End => return self.end(),
                Cue::Play(next, number) if number != film_number => {
                    if next.codec != film.codec {
                        return Ok(());
                    }
                    (film, film_number, index) = (next, number, 0);
                    self.announce(&film)?;
                }
                Cue::Play(..) => {}
            }
            let Some(unit) = film.unit(index)? else {
                if index == 0 {
                    bail!("the film is empty");
                }
                if self.place.once {
                    return self.end();
                }
                index = 0;
                continue;
            };
            // After a stall the stream goes on from now, not from where it was.
            due = due.max(began.elapsed().saturating_sub(film.frame_duration()));
            let mut buffer = unit.buffer.copy();
            {
                let buffer = buffer.make_mut();
                let due = gst::ClockTime::try_from(due)?;
                buffer.set_pts(due);
                buffer.set_dts(due);
                buffer.set_duration(gst::ClockTime::try_from(film.frame_duration())?);
            }
            if self.source.push_buffer(buffer).is_err() {
                return Ok(());
            }
            due += film.frame_duration();
            index += 1;
        }
    }

    /// Waits until `due`, or as long as the camera is stalled.
    fn cue(&self, due: Instant) -> Cue {
        let mut state = self.stage.lock();
        loop {
            if state.closing || self.over.load(Ordering::Acquire) {
                return Cue::Leave;
            }
            if self.run <= state.ended_runs {
                return Cue::End;
            }
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() && !state.stalled {
                return Cue::Play(Arc::clone(&state.film), state.film_number);
            }
            let wait = if state.stalled {
                Duration::from_secs(3600)
            } else {
                wait
            };
            (state, _) = self
                .stage
                .changed
                .wait_timeout(state, wait)
                .expect("no one panics holding the stage");
        }
    }

    fn announce(&self, film: &Film) -> Result<()> {
        let name = match film.codec {
            Codec::H264 => "video/x-h264",
            Codec::H265 => "video/x-h265",
        };
        let rate = film.frame_duration().as_nanos().max(1);
        let caps = gst::Caps::builder(name)
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .field(
                "framerate",
                gst::Fraction::new(i32::try_from(1_000_000_000_000 / rate)?, 1000),
            )
            .build();
        self.source.set_caps(Some(&caps));
        Ok(())
    }

    fn end(&self) -> Result<()> {
        let _ = self.source.end_of_stream();
        Ok(())
    }
}
