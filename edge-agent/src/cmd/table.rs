//! Columns that line up on a terminal, with Japanese names too: those take two cells a character.

use std::time::Duration;
use unicode_width::UnicodeWidthStr;
use wire::UtcMicros;

/// Between two columns.
const GAP: &str = "  ";

/// Rows of cells, the first row being the heading. The last column is not padded.
pub fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width()));
            line.push_str(GAP);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `12 s`, `3 min 20 s`, `5 h 07 min`, `3 d 04 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long before `now`; a clock that was set back in between gives `0 s`.
pub fn since(now: UtcMicros, then: UtcMicros) -> String {
    let us = u64::try_from(now.since_us(then)).unwrap_or(0);
    duration(Duration::from_micros(us))
}

/// `2026-11-23 03:07`, of UTC.
pub fn minute(at: UtcMicros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(
        |_| format!("{} us", at.0),
        |time| time.strftime("%F %R").to_string(),
    )
}

/// `512 B`, `1.5 kB`, `8.6 GB`: powers of ten, as disks are sold.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `+1.3 ms`, `-2 h 10 min`: how far a clock is off.
pub fn offset(us: i64) -> String {
    let sign = if us < 0 { '-' } else { '+' };
    let magnitude = us.unsigned_abs();
    if magnitude < 10_000_000 {
        format!("{sign}{:.1} ms", magnitude as f64 / 1000.0)
    } else {
        let whole_seconds = Duration::from_secs(magnitude.saturating_add(500_000) / 1_000_000);
        format!("{sign}{}", duration(whole_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_cells() {
        let rows = [["CAMERA", "STATE"], ["正面入口", "running"], ["gate", "-"]]
            .map(|row| row.map(String::from).to_vec());
        assert_eq!(
            render(&rows),
            "CAMERA    STATE\n正面入口  running\ngate      -\n"
        );
    }

    #[test]
    fn quantities_are_read_at_a_glance() {
        for (seconds, expected) in [
            (0, "0 s"),
            (200, "3 min 20 s"),
            (18_420, "5 h 07 min"),
            (273_600, "3 d 04 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
        for (count, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (8 << 30, "8.6 GB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!(offset(-1_300), "-1.3 ms");
        assert_eq!(offset(7_799_999_600), "+2 h 10 min");
        assert_eq!(since(UtcMicros(5_000_000), UtcMicros(9_000_000)), "0 s");
    }
}
