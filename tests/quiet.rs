//! Cameras that mostly show nothing: little is decoded while nothing moves, and nothing is missed when something does.

use anyhow::{Context, Result, ensure};
use e2e::camera::CameraOptions;
use e2e::fault::watcher::{self, Watcher};
use e2e::film::{Film, FilmOptions};
use e2e::scene::{self, Shows};
use e2e::wait;
use e2e::world::World;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Enough for a loaded machine to learn what is usual and to deliver.
const PATIENCE: Duration = Duration::from_secs(90);

/// A scene as a camera plays it.
pub fn scene(folder: &Path, name: &str, takes: &[(Shows, usize)]) -> Result<FilmOptions> {
    let path = folder.join(format!("{name}.mkv"));
    scene::write(&path, takes).with_context(|| format!("making the scene {name}"))?;
    Ok(FilmOptions::new(path))
}

/// A world with one camera that shows an empty street; `extra` is more of its configuration.
pub fn empty_street(folder: &Path, extra: &str) -> Result<World> {
    let film = scene(folder, "empty", &[(Shows::Empty, 20)])?;
    let mut world = World::set_up(folder, CameraOptions::new(film), |entry| {
        entry.extra = extra.to_owned();
    })?;
    world.agent.start()?;
    Ok(world)
}

pub fn camera(world: &World) -> Option<Value> {
    world.agent.status()?.get("cameras")?.get(0).cloned()
}

pub fn number(camera: &Value, key: &str) -> Option<f64> {
    camera.get(key)?.as_f64()
}

/// Waits until the camera decodes less than one picture in five of what it receives.
pub fn await_stillness(world: &World) -> Result<()> {
    wait::until("a still camera that decodes little", PATIENCE, || {
        let camera = camera(world)?;
        let (received, decoded) = (number(&camera, "fps_in")?, number(&camera, "fps_decoded")?);
        (received > 5.0 && decoded < received / 5.0).then_some(())
    })
    .with_context(|| format!("{:?}", camera(world)))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_by_a_camera_that_decodes_next_to_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = tokio::task::block_in_place(|| empty_street(folder.path(), ""))?;
    let outcome = somebody_comes(&world, folder.path()).await;
    outcome.with_context(|| world.logs())
}

async fn somebody_comes(world: &World, folder: &Path) -> Result<()> {
    let watcher = Watcher::start(&world.receiver, &world.account).await?;
    tokio::task::block_in_place(|| {
        await_stillness(world)?;
        let takes = [(Shows::People, 10), (Shows::Empty, 10)];
        let film = Film::encode(&scene(folder, "people", &takes)?)?;
        film.wait_complete();
        let empty = Film::encode(&world.cameras.film_options())?;
        empty.wait_complete();
        let came_at = watcher::now();
        world.cameras.switch(film);
        let seen = wait::until("an event in the browser", PATIENCE, || {
            let seen = watcher.seen_between(came_at, watcher::now());
            seen.into_iter().min_by_key(|seen| seen.opened_at)
        })?;
        // Three looks confirm an object, at five a second.
        let after = Duration::from_micros(seen.opened_at.since_us(came_at).unsigned_abs());
        ensure!(
            after < Duration::from_secs(2),
            "who came at once was first seen {after:?} later"
        );
        world.cameras.switch(empty);
        await_stillness(world)
    })
}
