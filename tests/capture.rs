//! The agent's capture against a real camera over real sockets: what it shows, how it fails, how it comes back.

use anyhow::{Context, Result, ensure};
use e2e::camera::{Auth, Camera, CameraOptions, Login};
use e2e::film::{self, Film, FilmOptions};
use e2e::wait::until;
use edge_agent::capture::latest::Wakeup;
use edge_agent::capture::lookout::Attention;
use edge_agent::capture::{
    self, CameraChange, CameraState, CameraStatus, CaptureDeps, CaptureHandle, Decoders,
    GateConfig, GateMode, Reason, RetryPolicy,
};
use edge_agent::clock::{RealClocks, TimeSource};
use edge_agent::config::{CameraConfig, Secret, Transport};
use edge_agent::frame::Frame;
use edge_agent::health::Health;
use edge_agent::vision::schedule::{Choice, Interest, Pace, Schedule};
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(15);
const ODD_PASSWORD: &str = "p@ss:w/rd#1%&日本";
const ODD_PASSWORD_IN_URL: &str = "p%40ss%3Aw%2Frd%231%25%26%E6%97%A5%E6%9C%AC";

/// Encoded once for all tests. The folder lives as long as the process.
static FILMS: LazyLock<Films> =
    LazyLock::new(|| Films::make().expect("a test card can be encoded"));

struct Films {
    options: FilmOptions,
    h264: Arc<Film>,
    h264_larger: Arc<Film>,
    h265: Arc<Film>,
}

impl Films {
    fn make() -> Result<Self> {
        let path: PathBuf = tempfile::tempdir()?.keep().join("card.mkv");
        film::write_test_card(&path, 60)?;
        let options = FilmOptions {
            gop_seconds: 1.0,
            ..FilmOptions::new(path)
        };
        let larger = FilmOptions {
            size: Some((640, 352)),
            ..options.clone()
        };
        let h265 = FilmOptions {
            codec: film::Codec::H265,
            ..options.clone()
        };
        Ok(Self {
            h264: Film::encode(&options)?,
            h264_larger: Film::encode(&larger)?,
            h265: Film::encode(&h265)?,
            options,
        })
    }
}

fn camera_with(change: impl FnOnce(&mut CameraOptions)) -> Result<Camera> {
    let mut options = CameraOptions::new(FILMS.options.clone());
    change(&mut options);
    Camera::with_film(options, Arc::clone(&FILMS.h264))
}

fn camera() -> Result<Camera> {
    camera_with(|_| ())
}

/// A camera as the agent sees it, with short pauses.
struct Watched {
    handle: CaptureHandle,
    time: TimeSource,
    decoders: Arc<Decoders>,
    changes: mpsc::Receiver<CameraChange>,
}

impl Watched {
    fn start(url: &str) -> Result<Self> {
        Self::start_with(url, |_| ())
    }

    fn start_with(url: &str, change: impl FnOnce(&mut CameraConfig)) -> Result<Self> {
        Self::start_gated(url, GateConfig::default(), change)
    }

    fn start_gated(
        url: &str,
        gate: GateConfig,
        change: impl FnOnce(&mut CameraConfig),
    ) -> Result<Self> {
        let (wakeup, decoders) = (Arc::default(), Arc::new(Decoders::new()));
        Self::start_beside(url, gate, wakeup, decoders, change)
    }

    /// One of several that share decoders and whoever looks.
    fn start_beside(
        url: &str,
        gate: GateConfig,
        wakeup: Arc<Wakeup>,
        decoders: Arc<Decoders>,
        change: impl FnOnce(&mut CameraConfig),
    ) -> Result<Self> {
        let mut config: CameraConfig = toml::from_str(&format!(
            "id = \"{}\"\nname = \"gate\"\nurl = \"\"",
            uuid::Uuid::new_v4()
        ))?;
        config.url = url.into();
        change(&mut config);
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        let (sender, changes) = mpsc::channel(64);
        let deps = CaptureDeps {
            wakeup,
            time: time.clone(),
            health: Health::default(),
            decoders: Arc::clone(&decoders),
            changes: sender,
            policy: RetryPolicy {
                first: Duration::from_millis(50),
                most: Duration::from_millis(400),
                connect: Duration::from_secs(4),
                ..RetryPolicy::default()
            },
            ring_bytes: capture::DEFAULT_RING_BYTES,
            gate,
        };
        Ok(Self {
            handle: capture::start(&config, deps)?,
            time,
            decoders,
            changes,
        })
    }

