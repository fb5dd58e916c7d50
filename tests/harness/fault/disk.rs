//! A file system of its own, in a file or in memory, that can lose power, fill up, run out of inodes or turn read-only.
//!
//! Needs root and loop devices. The power cut is ext4's own: `EXT4_IOC_SHUTDOWN` (linux/fs/ext4/ext4.h) stops the file
//! system at once and, without flushing its log, leaves on the device what a cut at that moment would.

use crate::wait;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what was not yet in the log is gone.
const NO_LOG_FLUSH: u32 = 2;

const UNMOUNT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Disk {
    kind: Kind,
    mount: PathBuf,
    mounted: bool,
    _folder: TempDir,
}

#[derive(Debug)]
enum Kind {
    /// In this file.
    Ext4(PathBuf),
    Memory,
}

impl Disk {
    /// An ext4 of so many bytes; `inodes` limits how many files it can hold.
    pub fn ext4(bytes: u64, inodes: Option<u32>) -> Result<Self> {
        let folder = folder()?;
        let image = folder.path().join("disk.img");
        File::create(&image)?.set_len(bytes)?;
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-F", "-m", "0", "-O", "^metadata_csum_seed"]);
        if let Some(inodes) = inodes {
            mkfs.args(["-N", &inodes.to_string()]);
        }
        run(mkfs.arg(&image))?;
        let mut disk = Self {
            kind: Kind::Ext4(image),
            mount: folder.path().join("mount"),
            mounted: false,
            _folder: folder,
        };
        std::fs::create_dir(&disk.mount)?;
        disk.mount()?;
        Ok(disk)
    }

    /// In memory: quick, but it cannot lose power.
    pub fn memory(bytes: u64, inodes: Option<u32>) -> Result<Self> {
        let folder = folder()?;
        let mount = folder.path().join("mount");
        std::fs::create_dir(&mount)?;
        let inodes = inodes.map_or(String::new(), |inodes| format!(",nr_inodes={inodes}"));
        let mut command = Command::new("mount");
        command.args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={bytes}{inodes}"),
            "tmpfs",
        ]);
        run(command.arg(&mount))?;
        Ok(Self {
            kind: Kind::Memory,
            mount,
            mounted: true,
            _folder: folder,
        })
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Power is gone: what was not durable is lost, and every later call fails until [`Disk::restore`].
    pub fn cut_power(&self) -> Result<()> {
        let root = File::open(&self.mount)?;
        // SAFETY: the descriptor is open for the length of the call, and this request reads one u32 behind the
        // pointer, which lives as long.
        #[allow(unsafe_code)]
        let outcome = unsafe {
            libc::ioctl(
                root.as_raw_fd(),
                EXT4_IOC_SHUTDOWN,
                std::ptr::from_ref(&NO_LOG_FLUSH),
            )
        };
        ensure!(
            outcome == 0,
            "cutting the power of {} failed: {}",
            self.mount.display(),
            std::io::Error::last_os_error()
        );
        Ok(())
    }

    /// Power is back: mounted again, its log replayed. Nobody may have a file of it open.
    pub fn restore(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// Makes durable what the test itself put there.
    pub fn sync(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.mount)?)?)
    }

    /// As a card does that wears out: the file system meets an error and writes nothing any more, whoever has files
    /// open. Only [`Disk::restore`] makes it writable again.
    pub fn turn_read_only(&self) -> Result<()> {
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        let mount = self.mount.display().to_string();
        let device = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(1) == Some(&mount.as_str()))
            .and_then(|fields| fields[0].strip_prefix("/dev/").map(str::to_owned))
            .with_context(|| format!("{mount} is not mounted from a device"))?;
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "a test").with_context(|| format!("CANNOT RUN: {trigger}"))
    }

    pub fn remount(&self, option: &str) -> Result<()> {
        let mut command = Command::new("mount");
        run(command
            .args(["-o", &format!("remount,{option}")])
            .arg(&self.mount))
    }

    /// Bytes that an ordinary program could still write.
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.mount)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn mount(&mut self) -> Result<()> {
        if let Kind::Ext4(image) = &self.kind {
            let mut command = Command::new("mount");
            run(command
                .args(["-o", "loop,errors=remount-ro"])
                .arg(image)
                .arg(&self.mount))?;
        }
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        // A process that was just killed may hold it for a moment longer.
        wait::until("the disk to be free", UNMOUNT, || {
            run(Command::new("umount").arg(&self.mount)).ok()
        })?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a failing test must not leave a mount behind because something still runs.
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}

fn folder() -> Result<TempDir> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "CANNOT RUN: making file systems needs root"
    );
    Ok(tempfile::tempdir()?)
}

fn run(command: &mut Command) -> Result<()> {
    let name = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("CANNOT RUN: {name}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}", words.trim());
    Ok(())
}
