//! What travels between box and receiver besides events: commands, pictures with privacy masks, and records over
//! HTTPS where the MQTT port is blocked.

use anyhow::{Context, Result, ensure};
use e2e::camera::CameraOptions;
use e2e::customer::Customer;
use e2e::film::FilmOptions;
use e2e::process::free_port;
use e2e::wait;
use e2e::world::{World, film};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn one_camera() -> CameraOptions {
    CameraOptions::new(FilmOptions::new(film()))
}

#[test]
fn a_picture_asked_for_is_taken_and_the_answer_comes_back() -> Result<()> {
    let mut world = World::start(1, 60)?;
    let outcome = ask_for_a_picture(&world);
    outcome.with_context(|| world.logs())
}

fn ask_for_a_picture(world: &World) -> Result<()> {
    wait::until("the camera at the receiver", PATIENCE, || {
        let devices = world.receiver.command(&["device", "list"]).ok()?;
        (!devices[0]["cameras"].as_array()?.is_empty()).then_some(())
    })?;
    let ask = [
        "device", "picture", "--device", "本社", "--camera", "正門", "--wait",
    ];
    let answer = world.receiver.command(&ask)?;
    ensure!(answer["outcome"] == "done", "{answer}");

    let unknown = world
        .receiver
        .command_raw(&["device", "picture", "--device", "本社", "--camera", "裏門"])?;
    let words = String::from_utf8_lossy(&unknown.stderr);
    ensure!(
        !unknown.status.success() && words.contains("裏門"),
        "{words}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_privacy_mask_covers_never_leaves_the_box() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = tokio::task::block_in_place(|| -> Result<World> {
        let mut world = World::set_up(folder.path(), one_camera(), |camera| {
            camera.extra =
                "privacy_masks = [[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]]".into();
        })?;
        world.agent.start()?;
        Ok(world)
    })?;
    let outcome = left_half_is_blank(&world).await;
    outcome.with_context(|| world.logs())
}

async fn left_half_is_blank(world: &World) -> Result<()> {
    let customer = Customer::sign_in(&world.receiver, &world.account).await?;
    let customer = &customer;
    let jpeg = wait::until_async("a picture", PATIENCE, || async {
        let pictures = customer.pictures("/").await.ok()?;
        let answer = customer.get(pictures.first()?).await.ok()?;
        answer.bytes().await.ok()
    })
    .await?;
    let picture = image::load_from_memory(&jpeg)?.to_luma8();
    let (width, height) = picture.dimensions();
    // Away from the edge by a JPEG block, where the mask may ring.
    let brightness = |from: u32, to: u32| {
        let columns = (from..to).flat_map(|x| (0..height).map(move |y| (x, y)));
        columns
            .map(|(x, y)| picture.get_pixel(x, y).0[0])
            .collect::<Vec<_>>()
    };
    let spread = |values: &[u8]| {
        values
            .iter()
            .max()
            .zip(values.iter().min())
            .map_or(0, |(most, least)| most - least)
    };
    let masked = spread(&brightness(0, width / 2 - 16));
    let open = spread(&brightness(width / 2 + 16, width));
    ensure!(
        masked <= 8,
        "something shines through the mask: brightness varies by {masked}"
    );
    ensure!(
        open > 100,
        "the open half shows nothing: brightness varies by {open}"
    );
    Ok(())
}

#[test]
fn where_mqtt_is_blocked_records_go_over_https_and_status_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = World::set_up(folder.path(), one_camera(), |_| {})?;
    // As a site's firewall would: nobody answers at the port.
    let file = world.agent.data_dir().join("identity/enrollment.json");
    let mut enrollment: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    enrollment["mqtt_port"] = free_port()?.into();
    std::fs::write(&file, serde_json::to_vec(&enrollment)?)?;
    world.agent.start()?;
    let outcome = https_carries(&world);
    outcome.with_context(|| world.logs())
}

fn https_carries(world: &World) -> Result<()> {
    wait::until("records over HTTPS", PATIENCE, || {
        let status = world.agent.status()?;
        let uplink = status.get("uplink")?;
        let carried = uplink.get("carriage")? == "https" && uplink.get("receipts")?.as_u64()? > 0;
        carried.then_some(())
    })?;
    let words = world.agent.command_raw(&["status"])?;
    let words = String::from_utf8_lossy(&words.stdout);
    ensure!(
        words.contains("https for") && words.contains("MQTT"),
        "status does not tell people: {words}"
    );
    Ok(())
}
