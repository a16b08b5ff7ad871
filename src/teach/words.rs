//! What is said to whoever is to show an expression.

use crate::expression::Expression;

/// A moment in which people show it, and what the face does then.
pub fn example(expression: Expression) -> [&'static str; 2] {
    match expression {
        Expression::Neutral => ["you read something and think of nothing", "face at rest, mouth closed"],
        Expression::Happiness => ["a good friend comes in", "smile, with the eyes too"],
        Expression::Surprise => ["somebody bangs a door behind you", "brows up, mouth open"],
        Expression::Sadness => {
            ["the trip that you looked forward to is off", "inner brows up, corners of the mouth down"]
        }
        Expression::Anger => ["somebody pushes in before you", "brows down, lips tight"],
        Expression::Disgust => ["the milk in your coffee is sour", "wrinkle your nose, upper lip up"],
        Expression::Fear => ["a car comes straight at you", "eyes wide, brows up and together"],
        Expression::Contempt => {
            ["somebody boasts, and you know better", "one corner of the mouth up and back"]
        }
    }
}
