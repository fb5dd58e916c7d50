//! A real RTSP camera for tests and the demo: plays a video file in an endless loop, encoded once.
//!
//! Prints `ready rtsp://...` when it serves (one line; further cameras follow from their paths). Lines on standard
//! input make it misbehave: `stall`, `resume`, `drop`, `eos`, `switch WxH`, `switch h264|h265`.

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use e2e::camera::{Auth, Camera, CameraOptions, Login};
use e2e::film::{Film, FilmOptions};
use std::io::{BufRead, Write};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "A real RTSP camera that plays a file in a loop")]
struct Cli {
    /// The film.
    #[arg(long)]
    file: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// 0 chooses a free one; the `ready` line names it.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Path of the first camera; the second one's is this and `2`, and so on.
    #[arg(long, default_value = "/stream")]
    path: String,
    /// How many cameras, each at its own place in the film.
    #[arg(long, default_value_t = 1)]
    cameras: usize,
    #[arg(long, value_enum, default_value_t = CodecName::H264)]
    codec: CodecName,
    /// The film (Matroska) is encoded already, in this codec: play it as it is.
    #[arg(long)]
    as_encoded: bool,
    /// Picture width; by default the file's. Goes with --height.
    #[arg(long, requires = "height")]
    width: Option<u32>,
    #[arg(long, requires = "width")]
    height: Option<u32>,
    /// Frames a second; by default the file's.
    #[arg(long)]
    fps: Option<u32>,
    #[arg(long, default_value_t = 2.0)]
    gop_seconds: f32,
    /// Constant bit rate; by default constant quality.
    #[arg(long)]
    bitrate_kbit: Option<u32>,
    /// Play only the first so many frames of the film.
    #[arg(long)]
    frames: Option<usize>,
    #[arg(long, requires = "password")]
    user: Option<String>,
    #[arg(long, requires = "user")]
    password: Option<String>,
    #[arg(long, value_enum, default_value_t = AuthName::Digest)]
    auth: AuthName,
    /// Certificate, PEM: serves rtsps://.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The first camera starts at the last key frame not after this one.
    #[arg(long, default_value_t = 0)]
    start_frame: usize,
    /// End of stream after one pass.
    #[arg(long)]
    once: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum CodecName {
    H264,
    H265,
}

#[derive(Clone, Copy, ValueEnum)]
enum AuthName {
    Basic,
    Digest,
}

fn main() -> Result<()> {
    let camera = Camera::start(options(Cli::parse()))?;
    println!("ready {}", camera.url());
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        if let Err(error) = obey(&camera, &line?) {
            eprintln!("{error:#}");
        }
    }
    // Nobody gives orders any more: play on until a signal ends the process.
    loop {
        std::thread::park();
    }
}

fn options(cli: Cli) -> CameraOptions {
    CameraOptions {
        film: FilmOptions {
            file: cli.file,
            codec: match cli.codec {
                CodecName::H264 => e2e::film::Codec::H264,
                CodecName::H265 => e2e::film::Codec::H265,
            },
            size: cli.width.zip(cli.height),
            fps: cli.fps,
            gop_seconds: cli.gop_seconds,
            bitrate_kbit: cli.bitrate_kbit,
            frames: cli.frames,
            as_encoded: cli.as_encoded,
        },
        address: cli.address,
        port: cli.port,
        path: cli.path,
        cameras: cli.cameras.max(1),
        start_frame: cli.start_frame,
        once: cli.once,
        login: cli.user.zip(cli.password).map(|(user, password)| Login {
            user,
            password,
            auth: match cli.auth {
                AuthName::Basic => Auth::Basic,
                AuthName::Digest => Auth::Digest,
            },
        }),
        tls: cli.tls_cert.zip(cli.tls_key),
        launch: None,
    }
}

fn obey(camera: &Camera, line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (None, _) => {}
        (Some("stall"), None) => camera.stall(),
        (Some("resume"), None) => camera.resume(),
        (Some("drop"), None) => camera.drop_clients(),
        (Some("eos"), None) => camera.end_stream(),
        (Some("switch"), Some(what)) => camera.switch(Film::encode(&switched(camera, what)?)?),
        _ => bail!("\"{line}\" is no order; use stall, resume, drop, eos or switch WxH|h264|h265"),
    }
    Ok(())
}

fn switched(camera: &Camera, what: &str) -> Result<FilmOptions> {
    let mut film = camera.film_options();
    match what.split_once('x') {
        Some((width, height)) => {
            let parse = |text: &str| {
                text.parse()
                    .with_context(|| format!("\"{what}\" is no size"))
            };
            film.size = Some((parse(width)?, parse(height)?));
        }
        None => film.codec = what.parse()?,
    }
    Ok(film)
}
