//! Reading the `Cookie` header.

use axum::http::{HeaderMap, header};

/// The value of a cookie, of the first one if there are several of that name.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn finds_whole_names_only() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; __Host-session=t=k"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("lang=en"));
        assert_eq!(find(&headers, "__Host-session"), Some("t=k"));
        assert_eq!(find(&headers, "lang"), Some("en"));
        assert_eq!(find(&headers, "session"), None);
    }
}
