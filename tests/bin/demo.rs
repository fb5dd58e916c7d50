//! The whole product on one machine: real cameras, the agent, the receiver, an account.
//!
//! Sets everything up with the very commands that an operator and an installer use, prints where to look, and
//! stops it all at Ctrl-C. Everything it makes lies in `.demo/` and is made anew at every run.

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::camera::CameraOptions;
use e2e::customer::Customer;
use e2e::film::FilmOptions;
use e2e::process::repository;
use e2e::wait;
use e2e::world::{World, film};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(about = "Runs cameras, agent, receiver and portal on this machine")]
struct Args {
    /// How many cameras play.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    cameras: u8,
    /// Width and height of the cameras' pictures; by default the film's own 768x576.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    size: Option<String>,
    /// The film they play.
    #[arg(long)]
    film: Option<PathBuf>,
}

/// More often than the default minute: who looks at a demo does not want to wait.
const PERIODIC_PICTURE_SECONDS: u32 = 15;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = repository().join(".demo");
    let _lock = lock(&folder)?;
    let started = Instant::now();

    let mut demo = tokio::task::block_in_place(|| Demo::start(&args, &folder))?;
    let outcome = tokio::select! {
        outcome = demo.present(started) => outcome,
        () = interrupted() => Ok(()),
    };
    println!("\nstopping");
    tokio::task::block_in_place(|| demo.stop())?;
    outcome
}

/// Two demos at once would fight over one folder.
fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder)?;
    let file = File::create(folder.join("lock"))?;
    if file.try_lock().is_err() {
        bail!("the demo is running already: stop it with Ctrl-C first");
    }
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("clearing {}", path.display()))?;
        }
    }
    Ok(file)
}

async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened to");
    let mut hangup = signal(SignalKind::hangup()).expect("signals can be listened to");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

struct Demo {
    folder: PathBuf,
    world: World,
}

impl Demo {
    fn start(args: &Args, folder: &Path) -> Result<Self> {
        let film = args.film.clone().unwrap_or_else(film);
        let mut film = FilmOptions::new(film);
        film.size = args.size.as_deref().map(parse_size).transpose()?;
        println!(
            "starting {} camera(s), the receiver, and an agent enrolled with a one-time code",
            args.cameras
        );
        let options = CameraOptions {
            cameras: usize::from(args.cameras),
            ..CameraOptions::new(film)
        };
        Ok(Self {
            folder: folder.to_owned(),
            world: World::start_in(folder, options, PERIODIC_PICTURE_SECONDS)?,
        })
    }

    /// Waits for the first picture, says where to look, and watches over everything until something ends.
    async fn present(&mut self, started: Instant) -> Result<()> {
        println!("waiting for the first picture in the portal");
        let customer = Customer::sign_in(&self.world.receiver, &self.world.account).await?;
        let customer = &customer;
        let first = wait::until_async("the first picture", Duration::from_secs(60), || async {
            let pictures = customer.pictures("/").await.ok()?;
            let answer = customer.get(pictures.first()?).await.ok()?;
            answer.status().is_success().then(|| started.elapsed())
        })
        .await;
        let first = match first {
            Ok(first) => first,
            Err(error) => bail!("{error:#}\n{}", self.world.logs()),
        };
        println!(
            "\n  portal     {}   (its certificate is from the demo's own CA: accept it once)\n  \
               login ID   {}\n  password   {}\n\n  first picture after {:.1} s\n\n  \
               logs in {}; Ctrl-C stops everything",
            self.world.receiver.portal_url(),
            self.world.account.login_id,
            self.world.account.password,
            first.as_secs_f64(),
            self.folder.display(),
        );
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if let Some(ended) = self.ended() {
                bail!("{ended} ended by itself\n{}", self.world.logs());
            }
        }
    }

    fn ended(&mut self) -> Option<String> {
        [self.world.receiver.process(), self.world.agent.process()]
            .into_iter()
            .flatten()
            .find_map(|process| process.ended().map(|_| process.name().to_owned()))
    }

    /// Agent first, so that it can say goodbye to a receiver that is still there.
    fn stop(&mut self) -> Result<()> {
        let agent = self.world.agent.stop();
        let receiver = self.world.receiver.stop();
        agent.and(receiver)
    }
}

fn parse_size(text: &str) -> Result<(u32, u32)> {
    let (width, height) = text.split_once('x').context("--size is WIDTHxHEIGHT")?;
    Ok((width.parse()?, height.parse()?))
}
