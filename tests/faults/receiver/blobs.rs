//! Uploads that are cut, come a hundred times at once, or are not what they say.

use super::fleet::{self, Device};
use anyhow::{Context, Result, ensure};
use e2e::fault::{Chance, Size};
use e2e::receiver::Receiver;
use e2e::wait;
use reqwest::{Client, Method, StatusCode};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::Sha256;

const STEP: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    folder: TempDir,
    receiver: Receiver,
}

impl Bench {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let receiver = fleet::receiver(&folder.path().join("receiver"))?;
        Ok(Self { folder, receiver })
    }

    async fn device(&self, contract: &str, chance: &mut Chance) -> Result<Device> {
        let folder = self.folder.path().join("receiver");
        let mut devices = fleet::enroll(&folder, contract, 1, chance).await?;
        devices.pop().context("one device")
    }

    fn url(&self, name: &str) -> String {
        format!(
            "https://localhost:{}/device/v1/blobs/{name}",
            self.receiver.device_port
        )
    }

    /// Files of whole blobs, and of cut uploads.
    fn files(&self) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let data = self.folder.path().join("receiver/data");
        let mut blobs = files_below(&data.join("blobs"))?;
        blobs.retain(|path| path.parent() != Some(&data.join("blobs")));
        Ok((blobs, files_below(&data.join("incoming"))?))
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn noise(bytes: usize, chance: &mut Chance) -> Vec<u8> {
    (0..bytes).map(|_| chance.number(0..256) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_23_an_upload_cut_at_every_64_kib_goes_on_where_it_was_cut() -> Result<()> {
    let mut chance = Chance::new("fault_23");
    let bench = Bench::new()?;
    let device = bench.device("Acme", &mut chance).await?;
    let client = device.client()?;
    let steps = Size::from_env().of(12, 64);
    let blob = noise(steps * STEP + 12_345, &mut chance);
    let (name, url) = (Sha256::of(&blob), bench.url(&Sha256::of(&blob).to_string()));

    let mut offset = 0;
    while offset + STEP < blob.len() {
        // Announces everything, sends so much, and is gone.
        send_and_cut(&bench, &device, name, &blob, offset, STEP).await?;
        let deadline = wait::until_async("what came before the cut", PATIENCE, || async {
            let kept = kept(&client, &url).await.ok()??;
            (kept == offset + STEP).then_some(kept)
        });
        offset = deadline.await?;
    }
    // The wrong place is refused, and the right one named.
    let wrong = put(&client, &url, &blob, offset - 1..blob.len()).await?;
    ensure!(
        wrong == StatusCode::CONFLICT,
        "the wrong offset was answered with {wrong}"
    );
    let end = put(&client, &url, &blob, offset..blob.len()).await?;
    ensure!(
        end == StatusCode::CREATED,
        "the end was answered with {end}"
    );
    ensure!(kept(&client, &url).await? == Some(blob.len()));
    let (blobs, parts) = bench.files()?;
    ensure!(
        blobs.len() == 1 && parts.is_empty(),
        "left: {blobs:?} {parts:?}"
    );
    Ok(())
}

/// As HTTP/1.1 over a line of our own: no library sends half a request on purpose.
async fn send_and_cut(
    bench: &Bench,
    device: &Device,
    name: Sha256,
    blob: &[u8],
    offset: usize,
    bytes: usize,
) -> Result<()> {
    let mut line = device.line(bench.receiver.device_port).await?;
    let head = format!(
        "PUT /device/v1/blobs/{name} HTTP/1.1\r\nhost: localhost\r\nupload-offset: {offset}\r\n\
         upload-length: {}\r\ncontent-length: {}\r\n\r\n",
        blob.len(),
        blob.len() - offset
    );
    line.write_all(head.as_bytes()).await?;
    line.write_all(&blob[offset..offset + bytes]).await?;
    line.flush().await?;
    // Closed in good order below the upload: bytes that were sent arrive, and then no more.
    line.shutdown().await?;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, line.read_to_end(&mut answer)).await?;
    Ok(())
}

async fn kept(client: &Client, url: &str) -> Result<Option<usize>> {
    let answer = client.head(url).send().await?;
    let offset = answer.headers().get("upload-offset");
    Ok(offset
        .map(|offset| offset.to_str().map(str::parse))
        .transpose()?
        .transpose()?)
}

async fn put(
    client: &Client,
    url: &str,
    blob: &[u8],
    range: std::ops::Range<usize>,
) -> Result<StatusCode> {
    let request = client
        .put(url)
        .header("upload-offset", range.start)
        .header("upload-length", blob.len())
        .body(blob[range].to_vec());
    Ok(request.send().await?.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_24_one_blob_put_100_times_at_once_is_one_file_and_100_good_answers() -> Result<()> {
    let mut chance = Chance::new("fault_24");
    let bench = Bench::new()?;
    let device = bench.device("Acme", &mut chance).await?;
    let blob = noise(200_000, &mut chance);
    let url = bench.url(&Sha256::of(&blob).to_string());
    // Four lines, as a device that connects anew has for a while.
    let clients = (0..4)
        .map(|_| device.client())
        .collect::<Result<Vec<_>>>()?;
    let puts = (0..100).map(|number| put(&clients[number % 4], &url, &blob, 0..blob.len()));
    let answers = futures::future::try_join_all(puts).await?;
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    ensure!(
        (count(StatusCode::CREATED), count(StatusCode::OK)) == (1, 99),
        "answers: {answers:?}"
    );
    let (blobs, parts) = bench.files()?;
    ensure!(
        blobs.len() == 1 && parts.is_empty(),
        "left: {blobs:?} {parts:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_25_what_is_wrong_leaves_nothing_and_what_is_foreign_tells_nothing() -> Result<()> {
    let mut chance = Chance::new("fault_25");
    let bench = Bench::new()?;
    let ours = bench.device("Acme", &mut chance).await?;
    let theirs = bench.device("Other", &mut chance).await?;
    let (ours, theirs) = (ours.client()?, theirs.client()?);
    let (blob, other) = (noise(150_000, &mut chance), noise(150_000, &mut chance));
    let url = bench.url(&Sha256::of(&blob).to_string());

    let wrong_hash = put(&ours, &url, &other, 0..other.len()).await?;
    let longer = [&blob[..], b"more"].concat();
    let announced_short = ours
        .put(&url)
        .header("upload-length", blob.len())
        .body(longer.clone());
    let wrong_length = announced_short.send().await?.status();
    let said_long = put(&ours, &url, &longer, 0..longer.len()).await?;
    for answer in [wrong_hash, wrong_length, said_long] {
        ensure!(
            answer == StatusCode::UNPROCESSABLE_ENTITY,
            "answered with {answer}"
        );
    }
    let (blobs, parts) = bench.files()?;
    ensure!(
        blobs.is_empty() && parts.is_empty(),
        "left: {blobs:?} {parts:?}"
    );

    for name in ["", "..%2f..%2fkeys", "A", &"F".repeat(64), &"0".repeat(63)] {
        let answer = put(&ours, &bench.url(name), &blob, 0..blob.len()).await?;
        ensure!(
            answer.is_client_error(),
            "{name:?} was answered with {answer}"
        );
    }

    ensure!(put(&ours, &url, &blob, 0..blob.len()).await? == StatusCode::CREATED);
    // To another contract a blob that is here looks like one that is not, whatever it asks.
    let absent = bench.url(&Sha256::of(&other).to_string());
    for (method, body) in [(Method::HEAD, vec![]), (Method::PUT, b"guess".to_vec())] {
        let mut answers = Vec::new();
        for url in [&url, &absent] {
            let request = theirs
                .request(method.clone(), url)
                .header("upload-length", body.len())
                .body(body.clone());
            let answer = request.send().await?;
            let mut headers = answer.headers().clone();
            headers.remove("date");
            answers.push((answer.status(), headers, answer.bytes().await?));
        }
        ensure!(answers[0] == answers[1], "{method} tells: {answers:?}");
    }
    // And its own copy is its own object.
    ensure!(put(&theirs, &url, &blob, 0..blob.len()).await? == StatusCode::CREATED);
    let (blobs, parts) = bench.files()?;
    ensure!(
        blobs.len() == 2 && parts.is_empty(),
        "left: {blobs:?} {parts:?}"
    );
    Ok(())
}
