//! What is said of a face in a frame: rows, and the one table of their columns, from which every format is made.

use std::sync::Arc;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::expression::{Distribution, Expression};
use crate::geometry::{Pose, Rect};

/// The version of the rows as JSON; it changes when a key changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// What is known of one face in one frame, or that there is none.
///
/// Serialised, it is a map as in JSON lines: `v`, then [`COLUMNS`], those in groups as lists or maps of their own. What
/// is not known is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where the frame came from.
    pub source: Arc<str>,
    /// Its number there.
    pub frame: u64,
    /// Its time stamp there.
    pub time: Duration,
    /// The face.
    pub face: Option<FaceRow>,
    /// What somebody who looks on says that is seen. Such a row stands beside those of the reading.
    pub mark: Option<Expression>,
}

/// One face in one frame.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FaceRow {
    /// The number that the face keeps from frame to frame.
    pub track: u64,
    /// Where it is, in pixels of the frame.
    pub bounds: Rect,
    /// How sure it is that this is a face, from 0 to 1.
    pub score: f32,
    /// How the head is turned.
    pub pose: Pose,
    /// The most probable expression.
    pub expression: Expression,
    /// Its probability.
    pub confidence: f32,
    /// The probabilities of all expressions, smoothed.
    pub probabilities: Distribution,
    /// Whether the face is too small, too turned or too little expressive for the reading to be relied on.
    pub unsure: bool,
    /// The probabilities of all expressions in this frame alone, if they are wanted.
    pub raw_probabilities: Option<Distribution>,
    /// Whether it is read against the person's own neutral.
    pub baseline: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// A whole number, 0 or more.
    Integer,
    /// A number with a fraction.
    Real,
    /// True or false.
    Flag,
}

/// What stands in a column of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Of [`Kind::Text`].
    Text(&'a str),
    /// Of [`Kind::Integer`].
    Integer(u64),
    /// Of [`Kind::Real`], rounded to the digits that mean something.
    Real(f64),
    /// Of [`Kind::Flag`].
    Flag(bool),
}

/// Where a column stands in a row that is a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A key of its own, left out where nothing is known.
    Key,
    /// A key of its own, null where nothing is known.
    KeyOrNull,
    /// A key of its own, there only if it is true.
    IfTrue,
    /// One in the list of this key.
    ListOf(&'static str),
    /// The second key in the map of the first.
    MapOf(&'static str, &'static str),
}

/// A column of the table that rows make.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in a flat table.
    pub name: &'static str,
    /// Its unit; empty where there is none.
    pub unit: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means.
    pub about: &'static str,
    /// Where it stands in a map.
    pub place: Place,
    value: fn(&Row) -> Option<Value<'_>>,
}

impl Column {
    /// What stands in this column; `None` where nothing is known.
    pub fn value<'a>(&self, row: &'a Row) -> Option<Value<'a>> {
        (self.value)(row)
    }
}

/// The columns that a table has only if they are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extra {
    /// The probabilities before they are smoothed.
    pub raw: bool,
    /// Whether a face is read against the person's own neutral.
    pub baseline: bool,
    /// What was marked.
    pub marks: bool,
}

/// The columns of a table with these extra ones.
pub fn columns(extra: Extra) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| match (column.place, column.name) {
        (Place::MapOf("raw_probabilities", _), _) => extra.raw,
        (_, "baseline") => extra.baseline,
        (_, "mark") => extra.marks,
        _ => true,
    })
}

use Kind::{Flag, Integer, Real, Text};
use Place::{IfTrue, Key, KeyOrNull, ListOf, MapOf};

const fn column(
    name: &'static str,
    unit: &'static str,
    kind: Kind,
    place: Place,
    value: fn(&Row) -> Option<Value<'_>>,
    about: &'static str,
) -> Column {
    Column { name, unit, kind, about, place, value }
}

const SHARE: &str = "0 to 1";

