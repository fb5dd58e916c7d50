//! Debian's mosquitto and nginx, set up as near to the receiver's work as they come, with the same certificates.

use crate::material::Site;
use crate::process::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

fn installed(program: &str, package: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/sbin").join(program);
    if path.exists() {
        return Some(path);
    }
    println!("{program}: not measured, it is not installed (apt-get install {package})");
    None
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// QoS 1, mutual TLS, nothing stored: no persistence, nobody subscribed to what is published.
pub async fn mosquitto(site: &Site) -> Option<Server> {
    let program = installed("mosquitto", "mosquitto")?;
    let (dir, port) = (site.path(), free_port());
    let file = site.dir().join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nlog_dest none\n\
         cafile {dir}/keys/ca.pem\ncertfile {dir}/data/tls/server.pem\nkeyfile {dir}/data/tls/server.key.pem\n\
         require_certificate true\nmax_inflight_messages 0\nset_tcp_nodelay true\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command
        .arg("-c")
        .arg(file)
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    Some(Server::foreign("mosquitto", command, port).await)
}

/// nginx's PUT never calls fsync. So it is measured twice: as it comes, storing nothing durably; and onto a file
/// system that is mounted `sync,dirsync`, where every write waits for the disk: the nearest to a durable PUT that it
/// has.
pub async fn nginx(site: &Site) -> (Vec<Server>, Option<Synced>) {
    let Some(program) = installed("nginx", "nginx-light") else {
        return (Vec::new(), None);
    };
    let plain = site.dir().join("nginx-plain");
    fs::create_dir_all(&plain).unwrap();
    let mut servers = vec![start(&program, site, &plain, "nginx, no fsync").await];
    let synced = Synced::mount(site.dir());
    match &synced {
        Ok(synced) => servers.push(start(&program, site, &synced.0, "nginx, sync mount").await),
        Err(why) => println!("nginx on a sync mount: not measured, {why}"),
    }
    (servers, synced.ok())
}

async fn start(program: &Path, site: &Site, root: &Path, name: &str) -> Server {
    let (dir, port, root) = (site.path(), free_port(), root.display());
    let file = site.dir().join(format!("nginx-{port}.conf"));
    let text = format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {dir}/nginx-{port}.pid;\nerror_log stderr crit;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {root}/temp; proxy_temp_path {root}/p; \
         fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; client_max_body_size 16m;\n\
         server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {dir}/data/tls/server.pem; \
         ssl_certificate_key {dir}/data/tls/server.key.pem; ssl_client_certificate {dir}/keys/ca.pem; \
         ssl_verify_client on; root {root}; location / {{ dav_methods PUT; create_full_put_path on; }} }} }}\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(file).stdout(Stdio::null());
    Server::foreign(name, command, port).await
}

/// An ext4 file system in a file, mounted so that every write is synchronous.
/// Dropping it unmounts it, also while it is in use.
pub struct Synced(PathBuf);

impl Drop for Synced {
    fn drop(&mut self) {
        if let Err(why) = run("umount", &["-l", &self.0.to_string_lossy()]) {
            println!("{} stays mounted: {why}", self.0.display());
        }
    }
}

impl Synced {
    fn mount(dir: &Path) -> Result<Self, String> {
        let (image, at) = (dir.join("sync.img"), dir.join("nginx-sync"));
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(256 << 20).map_err(|error| error.to_string())?;
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", &image.to_string_lossy()])?;
        let paths = [image.to_string_lossy(), at.to_string_lossy()];
        run("mount", &["-o", "loop,sync,dirsync", &paths[0], &paths[1]])?;
        Ok(Self(at))
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = std::process::Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program} failed (as root?): {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}