    fn status(&self) -> CameraStatus {
        self.handle.status()
    }

    fn await_status(
        &self,
        what: &str,
        condition: impl Fn(&CameraStatus) -> bool,
    ) -> Result<CameraStatus> {
        until(what, SOON, || {
            let status = self.status();
            condition(&status).then_some(status)
        })
        .with_context(|| format!("{:?}", self.status()))
    }

    fn await_failure(&self, reason: Reason) -> Result<CameraStatus> {
        self.await_status(&format!("the reason {reason}"), |status| {
            status.state == CameraState::Retrying && status.reason == Some(reason)
        })
    }

    fn await_running(&self) -> Result<CameraStatus> {
        self.await_status("a running camera", |status| {
            status.state == CameraState::Running
        })
    }

    fn await_frame(&self) -> Result<Frame> {
        until("a frame", SOON, || self.handle.lookout.take())
            .map(|glimpse| glimpse.frame)
            .with_context(|| format!("{:?}", self.status()))
    }

    /// `count` more frames come, with no new connection.
    fn await_frames(&self, count: u64) -> Result<()> {
        let before = self.status();
        let after = self.await_status("more frames", |status| {
            status.frames_decoded >= before.frames_decoded + count
        })?;
        ensure!(after.reconnects == before.reconnects, "{after:?}");
        Ok(())
    }
}

/// Brightness all over a test card: neither black nor white, and not the same everywhere.
fn looks_like_the_test_card(frame: &Frame) -> bool {
    let row = frame.row(0, frame.height as usize / 3, frame.width as usize);
    let (darkest, brightest) = (row.iter().min(), row.iter().max());
    darkest
        .zip(brightest)
        .is_some_and(|(dark, bright)| bright - dark > 60)
}

#[test]
fn h264_over_tcp_becomes_frames() -> Result<()> {
    let camera = camera()?;
    let mut watched = Watched::start(&camera.url())?;
    let frame = watched.await_frame()?;
    assert_eq!((frame.width, frame.height), (320, 240));
    assert!(looks_like_the_test_card(&frame));
    let next = watched.await_frame()?;
    assert!(next.time.boottime_ns > frame.time.boottime_ns);
    let age = watched.time.now().boottime_ns - next.time.boottime_ns;
    assert!(age < 1_000_000_000, "a frame came {age} ns late");

    let status = watched.await_status("its rates", |status| status.fps_decoded > 0.0)?;
    assert!((12.0..18.0).contains(&status.fps_in), "{status:?}");
    assert_eq!(status.codec, Some(capture::Codec::H264));
    assert!(status.ring_bytes > 0);
    let change = watched.changes.try_recv()?;
    assert_eq!(
        (change.state, change.width),
        (CameraState::Running, Some(320))
    );
    Ok(())
}

#[test]
fn frames_leave_in_order_though_b_frames_come_out_of_it() -> Result<()> {
    let camera = camera_with(|options| {
        let reordered = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! \
                         x264enc bframes=2 b-adapt=false rc-lookahead=3 sync-lookahead=0 key-int-max=15 ! \
                         h264parse ! video/x-h264,alignment=au ! rtph264pay name=pay0 pt=96 config-interval=-1";
        options.launch = Some(reordered.into());
    })?;
    let watched = Watched::start(&camera.url())?;
    let mut before = watched.await_frame()?;
    for _ in 0..30 {
        let frame = watched.await_frame()?;
        assert!(frame.time.boottime_ns > before.time.boottime_ns);
        let late = watched.time.now().boottime_ns - frame.time.boottime_ns;
        assert!(late < 500_000_000, "{late} ns from arrival to frame");
        before = frame;
    }
    Ok(())
}

#[test]
fn h265_becomes_frames() -> Result<()> {
    let options = CameraOptions::new(FILMS.options.clone());
    let camera = Camera::with_film(options, Arc::clone(&FILMS.h265))?;
    let watched = Watched::start(&camera.url())?;
    assert!(looks_like_the_test_card(&watched.await_frame()?));
    watched.await_frames(20)?;
    assert_eq!(watched.status().codec, Some(capture::Codec::H265));
    Ok(())
}

