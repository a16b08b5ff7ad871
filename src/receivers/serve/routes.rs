//! What is served under which path.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream::{Stream, StreamExt, unfold};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

use super::door::{Door, Refusal, asked};
use super::shown::Shown;
use crate::expression::Expression;
use crate::overlay::colour;

/// One file is the page and the overlay; nothing else is loaded.
const PAGE: &str = include_str!("page.html");
const OPENAPI: &str = include_str!("openapi.json");

/// After so long without a reading a stream of events says that it is alive: a client that is gone is noticed.
const SILENCE: Duration = Duration::from_secs(10);
/// Nobody has more to say than to close.
const LONGEST_MESSAGE: usize = 1 << 10;

/// What every request sees.
#[derive(Clone)]
pub(super) struct Desk {
    /// The newest reading, once there is one.
    pub(super) newest: Receiver<Option<Arc<Shown>>>,
    pub(super) door: Arc<Door>,
    pub(super) live: bool,
    /// Whether the page begins as a mirror.
    pub(super) mirror: bool,
}

pub(super) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/overlay", get(page))
        .route("/frame.jpg", get(frame))
        .route("/stream.mjpg", get(stream))
        .route("/events", get(events))
        .route("/ws", get(socket))
        .route("/api/v1/state", get(state))
        .route("/api/v1/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], OPENAPI) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404: see /api/v1/openapi.json for what there is\n") })
        .layer(from_fn_with_state(desk.clone(), guard))
        .with_state(desk)
}

/// Lets requests in or not, and gives every answer the headers that keep it from others.
async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let mut response = match desk.door.admits(request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(Refusal::Host) => {
            (StatusCode::FORBIDDEN, "403: this server does not go by that name\n").into_response()
        }
        Err(Refusal::Origin) => {
            (StatusCode::FORBIDDEN, "403: not for pages of another origin\n").into_response()
        }
        Err(Refusal::Token) => {
            let text = "401: the token is wrong or missing; open the link that the program printed\n";
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response()
        }
    };
    for (name, value) in [
        ("cache-control", "no-store"),
        ("content-security-policy", POLICY.as_str()),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Only what stands in the page itself may run, and it may speak with this server only.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let inside =
            PAGE.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
        BASE64_STANDARD.encode(Sha256::digest(inside.map_or("", |(text, _)| text)))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self' blob: data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
});

async fn page() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE)
}

/// The readings from now on, the newest first; none of them twice.
fn readings(desk: Desk) -> Receiver<Option<Arc<Shown>>> {
    let mut newest = desk.newest;
    newest.mark_changed();
    newest
}

/// The next reading; `None` when there will be none any more.
async fn next(newest: &mut Receiver<Option<Arc<Shown>>>) -> Option<Arc<Shown>> {
    loop {
        newest.changed().await.ok()?;
        if let Some(shown) = newest.borrow_and_update().clone() {
            return Some(shown);
        }
    }
}

/// The next reading that has a picture.
async fn next_picture(newest: &mut Receiver<Option<Arc<Shown>>>) -> Option<Bytes> {
    loop {
        if let Some(jpeg) = next(newest).await?.jpeg().await {
            return Some(jpeg);
        }
    }
}

