//! The page that is served, as browsers and other programs see it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lanet_live::Analyser;
use lanet_live::expression::{COUNT, Distribution};
use lanet_live::frame::{Frame, Image};
use lanet_live::images;
use lanet_live::reading::Reading;
use lanet_live::receivers::Receiver;
use lanet_live::receivers::serve::{Address, Server, Settings};
use serde_json::Value;

use crate::program::{command, lanet_live, media};
use crate::scratch::Scratch;

const PATHS: [&str; 8] = [
    "/",
    "/overlay",
    "/frame.jpg",
    "/stream.mjpg",
    "/events",
    "/ws",
    "/api/v1/state",
    "/api/v1/openapi.json",
];

/// The blue of a frame grows.
fn blue(index: u64) -> u8 {
    (3 * index).min(255) as u8
}

/// Two faces, one of them unsure, in a picture that changes.
fn reading(index: u64) -> Reading {
    static READ: LazyLock<Reading> = LazyLock::new(|| {
        let painted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/painted.png");
        let image = images::read(Path::new(painted)).unwrap().bordered(100, 60, 100, 60);
        let frame = Frame { image, source: "a \"b\"\n.mp4".into(), index: 0, time: Duration::ZERO };
        Analyser::new().unwrap().stream([Ok(frame)].into_iter()).next().unwrap().unwrap()
    });
    let mut reading = READ.clone();
    reading.frame.image = Image::filled(160, 120, [blue(index), 90, 30]);
    (reading.frame.index, reading.frame.time) = (index, Duration::from_millis(index * 10));
    let happy = 0.2 + 0.1 * (index % 7) as f32;
    let read = reading.faces.remove(0);
    reading.faces = [1, 2]
        .map(|track| {
            let mut read = read.clone();
            read.face.track = track;
            read.face.pose.yaw = 60.0 * track as f32 - 60.0;
            read.smoothed = Distribution([(1.0 - happy) / 7.0; COUNT]);
            read.smoothed.0[1] = happy;
            read
        })
        .into();
    reading
}

/// A server that is shown a reading every few milliseconds.
struct Served {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    feeding: Option<JoinHandle<()>>,
}

