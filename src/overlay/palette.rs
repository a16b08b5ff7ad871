//! The colours of the expressions, the same on every picture.
//!
//! Okabe and Ito's set ("Color Universal Design", 2008), which people with any kind of colour vision tell apart; its
//! black is a light grey here, because the overlay is dark.

use crate::canvas::Colour;
use crate::expression::Expression;

/// The colour of an expression.
pub fn colour(expression: Expression) -> Colour {
    let [r, g, b] = match expression {
        Expression::Neutral => [217, 217, 217],
        Expression::Happiness => [240, 228, 66],
        Expression::Surprise => [230, 159, 0],
        Expression::Sadness => [0, 114, 178],
        Expression::Anger => [213, 94, 0],
        Expression::Disgust => [0, 158, 115],
        Expression::Fear => [204, 121, 167],
        Expression::Contempt => [86, 180, 233],
    };
    [b, g, r]
}

/// Dark grounds, and letters on light ones.
pub const INK: Colour = [24, 22, 20];
/// Light letters and lines.
pub const PAPER: Colour = [245, 245, 245];
/// Where no expression is relied on.
pub const UNSURE: Colour = [150, 150, 150];
/// Something is being recorded.
pub const RED: Colour = [60, 60, 235];
/// All is well.
pub const GREEN: Colour = [120, 200, 60];
/// Something is waited for.
pub const AMBER: Colour = [0, 170, 240];

/// Letters that stand out from a ground of this colour.
pub fn letters_on([b, g, r]: Colour) -> Colour {
    let brightness = (u32::from(b) + 6 * u32::from(g) + 3 * u32::from(r)) / 10;
    if brightness > 100 { INK } else { PAPER }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency",
    /// 2009, severity 1: normal vision, protanopia, deuteranopia, tritanopia; in linear red, green, blue.
    const EYES: [[[f32; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ];

    /// CIE L*a*b* of a colour as an eye sees it.
    fn lab([b, g, r]: Colour, eye: [[f32; 3]; 3]) -> [f32; 3] {
        let linear = [r, g, b].map(|v| {
            let v = f32::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        });
        let dot = |row: [f32; 3], v: [f32; 3]| row.iter().zip(v).map(|(a, b)| a * b).sum::<f32>();
        let seen = eye.map(|row| dot(row, linear).clamp(0.0, 1.0));
        let root = |v: f32| if v > 0.008856 { v.cbrt() } else { 7.787 * v + 16.0 / 116.0 };
        let x = root(dot([0.4124, 0.3576, 0.1805], seen) / 0.9505);
        let y = root(dot([0.2126, 0.7152, 0.0722], seen));
        let z = root(dot([0.0193, 0.1192, 0.9505], seen) / 1.089);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn every_kind_of_eye_tells_the_expressions_apart() {
        for eye in EYES {
            for (n, one) in Expression::ALL.into_iter().enumerate() {
                for other in &Expression::ALL[n + 1..] {
                    let (a, b) = (lab(colour(one), eye), lab(colour(*other), eye));
                    let distance = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
                    // 2.3 is just noticeable side by side.
                    assert!(distance > 15.0, "{one} {other}: {distance}");
                }
            }
        }
    }

    #[test]
    fn letters_stand_out_from_every_colour() {
        let tints = Expression::ALL.map(colour).into_iter().chain([UNSURE]);
        for tint in tints {
            let (ground, letters) = (lab(tint, EYES[0]), lab(letters_on(tint), EYES[0]));
            assert!((ground[0] - letters[0]).abs() > 40.0, "{tint:?}");
        }
    }
}