async fn frame(State(desk): State<Desk>) -> Response {
    match next_picture(&mut readings(desk)).await {
        Some(jpeg) => ([(CONTENT_TYPE, "image/jpeg")], jpeg).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// A body of parts, made as fast as its reader takes them: readings that come meanwhile are left out.
fn endless(parts: impl Stream<Item = Bytes> + Send + 'static, kind: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], Body::from_stream(parts.map(Ok::<_, Infallible>))).into_response()
}

async fn stream(State(desk): State<Desk>) -> Response {
    let parts = unfold((readings(desk), "--frame\r\n"), |(mut newest, before)| async move {
        let jpeg = next_picture(&mut newest).await?;
        let head = format!("{before}Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        // With the boundary that comes next, so that nobody waits for it before showing this one.
        let part = [head.as_bytes(), &jpeg, b"\r\n--frame\r\n"].concat();
        Some((part.into(), (newest, "")))
    });
    endless(parts, "multipart/x-mixed-replace; boundary=frame")
}

async fn events(State(desk): State<Desk>) -> Response {
    let parts = unfold(readings(desk), |mut newest| async move {
        let event = match timeout(SILENCE, next(&mut newest)).await {
            Ok(shown) => {
                let shown = shown?;
                let rows = shown.rows().replace('\n', "\ndata: ");
                format!("id: {}\ndata: {rows}\n\n", shown.reading.frame.index)
            }
            Err(_) => ": nothing new\n\n".to_owned(),
        };
        Some((event.into(), newest))
    });
    endless(parts, "text/event-stream")
}

async fn socket(State(desk): State<Desk>, uri: Uri, upgrade: WebSocketUpgrade) -> Response {
    let with_picture = asked(&uri, "picture").is_some();
    upgrade
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE)
        .on_upgrade(move |socket| talk(socket, readings(desk), with_picture))
}

/// Sends the rows of each reading, and its picture after them if that is wanted, until either side ends.
async fn talk(mut socket: WebSocket, mut newest: Receiver<Option<Arc<Shown>>>, with_picture: bool) {
    loop {
        let shown = tokio::select! {
            shown = next(&mut newest) => shown,
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let Some(shown) = shown else { break };
        if socket.send(Message::Text(shown.rows())).await.is_err() {
            return;
        }
        if with_picture
            && let Some(jpeg) = shown.jpeg().await
            && socket.send(Message::Binary(jpeg)).await.is_err()
        {
            return;
        }
    }
    // Whoever has gone needs no farewell.
    let _ = socket.send(Message::Close(None)).await;
}

async fn state(State(desk): State<Desk>) -> Response {
    let expressions = Expression::ALL.map(|expression| {
        let [b, g, r] = colour(expression);
        json!({"name": expression.name(), "colour": format!("#{r:02x}{g:02x}{b:02x}")})
    });
    let mut state = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "live": desk.live,
        "mirror": desk.mirror,
        "expressions": expressions,
    });
    if let Some(shown) = &*desk.newest.borrow() {
        let frame = &shown.reading.frame;
        let rate = 1.0 / shown.interval.as_secs_f64().max(1e-3);
        state["source"] = json!(*frame.source);
        state["frame"] = json!(frame.index);
        state["time"] = json!(frame.time.as_secs_f64());
        state["size"] = json!([frame.image.width(), frame.image.height()]);
        state["faces"] = json!(shown.reading.faces.len());
        state["hidden"] = json!(shown.hidden);
        state["frames_per_second"] =
            json!(if shown.interval.is_zero() { 0.0 } else { (rate * 10.0).round() / 10.0 });
        state["silent_seconds"] = json!((shown.came.elapsed().as_secs_f64() * 1e3).round() / 1e3);
    }
    ([(CONTENT_TYPE, "application/json")], state.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_lets_the_pages_own_script_run_and_no_other() {
        let policy = POLICY.as_str();
        let nothing = BASE64_STANDARD.encode(Sha256::digest(""));
        assert!(!policy.contains(&nothing), "the page has no <script> or <style>");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        // Whatever stands in attributes would be refused.
        for word in [" style=", " onclick=", " src=\"http", "@import", "href=\"http", "//cdn"] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }

    #[test]
    fn the_openapi_text_names_every_path() {
        let api: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let paths: Vec<_> = api["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let own = include_str!("routes.rs");
        let routes: Vec<_> =
            own.match_indices("route(\"/").map(|(at, word)| &own[at + word.len() - 1..]).collect();
        assert_eq!(routes.len(), paths.len());
        for path in paths {
            assert!(routes.iter().any(|route| route.starts_with(&format!("{path}\""))), "{path}");
        }
    }
}
