//! A page for the browser, and the readings for whoever asks for them over HTTP: `--serve`.
//!
//! Everybody is shown the newest reading: whoever is slow misses some, and nothing is kept for them. A picture is
//! encoded once, and only if somebody asks for it. The page (`page.html`) draws what it is told by the same paths
//! that are open to others, and loads nothing from elsewhere.

mod door;
mod routes;
mod seats;
mod shown;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::door::Door;
use self::routes::{Desk, router};
use self::seats::Seats;
use self::shown::Shown;
use super::Receiver;
use super::pace::Brake;
use crate::error::{Context, Error, Result};
use crate::reading::Reading;

/// So many connections at once.
const SEATS: usize = 128;
/// What the system keeps of what was sent and not taken yet, in bytes: little, so that what arrives is young.
const SEND_BUFFER: u32 = 1 << 18;
/// How long clients may take to hear that it is over.
const FAREWELL: Duration = Duration::from_millis(100);

/// Where to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The name or number of one of this machine's interfaces.
    pub host: String,
    /// The port; 0 is one that is free.
    pub port: u16,
}

impl Default for Address {
    fn default() -> Self {
        Self { host: "127.0.0.1".into(), port: 8088 }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// `HOST:PORT`; the port alone is one of 127.0.0.1.
    fn from_str(text: &str) -> Result<Self> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // An IPv6 address needs its brackets: else its last group would be the port.
        match (bare.unwrap_or(host), port.parse()) {
            (host, Ok(port)) if !host.is_empty() && (bare.is_some() || !host.contains([':', '/', '@'])) => {
                Ok(Self { host: host.to_ascii_lowercase(), port })
            }
            _ => Err(Error::usage(format!("'{text}' is no address to serve at"))
                .advice("use HOST:PORT as in 127.0.0.1:8088 or [::1]:8088, or a port alone")),
        }
    }
}

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where.
    pub address: Address,
    /// What clients must know. Without one, one is made where others than this machine can ask.
    pub token: Option<String>,
    /// Whether the readings come as they happen; those of a file are shown no faster than they were filmed.
    pub live: bool,
    /// Whether the page begins as a mirror.
    pub mirror: bool,
    /// Whether the rows have the probabilities before they are smoothed.
    pub raw: bool,
    /// Whether faces are hidden at the moment.
    pub hiding: Arc<AtomicBool>,
}

/// Serves readings. Dropped, it tells its clients that it is over.
pub struct Server {
    link: String,
    settings: Settings,
    brake: Option<Brake>,
    /// When the last reading came, and how far it was from those before.
    before: Option<(Instant, Duration)>,
    newest: Option<watch::Sender<Option<Arc<Shown>>>>,
    serving: Option<(Runtime, JoinHandle<()>)>,
}

impl Server {
    /// Begins to serve. `stop` ends a wait for the time at which a frame of a file is due.
    ///
    /// # Errors
    /// An address that is not this machine's, a port that is taken or not allowed.
    pub fn start(settings: Settings, stop: impl Fn() -> bool + Send + 'static) -> Result<Self> {
        let Address { host, port } = &settings.address;
        let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let failed = || format!("cannot serve at {name}");
        let unknown = || Error::new(failed()).advice("check the name");
        let found = (host.as_str(), *port).to_socket_addrs().map_err(|cause| unknown().because(cause))?;
        // Of two kinds the one that every client speaks.
        let address = found.min_by_key(SocketAddr::is_ipv6).ok_or_else(unknown)?;
        let token = match settings.token.clone() {
            None if !address.ip().is_loopback() => Some(made_token()?),
            token => token,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .thread_name("serve")
            .enable_all()
            .build()
            .context("the system gives no thread")?;
        let listener = runtime.block_on(async { listen(address) }).map_err(|cause| {
            let advice = match cause.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another program has this port; choose another, as in --serve 8089"
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address; 127.0.0.1 is always there"
                }
                std::io::ErrorKind::PermissionDenied => "choose a port above 1023",
                _ => "choose another address",
            };
            Error::new(failed()).because(cause).advice(advice)
        })?;
        let bound = listener.local_addr().with_context(failed)?;
        let link = link(bound, token.as_deref());
        let (sender, newest) = watch::channel(None);
        let desk = Desk {
            door: Arc::new(Door { name: host.clone(), token }),
            newest: newest.clone(),
            live: settings.live,
            mirror: settings.mirror,
        };
        let over = async move {
            let mut newest = newest;
            // Never of a reading: only when there will be none any more.
            let _ = newest.wait_for(|_| false).await;
        };
        let serving = axum::serve(Seats::new(listener, SEATS), router(desk)).with_graceful_shutdown(over);
        let task = runtime.spawn(async move { drop(serving.await) });
        Ok(Self {
            link,
            brake: (!settings.live).then(|| Brake::new(stop)),
            settings,
            before: None,
            newest: Some(sender),
            serving: Some((runtime, task)),
        })
    }

    /// What to open in a browser; it has the token in it.
    pub fn link(&self) -> &str {
        &self.link
    }
}

fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // What is left of connections of an earlier run does not take the port. On Windows this would share it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(SEATS as u32)
}

/// 128 bits that nobody can guess.
fn made_token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system gives no random numbers for a token")?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn link(mut bound: SocketAddr, token: Option<&str>) -> String {
    if bound.ip().is_unspecified() {
        bound.set_ip(own_address().unwrap_or(Ipv4Addr::LOCALHOST.into()));
    }
    match token {
        Some(token) => format!("http://{bound}/?token={token}"),
        None => format!("http://{bound}/"),
    }
}

/// The address under which others see this machine. Nothing is sent: the system only says which way it would go.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

impl Receiver for Server {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        if let Some(brake) = &mut self.brake {
            brake.wait(reading.frame.time);
        }
        let now = Instant::now();
        let interval = self.before.map_or(Duration::ZERO, |(before, interval)| match now - before {
            passed if interval.is_zero() => passed,
            passed => interval.mul_f64(0.9) + passed.mul_f64(0.1),
        });
        self.before = Some((now, interval));
        let hidden = self.settings.hiding.load(Ordering::Relaxed);
        let shown = Shown::new(reading.clone(), self.settings.raw, hidden, interval);
        if let Some(newest) = &self.newest {
            newest.send_replace(Some(Arc::new(shown)));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        Ok(None)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.newest.take());
        if let Some((runtime, task)) = self.serving.take() {
            let _ = runtime.block_on(async { timeout(FAREWELL, task).await });
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        let parsed = |text: &str| text.parse::<Address>().map(|a| (a.host, a.port)).ok();
        let some = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parsed("8089"), some("127.0.0.1", 8089));
        assert_eq!(parsed("0.0.0.0:80"), some("0.0.0.0", 80));
        assert_eq!(parsed("[::1]:8088"), some("::1", 8088));
        assert_eq!(parsed("Box.lan:1"), some("box.lan", 1));
        for wrong in
            ["", ":", "localhost", "a:b", ":8088", "::1", "1.2.3.4:99999", "http://a:1", "a@b:1", "8088 "]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn others_than_this_machine_need_a_token_and_the_link_has_it() {
        let open = |host: &str, token: Option<&str>| {
            let address = Address { host: host.into(), port: 0 };
            let settings = Settings { address, token: token.map(Into::into), ..Settings::default() };
            Server::start(settings, || false).unwrap().link().to_owned()
        };
        assert!(!open("127.0.0.1", None).contains("token"));
        assert!(open("127.0.0.1", Some("sesame-42")).ends_with("/?token=sesame-42"));
        let (one, other) = (open("0.0.0.0", None), open("0.0.0.0", None));
        let token = |link: &str| link.split_once("/?token=").unwrap().1.to_owned();
        assert!(token(&one).len() == 32 && token(&one) != token(&other) && !one.contains("0.0.0.0"), "{one}");
    }
}
