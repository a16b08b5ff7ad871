//! Text in the font that is inside the program: Roboto Medium, with Latin, Greek and Cyrillic letters.
//!
//! Glyphs are rasterised by `ab_glyph`: it does no more than outlines and coverage, which is all that lines of these
//! scripts need, and a window's title bar on Wayland is lettered by it anyway. Each is kept once it was drawn, so that
//! the next frame pays for copying only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, point};

/// How it was made is in `scripts/subset_font.sh`.
const FONT: &[u8] = include_bytes!("../../fonts/Roboto-Medium.ttf");
/// The height of its capitals in its own units.
const CAPITALS: f32 = 1456.0;
/// Glyphs begin at quarters of a pixel, and sizes are told apart as finely.
const STEPS: f32 = 4.0;
/// More kept glyphs than this are forgotten together: sizes changed with every frame.
const MOST_KEPT: usize = 4096;

static ROBOTO: LazyLock<Option<FontRef<'static>>> = LazyLock::new(|| FontRef::try_from_slice(FONT).ok());

/// How much of each pixel a glyph covers, 0 to 255.
pub struct Glyph {
    /// Where its left column is, in pixels from the place it was asked for.
    pub left: i32,
    /// Where its top row is, in pixels below the base line; mostly negative.
    pub top: i32,
    /// Pixels to a row; 0 for a space.
    pub width: usize,
    /// Row by row.
    pub coverage: Vec<u8>,
}

type Key = (GlyphId, u32, u8);

thread_local! {
    static KEPT: RefCell<HashMap<Key, Rc<Glyph>>> = RefCell::default();
}

/// How wide a text is, in pixels, if its capitals are `height` pixels high.
pub fn width(text: &str, height: f32) -> f32 {
    let Some(font) = &*ROBOTO else { return 0.0 };
    visible(text).map(|c| advance(font, font.glyph_id(c), height)).sum()
}

/// The glyphs of a text whose pen starts at `x`, and the column of each.
pub fn glyphs(text: &str, x: f32, height: f32, mut draw: impl FnMut(i32, &Glyph)) {
    let Some(font) = &*ROBOTO else { return };
    let size = (height * STEPS).round().clamp(1.0, 4000.0);
    // Beyond any picture; also keeps the conversion to whole numbers safe.
    let mut pen = x.clamp(-1e6, 1e6);
    for c in visible(text) {
        let id = font.glyph_id(c);
        let place = (pen * STEPS).round();
        let (column, part) = ((place / STEPS).floor(), place.rem_euclid(STEPS) as u8);
        draw(column as i32, &kept(font, (id, size as u32, part)));
        pen += advance(font, id, height);
    }
}

/// Line ends and the like have no glyph.
fn visible(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control())
}

fn advance(font: &FontRef, id: GlyphId, height: f32) -> f32 {
    font.h_advance_unscaled(id) * height / CAPITALS
}

fn kept(font: &FontRef, key: Key) -> Rc<Glyph> {
    KEPT.with_borrow_mut(|kept| {
        if kept.len() > MOST_KEPT {
            kept.clear();
        }
        kept.entry(key).or_insert_with(|| Rc::new(rasterised(font, key))).clone()
    })
}

fn rasterised(font: &FontRef, (id, size, part): Key) -> Glyph {
    // The crate counts from the deepest letter to the highest.
    let scale = PxScale::from(size as f32 / STEPS * font.height_unscaled() / CAPITALS);
    let glyph = id.with_scale_and_position(scale, point(f32::from(part) / STEPS, 0.0));
    let Some(outline) = font.outline_glyph(glyph) else {
        return Glyph { left: 0, top: 0, width: 0, coverage: Vec::new() };
    };
    let bounds = outline.px_bounds();
    let (width, height) = (bounds.width() as usize, bounds.height() as usize);
    let mut coverage = vec![0; width * height];
    outline.draw(|x, y, share| {
        if let Some(pixel) = coverage.get_mut(y as usize * width + x as usize) {
            *pixel = (share.clamp(0.0, 1.0) * 255.0).round() as u8;
        }
    });
    Glyph { left: bounds.min.x as i32, top: bounds.min.y as i32, width, coverage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_the_letters_of_european_names() {
        let font = ROBOTO.as_ref().unwrap();
        for c in "AZaz09 ÀÉñöüßØåæ ĄćęŁőřšžĞıŞ ȘȚ Ωάλφ ДЯжщёїґ ẾờẠ … — “” € ™ −".chars()
        {
            assert_ne!(font.glyph_id(c), GlyphId(0), "{c}");
        }
    }

    #[test]
    fn capitals_are_as_high_as_asked_for() {
        for height in [8.0, 21.0, 60.0] {
            glyphs("H", 10.0, height, |column, glyph| {
                assert_eq!(column, 10);
                let rows = glyph.coverage.len() / glyph.width;
                assert!((rows as f32 - height).abs() <= 1.0, "{rows} {height}");
                assert!((glyph.top as f32 + height).abs() <= 1.0, "{}", glyph.top);
            });
        }
    }

    #[test]
    fn a_text_is_as_wide_as_its_parts_and_any_text_has_a_width() {
        let sum = width("Zoë ", 20.0) + width("Łukasz", 20.0);
        assert!((width("Zoë Łukasz", 20.0) - sum).abs() < 1e-3);
        for text in ["", "\n\u{0}", "\u{1F600}漢字", "e\u{301}"] {
            assert!(width(text, 1e9).is_finite());
            glyphs(text, f32::NAN, f32::NAN, |_, _| {});
        }
    }
}
