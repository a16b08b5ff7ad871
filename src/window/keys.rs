//! What the keys of the window stand for.

use winit::event::{ElementState, KeyEvent};
use winit::keyboard::{Key as Pressed, KeyCode, NamedKey, PhysicalKey};

use crate::expression::Expression;

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
    /// `r`
    Record,
    /// `1` to `8`
    Mark(Expression),
    /// `n`
    Neutral,
    /// `h`
    Help,
}

/// The keys and what they do.
pub const HELP: [(&str, &str); 12] = [
    ("Space", "pause"),
    ("s", "take a picture"),
    ("r", "record a clip"),
    ("1 - 8", "mark: neutral ... contempt"),
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
const KEYS: [(&str, KeyCode, Key); 18] = [
    ("q", KeyCode::KeyQ, Key::Quit),
    ("s", KeyCode::KeyS, Key::Screenshot),
    ("m", KeyCode::KeyM, Key::Mirror),
    ("l", KeyCode::KeyL, Key::Mesh),
    ("p", KeyCode::KeyP, Key::Pose),
    ("t", KeyCode::KeyT, Key::Strip),
    ("b", KeyCode::KeyB, Key::Blur),
    ("n", KeyCode::KeyN, Key::Neutral),
    ("h", KeyCode::KeyH, Key::Help),
    ("r", KeyCode::KeyR, Key::Record),
    ("1", KeyCode::Digit1, Key::Mark(Expression::Neutral)),
    ("2", KeyCode::Digit2, Key::Mark(Expression::Happiness)),
    ("3", KeyCode::Digit3, Key::Mark(Expression::Surprise)),
    ("4", KeyCode::Digit4, Key::Mark(Expression::Sadness)),
    ("5", KeyCode::Digit5, Key::Mark(Expression::Anger)),
    ("6", KeyCode::Digit6, Key::Mark(Expression::Disgust)),
    ("7", KeyCode::Digit7, Key::Mark(Expression::Fear)),
    ("8", KeyCode::Digit8, Key::Mark(Expression::Contempt)),
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
                // Where no Latin letters are written, the place decides; also for digits, which need Shift on some
                // keyboards.
                if text.chars().all(|c| c.is_ascii_alphanumeric()) {
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
        let anger = Some(Key::Mark(Expression::Anger));
        assert_eq!(pressed("5", KeyCode::Numpad5), anger);
        assert_eq!(pressed("(", KeyCode::Digit5), anger, "a French keyboard without Shift");
        let named = |name| key_named(&Pressed::Named(name), PhysicalKey::Code(KeyCode::KeyQ));
        assert_eq!((named(NamedKey::Escape), named(NamedKey::Space)), (Some(Key::Quit), Some(Key::Pause)));
        assert_eq!(named(NamedKey::ArrowLeft), None);
    }
}