/// All columns, in order.
#[rustfmt::skip]
pub static COLUMNS: [Column; 33] = [
    column("source", "", Text, Key, |r| Some(Value::Text(&r.source)), "the file, address or camera that the frame came from"),
    column("frame", "", Integer, Key, |r| Some(Value::Integer(r.frame)), "the frame's number in its source, from 0"),
    column("time", "s", Real, Key, |r| real(r.time.as_secs_f64(), 6), "the frame's time stamp in its source"),
    column("track", "", Integer, KeyOrNull, |r| face(r).map(|f| Value::Integer(f.track)), "the number that the face keeps from frame to frame; none in a frame without a face"),
    column("box_x", "pixels", Real, ListOf("box"), |r| tenths(face(r)?.bounds.x), "the left edge of the face"),
    column("box_y", "pixels", Real, ListOf("box"), |r| tenths(face(r)?.bounds.y), "its upper edge"),
    column("box_w", "pixels", Real, ListOf("box"), |r| tenths(face(r)?.bounds.w), "its width"),
    column("box_h", "pixels", Real, ListOf("box"), |r| tenths(face(r)?.bounds.h), "its height"),
    column("score", SHARE, Real, Key, |r| share(face(r)?.score), "how sure the mesh network is that this is a face"),
    column("yaw", "degrees", Real, MapOf("pose", "yaw"), |r| tenths(face(r)?.pose.yaw), "how the head is turned, > 0 to the subject's left"),
    column("pitch", "degrees", Real, MapOf("pose", "pitch"), |r| tenths(face(r)?.pose.pitch), "how it is nodded, > 0 up"),
    column("roll", "degrees", Real, MapOf("pose", "roll"), |r| tenths(face(r)?.pose.roll), "how it is tilted, > 0 clockwise as seen"),
    column("expression", "", Text, Key, |r| face(r).map(|f| Value::Text(f.expression.name())), "the most probable expression"),
    column("confidence", SHARE, Real, Key, |r| share(face(r)?.confidence), "its probability"),
    column("p_neutral", SHARE, Real, MapOf("probabilities", "neutral"), |r| smoothed(r, Expression::Neutral), "the probability, smoothed over time, of neutral"),
    column("p_happiness", SHARE, Real, MapOf("probabilities", "happiness"), |r| smoothed(r, Expression::Happiness), "of happiness"),
    column("p_surprise", SHARE, Real, MapOf("probabilities", "surprise"), |r| smoothed(r, Expression::Surprise), "of surprise"),
    column("p_sadness", SHARE, Real, MapOf("probabilities", "sadness"), |r| smoothed(r, Expression::Sadness), "of sadness"),
    column("p_anger", SHARE, Real, MapOf("probabilities", "anger"), |r| smoothed(r, Expression::Anger), "of anger"),
    column("p_disgust", SHARE, Real, MapOf("probabilities", "disgust"), |r| smoothed(r, Expression::Disgust), "of disgust"),
    column("p_fear", SHARE, Real, MapOf("probabilities", "fear"), |r| smoothed(r, Expression::Fear), "of fear"),
    column("p_contempt", SHARE, Real, MapOf("probabilities", "contempt"), |r| smoothed(r, Expression::Contempt), "of contempt"),
    column("unsure", "", Flag, IfTrue, |r| face(r).map(|f| Value::Flag(f.unsure)), "whether the face is too small, too turned or too little expressive to be relied on"),
    column("baseline", "", Flag, IfTrue, |r| face(r).map(|f| Value::Flag(f.baseline)), "whether the face is read against the person's own neutral"),
    column("mark", "", Text, Key, |r| r.mark.map(|mark| Value::Text(mark.name())), "what somebody who looked on marked, in a row of its own beside those of the frame"),
    column("raw_neutral", SHARE, Real, MapOf("raw_probabilities", "neutral"), |r| raw(r, Expression::Neutral), "the probability, in this frame alone, of neutral"),
    column("raw_happiness", SHARE, Real, MapOf("raw_probabilities", "happiness"), |r| raw(r, Expression::Happiness), "of happiness"),
    column("raw_surprise", SHARE, Real, MapOf("raw_probabilities", "surprise"), |r| raw(r, Expression::Surprise), "of surprise"),
    column("raw_sadness", SHARE, Real, MapOf("raw_probabilities", "sadness"), |r| raw(r, Expression::Sadness), "of sadness"),
    column("raw_anger", SHARE, Real, MapOf("raw_probabilities", "anger"), |r| raw(r, Expression::Anger), "of anger"),
    column("raw_disgust", SHARE, Real, MapOf("raw_probabilities", "disgust"), |r| raw(r, Expression::Disgust), "of disgust"),
    column("raw_fear", SHARE, Real, MapOf("raw_probabilities", "fear"), |r| raw(r, Expression::Fear), "of fear"),
    column("raw_contempt", SHARE, Real, MapOf("raw_probabilities", "contempt"), |r| raw(r, Expression::Contempt), "of contempt"),
];

fn face(row: &Row) -> Option<&FaceRow> {
    row.face.as_ref()
}

/// With so many decimals; no more are printed.
fn real(value: f64, decimals: i32) -> Option<Value<'static>> {
    let scale = 10f64.powi(decimals);
    Some(Value::Real((value * scale).round() / scale + 0.0)) // not -0
}

/// Pixels and degrees.
fn tenths(value: f32) -> Option<Value<'static>> {
    real(value.into(), 1)
}

/// Scores and probabilities.
fn share(value: f32) -> Option<Value<'static>> {
    real(value.into(), 4)
}

fn smoothed(row: &Row, expression: Expression) -> Option<Value<'static>> {
    share(face(row)?.probabilities.of(expression))
}

