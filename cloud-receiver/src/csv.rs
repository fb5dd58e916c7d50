//! Tables as files that Excel opens: UTF-8 with a byte order mark, lines ended by CR LF, every text in quotes.
//!
//! A text that a spreadsheet would take for a formula gets an apostrophe before it: names come from devices and from
//! people, and a file from here must never run anything (CWE-1236).

/// A file of these lines; the first one is its heading.
pub(crate) fn file(lines: impl IntoIterator<Item = Vec<String>>) -> Vec<u8> {
    let mut bytes = "\u{feff}".as_bytes().to_vec();
    for line in lines {
        let cells: Vec<String> = line.iter().map(|text| cell(text)).collect();
        bytes.extend(cells.join(",").as_bytes());
        bytes.extend(b"\r\n");
    }
    bytes
}

fn cell(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let begins_a_formula =
        text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let guard = if begins_a_formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_takes_nothing_for_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            assert!(cell(text).starts_with("\"'"), "{text}");
        }
        assert_eq!(cell("say \"=1\""), "\"say \"\"=1\"\"\"");
        assert_eq!(cell("12"), "12");
    }

    #[test]
    fn excel_knows_the_file_by_its_first_bytes() {
        let bytes = file([vec!["正門".to_owned(), "3".to_owned()]]);
        assert_eq!(bytes, "\u{feff}\"正門\",3\r\n".as_bytes());
    }
}
