//! Where labels and cards go: never out of the picture, never onto another face, never onto each other.
//!
//! Each is tried in a row of places, the nicest first, and in a row of sizes, the largest first; what fits nowhere is
//! left out.

use crate::geometry::Rect;

/// Width and height, in pixels.
pub type Size = (f32, f32);

/// A face and what is to be put beside it.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Where the face is.
    pub face: Rect,
    /// How large the label may be, the wanted size first.
    pub label: Vec<Size>,
    /// How large the card may be, the wanted size first; none, where there is no card.
    pub card: Vec<Size>,
    /// What was chosen last time: it is kept as long as it fits, so that nothing jumps to and fro.
    pub before: Choice,
}

/// The numbers of the places that were chosen for a label and a card.
pub type Choice = (Option<usize>, Option<usize>);

/// What was found for a wish.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Place {
    /// Which of the sizes of the label fits, and where it goes.
    pub label: Option<(usize, Rect)>,
    /// The same of the card.
    pub card: Option<(usize, Rect)>,
    /// For the next time.
    pub choice: Choice,
}

/// A card that finds no place beside the only face may lie in a corner of the picture, if it covers no more than this
/// share of the face. With more faces, nobody could tell whose card that is.
const MOST_OF_OWN_FACE: f32 = 0.25;

/// Places for everything that is wished for, in a picture of this size; nothing goes onto `taken`. `gap` is the
/// distance to the face.
pub fn arrange(picture: Size, taken: &[Rect], gap: f32, wishes: &[Wish]) -> Vec<Place> {
    let mut table = Table { picture, gap, taken: taken.to_vec(), wishes };
    let mut places = vec![Place::default(); wishes.len()];
    // A face without bars is better than one without a label.
    for (n, place) in places.iter_mut().enumerate() {
        let wish = &wishes[n];
        if let Some((size, number, rect)) = table.find(n, &wish.label, wish.before.0, labels) {
            (place.label, place.choice.0) = (Some((size, rect)), Some(number));
        }
    }
    for (n, place) in places.iter_mut().enumerate() {
        let wish = &wishes[n];
        if let Some((size, number, rect)) = table.find(n, &wish.card, wish.before.1, cards) {
            (place.card, place.choice.1) = (Some((size, rect)), Some(number));
        }
    }
    places
}

/// A place to try, and the share of its own face that it may cover.
type Try = (f32, f32, f32);

/// Where a label may go: above its face, below, beside, and on it.
fn labels(f: Rect, (w, h): Size, gap: f32, _: Size, _: bool) -> Vec<Try> {
    let (right, bottom) = (f.x + f.w, f.y + f.h);
    vec![
        (f.x, f.y - gap - h, 0.0),
        (f.x, bottom + gap, 0.0),
        (right - w, f.y - gap - h, 0.0),
        (right - w, bottom + gap, 0.0),
        (right + gap, f.y, 0.0),
        (f.x - gap - w, f.y, 0.0),
        (f.x + gap, f.y + gap, 1.0),
        (f.x + gap, bottom - gap - h, 1.0),
        (right - gap - w, bottom - gap - h, 1.0),
        (right - gap - w, f.y + gap, 1.0),
    ]
}

/// Where a card may go: right or left of its face, below, above, and, if it is alone, in a corner.
fn cards(f: Rect, (w, h): Size, gap: f32, picture: Size, alone: bool) -> Vec<Try> {
    let (right, bottom) = (f.x + f.w, f.y + f.h);
    let (far_x, far_y) = (picture.0 - gap - w, picture.1 - gap - h);
    let corners = [(far_x, far_y), (gap, far_y), (far_x, gap)].map(|(x, y)| (x, y, MOST_OF_OWN_FACE));
    let mut places = vec![
        (right + gap, f.y, 0.0),
        (f.x - gap - w, f.y, 0.0),
        (right + gap, bottom - h, 0.0),
        (f.x - gap - w, bottom - h, 0.0),
        (f.x, bottom + gap, 0.0),
        (f.x, f.y - gap - h, 0.0),
        (right + gap, f.centre().y - h / 2.0, 0.0),
        (f.x - gap - w, f.centre().y - h / 2.0, 0.0),
    ];
    places.extend(corners.iter().filter(|_| alone));
    places
}

struct Table<'a> {
    picture: Size,
    gap: f32,
    taken: Vec<Rect>,
    wishes: &'a [Wish],
}