#[test]
fn udp_can_be_chosen() -> Result<()> {
    let camera = camera()?;
    let watched = Watched::start_with(&camera.url(), |config| config.transport = Transport::Udp)?;
    assert!(looks_like_the_test_card(&watched.await_frame()?));
    watched.await_frames(20)
}

#[test]
fn any_password_works_and_a_wrong_one_is_told_apart() -> Result<()> {
    for auth in [Auth::Basic, Auth::Digest] {
        let camera = camera_with(|options| {
            options.login = Some(Login {
                user: "wächter@tor".into(),
                password: ODD_PASSWORD.into(),
                auth,
            });
        })?;
        let beside = Watched::start_with(&camera.url(), |config| {
            config.user = Some("wächter@tor".into());
            config.password = Some(Secret::new(ODD_PASSWORD));
        })?;
        beside
            .await_running()
            .with_context(|| format!("{auth:?}"))?;

        let login = format!("rtsp://w%C3%A4chter%40tor:{ODD_PASSWORD_IN_URL}@");
        let within = Watched::start(&camera.url().replace("rtsp://", &login))?;
        within
            .await_running()
            .with_context(|| format!("{auth:?}"))?;

        let wrong = Watched::start_with(&camera.url(), |config| {
            config.user = Some("wächter@tor".into());
            config.password = Some(Secret::new("wrong-word"));
        })?;
        let error = wrong
            .await_failure(Reason::Auth)?
            .last_error
            .unwrap_or_default();
        assert!(error.contains("127.0.0.1"), "{error}");
        assert!(
            !error.contains("wrong-word") && !error.contains("wächter"),
            "{error}"
        );

        Watched::start(&camera.url())?.await_failure(Reason::Auth)?;
    }
    Ok(())
}

#[test]
fn rtsps_is_believed_only_with_the_right_ca() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let right = Certificates::make(dir.path(), "right")?;
    let wrong = Certificates::make(dir.path(), "wrong")?;
    let camera = camera_with(|options| options.tls = Some((right.leaf, right.key)))?;
    assert!(camera.url().starts_with("rtsps://"));

    let trusting = Watched::start_with(&camera.url(), |config| config.ca_file = Some(right.ca))?;
    trusting.await_running()?;
    for ca_file in [Some(wrong.ca), None] {
        let doubting = Watched::start_with(&camera.url(), |config| config.ca_file = ca_file)?;
        let error = doubting
            .await_failure(Reason::Connect)?
            .last_error
            .unwrap_or_default();
        assert!(error.contains("certificate"), "{error}");
    }

    let notes = dir.path().join("notes.txt");
    std::fs::write(&notes, "no certificate")?;
    for path in [notes, dir.path().join("missing.pem")] {
        let refused = Watched::start_with(&camera.url(), |config| config.ca_file = Some(path));
        let error = refused
            .map(|_| ())
            .expect_err("a CA file without certificates");
        assert!(error.to_string().contains("CA file"), "{error}");
    }
    Ok(())
}

#[test]
fn a_dead_camera_is_found_when_it_comes_alive() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    drop(listener);
    let watched = Watched::start(&format!("rtsp://127.0.0.1:{port}/stream"))?;
    watched.await_failure(Reason::Connect)?;
    let _camera = camera_with(|options| options.port = port)?;
    watched.await_running()?;
    Ok(())
}

#[test]
fn a_host_that_never_answers_neither_hangs_nor_delays_the_stop() -> Result<()> {
    // The kernel accepts; nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let watched = Watched::start(&format!("rtsp://{}/stream", listener.local_addr()?))?;
    watched.await_failure(Reason::Connect)?;
    watched.await_status("the next attempt", |status| status.reconnects > 0)?;
    let stopping = Instant::now();
    drop(watched);
    assert!(
        stopping.elapsed() < Duration::from_secs(2),
        "{:?}",
        stopping.elapsed()
    );
    Ok(())
}

#[test]
fn a_wrong_path_is_no_camera() -> Result<()> {
    let camera = camera()?;
    let watched = Watched::start(&camera.url().replace("/stream", "/steam"))?;
    let error = watched
        .await_failure(Reason::Connect)?
        .last_error
        .unwrap_or_default();
    assert!(error.contains("no stream of that name"), "{error}");
    Ok(())
}

#[test]
fn silence_is_noticed_and_overcome() -> Result<()> {
    let camera = camera()?;
    let watched = Watched::start(&camera.url())?;
    watched.await_frame()?;
    camera.stall();
    let stalled = Instant::now();
    watched.await_failure(Reason::Timeout)?;
    let noticed = stalled.elapsed();
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(7)).contains(&noticed),
        "noticed after {noticed:?}"
    );
    camera.resume();
    watched.await_running()?;
    watched.await_frames(5)
}

