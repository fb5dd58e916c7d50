//! A limit on the memory of a process, kept by the kernel: a memory cgroup, of version 2 or 1, whichever the machine has.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Cage {
    folder: PathBuf,
    is_v2: bool,
}

impl Cage {
    pub fn new(name: &str, limit_bytes: u64) -> Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let is_v2 = root.join("cgroup.controllers").exists();
        let parent = if is_v2 {
            // Asked for in vain where it is there already, or belongs to somebody above.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
            root.to_owned()
        } else {
            root.join("memory")
        };
        let folder = parent.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| {
            format!(
                "CANNOT RUN: no memory cgroup at {} (needs root, and cgroups that can be written)",
                folder.display()
            )
        })?;
        let cage = Self { folder, is_v2 };
        let limit = cage.file("memory.max", "memory.limit_in_bytes");
        fs::write(&limit, limit_bytes.to_string())
            .with_context(|| format!("CANNOT RUN: {}", limit.display()))?;
        Ok(cage)
    }

    /// From here on the process and what it starts share the limit. What it already has is not counted: so at once.
    pub fn take(&self, process: u32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), process.to_string())
            .context("moving a process into the cage")
    }

    /// The most memory that was ever in use, page cache that could be given up included.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.number(&self.file("memory.peak", "memory.max_usage_in_bytes"))
    }

    /// How many processes the kernel ended because they wanted more.
    pub fn killed(&self) -> Result<u64> {
        let path = self.file("memory.events", "memory.oom_control");
        let text = fs::read_to_string(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let count = line.with_context(|| format!("{} counts no kills", path.display()))?;
        Ok(count.trim().parse()?)
    }

    fn number(&self, path: &Path) -> Result<u64> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(text.trim().parse()?)
    }

    fn file(&self, v2: &str, v1: &str) -> PathBuf {
        self.folder.join(if self.is_v2 { v2 } else { v1 })
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // Fails while something runs in it; then it goes with the machine.
        let _ = fs::remove_dir(&self.folder);
    }
}
