//! Who is there: what is known of each person while their face keeps its number.
//!
//! A track has a number, which the tracker gives and takes away; a person has a name or none. Only this file knows
//! both. There is one rule of forgetting: a person is forgotten who has not been seen for as long as the tracker
//! remembers a number ([`MEMORY`]), and everybody when the frames come from another source or from an earlier time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::face::track::MEMORY;
use crate::frame::Frame;

/// Somebody, and what is known of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Person<T> {
    /// What the person is called, if anybody has said so.
    pub name: Option<Arc<str>>,
    /// When the face was last seen.
    pub seen: Duration,
    /// What is known.
    pub known: T,
}

/// Everybody who is remembered, by the number of their face.
#[derive(Debug, Clone)]
pub struct People<T> {
    source: Option<Arc<str>>,
    now: Duration,
    people: BTreeMap<u64, Person<T>>,
}

impl<T> Default for People<T> {
    fn default() -> Self {
        Self { source: None, now: Duration::ZERO, people: BTreeMap::new() }
    }
}

impl<T> People<T> {
    /// Forgets everybody if a frame comes from elsewhere or from an earlier time. [`People::meet`] does so as well.
    pub fn turn_to(&mut self, frame: &Frame) {
        if self.source.as_ref() != Some(&frame.source) || frame.time < self.now {
            self.people.clear();
            self.source = Some(frame.source.clone());
        }
        self.now = frame.time;
    }

    /// Says what the person with a face of this number is called, if they are remembered.
    pub fn call(&mut self, track: u64, name: &Arc<str>) {
        if let Some(person) = self.people.get_mut(&track) {
            person.name = Some(name.clone());
        }
    }

    /// The number of the face of whoever is called so, if they are remembered.
    pub fn called(&self, name: &str) -> Option<u64> {
        let remembered = self.iter().filter(|(_, person)| self.now.saturating_sub(person.seen) <= MEMORY);
        let mut called = remembered.filter(|(_, person)| person.name.as_deref() == Some(name));
        called.next().map(|(track, _)| track)
    }

    /// Notes of everybody in a frame what is known of them now, then forgets who is gone. `faces` are the numbers of
    /// those who are seen, each with what is seen; from that and from what was known before, `know` makes what is
    /// known now.
    pub fn meet<S>(
        &mut self,
        frame: &Frame,
        faces: impl IntoIterator<Item = (u64, S)>,
        mut know: impl FnMut(S, Option<Person<T>>) -> T,
    ) {
        self.turn_to(frame);
        for (track, seen) in faces {
            let before = self.people.remove(&track);
            let name = before.as_ref().and_then(|person| person.name.clone());
            let known = know(seen, before);
            self.people.insert(track, Person { name, seen: self.now, known });
        }
        self.people.retain(|_, person| self.now.saturating_sub(person.seen) <= MEMORY);
    }

    /// Those who are remembered, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Person<T>)> {
        self.people.iter().map(|(&track, person)| (track, person))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Image;

    /// How often each was met, after faces of these numbers were seen at these times.
    fn met(frames: &[(&str, u64, &[u64])]) -> Vec<(u64, u32)> {
        let mut people = People::default();
        for (source, ms, tracks) in frames {
            let image = Image::filled(1, 1, [0; 3]);
            let frame = Frame { image, source: (*source).into(), index: 0, time: Duration::from_millis(*ms) };
            let faces = tracks.iter().map(|&track| (track, ()));
            people.meet(&frame, faces, |(), before| before.map_or(1, |person| person.known + 1));
        }
        people.iter().map(|(track, person)| (track, person.known)).collect()
    }

    #[test]
    fn one_is_remembered_as_long_as_the_number_may_come_back() {
        assert_eq!(met(&[("a", 0, &[1, 2]), ("a", 40, &[1]), ("a", 1500, &[1])]), [(1, 3), (2, 1)]);
        assert_eq!(met(&[("a", 0, &[1, 2]), ("a", 1501, &[1])]), [(1, 2)]);
        // Whom the tracker knows again is known, however far the frames are apart.
        assert_eq!(met(&[("a", 0, &[1]), ("a", 5000, &[1])]), [(1, 2)]);
    }

    #[test]
    fn a_name_stays_with_its_face_while_that_is_remembered() {
        let mut people = People::default();
        let mut meet = |source: &str, ms, track| {
            let image = Image::filled(1, 1, [0; 3]);
            let frame = Frame { image, source: source.into(), index: 0, time: Duration::from_millis(ms) };
            people.turn_to(&frame);
            let called = people.called("anna");
            people.meet(&frame, [(track, ())], |(), _| ());
            people.call(1, &"anna".into());
            called
        };
        assert_eq!([meet("a", 0, 1), meet("a", 40, 2), meet("a", 1500, 2)], [None, Some(1), Some(1)]);
        assert_eq!([meet("a", 1600, 2), meet("a", 1700, 1), meet("b", 1800, 1)], [None, None, None]);
    }

    #[test]
    fn another_source_or_an_earlier_time_begins_anew() {
        assert_eq!(met(&[("a", 80, &[1]), ("b", 80, &[1])]), [(1, 1)]);
        assert_eq!(met(&[("a", 80, &[1]), ("a", 40, &[1])]), [(1, 1)]);
        assert_eq!(met(&[("a", 80, &[1]), ("a", 80, &[1])]), [(1, 2)]);
    }
}
