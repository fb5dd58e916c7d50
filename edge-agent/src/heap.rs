//! How the C library's allocator keeps memory, chosen for a program of many threads and of pictures.
//!
//! A decoded 1080p picture is 3 MB, and it is allocated in one thread and freed in another. By glibc's defaults every
//! thread gets an arena of its own, and after the first such picture is freed all pictures come out of arenas, where one
//! small allocation behind them keeps them from going back: four idle cameras then take 435 MB instead of 246.
//!
//! glibc reads these settings before `main` (its manual, "Memory Allocation Tunables"), so the program starts itself once
//! more with them: same process id, same arguments. Whoever set `GLIBC_TUNABLES` himself is left alone.
//!
//! Starting needs more than running: plugins are looked through, a network is read and taken apart, decoders are
//! examined. What of it is never needed again is given back once, when starting is over ([`give_back`]).

use rustix::mm::{Advice, madvise};
use std::os::unix::process::CommandExt;
use std::process::Command;

const VARIABLE: &str = "GLIBC_TUNABLES";

/// Two arenas are enough for threads that rarely meet. From 1 MiB on memory is the kernel's and goes back to it when it
/// is freed; naming the limit also keeps glibc from raising it by itself.
const TUNABLES: &str = "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=1048576:glibc.malloc.trim_threshold=1048576";

/// Does not return where it starts the program anew. Where it cannot, the program goes on as it is: it takes more memory
/// and works as well.
pub fn tune() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only when it fails.
    let _ = command.args(arguments).env(VARIABLE, TUNABLES).exec();
}

/// Gives back to the kernel what the allocator keeps for later, and the pages of programs and libraries: those that are
/// used come back by themselves, a quarter of them. Takes some milliseconds.
pub fn give_back() {
    // SAFETY: `malloc_trim` may be called at any time by any thread (malloc_trim(3): MT-Safe); no memory in use moves.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for (address, len) in maps.lines().filter_map(pages_of_a_file) {
        let start = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: this advice changes no memory's content and unmaps nothing (madvise(2), MADV_PAGEOUT): what is needed
        // again is read from the file. It stays true for whatever else may have been mapped there meanwhile.
        #[allow(unsafe_code)]
        let advised = unsafe { madvise(start, len, Advice::LinuxPageOut) };
        if let Err(error) = advised {
            // Kernels before 5.4 know nothing of it.
            tracing::debug!("pages of libraries stay in memory: {error}");
            return;
        }
    }
}

/// Address and length of a mapping by its line (proc_pid_maps(5)), if it is of a file and cannot be written to.
fn pages_of_a_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let access = fields.next()?;
    let inode = fields.nth(2)?;
    if access.contains('w') || inode == "0" {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_read_only_and_of_files() {
        let text = "7f5f6c601000-7f5f6ce08000 r-xp 00026000 fe:00 1835 /usr/lib/libc.so.6";
        assert_eq!(pages_of_a_file(text), Some((0x7f5f_6c60_1000, 0x80_7000)));
        let data = "7f5f6c601000-7f5f6ce08000 rw-p 00026000 fe:00 1835 /usr/lib/libc.so.6";
        let stack = "7ffd3a9e1000-7ffd3aa02000 r--p 00000000 00:00 0 [stack]";
        for other in [data, stack, "", "vsyscall", "1-0 r--p 0 0 7 x"] {
            assert_eq!(pages_of_a_file(other), None, "{other}");
        }
    }

    /// The library under test keeps working; nothing else could show that nothing was lost.
    #[test]
    fn giving_back_costs_nothing_that_is_needed() {
        let kept: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        give_back();
        let sum: usize = kept
            .iter()
            .filter_map(|text| text.parse::<usize>().ok())
            .sum();
        assert_eq!(sum, 499_500);
    }
}