#[test]
fn the_end_of_a_stream_is_told_and_overcome() -> Result<()> {
    let camera = camera()?;
    let mut watched = Watched::start(&camera.url())?;
    watched.await_frame()?;
    camera.end_stream();
    let change = until("a change", SOON, || {
        let change = watched.changes.try_recv().ok()?;
        (change.state == CameraState::Retrying).then_some(change)
    })?;
    assert_eq!(change.reason, Some(Reason::Eos));
    watched.await_running()?;
    watched.await_frames(5)
}

#[test]
fn a_dropped_connection_is_no_end_of_stream() -> Result<()> {
    let camera = camera()?;
    let mut watched = Watched::start(&camera.url())?;
    watched.await_frame()?;
    camera.drop_clients();
    let change = until("a change", SOON, || {
        let change = watched.changes.try_recv().ok()?;
        (change.state == CameraState::Retrying).then_some(change)
    })?;
    assert_eq!(change.reason, Some(Reason::Connect));
    watched.await_running()?;
    watched.await_frames(5)
}

#[test]
fn another_size_in_mid_stream_is_followed() -> Result<()> {
    let camera = camera()?;
    let watched = Watched::start(&camera.url())?;
    watched.await_frame()?;
    camera.switch(Arc::clone(&FILMS.h264_larger));
    let status = watched.await_status("the new size", |status| status.width == Some(640))?;
    let frame = until("a frame of the new size", SOON, || {
        watched
            .handle
            .lookout
            .take()
            .map(|glimpse| glimpse.frame)
            .filter(|frame| frame.width == 640)
    })?;
    assert_eq!(frame.height, 352);
    assert!(looks_like_the_test_card(&frame));
    assert_eq!((status.state, status.reconnects), (CameraState::Running, 0));
    Ok(())
}

#[test]
fn another_codec_is_followed() -> Result<()> {
    let camera = camera()?;
    let watched = Watched::start(&camera.url())?;
    watched.await_frame()?;
    camera.switch(Arc::clone(&FILMS.h265));
    watched.await_status("the new codec", |status| {
        status.state == CameraState::Running && status.codec == Some(capture::Codec::H265)
    })?;
    watched.await_frames(20)
}

#[test]
fn what_we_cannot_decode_is_called_so() -> Result<()> {
    let camera = camera_with(|options| {
        let jpeg = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240 ! jpegenc ! rtpjpegpay name=pay0";
        options.launch = Some(jpeg.into());
    })?;
    let watched = Watched::start(&camera.url())?;
    let error = watched
        .await_failure(Reason::Decode)?
        .last_error
        .unwrap_or_default();
    assert!(error.contains("JPEG") && error.contains("H.264"), "{error}");
    Ok(())
}

#[test]
fn a_broken_camera_disturbs_no_other() -> Result<()> {
    let good = camera()?;
    let bad = camera()?;
    let watching_good = Watched::start(&good.url())?;
    let watching_bad = Watched::start(&bad.url())?;
    watching_good.await_frame()?;
    watching_bad.await_frame()?;
    bad.stall();
    watching_bad.await_failure(Reason::Timeout)?;
    drop(bad);
    watching_bad.await_failure(Reason::Connect)?;
    let stopping = Instant::now();
    drop(watching_bad);
    assert!(
        stopping.elapsed() < Duration::from_secs(3),
        "{:?}",
        stopping.elapsed()
    );
    watching_good.await_frames(20)?;
    let status = watching_good.status();
    assert_eq!((status.state, status.reconnects), (CameraState::Running, 0));
    assert_eq!(status.frames_skipped, 0);
    Ok(())
}

/// Nothing but movement is asked for; a glimpse each 200 ms of it.
const MOVEMENT_ALONE: Attention = Attention {
    hold_until: Duration::ZERO,
    every: Duration::from_millis(200),
    glance_at: Duration::MAX,
    glance_from: Duration::MAX,
    glance_by: None,
    at_once: false,
};

/// A still picture in which something comes now and then, 15 frames a second, a key frame each second; encoded once.
static HALLWAY: LazyLock<Arc<Film>> =
    LazyLock::new(|| hallway().expect("a hallway can be encoded"));