impl Table<'_> {
    /// The first size and place that is free, which is then taken: the number of the size, of the place, and it.
    fn find(
        &mut self,
        own: usize,
        sizes: &[Size],
        before: Option<usize>,
        tries: impl Fn(Rect, Size, f32, Size, bool) -> Vec<Try>,
    ) -> Option<(usize, usize, Rect)> {
        let found = sizes.iter().enumerate().find_map(|(number, &size)| {
            let alone = self.wishes.len() == 1;
            let tries = tries(self.wishes[own].face, size, self.gap, self.picture, alone);
            let free = |place: usize, margin: f32| {
                let &(x, y, most) = tries.get(place)?;
                self.free(own, x, y, size, most, margin).map(|rect| (number, place, rect))
            };
            // A nicer place than the last one must be free with room to spare, else the two would take turns.
            let last = before.and_then(|last| free(last, 0.0));
            let margin = if last.is_some() { self.gap } else { 0.0 };
            let until = last.map_or(tries.len(), |(_, place, _)| place);
            (0..until).find_map(|place| free(place, margin)).or(last)
        });
        self.taken.extend(found.map(|(.., rect)| rect));
        found
    }

    /// The rectangle of this size at (x, y), moved into the picture, if `margin` around it nothing is in the way.
    fn free(&self, own: usize, x: f32, y: f32, (w, h): Size, most: f32, margin: f32) -> Option<Rect> {
        let (most_x, most_y) = (self.picture.0 - w, self.picture.1 - h);
        if !(most_x >= 0.0 && most_y >= 0.0 && (x + y).is_finite()) {
            return None;
        }
        let rect = Rect::new(x.clamp(0.0, most_x), y.clamp(0.0, most_y), w, h);
        let wide = Rect::new(rect.x - margin, rect.y - margin, w + 2.0 * margin, h + 2.0 * margin);
        let inside = wide.intersection(Rect::new(0.0, 0.0, self.picture.0, self.picture.1));
        if margin > 0.0 && (inside.w < wide.w || inside.h < wide.h) {
            return None;
        }
        let hits = |other: Rect| wide.intersection(other).area() > 0.0;
        let faces = self.wishes.iter().enumerate();
        let mut others = faces.filter(|&(n, _)| n != own).map(|(_, wish)| wish.face);
        let face = self.wishes[own].face;
        let covered = rect.intersection(face).area() / face.area().max(1.0);
        // What moved into the picture may have come onto its own face.
        let onto_own = covered > most + 1e-3 * (1.0 - most);
        (!onto_own && !others.any(hits) && !self.taken.iter().copied().any(hits)).then_some(rect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn faces() -> impl Strategy<Value = Vec<Rect>> {
        let face = (-300f32..2000.0, -300f32..1200.0, 0f32..2500.0, 0f32..1500.0);
        prop::collection::vec(face.prop_map(|(x, y, w, h)| Rect::new(x, y, w, h)), 0..7)
    }

    fn wish(face: Rect, before: Choice) -> Wish {
        Wish {
            face,
            label: vec![(150.0, 26.0), (110.0, 20.0)],
            card: vec![(180.0, 240.0), (90.0, 30.0)],
            before,
        }
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_picture_or_covers_another_face_or_its_like(
            faces in faces(), w in 1f32..2000.0, h in 1f32..1200.0,
            before in (prop::option::of(0usize..12), prop::option::of(0usize..12)), gap in 0f32..20.0,
        ) {
            let taken = [Rect::new(0.0, 0.0, 200.0, 30.0)];
            let wishes: Vec<_> = faces.iter().map(|&face| wish(face, before)).collect();
            let places = arrange((w, h), &taken, gap, &wishes);
            let all: Vec<(usize, Rect)> = places.iter().enumerate()
                .flat_map(|(n, place)| [place.label, place.card].into_iter().flatten().map(move |(_, r)| (n, r)))
                .collect();
            for (number, &(n, rect)) in all.iter().enumerate() {
                prop_assert!(rect.x >= 0.0 && rect.y >= 0.0);
                prop_assert!(rect.x + rect.w <= w + 1e-3 && rect.y + rect.h <= h + 1e-3);
                for (other, face) in faces.iter().enumerate() {
                    prop_assert!(other == n || rect.intersection(*face).area() == 0.0);
                }
                for taken in all[number + 1..].iter().map(|(_, r)| r).chain(&taken) {
                    prop_assert!(rect.intersection(*taken).area() == 0.0);
                }
            }
        }

        #[test]
        fn a_lone_face_always_gets_its_label(
            x in -100f32..1300.0, y in -100f32..760.0, w in 20f32..1500.0, h in 20f32..900.0,
        ) {
            let place = arrange((1280.0, 720.0), &[], 6.0, &[wish(Rect::new(x, y, w, h), (None, None))]);
            prop_assert!(place[0].label.is_some());
        }
    }

    #[test]
    fn on_a_face_that_fills_the_picture_the_label_is_inside_and_the_card_in_a_corner() {
        let face = Rect::new(-10.0, -20.0, 1300.0, 800.0);
        let place = arrange((1280.0, 720.0), &[], 6.0, &[wish(face, (None, None))])[0];
        assert_eq!(place.label.unwrap().1, Rect::new(0.0, 0.0, 150.0, 26.0));
        assert_eq!(place.card.unwrap().1, Rect::new(1280.0 - 186.0, 720.0 - 246.0, 180.0, 240.0));
    }

    #[test]
    fn a_card_stays_where_it_is_until_there_is_room_to_spare_at_the_nicer_place() {
        let card = |x: f32, before| {
            let face = Rect::new(x, 200.0, 200.0, 250.0);
            arrange((800.0, 600.0), &[], 10.0, &[wish(face, before)])[0].choice
        };
        let left = card(430.0, (None, None));
        assert_eq!(left.1, Some(1), "no room on the right");
        assert_eq!(card(405.0, left).1, Some(1));
        assert_eq!(card(405.0, (None, None)).1, Some(0));
        assert_eq!(card(300.0, left).1, Some(0));
    }
}