fn raw(row: &Row, expression: Expression) -> Option<Value<'static>> {
    share(face(row)?.raw_probabilities?.of(expression))
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_u64(number),
            Self::Real(number) => serializer.serialize_f64(number),
            Self::Flag(flag) => serializer.serialize_bool(flag),
        }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &VERSION)?;
        // Columns of one list or map stand side by side.
        for group in COLUMNS.chunk_by(|a, b| a.place.group().is_some() && a.place.group() == b.place.group())
        {
            let (first, value) = (group[0], group[0].value(self));
            match (first.place, value) {
                (Place::KeyOrNull, value) => map.serialize_entry(first.name, &value)?,
                (_, None) | (Place::IfTrue, Some(Value::Flag(false))) => {}
                (Place::ListOf(key) | Place::MapOf(key, _), _) => {
                    map.serialize_entry(key, &Group(group, self))?
                }
                (_, Some(value)) => map.serialize_entry(first.name, &value)?,
            }
        }
        map.end()
    }
}

impl Place {
    fn group(self) -> Option<&'static str> {
        match self {
            Self::ListOf(key) | Self::MapOf(key, _) => Some(key),
            _ => None,
        }
    }
}

/// A list or map within a row.
struct Group<'a>(&'static [Column], &'a Row);

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(columns, row) = self;
        if let Place::MapOf(..) = columns[0].place {
            let entry = |column: &Column| match column.place {
                Place::MapOf(_, key) => Some((key, column.value(row)?)),
                _ => None,
            };
            serializer.collect_map(columns.iter().filter_map(entry))
        } else {
            serializer.collect_seq(columns.iter().filter_map(|column| column.value(row)))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row in which everything is known.
    pub(crate) fn row() -> Row {
        let face = FaceRow {
            track: 1,
            bounds: Rect::new(10.04, 20.0, 99.96, 120.5),
            score: 0.98,
            pose: Pose { yaw: -3.25, pitch: -0.04, roll: 12.0 },
            expression: Expression::Happiness,
            confidence: 0.93,
            probabilities: Distribution([0.01, 0.93, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]),
            unsure: true,
            raw_probabilities: Some(Distribution([0.02, 0.86, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02])),
            baseline: false,
        };
        Row {
            source: "a".into(),
            frame: 12,
            time: Duration::from_micros(500_500),
            face: Some(face),
            mark: Some(Expression::Anger),
        }
    }

    #[test]
    fn every_expression_has_its_columns_in_order() {
        let named = |prefix: &str| Expression::ALL.map(|e| format!("{prefix}{}", e.name()));
        let (p, raw) = (&COLUMNS[14..22], &COLUMNS[COLUMNS.len() - 8..]);
        assert!(p.iter().map(|c| c.name).eq(named("p_")) && raw.iter().map(|c| c.name).eq(named("raw_")));
        for (n, column) in p.iter().chain(raw).enumerate() {
            let Place::MapOf(_, key) = column.place else { panic!("{}", column.name) };
            assert!(column.name.ends_with(key));
            // The value of each is its own.
            let mut row = row();
            let face = row.face.as_mut().unwrap();
            let wanted =
                if n < 8 { &mut face.probabilities } else { face.raw_probabilities.as_mut().unwrap() };
            wanted.0[n % 8] = 0.5;
            assert_eq!(column.value(&row), Some(Value::Real(0.5)), "{}", column.name);
        }
    }

    #[test]
    fn values_are_of_the_kind_that_their_column_says() {
        let row = row();
        let all = Extra { raw: true, baseline: true, marks: true };
        for column in columns(all) {
            let kind = match column.value(&row).unwrap() {
                Value::Text(_) => Kind::Text,
                Value::Integer(_) => Kind::Integer,
                Value::Real(_) => Kind::Real,
                Value::Flag(_) => Kind::Flag,
            };
            assert_eq!(kind, column.kind, "{}", column.name);
            assert!(!column.about.is_empty());
        }
        let raw = Extra { raw: true, ..Extra::default() };
        assert_eq!([Extra::default(), raw, all].map(|extra| columns(extra).count()), [23, 31, 33]);
    }

    #[test]
    fn raw_probabilities_are_a_map_of_their_own() {
        let json = serde_json::to_string(&row()).unwrap();
        let raw = r#","unsure":true,"mark":"anger","raw_probabilities":{"neutral":0.02,"happiness":0.86,"#;
        assert!(json.starts_with(
            r#"{"v":1,"source":"a","frame":12,"time":0.5005,"track":1,"box":[10.0,20.0,100.0,120.5],"#
        ));
        assert!(json.contains(raw) && json.ends_with(r#""contempt":0.02}}"#), "{json}");
        let mut row = row();
        row.face.as_mut().unwrap().baseline = true;
        assert!(serde_json::to_string(&row).unwrap().contains(r#","unsure":true,"baseline":true,"mark""#));
    }

    #[test]
    fn rounded_probabilities_still_sum_to_one() {
        let probabilities = Distribution::softmax([0.3, 1.7, 0.1, -0.4, 0.9, -2.0, 0.33, 0.0]);
        let shares = probabilities.0.map(|p| match share(p) {
            Some(Value::Real(share)) => share,
            _ => 0.0,
        });
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 8.0 * 0.5e-4, "{shares:?}");
    }
}
