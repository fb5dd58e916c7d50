//! How much of each fault: a little in CI, all of it when asked for. The code is the same.

/// `FAULTS=long` asks for everything.
const VARIABLE: &str = "FAULTS";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Short,
    Long,
}

impl Size {
    pub fn from_env() -> Self {
        match std::env::var(VARIABLE).as_deref() {
            Ok("long") => Size::Long,
            _ => Size::Short,
        }
    }

    pub fn of<T>(self, short: T, long: T) -> T {
        match self {
            Size::Short => short,
            Size::Long => long,
        }
    }
}
