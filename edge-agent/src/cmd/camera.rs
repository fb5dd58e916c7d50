//! `edge-agent camera`: an id for a new camera, and adding one to the configuration without touching the rest of it.

use crate::config::{self, ConfigError};
use anyhow::Context;
use std::fmt::Write;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use uuid::Uuid;

/// Cameras of the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a fresh id in a block to paste into the configuration.
    NewId,
    /// Add a camera to the configuration; everything else in the file stays as it is.
    Add(NewCamera),
}

#[derive(Debug, clap::Args)]
struct NewCamera {
    /// As people on site call it.
    #[arg(long)]
    name: String,
    /// rtsp://host/path or rtsps://host:port/path
    #[arg(long)]
    url: String,
    #[arg(long)]
    user: Option<String>,
    /// A file that holds the password. There is no option for the password itself: it would stand in the shell's
    /// history.
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
}

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::NewId => {
            let example = NewCamera {
                name: "Entrance".into(),
                url: "rtsp://192.0.2.12/stream1".into(),
                user: None,
                password_file: None,
            };
            super::say(block(&example, Uuid::new_v4()));
        }
        Verb::Add(camera) => {
            let id = add(camera, config_file)?;
            super::say(format_args!(
                "camera \"{}\" added to {} as {id}\nnow run `edge-agent check`, then `systemctl restart edge-agent`\n",
                camera.name,
                config_file.display()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn block(camera: &NewCamera, id: Uuid) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!(
        "[[camera]]\nid = \"{id}\"\nname = {}\nurl = {}\n",
        quoted(&camera.name),
        quoted(&camera.url)
    );
    if let Some(user) = &camera.user {
        let _ = writeln!(text, "user = {}", quoted(user));
    }
    if let Some(file) = &camera.password_file {
        let _ = writeln!(text, "password_file = {}", quoted(&file.to_string_lossy()));
    }
    text
}

fn add(camera: &NewCamera, config_file: &Path) -> anyhow::Result<Uuid> {
    let before = match std::fs::read_to_string(config_file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", config_file.display()));
        }
    };
    config::parse(&before, config_file).map_err(|error: ConfigError| {
        anyhow::Error::new(error).context("first put right what is in the file already")
    })?;
    let id = Uuid::new_v4();
    let separator = match before.as_str() {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let after = format!("{before}{separator}{}", block(camera, id));
    config::parse(&after, config_file)?;
    replace(config_file, &after)
        .with_context(|| format!("cannot write {}", config_file.display()))?;
    Ok(id)
}

/// Whole or not at all, with the rights the file had.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mode = path
        .metadata()
        .map_or(0o640, |metadata| metadata.permissions().mode());
    let temporary = path.with_extension("toml.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(name: &str, url: &str) -> NewCamera {
        NewCamera {
            name: name.into(),
            url: url.into(),
            user: None,
            password_file: None,
        }
    }

    #[test]
    fn a_camera_is_added_and_comments_stay() {
        let folder = tempfile::tempdir().expect("temp dir");
        let file = folder.path().join("edge-agent.toml");
        std::fs::write(&file, "# ours\n[model]\nworkers = 2 # two cores\n").expect("write");
        std::fs::write(folder.path().join("gate.password"), "x\n").expect("write");
        let gate = NewCamera {
            user: Some("admin".into()),
            password_file: Some("gate.password".into()),
            ..camera("門 \"東\"", "rtsp://10.0.0.12/main")
        };
        let id = add(&gate, &file).expect("added");
        add(&camera("Back", "rtsp://10.0.0.13/main"), &file).expect("added");

        let text = std::fs::read_to_string(&file).expect("read");
        assert!(text.starts_with("# ours\n[model]\nworkers = 2 # two cores\n\n[[camera]]\n"));
        let config = config::load(&file).expect("valid");
        assert_eq!(config.cameras[0].id.0, id);
        assert_eq!(config.cameras[0].name, "門 \"東\"");
        assert_eq!(config.cameras[1].name, "Back");
    }

    #[test]
    fn a_wrong_camera_leaves_the_file_alone() {
        let folder = tempfile::tempdir().expect("temp dir");
        let file = folder.path().join("edge-agent.toml");
        add(&camera("Gate", "rtsp://10.0.0.12/main"), &file).expect("added");
        let before = std::fs::read_to_string(&file).expect("read");
        for wrong in [
            camera("Gate", "rtsp://10.0.0.13/main"),
            camera("Back", "http://10.0.0.13/"),
        ] {
            let error = add(&wrong, &file).expect_err("refused");
            assert!(error.downcast_ref::<ConfigError>().is_some());
            assert_eq!(std::fs::read_to_string(&file).expect("read"), before);
        }
    }
}
