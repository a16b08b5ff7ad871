//! What the keys of the window stand for.

use winit::event::{ElementState, KeyEvent};
use winit::keyboard::{Key as Pressed, KeyCode, NamedKey, PhysicalKey};

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `q` or Escape, or the window was closed.
    Quit,
    /// Space.
    Pause,
    /// `s`
    Screenshot,
    /// `m`
    Mirror,
    /// `l`
    Mesh,
    /// `b`
    Blur,
    /// `p`
    Pose,
    /// `t`
    Strip,
    /// `n`
    Neutral,
    /// `h`
    Help,
}

/// The keys and what they do.
pub const HELP: [(&str, &str); 10] = [
    ("Space", "pause"),
    ("s", "take a picture"),
    ("m", "mirror"),
    ("l", "face mesh"),
    ("p", "head pose"),
    ("t", "last 20 seconds"),
    ("b", "hide faces"),
    ("n", "5 s at rest: your own neutral"),
    ("h", "help"),
    ("q, Esc", "close"),
];

/// What is written on keys, where they lie on a keyboard whose letters are others, and what they stand for.
const KEYS: [(&str, KeyCode, Key); 9] = [
    ("q", KeyCode::KeyQ, Key::Quit),
    ("s", KeyCode::KeyS, Key::Screenshot),
    ("m", KeyCode::KeyM, Key::Mirror),
    ("l", KeyCode::KeyL, Key::Mesh),
    ("p", KeyCode::KeyP, Key::Pose),
    ("t", KeyCode::KeyT, Key::Strip),
    ("b", KeyCode::KeyB, Key::Blur),
    ("n", KeyCode::KeyN, Key::Neutral),
    ("h", KeyCode::KeyH, Key::Help),
];

/// A key that goes down; that it is held down says nothing new.
pub fn key_of(event: &KeyEvent) -> Option<Key> {
    if event.state != ElementState::Pressed || event.repeat {
        return None;
    }
    key_named(&event.logical_key, event.physical_key)
}

fn key_named(logical: &Pressed, physical: PhysicalKey) -> Option<Key> {
    match logical {
        Pressed::Named(NamedKey::Escape) => Some(Key::Quit),
        Pressed::Named(NamedKey::Space) => Some(Key::Pause),
        Pressed::Character(text) => {
            let written = |&&(name, code, _): &&(&str, KeyCode, Key)| {
                // Where no Latin letters are written, the place decides.
                if text.is_ascii() {
                    text.eq_ignore_ascii_case(name)
                } else {
                    physical == PhysicalKey::Code(code)
                }
            };
            KEYS.iter().find(written).map(|&(_, _, key)| key)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_by_letter_and_where_those_are_not_latin_by_place() {
        let pressed = |text: &str, code| key_named(&Pressed::Character(text.into()), PhysicalKey::Code(code));
        assert_eq!(pressed("Q", KeyCode::KeyA), Some(Key::Quit), "a French keyboard");
        assert_eq!(pressed("\u{439}", KeyCode::KeyQ), Some(Key::Quit), "a Russian keyboard");
        assert_eq!(pressed("x", KeyCode::KeyX), None);
        let named = |name| key_named(&Pressed::Named(name), PhysicalKey::Code(KeyCode::KeyQ));
        assert_eq!((named(NamedKey::Escape), named(NamedKey::Space)), (Some(Key::Quit), Some(Key::Pause)));
        assert_eq!(named(NamedKey::ArrowLeft), None);
    }
}