/// When the film's movement begins and ends, and how long it is, in frames.
const COMES: usize = 20 * 15 + 8;
const GOES: usize = COMES + 4 * 15;
const HALLWAY_FRAMES: usize = 30 * 15;
const WIDTH: usize = 320;
const HEIGHT: usize = 240;

fn hallway() -> Result<Arc<Film>> {
    let path = tempfile::tempdir()?.keep().join("hallway.mkv");
    let mut encoder = Command::new("gst-launch-1.0")
        .args(["-q", "fdsrc", "!", "rawvideoparse", "format=gray8"])
        .args(["width=320", "height=240", "framerate=15/1", "!"])
        .args(["videoconvert", "!", "x264enc", "pass=quant", "quantizer=8"])
        .args([
            "speed-preset=superfast",
            "!",
            "matroskamux",
            "!",
            "filesink",
        ])
        .arg(format!("location={}", path.display()))
        .stdin(Stdio::piped())
        .spawn()?;
    let mut into = encoder.stdin.take().context("its input was piped")?;
    for frame in 0..HALLWAY_FRAMES {
        into.write_all(&hallway_picture(frame))?;
    }
    drop(into);
    ensure!(encoder.wait()?.success());
    let options = FilmOptions {
        gop_seconds: 1.0,
        ..FilmOptions::new(path)
    };
    Film::encode(&options)
}

/// A wall with some structure, faint noise, and somebody who walks past.
fn hallway_picture(frame: usize) -> Vec<u8> {
    let mut picture: Vec<u8> = (0..WIDTH * HEIGHT)
        .map(|pixel| {
            let (x, y) = (pixel % WIDTH, pixel / WIDTH);
            let noise = (pixel * 2_654_435_761 + frame * 40_503) >> 13 & 1;
            (90 + (x / 16 * 7 + y / 16 * 13) % 60 + noise) as u8
        })
        .collect();
    if (COMES..GOES).contains(&frame) {
        let left = (frame - COMES) * 4;
        for y in 100..180 {
            for x in left..left + 40 {
                picture[y * WIDTH + x] = if (x + y) / 8 % 2 == 0 { 20 } else { 230 };
            }
        }
    }
    picture
}

fn hallway_camera() -> Result<Camera> {
    let film = Arc::clone(&HALLWAY);
    film.wait_complete();
    Camera::with_film(CameraOptions::new(FILMS.options.clone()), film)
}

/// Where the walker stands, as a frame of the film; `None` when nobody is there.
fn walker_frame(frame: &Frame) -> Option<usize> {
    let row = frame.row(0, 140, WIDTH);
    let left = row.iter().position(|luma| *luma < 50 || *luma > 200)?;
    Some(COMES + left / 4)
}

#[test]
fn while_nothing_moves_key_frames_alone_are_decoded() -> Result<()> {
    let camera = hallway_camera()?;
    let watched = Watched::start(&camera.url())?;
    watched.handle.lookout.attend(MOVEMENT_ALONE);
    watched.await_status("an end of learning", |status| {
        status.gate.mode == GateMode::Complexity && !status.gate.active
    })?;
    let before = watched.status();
    let after = watched.await_status("more encoded frames", |status| {
        status.frames_in >= before.frames_in + 60 || status.gate.active
    })?;
    ensure!(!after.gate.active, "{after:?}");
    let (encoded, decoded) = (
        after.frames_in - before.frames_in,
        after.frames_decoded - before.frames_decoded,
    );
    assert!((3..=6).contains(&decoded), "{decoded} of {encoded}");
    assert_eq!(after.frames_skipped, before.frames_skipped);
    assert!(
        watched.decoders.idle() > 0,
        "the decoder of its own is given back"
    );
    Ok(())
}