impl Served {
    fn new(token: Option<&str>) -> Self {
        let address = Address { host: "127.0.0.1".into(), port: 0 };
        let settings = Settings { address, token: token.map(Into::into), live: true, ..Settings::default() };
        let mut server = Server::start(settings, || false).unwrap();
        let address = address_in(server.link());
        let over = Arc::new(AtomicBool::new(false));
        let asked = over.clone();
        let feeding = thread::spawn(move || {
            for index in 0.. {
                if asked.load(Ordering::Relaxed) {
                    break;
                }
                let _ = server.take(&Arc::new(reading(index))).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            drop(server);
        });
        Self { address, over, feeding: Some(feeding) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.feeding.take().map(JoinHandle::join);
    }
}

fn address_in(link: &str) -> SocketAddr {
    link.trim_start_matches("http://").split('/').next().unwrap().parse().unwrap()
}

/// Asks, and gives the status, the head, and what follows. The older version of HTTP sends bodies as they are.
fn ask(address: SocketAddr, request: &str, more: &str) -> (u16, String, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let host =
        if more.to_lowercase().contains("host:") { String::new() } else { format!("Host: {address}\r\n") };
    write!(stream, "{request} HTTP/1.0\r\n{host}{more}\r\n").unwrap();
    answer(stream)
}

fn answer(stream: TcpStream) -> (u16, String, BufReader<TcpStream>) {
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(answer.read_line(&mut head).unwrap() > 0, "no whole head: {head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), answer)
}

fn status(address: SocketAddr, path: &str, more: &str) -> u16 {
    ask(address, &format!("GET {path}"), more).0
}

fn body(mut answer: BufReader<TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    answer.read_to_end(&mut body).unwrap();
    body
}

/// The next event: its number and its rows.
fn event(answer: &mut impl BufRead) -> Option<(u64, Vec<String>)> {
    let (mut id, mut rows, mut line) = (None, Vec::new(), String::new());
    while answer.read_line(&mut line).ok()? > 0 {
        match line.trim_end_matches('\n').split_once(": ") {
            Some(("id", number)) => id = number.parse().ok(),
            Some(("data", row)) => rows.push(row.to_owned()),
            _ if line == "\n" && id.is_some() => return Some((id?, rows)),
            _ => {}
        }
        line.clear();
    }
    None
}

/// The next picture of a stream of them, after its boundary.
fn part(answer: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if answer.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lines: Vec<_> = head.trim().lines().collect();
    assert_eq!(lines[..2], ["--frame", "Content-Type: image/jpeg"], "{head}");
    let mut jpeg = vec![0; lines[2].strip_prefix("Content-Length: ").unwrap().parse().unwrap()];
    answer.read_exact(&mut jpeg).ok()?;
    let mut end = [0; 2];
    answer.read_exact(&mut end).ok()?;
    assert_eq!(&end, b"\r\n");
    Some(jpeg)
}

fn picture(jpeg: &[u8]) -> Image {
    let folder = Scratch::new();
    fs::write(folder.path("a.jpg"), jpeg).unwrap();
    images::read(&folder.path("a.jpg")).unwrap()
}

#[test]
fn the_page_the_picture_and_the_state_are_served() {
    let served = Served::new(None);
    for path in ["/", "/overlay", "/?mirror"] {
        let (status, head, answer) = ask(served.address, &format!("GET {path}"), "");
        let page = String::from_utf8(body(answer)).unwrap();
        assert!(status == 200 && page.starts_with("<!doctype html>") && page.contains("</html>"));
        for line in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "no-store",
            "nosniff",
            "same-origin",
            "no-referrer",
        ] {
            assert!(head.contains(line), "{path}: {line} is not in {head}");
        }
    }
    let (status_of_it, head, answer) = ask(served.address, "GET /frame.jpg", "");
    let image = picture(&body(answer));
    assert!(
        status_of_it == 200 && head.contains("image/jpeg") && (image.width(), image.height()) == (160, 120)
    );
    let json = |path: &str| -> Value {
        serde_json::from_slice(&body(ask(served.address, &format!("GET {path}"), "").2)).unwrap()
    };
    while json("/api/v1/state")["frame"].as_u64() < Some(5) {
        thread::sleep(Duration::from_millis(5));
    }
    let state = json("/api/v1/state");
    assert_eq!(
        (&state["size"], &state["faces"], &state["live"]),
        (&[160, 120].into(), &2.into(), &true.into())
    );
    assert_eq!(
        (&state["expressions"][1]["name"], &state["source"]),
        (&"happiness".into(), &"a \"b\"\n.mp4".into())
    );
    assert!(state["frames_per_second"].as_f64().unwrap() > 0.0, "{state}");
    assert!(json("/api/v1/openapi.json")["paths"]["/events"].is_object());
    assert_eq!((status(served.address, "/etc/passwd", ""), ask(served.address, "POST /", "").0), (404, 405));
}

#[test]
fn without_the_token_there_is_nothing_to_see() {
    let served = Served::new(Some("sesame-42"));
    for path in PATHS.into_iter().chain(["/none"]) {
        assert_eq!(status(served.address, path, ""), 401, "{path}");
        assert_eq!(status(served.address, &format!("{path}?token=sesame-4"), ""), 401, "{path}");
        assert_eq!(status(served.address, path, "Authorization: Bearer sesame-43\r\n"), 401, "{path}");
        let open = status(served.address, &format!("{path}?token=sesame-42"), "");
        assert!(
            open != 401 && open == status(served.address, path, "Authorization: Bearer sesame-42\r\n"),
            "{path}"
        );
    }
}

#[test]
fn foreign_pages_and_names_see_nothing() {
    let served = Served::new(None);
    let own = format!("Origin: http://{}\r\n", served.address);
    for path in PATHS {
        for foreign in [
            "Host: evil.example:8088\r\n",
            "Host: \r\n",
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: image\r\n",
        ] {
            assert_eq!(status(served.address, path, foreign), 403, "{path} {foreign}");
        }
        assert_ne!(status(served.address, path, &own), 403, "{path}");
    }
    assert_eq!(status(served.address, "/", "Host: localhost:1\r\n"), 200);
}

#[test]
fn events_are_rows_of_results_and_none_comes_twice() {
    let served = Served::new(None);
    let (status, head, mut answer) = ask(served.address, "GET /events", "");
    assert!(status == 200 && head.contains("text/event-stream"));
    let mut last = None;
    for _ in 0..20 {
        let (id, rows) = event(&mut answer).unwrap();
        assert!(last.is_none_or(|last| last < id), "{id} after {last:?}");
        last = Some(id);
        let expected = reading(id).rows(false);
        let expected: Vec<_> = expected.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
        assert_eq!(rows, expected);
    }
}

#[test]
fn a_stream_is_one_picture_after_another() {
    let served = Served::new(None);
    let (_, head, mut answer) = ask(served.address, "GET /stream.mjpg", "");
    assert!(head.contains("multipart/x-mixed-replace; boundary=frame"));
    let shown: Vec<_> = (0..5).map(|_| picture(&part(&mut answer).unwrap()).bgr(80, 60)).collect();
    assert!(
        shown.is_sorted_by_key(|bgr| bgr[0]) && shown[0] != shown[4],
        "the blue of the pictures grows: {shown:?}"
    );
}

#[test]
fn a_socket_gives_rows_and_then_their_picture() {
    let served = Served::new(None);
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET /ws?picture HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        served.address
    )
    .unwrap();
    let (status, _, mut answer) = answer(stream);
    assert_eq!(status, 101);
    // RFC 6455, 5.2: what a server sends is not masked.
    let mut message = || {
        let (mut head, mut long) = ([0; 2], [0; 2]);
        answer.read_exact(&mut head).unwrap();
        if head[1] == 126 {
            answer.read_exact(&mut long).unwrap();
        }
        let length = if head[1] == 126 { u16::from_be_bytes(long) } else { head[1].into() };
        let mut content = vec![0; length.into()];
        answer.read_exact(&mut content).unwrap();
        (head[0], content)
    };
    for _ in 0..3 {
        let ((text, rows), (binary, jpeg)) = (message(), message());
        assert_eq!((text, binary), (0x81, 0x82));
        let rows = String::from_utf8(rows).unwrap();
        let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        let index = row["frame"].as_u64().unwrap();
        assert_eq!(rows.lines().count(), 2);
        assert!(picture(&jpeg).bgr(80, 60)[0].abs_diff(blue(index)) < 4, "the picture of another frame");
    }
}

#[test]
fn clients_hear_that_it_is_over() {
    let served = Served::new(None);
    let mut answers: Vec<_> = ["/events", "/stream.mjpg"]
        .iter()
        .map(|path| ask(served.address, &format!("GET {path}"), "").2)
        .collect();
    let _idle = TcpStream::connect(served.address).unwrap();
    let asked = Instant::now();
    drop(served);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for answer in &mut answers {
        let _ = answer.read_to_end(&mut Vec::new());
    }
}

/// Runs the program with a page, and gives its address and the rest of what it says.
fn serving(folder: &Scratch, arguments: &[&str]) -> (Child, SocketAddr, BufReader<ChildStderr>) {
    let mut child = command(folder)
        .args(["--serve", "127.0.0.1:0", "--no-progress"])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let link = line.trim().strip_prefix("serving at ").unwrap_or_else(|| panic!("{line}"));
    (child, address_in(link), said)
}

#[test]
fn a_file_plays_at_its_own_speed_and_what_is_served_is_what_is_written() {
    let (folder, Some(clip)) = (Scratch::new(), media("single_face.mp4")) else { return };
    let start = Instant::now();
    let arguments = ["--input", clip.to_str().unwrap(), "--results", "r.jsonl"];
    let (mut child, address, _said) = serving(&folder, &arguments);
    let (_, _, mut answer) = ask(address, "GET /events", "");
    let mut served = Vec::new();
    while let Some((_, rows)) = event(&mut answer) {
        served.extend(rows);
    }
    let took = start.elapsed();
    assert!(child.wait().unwrap().success());
    let written = fs::read_to_string(folder.path("r.jsonl")).unwrap();
    let written: Vec<_> = written.lines().collect();
    let last: Value = serde_json::from_str(written.last().unwrap()).unwrap();
    assert!(took.as_secs_f64() > last["time"].as_f64().unwrap() - 0.1, "{took:?}");
    let mut left = written.iter();
    assert!(served.len() > 5 && served.iter().all(|row| left.any(|line| line == row)), "{served:?}");
}

fn memory(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

#[test]
fn fifty_clients_and_some_that_hardly_read_cost_no_memory() {
    let (folder, Some(clip)) = (Scratch::new(), media("WolfgangLanger_Pexels.mp4")) else { return };
    let (mut child, address, mut said) =
        serving(&folder, &["--input", clip.to_str().unwrap(), "--end", "5", "--stats=json"]);
    let slow: Vec<_> = (0..10).map(|_| ask(address, "GET /stream.mjpg", "").2).collect();
    let clients: Vec<_> = (0..40)
        .map(|n| {
            let (status, _, mut answer) =
                ask(address, if n % 2 == 0 { "GET /events" } else { "GET /stream.mjpg" }, "");
            assert_eq!(status, 200);
            thread::spawn(move || {
                let mut count = 0;
                while if n % 2 == 0 { event(&mut answer).is_some() } else { part(&mut answer).is_some() } {
                    count += 1;
                }
                count
            })
        })
        .collect();
    // Every second a byte.
    let (mut before, mut most) = (None, 0.0);
    let mut slow: Vec<_> = slow.into_iter().map(BufReader::into_inner).collect();
    while child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_secs(1));
        for stream in &mut slow {
            let _ = stream.read(&mut [0]);
        }
        if let Some(now) = memory(&child) {
            before = before.or(Some(now));
            most = now.max(most);
        }
    }
    let counts: Vec<u32> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(counts.iter().all(|&count| count >= 5), "{counts:?}");
    let grown = most - before.unwrap_or(most);
    assert!(grown < 60.0, "{grown} MB more after the first second");
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    let stats: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert!(child.wait().unwrap().success() && stats["frames"].as_u64().unwrap() > 100, "{rest}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_also_with_clients() {
    let (folder, Some(clip)) = (Scratch::new(), media("WolfgangLanger_Pexels.mp4")) else { return };
    let (child, address, _said) =
        serving(&folder, &["--input", clip.to_str().unwrap(), "--results", "r.jsonl"]);
    let (_, _, mut events) = ask(address, "GET /events", "");
    let _stream = ask(address, "GET /stream.mjpg", "");
    let _idle = TcpStream::connect(address).unwrap();
    event(&mut events).unwrap();
    let asked = Instant::now();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    assert_eq!(ended.status.code(), Some(130));
    assert!(folder.path("r.jsonl").exists());
}

#[test]
fn what_cannot_be_served_is_one_line() {
    let (folder, Some(clip)) = (Scratch::new(), media("single_face.mp4")) else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    crate::program::paint(&folder.path("grey.png"), 20, 20);
    let port = taken.local_addr().unwrap().port();
    let clip = clip.display();
    for (arguments, code, word) in [
        (format!("--input {clip} --serve {port}"), 1, "another program has this port"),
        (format!("--input {clip} --serve 192.0.2.7:0 --token sesame-42"), 1, "no such address"),
        (
            format!("--input {clip} --serve no-such-name.invalid:80"),
            1,
            "cannot serve at no-such-name.invalid:80",
        ),
        (format!("--input {clip} --serve nowhere"), 2, "is no address to serve at"),
        (format!("--input {clip} --serve --token short"), 2, "8 to 128 letters"),
        (format!("--input {clip} --token sesame-42"), 2, "--serve"),
        ("--input grey.png --serve 0".to_owned(), 2, "pictures cannot be served"),
    ] {
        let output = lanet_live(&folder, &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{arguments}: {said}");
        assert!(said.contains(word), "{arguments}: {said}");
    }
}
