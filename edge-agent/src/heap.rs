//! How the C library's allocator keeps memory, chosen for a program of many threads and of pictures.
//!
//! A decoded 1080p picture is 3 MB, and it is allocated in one thread and freed in another. By glibc's defaults every
//! thread gets an arena of its own, and after the first such picture is freed all pictures come out of arenas, where one
//! small allocation behind them keeps them from going back: four idle cameras then take 435 MB instead of 246.
//!
//! glibc reads these settings before `main` (its manual, "Memory Allocation Tunables"), so the program starts itself once
//! more with them: same process id, same arguments. Whoever set `GLIBC_TUNABLES` himself is left alone.

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