#[test]
fn what_led_up_to_a_movement_is_shown_in_order_and_once() -> Result<()> {
    let camera = hallway_camera()?;
    let watched = Watched::start(&camera.url())?;
    watched.handle.lookout.attend(MOVEMENT_ALONE);
    watched.await_status("an end of learning", |status| {
        status.gate.mode == GateMode::Complexity && !status.gate.active
    })?;
    while watched.handle.lookout.take().is_some() {}

    let mut seen: Vec<(u64, usize)> = Vec::new();
    until("the walker to have come and gone", SOON * 2, || {
        if let Some(glimpse) = watched.handle.lookout.take() {
            let at = glimpse.frame.time.boottime_ns;
            seen.extend(walker_frame(&glimpse.frame).map(|frame| (at, frame)));
        }
        let status = watched.status();
        (seen.len() > 10 && !status.gate.active).then_some(())
    })
    .with_context(|| format!("{:?}, {seen:?}", watched.status()))?;

    assert!(
        seen.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "{seen:?}"
    );
    assert!(
        seen.windows(2).all(|pair| pair[0].1 < pair[1].1),
        "{seen:?}"
    );
    assert!(
        // His first key frame is the seventh: what led up to it was seen, and before it.
        seen[0].1 <= COMES + 5,
        "first seen late: {seen:?}"
    );
    let gaps = seen.windows(2).map(|pair| pair[1].1 - pair[0].1);
    assert!(gaps.max() <= Some(8), "{seen:?}");
    let status = watched.status();
    assert!(
        status.frames_caught_up > 0 && status.gate.triggers > 0,
        "{status:?}"
    );
    assert_eq!((status.frames_skipped, status.reconnects), (0, 0));
    Ok(())
}

#[test]
fn a_picture_that_somebody_waits_for_comes_at_once_though_nothing_moves() -> Result<()> {
    let camera = hallway_camera()?;
    let watched = Watched::start(&camera.url())?;
    watched.handle.lookout.attend(MOVEMENT_ALONE);
    watched.await_status("an end of learning", |status| {
        status.gate.mode == GateMode::Complexity && !status.gate.active
    })?;
    while watched.handle.lookout.take().is_some() {}
    let asked_at = watched.time.now().boottime_ns;
    watched.handle.lookout.attend(Attention {
        at_once: true,
        ..MOVEMENT_ALONE
    });
    let frame = watched.await_frame()?;
    let early = asked_at.saturating_sub(frame.time.boottime_ns);
    assert!(
        early < 300_000_000,
        "a picture {early} ns older than the question"
    );
    Ok(())
}

#[test]
fn with_the_gate_turned_off_everything_is_decoded() -> Result<()> {
    let camera = hallway_camera()?;
    let watched = Watched::start_gated(
        &camera.url(),
        GateConfig {
            enabled: false,
            ..GateConfig::default()
        },
        |_| (),
    )?;
    watched.handle.lookout.attend(MOVEMENT_ALONE);
    watched.await_frames(10)?;
    let before = watched.status();
    let after = watched.await_status("more encoded frames", |status| {
        status.frames_in >= before.frames_in + 60
    })?;
    let missing =
        (after.frames_in - before.frames_in).abs_diff(after.frames_decoded - before.frames_decoded);
    assert!(missing <= 3, "{after:?}");
    assert_eq!(
        (after.gate.mode, after.frames_skipped),
        (GateMode::Everything, 0)
    );
    Ok(())
}

#[test]
fn nobody_looking_holds_no_camera_up() -> Result<()> {
    let camera = hallway_camera()?;
    let watched = Watched::start(&camera.url())?;
    watched.handle.lookout.attend(MOVEMENT_ALONE);
    // Never taken: it is shown over and over, and what comes and goes is decoded all the same.
    let status = until("a movement that is over", SOON * 4, || {
        let status = watched.status();
        let is_over = status.frames_caught_up > 0 && !status.gate.active;
        (is_over && watched.handle.lookout.overwritten() > 0).then_some(status)
    })
    .with_context(|| format!("{:?}", watched.status()))?;
    assert_eq!((status.state, status.reconnects), (CameraState::Running, 0));
    watched.await_frames(2)
}

/// What one who looks at several cameras saw of one of them.
#[derive(Debug, Default)]
struct Looks {
    last: Option<Instant>,
    longest_pause: Duration,
    /// Where the walker stood, look by look.
    walk: Vec<usize>,
    /// Looks after the walker had gone.
    after: usize,
}

