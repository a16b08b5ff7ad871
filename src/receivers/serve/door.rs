//! Who is let in: whoever knows the token, under a name that is this server's own, and from no foreign page.
//!
//! A page of another origin can send requests to a server on this machine, and a name that was made to lead here
//! (DNS rebinding) makes that origin look like the server's own. So a request must be addressed to a number, to
//! `localhost` or to the name that the server was given, and what browsers tell of its origin must fit.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Uri};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Lets requests in.
#[derive(Debug, Clone)]
pub(super) struct Door {
    /// The name that the server was given, in small letters.
    pub(super) name: String,
    /// What requests must know, if anything.
    pub(super) token: Option<String>,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is addressed to a name that is not known here.
    Host,
    /// It comes from the page of another origin.
    Origin,
    /// Its token is wrong or missing.
    Token,
}

impl Door {
    /// Whether a request may come in.
    pub(super) fn admits(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(HOST).filter(|host| self.knows(host)).ok_or(Refusal::Host)?;
        let is_ours = |origin: &str| {
            let scheme = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            scheme.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
        };
        if headers.contains_key(ORIGIN) && !text(ORIGIN).is_some_and(is_ours) {
            return Err(Refusal::Origin);
        }
        // Pictures and frames within a page are asked for without an origin. A link may lead here.
        let is_foreign = text(FETCH_SITE).is_some_and(|site| !["same-origin", "none"].contains(&site));
        if is_foreign && text(FETCH_DEST) != Some("document") {
            return Err(Refusal::Origin);
        }
        let Some(token) = &self.token else { return Ok(()) };
        let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let given = bearer.or_else(|| asked(uri, "token"));
        if given.is_some_and(|given| same(given, token)) { Ok(()) } else { Err(Refusal::Token) }
    }

    /// Whether a host, with or without a port, is one under which this server is asked.
    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name == self.name || name.parse::<IpAddr>().is_ok()
    }
}

/// What a request says of `key` behind its `?`: `token=...`, or nothing as in `?picture`.
pub(super) fn asked<'a>(uri: &'a Uri, key: &str) -> Option<&'a str> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then_some(value)
    })
}

/// Compares in a time that does not tell how much was right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |apart, (a, b)| apart | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_with(token: Option<&str>, uri: &str, headers: &[(HeaderName, &'static str)]) -> Option<Refusal> {
        let door = Door { name: "box.lan".into(), token: token.map(Into::into) };
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        door.admits(&headers, &uri.parse().unwrap()).err()
    }

    #[test]
    fn it_is_addressed_by_number_or_by_a_name_that_is_its_own() {
        for host in ["127.0.0.1:8088", "localhost", "LocalHost:9", "[::1]:8088", "192.168.1.7", "Box.lan.:1"]
        {
            assert_eq!(asked_with(None, "/", &[(HOST, host)]), None, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8088", "127.0.0.1.evil.example", "", "[", "box"]
        {
            assert_eq!(asked_with(None, "/", &[(HOST, host)]), Some(Refusal::Host), "{host}");
        }
        assert_eq!(asked_with(None, "/", &[]), Some(Refusal::Host));
    }

    #[test]
    fn no_page_of_another_origin_sees_anything() {
        let with = |more: &[(HeaderName, &'static str)]| {
            asked_with(None, "/frame.jpg", &[&[(HOST, "127.0.0.1:8088")], more].concat())
        };
        assert_eq!(with(&[(ORIGIN, "http://127.0.0.1:8088")]), None);
        assert_eq!(with(&[(FETCH_SITE, "same-origin"), (FETCH_DEST, "image")]), None);
        assert_eq!(with(&[(FETCH_SITE, "cross-site"), (FETCH_DEST, "document")]), None, "a link");
        for origin in ["http://evil.example", "http://127.0.0.1:9000", "null", "127.0.0.1:8088", ""] {
            assert_eq!(with(&[(ORIGIN, origin)]), Some(Refusal::Origin), "{origin}");
        }
        for dest in ["image", "iframe", "empty"] {
            let foreign = with(&[(FETCH_SITE, "cross-site"), (FETCH_DEST, dest)]);
            assert_eq!(foreign, Some(Refusal::Origin), "{dest}");
        }
        assert_eq!(with(&[(FETCH_SITE, "same-site")]), Some(Refusal::Origin));
    }

    #[test]
    fn the_token_is_asked_for_in_the_link_or_the_head() {
        let known = |uri: &str, headers: &[(HeaderName, &'static str)]| {
            asked_with(Some("sesame-42"), uri, &[&[(HOST, "localhost")], headers].concat()).is_none()
        };
        assert!(known("/?token=sesame-42", &[]) && known("/ws?picture&token=sesame-42", &[]));
        assert!(known("/", &[(AUTHORIZATION, "Bearer sesame-42")]));
        for uri in ["/", "/?token=", "/?token=sesame-4", "/?token=sesame-43", "/?xtoken=sesame-42"] {
            assert!(!known(uri, &[]), "{uri}");
        }
        assert!(!known("/", &[(AUTHORIZATION, "Basic sesame-42")]));
    }
}