/// Somebody walks past all of them at once; there are fewer decoders than cameras, and one pair of eyes.
#[test]
fn of_six_cameras_that_share_decoders_and_eyes_none_starves() -> Result<()> {
    const CAMERAS: usize = 6;
    const GLANCE_SECONDS: u32 = 4;
    let cameras: Vec<Camera> = (0..CAMERAS)
        .map(|_| hallway_camera())
        .collect::<Result<_>>()?;
    let (wakeup, decoders) = (
        Arc::new(Wakeup::default()),
        Arc::new(Decoders::for_cores(1)),
    );
    ensure!(decoders.at_once() < CAMERAS, "they have to take turns");
    let start = |camera: &Camera| {
        let (wakeup, decoders) = (Arc::clone(&wakeup), Arc::clone(&decoders));
        Watched::start_beside(
            &camera.url(),
            GateConfig::default(),
            wakeup,
            decoders,
            |_| (),
        )
    };
    let watched: Vec<Watched> = cameras.iter().map(start).collect::<Result<_>>()?;
    let mut schedule = Schedule::new(Pace::new(5.0, GLANCE_SECONDS), CAMERAS);
    let mut looks: Vec<Looks> = (0..CAMERAS).map(|_| Looks::default()).collect();
    until("everybody to have come and gone", SOON * 4, || {
        wakeup.wait(Duration::from_millis(20));
        while look(&watched, &mut schedule, &mut looks) {}
        looks.iter().all(|looks| looks.after > 1).then_some(())
    })
    .with_context(|| format!("{looks:?}"))?;
    for (looks, watched) in looks.iter().zip(&watched) {
        let status = watched.status();
        let of_it = || format!("{looks:?}, {status:?}");
        ensure!(
            looks.longest_pause < Duration::from_secs(GLANCE_SECONDS.into()) * 2,
            of_it()
        );
        ensure!(
            looks.walk.first().is_some_and(|first| *first <= COMES + 8),
            of_it()
        );
        ensure!(looks.walk.is_sorted() && looks.walk.len() > 10, of_it());
        ensure!(status.frames_caught_up > 0, of_it());
        ensure!(
            status.reconnects == 0 && status.state == CameraState::Running,
            of_it()
        );
        // While nothing moved it showed its key frames, through decoders that belonged to nobody.
        ensure!(status.frames_decoded < status.frames_in, of_it());
    }
    Ok(())
}

/// Looks at the camera whose turn it is, as a vision worker does; `false` when nobody's is.
fn look(watched: &[Watched], schedule: &mut Schedule, looks: &mut [Looks]) -> bool {
    let now = || Duration::from_nanos(watched[0].time.now().boottime_ns);
    let waiting = |index: usize| watched[index].handle.lookout.waiting();
    let Choice::Look(index) = schedule.choose(now(), Duration::ZERO, waiting) else {
        return false;
    };
    let lookout = &watched[index].handle.lookout;
    let Some(glimpse) = lookout.take() else {
        schedule.give_back(index);
        return false;
    };
    let looks = &mut looks[index];
    if let Some(last) = looks.last.replace(Instant::now()) {
        looks.longest_pause = looks.longest_pause.max(last.elapsed());
    }
    let walker = walker_frame(&glimpse.frame);
    looks.walk.extend(walker);
    looks.after += usize::from(walker.is_none() && !looks.walk.is_empty());
    let found = walker.map_or(Interest::Nothing, |_| Interest::Following);
    let at = Duration::from_nanos(glimpse.frame.time.boottime_ns);
    schedule.done(index, now(), at, glimpse.motion.moving, found);
    lookout.attend(schedule.attention(index, now()));
    schedule.give_back(index);
    true
}

/// A CA of its own and a certificate for 127.0.0.1 signed by it.
struct Certificates {
    ca: PathBuf,
    leaf: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn make(dir: &std::path::Path, name: &str) -> Result<Self> {
        let ca_key = rcgen::KeyPair::generate()?;
        let mut ca = rcgen::CertificateParams::new(Vec::<String>::new())?;
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, format!("{name} CA"));
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let leaf_key = rcgen::KeyPair::generate()?;
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?
            .signed_by(&leaf_key, &issuer)?;
        let write = |suffix: &str, pem: String| -> Result<PathBuf> {
            let path = dir.join(format!("{name}-{suffix}.pem"));
            std::fs::write(&path, pem)?;
            Ok(path)
        };
        Ok(Self {
            ca: write("ca", ca_certificate.pem())?,
            leaf: write("leaf", leaf.pem())?,
            key: write("key", leaf_key.serialize_pem())?,
        })
    }
}

/// The program that can be run for any count, here for fifty: it measures itself and fails when something grows.
#[test]
fn fifty_reconnects_leave_nothing_behind() -> Result<()> {
    let printed = e2e::process::run_ok("reconnects", ["--count", "50"])?;
    ensure!(printed.contains("50"), "{printed}");
    Ok(())
}
